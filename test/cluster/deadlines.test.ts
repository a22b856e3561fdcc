/** Promise 9: every call settles by its deadline; what was given up is not delivered later; handlers that misbehave harm nobody (F28). */
import { check } from '../../lib/testing/index.ts'
import { inBothModes, inMode, taker, threePeers } from '../support/clusters.ts'

inBothModes('promise 9: every send settles by its deadline, whatever is cut', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  await cluster.settle(Promise.all([b.connectClient('bob', () => {}), c.connectClient('carl', () => {})]))
  await cluster.settle(a.sendMessage('bob', 0))
  cluster.isolate('a')
  cluster.storeDown()
  for (const deadlineMs of [0, 1, 50, 500, 4_000, 20_000]) {
    for (const to of ['bob', 'carl', 'nobody']) void a.sendMessage(to, deadlineMs, { deadlineMs, waitMs: deadlineMs })
  }
  await cluster.run(21_000)
  t.equal(cluster.history.of('receipt').length, 19)
  t.same(check(cluster.history.events, { endMs: cluster.nowMs }), [])
})

inBothModes('promise 9: requests, broadcasts and connects settle by their deadline too', async (t, cluster, mode) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', { request: () => 1 }))
  await cluster.settle(a.request('bob', 1))
  cluster.isolate('a')
  cluster.storeDown(mode === 'broker' ? 'hub' : 'a')
  const startedMs = cluster.nowMs
  const calls = [
    a.request('bob', 1, { deadlineMs: 700 }),
    a.broadcast(1, { deadlineMs: 700 }),
    a.connectClients(['alice'], () => {}, { deadlineMs: 700 }),
  ]
  const settled: number[] = []
  for (const call of calls)
    void call.then(
      () => settled.push(cluster.nowMs),
      () => settled.push(cluster.nowMs),
    )
  await cluster.run(800)
  t.equal(settled.length, 3)
  t.ok(settled.every(atMs => atMs - startedMs <= 800))
})

inBothModes(
  'promise 9: a refused send settles by its deadline while the answers to others are awaited',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    await cluster.settle(b.connectClient('bob'))
    const pad = 'x'.repeat(900_000)
    const sends = Array.from({ length: 4 }, () => a.sendMessage('bob', pad))
    await cluster.settle(Promise.all(sends)) // the inbox has no room for one more
    const first = a.sendMessage('bob', pad, { deadlineMs: 1_000 })
    const second = a.sendMessage('bob', pad, { deadlineMs: 30_000 })
    // The refusal of the first comes through, and then nothing more: the second stays without an answer.
    await cluster.until(() => a.stats.waiting.sends === 0 && b.stats.refused === 1, 1_000)
    await cluster.run(3)
    cluster.isolate('b')
    t.match(await cluster.settle(first, 1_200), { status: 'overloaded' })
    await cluster.run(40_000)
    await second
    // Nobody reads here: what is delivered stays in the inbox.
    t.same(check(cluster.history.events), [])
  },
  { network: { bytesPerMs: 100_000 } },
)

inBothModes('promise 1: what was aborted after a refusal is not delivered, and what follows is', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = await cluster.settle(b.connectClient('bob'))
  const pad = 'x'.repeat(900_000)
  await cluster.settle(Promise.all(Array.from({ length: 4 }, (_, n) => a.sendMessage('bob', { n, pad }))))
  const controller = new AbortController()
  const aborted = a.sendMessage('bob', { n: 4, pad }, { signal: controller.signal })
  const kept = a.sendMessage('bob', { n: 5, pad })
  await cluster.run(200)
  controller.abort(new Error('enough'))
  t.match(await cluster.settle(aborted, 200), { status: /expired|overloaded/ })
  const got: unknown[] = []
  const reading = (async () => {
    for await (const message of bob) got.push((message.body as { n: number }).n)
  })()
  t.equal((await cluster.settle(kept, 2_000)).status, 'delivered')
  const after = a.sendMessage('bob', { n: 6 })
  t.equal((await cluster.settle(after, 2_000)).status, 'delivered')
  await cluster.run(100)
  t.same(got, [0, 1, 2, 3, 5, 6])
  await cluster.settle(b.disconnectClient('bob'))
  await reading
  t.same(check(cluster.history.events), [])
})

inBothModes('promise 9: a signal gives up what waits, and what had left is unknown', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  const controller = new AbortController()
  const waiting = a.sendMessage('nobody', 1, { waitMs: 9_000, signal: controller.signal })
  await cluster.settle(a.sendMessage('bob', 0))
  cluster.isolate('a')
  const left = a.sendMessage('bob', 1, { signal: controller.signal })
  await cluster.run(100)
  controller.abort()
  t.match(await cluster.settle(waiting, 10), { status: 'expired' })
  t.match(await cluster.settle(left, 10), { status: 'unknown' })
  t.match(await cluster.settle(a.sendMessage('bob', 1, { signal: controller.signal }), 10), { status: 'expired' })
  cluster.rejoin('a')
  await cluster.run(10_000)
  t.same(check(cluster.history.events), [])
})

inMode('brokerless', 'promise 3: calls given up on a broken link do not break it when it resumes', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  t.match(await cluster.settle(a.broadcast(0)), { reached: 1 })
  cluster.cut('a', 'b')
  const given = a.broadcast({ hello: 1 }, { deadlineMs: 300 })
  const kept = a.sendMessage('bob', 1, { deadlineMs: 30_000 })
  t.match(await cluster.settle(given, 500), { peers: [{ identity: 'b', code: 'TIMEOUT' }, { identity: 'c' }] })
  cluster.reset('a', 'b')
  cluster.heal('a', 'b')
  t.match(await cluster.settle(kept), { status: 'delivered' })
  t.same(
    cluster.history.of('linkDown').filter(({ why }) => why === 'bad-frame'),
    [],
  )
  t.match(await cluster.settle(a.sendMessage('bob', 2)), { status: 'delivered' })
  t.same(bob.bodies, [0, 1, 2])
})

inBothModes('F28: a handler that throws, rejects or never settles changes no receipt and harms no other', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const errors: unknown[] = []
  b.on('handlerError', ({ error }) => errors.push((error as Error).message))
  const carl = taker()
  await cluster.settle(
    b.connectClient('thrower', () => {
      throw new Error('thrown')
    }),
  )
  await cluster.settle(b.connectClient('rejecter', () => Promise.reject(new Error('rejected'))))
  await cluster.settle(b.connectClient('sleeper', () => new Promise(() => {})))
  await cluster.settle(b.connectClient('carl', carl.take))
  const sends = ['thrower', 'rejecter', 'sleeper', 'carl'].flatMap(to => [1, 2].map(n => a.sendMessage(to, n)))
  const receipts = await cluster.settle(Promise.all(sends))
  t.ok(receipts.every(({ status }) => status === 'delivered'))
  await cluster.run(10)
  t.same(errors.sort(), ['rejected', 'rejected', 'thrown', 'thrown'])
  t.same(carl.bodies, [1, 2])
})

inBothModes('F28: requests to handlers that throw, reject or never settle end with REMOTE or TIMEOUT', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  let signal: AbortSignal | undefined
  const fails = Object.assign(new Error('no'), { code: 'APP' })
  await cluster.settle(
    b.connectClient('thrower', {
      request: () => {
        throw fails
      },
    }),
  )
  await cluster.settle(b.connectClient('rejecter', { request: () => Promise.reject(fails) }))
  await cluster.settle(
    b.connectClient('sleeper', {
      request: (_message, context) => {
        ;({ signal } = context)
        return new Promise(() => {})
      },
    }),
  )
  await t.rejects(cluster.settle(a.request('thrower', 1)), { code: 'REMOTE', cause: { code: 'APP', message: 'no' } })
  await t.rejects(cluster.settle(a.request('rejecter', 1)), { code: 'REMOTE', outcome: 'rejected' })
  await t.rejects(cluster.settle(a.request('sleeper', 1, { deadlineMs: 500 }), 700), { code: 'TIMEOUT', outcome: 'unknown' })
  await cluster.run(100)
  t.ok(signal?.aborted, 'the handler is told')
})

inBothModes(
  'F28: more requests than are served at once, to handlers that never settle, block nobody for ever',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    let sleeps = true
    await cluster.settle(b.connectClient('bob', { request: () => (sleeps ? new Promise(() => {}) : 'awake') }))
    const asked = Array.from({ length: 300 }, () =>
      a.request('bob', 1, { deadlineMs: 500 }).catch((error: { code: string }) => error.code),
    )
    t.same([...new Set(await cluster.settle(Promise.all(asked), 1_000))], ['TIMEOUT'])
    sleeps = false
    t.equal(await cluster.settle(a.request('bob', 1, { deadlineMs: 1_000 }).catch(String)), 'awake')
  },
)
