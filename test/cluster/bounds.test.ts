/** Promise 7: what is full slows its own sender, then says so to it, and to nobody else (F16). */
import { check } from '../../lib/testing/index.ts'
import { inBothModes, inMode, taker, threePeers } from '../support/clusters.ts'

const kib = 'x'.repeat(1_024)

inBothModes(
  'promise 7, F16: a client that does not read: overloaded for its senders, and for nobody else',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const carl = taker()
    await cluster.settle(b.connectClient('slow', () => new Promise(() => {})))
    await cluster.settle(b.connectClient('carl', carl.take))
    const flood = Array.from({ length: 8_000 }, () => a.sendMessage('slow', kib, { deadlineMs: 3_000 }))
    const others: Promise<{ status: string }>[] = []
    let worstMs = 0
    for (let n = 0; n < 300; n++) {
      const startedMs = cluster.nowMs
      others.push(a.sendMessage('carl', n), c.sendMessage('carl', n))
      void others.at(-1)!.then(() => (worstMs = Math.max(worstMs, cluster.nowMs - startedMs)))
      await cluster.run(10)
    }
    const receipts = await cluster.settle(Promise.all(flood))
    const count = (status: string): number => receipts.filter(receipt => receipt.status === status).length
    t.equal(count('delivered') + count('overloaded'), 8_000)
    t.ok(count('delivered') * 1_224 <= (4 << 20) + 2_000, `${count('delivered')} delivered`)
    t.ok((await cluster.settle(Promise.all(others))).every(({ status }) => status === 'delivered'))
    t.equal(carl.bodies.length, 600)
    t.ok(worstMs <= 50, `others waited ${worstMs} ms`)
    t.equal(a.stats.waiting.bytes, 0)
    t.same(check(cluster.history.events), [])
  },
)

inBothModes('promise 7: what waits for one address, and in all, is bounded', async (t, cluster) => {
  const a = await cluster.peer('a', { waitingBytesPerAddressMax: 1 << 20, waitingBytesMax: 2 << 20 })
  const b = await cluster.peer('b')
  await cluster.settle(b.connectClient('bob', () => {}))
  const sends = ['x', 'y', 'z', 'w'].flatMap(to => Array.from({ length: 1_000 }, () => a.sendMessage(to, kib, { waitMs: 5_000 })))
  await cluster.run(10)
  t.ok(a.stats.waiting.bytes <= 2 << 20, `${a.stats.waiting.bytes} bytes`)
  t.match(await cluster.settle(a.sendMessage('x', kib, { waitMs: 5_000 }), 10), { status: 'overloaded' })
  const receipts = await cluster.settle(Promise.all(sends))
  t.same([...new Set(receipts.map(({ status }) => status))].sort(), ['absent', 'overloaded'])
  t.equal(a.stats.waiting.bytes, 0)
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
})

inBothModes('promise 7: senders that were slowed go on, in order, when the client reads again', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const got: [string | undefined, unknown][] = []
  let wake: (() => void) | undefined
  let sleeps = true
  await cluster.settle(
    b.connectClient('bob', message => {
      got.push([message.from, (message.body as { n: number }).n])
      return sleeps ? new Promise<void>(resolve => (wake = resolve)) : undefined
    }),
  )
  const pad = kib.repeat(20)
  const sends = Array.from({ length: 400 }, (_, n) => [
    a.sendMessage('bob', { n, pad }, { from: 'a', deadlineMs: 60_000 }),
    c.sendMessage('bob', { n, pad }, { from: 'c', deadlineMs: 60_000 }),
  ]).flat()
  await cluster.run(2_000)
  sleeps = false
  wake?.()
  const receipts = await cluster.settle(Promise.all(sends))
  t.ok(receipts.every(({ status }) => status === 'delivered'))
  await cluster.run(100)
  for (const from of ['a', 'c'])
    t.same(
      got.filter(([who]) => who === from).map(([, n]) => n),
      sends.slice(0, 400).map((_, n) => n),
      from,
    )
})

inMode(
  'brokerless',
  'promise 7: what waits for a full inbox goes elsewhere when its server is killed and the client comes back',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    await cluster.settle(b.connectClient('bob', () => new Promise(() => {})))
    const pad = kib.repeat(900)
    for (let n = 0; n < 5; n++) await cluster.settle(a.sendMessage('bob', { n, pad }))
    const waiting = a.sendMessage('bob', { n: 5, pad }, { deadlineMs: 30_000 })
    await cluster.run(500)
    cluster.kill('b')
    const bob = taker()
    await cluster.settle(c.connectClient('bob', bob.take))
    t.equal((await cluster.settle(waiting, 2_000)).status, 'delivered')
  },
)
