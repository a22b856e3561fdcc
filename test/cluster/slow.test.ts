/** F16: who does not read costs its own senders, and nobody else. */
import { inBothModes, taker, threePeers } from '../support/clusters.ts'
import { measured, percentile } from '../support/figures.ts'

const kib = 'x'.repeat(1_024)

inBothModes(
  'F16: beside a client that never reads the others are as fast as without it',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const carl = taker()
    await cluster.settle(b.connectClient('slow', () => new Promise(() => {})))
    await cluster.settle(b.connectClient('carl', carl.take))
    await cluster.settle(Promise.all([a.sendMessage('slow', 0), a.sendMessage('carl', 0), c.sendMessage('carl', 0)]))
    const others = async (): Promise<number[]> => {
      const latencies: number[] = []
      for (let n = 0; n < 500; n++) {
        for (const peer of [a, c]) {
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
    const before = await others()
    const flood = Array.from({ length: 20_000 }, () => a.sendMessage('slow', kib, { deadlineMs: 6_000 }))
    const during = await others()
    t.equal(during.length, before.length, 'all of them are delivered')
    for (const share of [0.5, 0.99]) {
      const [was, is] = [percentile(before, share), percentile(during, share)]
      measured(t, 'F16', `p${share * 100} of the others, without and with it`, is / was, `times (${was} ms)`)
      t.ok(is <= was * 1.1, `p${share * 100}: ${is} ms instead of ${was}`)
    }
    const receipts = await cluster.settle(Promise.all(flood))
    const taken = receipts.filter(({ status }) => status === 'delivered').length
    t.ok(taken * 1_224 <= 4 << 20, `${taken} were taken: no more than an inbox holds`)
    t.ok(receipts.every(({ status }) => status === 'delivered' || status === 'overloaded'))
    t.equal(b.stats.waiting.bytes <= (4 << 20) + 2_048, true)
  },
  { network: { jitterMs: 1 } },
)
