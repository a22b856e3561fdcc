/** F14, F15: addresses that move while messages fly, and routes that have become stale. */
import t from 'tap'
import { seededRandom } from '../../lib/env/random.ts'
import type { Peer, Receipt } from '../../lib/index.ts'
import { check, simulateCluster, type Cluster } from '../../lib/testing/index.ts'
import { inBothModes, inMode, modes, threePeers } from '../support/clusters.ts'
import { full, measured, percentile } from '../support/figures.ts'

const seed = Number(process.env['HOMING_SEED'] ?? 1)
const seconds = full ? 10 : 1
const perMs = { moves: 1, messages: 5 }

async function people(cluster: Cluster, count: number): Promise<Peer[]> {
  const peers: Peer[] = []
  for (let n = 0; n < count; n++) peers.push(await cluster.peer(`p${n}`))
  await cluster.run(4_000)
  return peers
}

for (const mode of modes) {
  const name = `F14: 1,000 moves a second under 5,000 messages a second, for ${seconds} s`
  void t.test(`${name} (${mode}, seed ${seed})`, async t => {
    await using cluster = await simulateCluster({
      seed,
      ...(mode === 'broker' && { brokers: ['hub'] }),
      network: { jitterMs: 1 },
    })
    const random = seededRandom(`moves ${seed}`)
    const peers = await people(cluster, 4)
    const addresses = Array.from({ length: 500 }, (_, n) => `client${n}`)
    const at = new Map<string, Peer>()
    const pick = <T>(from: readonly T[]): T => from[Math.floor(random.fraction() * from.length)]!
    for (const address of addresses) at.set(address, pick(peers))
    for (const peer of peers) {
      await cluster.settle(
        peer.connectClients(
          addresses.filter(address => at.get(address) === peer),
          () => {},
        ),
      )
    }
    const latencies: number[] = []
    const receipts: Promise<Receipt>[] = []
    const moves: Promise<unknown>[] = []
    for (let ms = 0; ms < seconds * 1_000; ms++) {
      for (let n = 0; n < perMs.moves; n++) moves.push(pick(peers).connectClient(pick(addresses), () => {}))
      for (let n = 0; n < perMs.messages; n++) {
        const sentMs = cluster.nowMs
        const receipt = pick(peers).sendMessage(pick(addresses), n)
        void receipt.then(() => latencies.push(cluster.nowMs - sentMs))
        receipts.push(receipt)
      }
      await cluster.run(1)
    }
    await cluster.settle(Promise.all(moves))
    const statuses = new Set((await cluster.settle(Promise.all(receipts))).map(({ status }) => status))
    t.same([...statuses], ['delivered'])
    await cluster.run(3_000)
    const p99 = percentile(latencies, 0.99)
    measured(t, 'F14', `${mode}: p99 of ${receipts.length} sends under ${moves.length} moves`, p99, 'ms')
    t.ok(p99 <= 500, `${p99} ms`)
    t.equal(cluster.history.of('delivery').length, receipts.length)
    t.same(check(cluster.history.events).slice(0, 5), [])
  })
}

inBothModes(
  'F15: a stale route costs one round trip and one look-up more, at p99; and nobody is led round in circles',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const addresses = Array.from({ length: 300 }, (_, n) => `client${n}`)
    await cluster.settle(b.connectClients([...addresses, 'ben'], () => {}))
    await cluster.settle(c.connectClients(['carl', 'cold'], () => {}))
    const timed = async (address: string): Promise<number> => {
      const startedMs = cluster.nowMs
      t.equal((await cluster.settle(a.sendMessage(address, 1))).status, 'delivered')
      return cluster.nowMs - startedMs
    }
    for (const address of [...addresses, 'ben', 'carl']) await timed(address)
    const steadyMs = Math.max(await timed('ben'), await timed('carl'))
    // What a first send costs more than a later one is one look-up.
    const lookUpMs = (await timed('cold')) - steadyMs
    await cluster.settle(c.connectClients(addresses, () => {}))
    await cluster.run(100)
    const refusedBefore = b.stats.refused
    const extra: number[] = []
    for (const address of addresses) extra.push((await timed(address)) - steadyMs)
    const p99 = percentile(extra, 0.99)
    measured(t, 'F15', 'one round trip', steadyMs, 'ms')
    measured(t, 'F15', 'one look-up', lookUpMs, 'ms')
    measured(t, 'F15', 'p99 of what a stale route costs more', p99, 'ms')
    t.ok(p99 <= steadyMs + lookUpMs + 0.5, `${p99} ms more; a round trip is ${steadyMs}, a look-up ${lookUpMs}`)
    t.ok(b.stats.refused - refusedBefore <= addresses.length, 'each was refused once')
    t.equal(cluster.history.of('delivery').filter(({ peer }) => peer === 'b').length, addresses.length + 2)
  },
)

inBothModes(
  'F15: a record that names the wrong owner for good: at most three times round, and no delivery',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    await cluster.settle(b.connectClient('bob', () => {}))
    await cluster.settle(a.sendMessage('bob', 0))
    cluster.storeSlow(5_000)
    b.disconnectClient('bob').catch(() => {}) // its answer does not come in time: that is the fault
    cluster.storeSlow(0.5, 0.5)
    const refusedBefore = b.stats.refused
    const receipt = await cluster.settle(a.sendMessage('bob', 1), 10_100)
    t.match(receipt.status, /absent|unreachable/)
    const round = b.stats.refused - refusedBefore
    measured(t, 'F15', 'times round of a send to a stale record', round, '')
    t.ok(round <= 4, `${round} times: the first, and three redirects`)
  },
)

inMode(
  'broker',
  'F14: who connects an address again and again, unsure, with its former owner out of reach, waits two seconds, and not one more each time',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    await cluster.settle(a.connectClient('alice', () => {}))
    cluster.cut('a', 'hub')
    const connectMs: number[] = []
    const taken: unknown[] = []
    for (let n = 0; n < 5; n++) {
      await cluster.settle(b.connectClient('alice', message => void taken.push(message.body)))
      connectMs.push(cluster.nowMs)
      await cluster.run(150)
    }
    const receipt = await cluster.settle(b.sendMessage('alice', 'hi'))
    t.equal(receipt.status, 'delivered')
    cluster.kill('hub')
    await cluster.until(() => taken.length > 0, 10_000)
    const waitedMs = cluster.nowMs - connectMs.at(-1)!
    t.ok(waitedMs > 1_000, `${waitedMs} ms: it was unsure`)
    t.ok(waitedMs <= 2_000, `${waitedMs} ms`)
  },
  { options: { whenStoreIsDown: 'stop' } },
)
