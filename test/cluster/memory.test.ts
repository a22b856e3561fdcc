/** Promise 7: what a process holds for others counts, wherever it waits; docs/guarantees.md, "Bounds". */
import type { Peer } from '../../lib/index.ts'
import { check, type Cluster } from '../../lib/testing/index.ts'
import { inBothModes, taker, threePeers } from '../support/clusters.ts'

const kib = 'x'.repeat(1_024)

/** The second of them may hold so many bytes in all. */
async function withSmall(cluster: Cluster, waitingBytesMax: number): Promise<[Peer, Peer, Peer]> {
  return [await cluster.peer('a'), await cluster.peer('b', { waitingBytesMax }), await cluster.peer('c')]
}

inBothModes(
  'F16, promise 7: what a displaced client left counts until its new owner has it, or it is forgotten',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    await cluster.settle(b.connectClient('bob'))
    await cluster.settle(Promise.all(Array.from({ length: 500 }, () => a.sendMessage('bob', kib))))
    const waiting = b.stats.waiting.bytes
    t.ok(waiting > 500 * 1_024)
    await cluster.settle(c.connectClient('bob'))
    let leastBytes = Infinity
    await cluster.until(() => {
      leastBytes = Math.min(leastBytes, b.stats.waiting.bytes + c.stats.waiting.bytes)
      return c.stats.waiting.bytes >= waiting * 0.99
    })
    t.ok(leastBytes >= waiting * 0.99, `at least ${leastBytes} of ${waiting} bytes were counted meanwhile`)
    await cluster.run(2_000)
    t.equal(b.stats.waiting.bytes, 0)
  },
)

inBothModes(
  'F16, promise 7: addresses that come and go with full inboxes fill no more than the memory of their peer',
  async (t, cluster) => {
    const [a, b, c] = await withSmall(cluster, 900 << 10)
    let mostBytes = 0
    const statuses = new Set<string>()
    for (let n = 0; n < 20; n++) {
      await cluster.settle(b.connectClient(`client${n}`))
      const sends = Array.from({ length: 100 }, () => a.sendMessage(`client${n}`, kib.repeat(10), { deadlineMs: 50 }))
      for (const { status } of await cluster.settle(Promise.all(sends))) statuses.add(status)
      mostBytes = Math.max(mostBytes, b.stats.waiting.bytes)
      await cluster.settle(c.connectClient(`client${n}`, () => {}))
    }
    t.ok(mostBytes <= 900 << 10, `${mostBytes} bytes`)
    t.same([...statuses].sort(), ['delivered', 'overloaded'])
    await cluster.run(2_000)
    t.same(check(cluster.history.events), [])
  },
)

inBothModes(
  'F16, promise 7: requests that are being served count: what is too much is overloaded, and those served go on',
  async (t, cluster) => {
    const [a, b] = await withSmall(cluster, 8 << 20)
    const carl = taker()
    const wakes: (() => void)[] = []
    await cluster.settle(
      b.connectClient('server', { request: () => new Promise(resolve => wakes.push(() => resolve('served'))) }),
    )
    await cluster.settle(b.connectClient('carl', carl.take))
    const asked = Array.from({ length: 250 }, () =>
      a.request('server', kib.repeat(64), { deadlineMs: 3_000 }).catch((error: { code: string }) => error.code),
    )
    await cluster.run(1_000)
    t.ok(wakes.length > 50 && wakes.length * 65_536 <= 8 << 20, `${wakes.length} of 64 KiB are served at once`)
    t.ok(b.stats.waiting.bytes >= wakes.length * 65_536, 'and are counted')
    t.ok(b.stats.waiting.bytes <= 8 << 20, `${b.stats.waiting.bytes} bytes`)
    t.equal((await cluster.settle(a.sendMessage('carl', 'prompt'), 100)).status, 'delivered', 'who reads at once goes on')
    for (const wake of wakes.splice(0)) wake()
    await cluster.run(200)
    t.ok(wakes.length > 50, 'the next ones come')
    await cluster.run(5_000)
    const outcomes = await cluster.settle(Promise.all(asked))
    t.same([...new Set(outcomes)].sort(), ['OVERLOADED', 'TIMEOUT', 'served'])
    t.equal(b.stats.waiting.bytes, 0)
  },
)

inBothModes(
  'F16, promise 7: calls of a protocol that are being answered count; beyond the memory their askers hear of it',
  async (t, cluster) => {
    const [a, b] = await withSmall(cluster, 4 << 20)
    let busy = 0
    b.protocol('chat/1').serve({ call: () => (busy++, new Promise(() => {})) })
    const calls = Array.from({ length: 600 }, () =>
      a
        .protocol('chat/1')
        .call('b', kib.repeat(16), { deadlineMs: 4_000 })
        .catch((error: { code: string }) => error.code),
    )
    await cluster.run(2_000)
    t.ok(busy > 100 && busy * 16_384 <= 4 << 20, `${busy} calls are being answered`)
    t.ok(b.stats.waiting.bytes <= 4 << 20, `${b.stats.waiting.bytes} bytes`)
    const outcomes = new Set(await cluster.settle(Promise.all(calls)))
    t.same([...outcomes].sort(), ['OVERLOADED', 'TIMEOUT'])
    await cluster.run(1_000)
    t.equal(b.stats.waiting.bytes, 0)
  },
)
