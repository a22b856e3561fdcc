/** F11, F12: loops that stand still and machines that sleep, again and again. */
import t from 'tap'
import { seededRandom } from '../../lib/env/random.ts'
import type { Peer } from '../../lib/index.ts'
import { simulateCluster } from '../../lib/testing/index.ts'
import { inBothModes, modes, taker, threePeers } from '../support/clusters.ts'
import { full, measured } from '../support/figures.ts'

const seed = Number(process.env['HOMING_SEED'] ?? 1)
const stalls = full ? 1_000 : 100

for (const mode of modes) {
  void t.test(`F12: ${stalls} stalls of up to 30 s: who stalled judges nobody who lives (${mode}, seed ${seed})`, async t => {
    await using cluster = await simulateCluster({ seed, ...(mode === 'broker' && { brokers: ['hub'] }) })
    const random = seededRandom(`stalls ${seed}`)
    const steady = ['s0', 's1', 's2', 's3', 's4']
    const stalling = Array.from({ length: 20 }, (_, n) => `o${n}`)
    const peers = new Map<string, Peer>()
    for (const name of [...steady, ...stalling]) peers.set(name, await cluster.peer(name))
    for (const name of steady) await cluster.settle(peers.get(name)!.connectClient(`client of ${name}`, () => {}))
    for (let round = 0; round < stalls / stalling.length; round++) {
      for (const name of stalling) {
        // Some have a link that they might take for dead, all have the leases.
        const to = steady[Math.floor(random.fraction() * steady.length)]!
        void peers.get(name)!.sendMessage(`client of ${to}`, round, { deadlineMs: 60_000 })
        cluster.time.timers.after(random.fraction() * 5_000, () => cluster.stall(name, random.fraction() * 30_000))
      }
      await cluster.run(50_000)
    }
    const judged = cluster.history.of('memberDown').filter(({ other }) => steady.includes(other))
    measured(t, 'F12', `${mode}: false deaths in ${stalls} stalls of up to 30 s`, judged.length, '')
    t.same(judged, [])
    const links = cluster.history.of('linkDown').filter(({ peer, why }) => stalling.includes(peer) && why === 'stale')
    t.same(links, [], 'nor takes it a link for dead whose other end answered all the time')
    for (const name of steady) t.equal(peers.get(name)!.client(`client of ${name}`)?.end, undefined)
  })
}

inBothModes(
  'F11: under stop, nothing is delivered under a lease that ended in the sleep, however long it was',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    await cluster.settle(a.connectClient('anna', () => {}))
    t.equal((await cluster.settle(b.sendMessage('anna', 0))).status, 'delivered')
    let stale = 0
    for (const asleepMs of [11_000, 30_000, 60_000, 600_000]) {
      const former = taker()
      await cluster.settle(b.connectClient('bob', former.take))
      await cluster.run(100) // its former owner has been told
      t.equal((await cluster.settle(a.sendMessage('bob', 0))).status, 'delivered')
      // It falls asleep before an answer can come, and its links do not outlive that.
      const own = b.sendMessage('anna', 'own', { deadlineMs: 3 })
      cluster.suspend('b', asleepMs)
      await cluster.run(100)
      for (let n = 1; n <= 5; n++) void a.sendMessage('bob', n, { deadlineMs: asleepMs + 60_000 })
      // The first that it does when it wakes.
      cluster.time.timersOf('b').after(1, () => void b.sendMessage('bob', 'own', { deadlineMs: 5_000 }))
      await cluster.run(Math.min(asleepMs, 20_000) - 200)
      await cluster.settle(c.connectClient('bob', () => {}))
      await cluster.run(asleepMs + 20_000)
      t.match((await own).status, /expired|unreachable|unknown/)
      stale += former.bodies.length - 1
      t.same(former.bodies, [0], `${asleepMs} ms`)
    }
    measured(t, 'F11', 'stale deliveries', stale, '')
  },
  { options: { whenStoreIsDown: 'stop' } },
)
