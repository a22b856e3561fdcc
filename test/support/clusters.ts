/** One test for both ways that peers reach each other, in a simulated cluster whose seed is printed. */
import t, { type Test } from 'tap'
import { simulateCluster, type Cluster, type ClusterOptions } from '../../lib/testing/index.ts'
import type { Message, Peer } from '../../lib/index.ts'

export type Mode = 'brokerless' | 'broker'
export const modes: readonly Mode[] = ['brokerless', 'broker']

const seed = Number(process.env['HOMING_SEED'] ?? 1)

/** Runs `body` in a cluster of each mode. `HOMING_SEED` gives another seed. */
export function inBothModes(
  name: string,
  body: (t: Test, cluster: Cluster, mode: Mode) => Promise<void>,
  options: Partial<ClusterOptions> = {},
): void {
  for (const mode of modes) inMode(mode, name, body, options)
}

export function inMode(
  mode: Mode,
  name: string,
  body: (t: Test, cluster: Cluster, mode: Mode) => Promise<void>,
  options: Partial<ClusterOptions> = {},
): void {
  void t.test(`${name} (${mode}, seed ${seed})`, async t => {
    await using cluster = await simulateCluster({ seed, ...(mode === 'broker' && { brokers: ['hub'] }), ...options })
    await body(t, cluster, mode)
  })
}

/** A client that keeps what it takes. */
export interface Taker {
  readonly bodies: unknown[]
  readonly messages: Message[]
  take(message: Message): void
}

export function taker(): Taker {
  const messages: Message[] = []
  const bodies: unknown[] = []
  return {
    messages,
    bodies,
    take: message => {
      messages.push(message)
      bodies.push(message.body)
    },
  }
}

/** Whoever keeps leases in this mode: there the datastore must fail for the fault to be felt. */
export function storeUser(mode: Mode, peer: string): string {
  return mode === 'broker' ? 'hub' : peer
}

export async function threePeers(cluster: Cluster): Promise<[Peer, Peer, Peer]> {
  const peers: [Peer, Peer, Peer] = [await cluster.peer('a'), await cluster.peer('b'), await cluster.peer('c')]
  // The first ones learn of the last one at their next renewal.
  await cluster.until(() => peers.every(peer => peer.members().filter(({ role }) => role === 'peer').length === 3), 4_000)
  return peers
}
