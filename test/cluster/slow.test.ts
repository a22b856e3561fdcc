/** F16, F27: who does not read costs its own senders, and a member that floods nobody else. */
import type { Test } from 'tap'
import type { Peer } from '../../lib/index.ts'
import type { Cluster } from '../../lib/testing/index.ts'
import { inBothModes, taker, threePeers } from '../support/clusters.ts'
import { measured, percentile } from '../support/figures.ts'

const kib = 'x'.repeat(1_024)

/** Of 500 messages of each to 'carl', ms. */
async function latenciesOf(cluster: Cluster, senders: readonly Peer[]): Promise<number[]> {
  const latencies: number[] = []
  for (let n = 0; n < 500; n++) {
    for (const peer of senders) {
      const sentMs = cluster.nowMs
      void peer.sendMessage('carl', n).then(({ status }) => {
        if (status === 'delivered') latencies.push(cluster.nowMs - sentMs)
      })
    }
    await cluster.run(10)
  }
  await cluster.run(100)
  return latencies
}

function costsAtMost(t: Test, fault: string, times: number, before: readonly number[], during: readonly number[]): void {
  for (const share of [0.5, 0.99]) {
    const [was, is] = [percentile(before, share), percentile(during, share)]
    measured(t, fault, `p${share * 100} of the others, without and with it`, is / was, `times (${was} ms)`)
    t.ok(is <= was * times, `p${share * 100}: ${is} ms instead of ${was}`)
  }
}

inBothModes(
  'F16: beside a client that never reads the others are as fast as without it',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const carl = taker()
    await cluster.settle(b.connectClient('slow', () => new Promise(() => {})))
    await cluster.settle(b.connectClient('carl', carl.take))
    await cluster.settle(Promise.all([a.sendMessage('slow', 0), a.sendMessage('carl', 0), c.sendMessage('carl', 0)]))
    const before = await latenciesOf(cluster, [a, c])
    const flood = Array.from({ length: 20_000 }, () => a.sendMessage('slow', kib, { deadlineMs: 6_000 }))
    const during = await latenciesOf(cluster, [a, c])
    t.equal(during.length, before.length, 'all of them are delivered')
    costsAtMost(t, 'F16', 1.1, before, during)
    const receipts = await cluster.settle(Promise.all(flood))
    const taken = receipts.filter(({ status }) => status === 'delivered').length
    t.ok(taken * 1_224 <= 4 << 20, `${taken} were taken: no more than an inbox holds`)
    t.ok(receipts.every(({ status }) => status === 'delivered' || status === 'overloaded'))
    t.equal(b.stats.waiting.bytes <= (4 << 20) + 2_048, true)
  },
  { network: { jitterMs: 1 } },
)

inBothModes(
  'F27: a member that floods a client which reads costs the others at most a fifth',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const mallory = await cluster.peer('mallory')
    const [carl, flooded] = [taker(), taker()]
    await cluster.settle(b.connectClient('carl', carl.take))
    await cluster.settle(b.connectClient('flooded', flooded.take))
    await cluster.settle(
      Promise.all([a, c, mallory].flatMap(peer => [peer.sendMessage('carl', 0), peer.sendMessage('flooded', 0)])),
    )
    const before = await latenciesOf(cluster, [a, c])
    const flood = Array.from({ length: 20_000 }, () => mallory.sendMessage('flooded', kib, { deadlineMs: 20_000 }))
    const during = await latenciesOf(cluster, [a, c])
    t.equal(during.length, before.length, 'all of them are delivered')
    costsAtMost(t, 'F27', 1.2, before, during)
    const receipts = await cluster.settle(Promise.all(flood))
    t.ok(receipts.some(({ status }) => status === 'delivered'))
    t.ok(receipts.every(({ status }) => status === 'delivered' || status === 'overloaded'))
  },
  { network: { jitterMs: 1 } },
)
