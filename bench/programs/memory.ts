/** A process whose memory is looked at: when what was asked of it is done, and when Node has given back what it does not need. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Peer } from '../../lib/index.ts'
import type { Part, Role } from '../kit/role.ts'
import { waysTo } from '../kit/traffic.ts'
import { listen } from './bare-sockets.ts'

const mib = 2 ** 20
const clientCount = 100_000
/** At rest: so many looks without a change. Node gives memory back some seconds after the last work. */
const looksAlike = 8
const lookEveryMs = 1_000
const looksMax = 60
const alikeMiB = 0.5

const residentMiB = (): number => process.memoryUsage.rss() / mib

/** Looks now, and until nothing changes any more. */
async function looking(close: () => Promise<void>): Promise<Role> {
  const endMiB = residentMiB()
  let restMiB = endMiB
  for (let looks = 0, alike = 0; looks < looksMax && alike < looksAlike; looks++) {
    await sleep(lookEveryMs)
    const now = residentMiB()
    alike = Math.abs(now - restMiB) < alikeMiB ? alike + 1 : 0
    restMiB = now
  }
  return { count: () => 0, figures: () => ({ endMiB, restMiB }), close }
}

async function bare(): Promise<Role> {
  const server = await listen(() => {})
  return looking(async () => void server.close())
}

/** Loaded here, not above: bare Node is to do without. */
async function newPeer({ setup }: Part): Promise<Peer> {
  const { store } = setup as { store: string }
  const { createPeer } = await import('../../lib/index.ts')
  return createPeer({ identity: 'looked-at', store: `lmdb:${store}` })
}

async function idle(part: Part): Promise<Role> {
  const peer = await newPeer(part)
  return looking(() => peer.close())
}

async function clients(part: Part): Promise<Role> {
  const peer = await newPeer(part)
  await peer.connectClients(
    waysTo(clientCount).map(({ to }) => to),
    () => {},
  )
  return looking(() => peer.close())
}

export const roles = { bare, idle, clients }
