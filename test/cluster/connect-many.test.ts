/** A connect of more addresses than one row of claims has, of which one row fails: all or none. */
import t, { type Test } from 'tap'
import type { Datastore, Write } from '../../lib/datastores/datastore.ts'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import type { Client, Peer } from '../../lib/index.ts'
import { FaultyDatastore, simulateCluster, type Cluster, type Engine } from '../../lib/testing/index.ts'
import { modes, type Mode } from '../support/clusters.ts'

const seed = Number(process.env['HOMING_SEED'] ?? 1)
const prefix = 'homing:many:sessions:'
/** Two whole rows of claims, and half a one; the second one is in a lane of its own. */
const addresses = Array.from({ length: 2_500 }, (_, n) => `client${n}`)

/** What was written to it is told. */
class Watched extends FaultyDatastore {
  readonly written = new Set<string>()

  override putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const { key } of writes) this.written.add(key)
    return super.putMany(writes)
  }
}

interface World {
  readonly cluster: Cluster
  readonly peer: Peer
  /** Addresses of which there is a record. */
  held(): string[]
  /** Addresses that were claimed, with success or without. */
  claimed(): string[]
  /** The records that cannot be reached from now on. */
  away(which: ((address: string) => boolean) | undefined): void
  /** The addresses that the peer's allow-list has not, from now on. */
  refuse(which: (address: string) => boolean): void
}

function inModes(modes: readonly Mode[], name: string, body: (t: Test, world: World) => Promise<void>): void {
  for (const mode of modes) {
    void t.test(`${name} (${mode}, seed ${seed})`, async t => {
      let engine: MemoryEngine | undefined
      const stores: Watched[] = []
      const addressOf = (key: string): string | undefined => (key.startsWith(prefix) ? key.slice(prefix.length) : undefined)
      const engineOn = (time: Cluster['time']): Engine => {
        engine = new MemoryEngine(time.clock)
        const connect = (): Datastore => {
          const store = new Watched(engine!.connect(), time.timers)
          stores.push(store)
          return store
        }
        return { connect }
      }
      await using cluster = await simulateCluster({
        seed,
        ...(mode === 'broker' && { brokers: ['hub'] }),
        options: { cluster: 'many' },
        store: { engine: engineOn },
      })
      const peer = await cluster.peer('a')
      await body(t, {
        cluster,
        peer,
        held: () => engine!.keys(prefix).map(key => addressOf(key)!),
        claimed: () => stores.flatMap(({ written }) => [...written].flatMap(key => addressOf(key) ?? [])),
        away(which) {
          for (const store of stores) store.away = which && (key => addressOf(key) !== undefined && which(addressOf(key)!))
        },
        refuse: which => peer.setAllow((_, action, address) => action !== 'connect' || !which(address)),
      })
    })
  }
}

/** Nothing is left of a connect that failed; `clients` are those that were connected meanwhile. */
async function undone(t: Test, { cluster, peer, held }: World, clients: readonly Client[]): Promise<void> {
  t.equal(peer.clientCount, 0)
  t.ok(clients.every(({ end }) => end === 'disconnected'))
  await cluster.run(2_000) // what could not be released at once is released behind it
  t.same(held(), [])
  const some = addresses.slice(700, 2_000)
  const again = await cluster.settle(peer.connectClients(some, () => {}))
  t.same(
    again.map(({ address }) => address),
    some,
  )
  t.equal(peer.clientCount, some.length)
  t.equal(held().length, some.length)
}

const lucky = (peer: Peer): Client[] => addresses.flatMap(address => peer.client(address) ?? [])

for (const [row, unlucky, connected, inModesOf] of [
  ['the second lane', 'client1999', 1_500, modes],
  ['the last row', 'client2499', 2_000, ['brokerless']],
] as const) {
  inModes(inModesOf, `a claim of ${row} cannot be written until the deadline: all others are undone`, async (t, world) => {
    const { cluster, peer, held, away } = world
    away(address => address === unlucky)
    const failed = peer.connectClients(addresses, () => {}, { deadlineMs: 2_000 }).catch((error: unknown) => error)
    await cluster.run(1_500)
    const clients = lucky(peer)
    t.equal(clients.length, connected, 'the other rows are connected')
    t.equal(held().length, addresses.length - 1, 'and of this one all others are claimed')
    t.match(await cluster.settle(failed, 1_500), { code: 'DATASTORE' })
    away(undefined)
    await undone(t, world, clients)
  })
}

inModes(modes, 'a row that may not be connected any more when it is written: those after it are not begun', async (t, world) => {
  const { cluster, peer, claimed, refuse } = world
  cluster.storeSlow(100)
  const failed = peer.connectClients(addresses, () => {}).catch((error: unknown) => error)
  await cluster.run(50)
  refuse(address => address === 'client700')
  t.match(await cluster.settle(failed), { code: 'REFUSED', message: /'client700'/ })
  t.same(new Set(claimed()), new Set(addresses.slice(0, 2_000)), 'the second one was under way then')
  refuse(() => false)
  await undone(t, world, [])
})

inModes(
  ['brokerless'],
  'the datastore goes down between two rows, and stays away: all is undone when it is back',
  async (t, world) => {
    const { cluster, peer, held } = world
    cluster.storeSlow(100)
    const failed = peer.connectClients(addresses, () => {}, { deadlineMs: 1_000 }).catch((error: unknown) => error)
    await cluster.run(50)
    cluster.storeDown()
    await cluster.run(500)
    const clients = lucky(peer)
    t.equal(clients.length, 2_000, 'what was under way got there')
    t.match(await cluster.settle(failed), { code: 'DATASTORE' })
    t.equal(held().length, 2_000)
    cluster.storeUp()
    cluster.storeSlow(0)
    await undone(t, world, clients)
  },
)
