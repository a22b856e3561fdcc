/** A broker in a terminal: starts it, prints the seed's lines about its servers and clients, and ends it when asked to. */
import type { Broker, BrokerOptions } from '../index.ts'
import { followAllowFile } from './allow-file.ts'
import type { Ending } from './ending.ts'
import { connected, disconnected, listening, registered, serverGone, unrecognized } from './seed-lines.ts'
import { because } from './failure.ts'

/** Prints `line`; `event` is the same for programs. */
export type Tell = (line: string, event: object) => void

/** What a broker in a terminal is besides its options. */
export interface BrokerProgram {
  /** As it calls itself to people. */
  readonly name: string
  readonly allowFile: string | undefined
}

/** Runs until the end is asked for. Rejects as `createBroker` does. */
export async function runBroker(options: BrokerOptions, program: BrokerProgram, tell: Tell, ending: Ending): Promise<number> {
  const { createBroker } = await import('../index.ts')
  const broker = await createBroker(options)
  followAllowFile(program.name, program.allowFile, broker, ending)
  const endpoints = [...broker.endpoints]
  tellOf(broker, tell)
  broker.on('fenced', () => ending.request())
  tell(listening(endpoints[0] ?? ''), { event: 'listening', endpoints, identity: broker.identity })
  await ending.requested
  await broker.close()
  return 0
}

function tellOf(broker: Broker, tell: Tell): void {
  tellOfServers(broker, tell)
  broker.on('clientConnected', ({ address, identity }) =>
    tell(connected(address, identity), { event: 'clientConnected', address, identity }),
  )
  broker.on('clientDisconnected', ({ address, identity, owner }) => {
    const found = owner ? ({ at: 'elsewhere', owner } as const) : ({ at: 'released' } as const)
    tell(disconnected(address, identity, found), { event: 'clientDisconnected', address, identity, owner })
  })
  broker.on('badFrame', ({ remote, error }) => tell(unrecognized, { event: 'badFrame', remote, error: because(error) }))
}

/** One line when a server comes, one when its connection ends, whatever order its events have; a link replaced by a newer one is neither. */
function tellOfServers(broker: Broker, tell: Tell): void {
  const servers = new Map<string, 'here' | 'gone'>()
  const came = (identity: string) => {
    if (servers.get(identity) === 'here') return
    servers.set(identity, 'here')
    tell(registered(identity), { event: 'serverRegistered', identity })
  }
  const went = (identity: string, why: string) => {
    if (servers.get(identity) !== 'here') return
    servers.set(identity, 'gone')
    tell(serverGone(identity), { event: 'serverDisconnected', identity, why })
  }
  broker.on('peerJoined', ({ identity }) => came(identity))
  broker.on('linkUp', ({ identity }) => {
    if (servers.has(identity)) came(identity)
  })
  broker.on('linkDown', ({ identity, reason }) => {
    if (reason !== 'duplicate' && reason !== 'replaced') went(identity, reason)
  })
  broker.on('peerGone', ({ identity, why }) => {
    if (why !== 'replaced') went(identity, why)
    if (servers.get(identity) === 'gone') servers.delete(identity)
  })
}
