/** A peer and its datastore, and nothing else: look-ups that read it each time, and connects. */
import { rmSync } from 'node:fs'
import { createPeer, type Peer, type Whereabouts } from '../../lib/index.ts'
import { Series, Window } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { Routes, waysTo } from '../kit/traffic.ts'

export interface StoreSetup {
  /** Absent: of the server that was started before. */
  readonly url?: string
  readonly cluster: string
  readonly sessions: number
  readonly outstanding: number
  readonly batch: number
}

export function urlOf({ setup, reach }: Part): string {
  return (setup as StoreSetup).url ?? (reach['server'] as string)
}

/** A folder that was made for this run alone. */
export function removeFolder(part: Part): void {
  const url = urlOf(part)
  if (url.startsWith('lmdb:')) rmSync(url.slice('lmdb:'.length), { recursive: true, force: true })
}

function peerIn(part: Part, identity: string): Promise<Peer> {
  const { cluster } = part.setup as StoreSetup
  return createPeer({ identity, cluster, store: urlOf(part) })
}

/** `holder` and `asker` are in one process: so all engines can be compared, that which is only here too. */
async function looker(part: Part): Promise<Role> {
  const { sessions, outstanding } = part.setup as StoreSetup
  const holder = await peerIn(part, 'holder')
  const asker = await peerIn(part, 'asker')
  const ways = waysTo(sessions)
  await holder.connectClients(
    ways.map(({ to }) => to),
    () => {},
  )
  const routes = new Routes(ways, 'at random')
  let count = 0
  let wrong = 0
  const lookUp = (): Promise<Whereabouts | undefined> => asker.whereIs(routes.next().to)
  const window = new Window(outstanding, lookUp, found => {
    if (found?.identity === 'holder') count++
    else wrong++
  })
  return {
    count: () => count,
    faults: () => ({ 'not found': wrong }),
    start: () => window.start(),
    stop: async () => {
      await window.stop()
      // Here, where there is time for it: the records go with the peers.
      await asker.close()
      await holder.close()
      removeFolder(part)
    },
    close: async () => {},
  }
}

async function connector(part: Part): Promise<Role> {
  const { batch } = part.setup as StoreSetup
  const peer = await peerIn(part, 'holder')
  let next = 0
  const series = new Series(async () => {
    const names = Array.from({ length: batch }, () => `client-${next++}`)
    await peer.connectClients(names, () => {})
    return batch
  })
  return {
    count: () => series.count,
    start: () => series.start(),
    stop: async () => {
      await series.stop()
      await peer.close()
      removeFolder(part)
    },
    close: async () => {},
  }
}

export const roles = { looker, connector }
