/** Promise 1: what a receipt says is so. And what the seed asks of a single message (P10 to P24, P59, P60). */
import t from 'tap'
import { HomingError } from '../../lib/index.ts'
import { simulateCluster } from '../../lib/testing/index.ts'
import { inBothModes, inMode, taker, threePeers } from '../support/clusters.ts'

inBothModes('promise 1, P17, P59: delivered means that the owner got it once, unchanged', async (t, cluster, mode) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  const body = { text: 'hi', deep: [1, null, { x: true }] }
  const receipt = await cluster.settle(a.sendMessage('bob', body, { from: 'alice' }))
  t.match(receipt, { status: 'delivered', code: undefined, cause: undefined })
  await cluster.run(20_000)
  t.same(bob.bodies, [body])
  const [message] = bob.messages
  t.match(message, { from: 'alice', to: 'bob', id: receipt.id, via: mode === 'broker' ? 'broker' : 'direct' })
})

inBothModes(
  'promise 1: a message in the inbox of a client that reads slowly is delivered, and read later',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    const bob = await cluster.settle(b.connectClient('bob'))
    t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
    await cluster.run(60_000)
    const reader = bob[Symbol.asyncIterator]()
    t.equal((await reader.next()).value?.body, 1)
  },
)

inBothModes('P18: a target on the same server is reached without the network', async (t, cluster) => {
  const a = await cluster.peer('a')
  const bob = taker()
  await cluster.settle(a.connectClient('bob', bob.take))
  cluster.isolate('a')
  t.equal((await cluster.settle(a.sendMessage('bob', 'hi'))).status, 'delivered')
  await cluster.run(1)
  t.equal(bob.messages[0]?.via, 'local')
})

inMode('broker', 'P19: in broker mode a message to another server goes through the broker', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  cluster.cut('a', 'b')
  t.equal((await cluster.settle(a.sendMessage('bob', 'hi'))).status, 'delivered')
})

inMode('brokerless', 'P2, P19: in brokerless mode it goes directly, and no broker runs', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  cluster.cut('a', 'c')
  cluster.cut('b', 'c')
  t.equal((await cluster.settle(a.sendMessage('bob', 'hi'))).status, 'delivered')
})

inBothModes('P20: an unknown address is absent at once, or after the wait that was asked for', async (t, cluster) => {
  const [a] = await threePeers(cluster)
  const soon = await cluster.settle(a.sendMessage('nobody', 1), 500)
  t.match(soon, { status: 'absent', code: 'ABSENT' })
  const startedMs = cluster.nowMs
  const waited = await cluster.settle(a.sendMessage('nobody', 1, { waitMs: 3_000 }))
  t.match(waited, { status: 'absent', code: 'ABSENT' })
  t.ok(cluster.nowMs - startedMs >= 2_900 && cluster.nowMs - startedMs <= 3_200, `waited ${cluster.nowMs - startedMs} ms`)
})

inBothModes('P20, P37: a message that waits for its address is delivered when that connects', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const waiting = [1, 2, 3].map(n => a.sendMessage('bob', n, { waitMs: 5_000 }))
  await cluster.run(2_000)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  const receipts = await cluster.settle(Promise.all(waiting), 300)
  t.same(
    receipts.map(({ status }) => status),
    ['delivered', 'delivered', 'delivered'],
  )
  t.same(bob.bodies, [1, 2, 3])
})

inBothModes('P21: what a server held that has gone is absent, and names nobody', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
  cluster.kill('b')
  await cluster.run(13_000)
  t.match(await cluster.settle(a.sendMessage('bob', 2), 1_000), { status: 'absent' })
  t.equal(await cluster.settle(a.whereIs('bob')), undefined)
})

inBothModes('P23: a send right behind the connect of its address is delivered', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  const connecting = a.connectClient('bob', bob.take)
  const sent = [1, 2, 3].map(n => a.sendMessage('bob', n))
  await cluster.settle(connecting)
  const receipts = await cluster.settle(Promise.all(sent), 200)
  t.same(
    receipts.map(({ status }) => status),
    ['delivered', 'delivered', 'delivered'],
  )
  await cluster.run(1)
  t.same(bob.bodies, [1, 2, 3])
  t.equal((await cluster.settle(b.sendMessage('bob', 4))).status, 'delivered')
})

inBothModes('P24: any JSON value arrives equal, bytes, bigints and dates too', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  const bodies: unknown[] = [
    '',
    'ünïcødé 🐦 "quotes"\n\r\t\u0000',
    0,
    -1.5,
    null,
    true,
    [],
    {},
    { constructor: 1, a: { b: [{}] } },
    'x'.repeat(1 << 20).slice(0, (1 << 20) - 16),
    new Uint8Array([0, 1, 255]),
    12345678901234567890n,
    new Date(1),
  ]
  const receipts = await cluster.settle(Promise.all(bodies.map(body => a.sendMessage('bob', body))))
  t.ok(receipts.every(({ status }) => status === 'delivered'))
  t.equal(bob.bodies.length, bodies.length)
  for (const [at, body] of bodies.entries()) {
    const got = bob.bodies[at]
    t.same(body instanceof Uint8Array ? new Uint8Array(got as Uint8Array) : got, body, { typeof: typeof body })
  }
})

inBothModes('a body too large or not encodable is refused, and what follows is not touched', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  const sends = [
    a.sendMessage('bob', 'x'.repeat((1 << 20) + 1)),
    a.sendMessage('bob', { f: () => 1 }),
    a.sendMessage('bob', 'fine'),
  ]
  const receipts = await cluster.settle(Promise.all(sends))
  t.match(receipts, [
    { status: 'refused', code: 'TOO_LARGE' },
    { status: 'refused', code: 'UNENCODABLE' },
    { status: 'delivered' },
  ])
})

inBothModes('P10: an identity is taken once; a second try fails for its caller only', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await t.rejects(cluster.settle(a.registerIdentity('other')), { code: 'BAD_OPTION' })
  t.equal(a.identity, 'a')
  await cluster.settle(b.connectClient('bob', () => {}))
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
})

inBothModes('P11: when connect resolves, everybody finds the address', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  t.match(await cluster.settle(Promise.all([a, b, c].map(peer => peer.whereIs('bob')))), [
    { identity: 'b' },
    { identity: 'b' },
    { identity: 'b' },
  ])
})

void t.test('P12: without an identity neither connect nor send', async t => {
  const { createPeer } = await import('../../lib/index.ts')
  const peer = await createPeer({ store: 'memory:' })
  await t.rejects(peer.connectClient('a'), { code: 'BAD_OPTION' })
  t.throws(() => peer.sendMessage('a', 1), { code: 'BAD_OPTION' })
  await peer.close()
})

inBothModes('P13: when disconnect resolves, the mapping is gone', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  t.same(await cluster.settle(b.disconnectClient('bob')), { at: 'released' })
  t.equal(await cluster.settle(a.whereIs('bob')), undefined)
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'absent')
})

inBothModes('P16: disconnecting what is not connected says so', async (t, cluster) => {
  const [a] = await threePeers(cluster)
  t.same(await cluster.settle(a.disconnectClient('nobody')), { at: 'absent' })
})

for (const brokers of [[], ['hub']]) {
  void t.test(
    `P60: a from that is not connected here is refused in strict mode (${brokers.length ? 'broker' : 'brokerless'})`,
    async t => {
      await using cluster = await simulateCluster({ seed: 1, brokers })
      const a = await cluster.peer('a', { strictFrom: true })
      await cluster.settle(a.connectClients(['alice', 'bob'], () => {}))
      t.match(await cluster.settle(a.sendMessage('bob', 1, { from: 'eve' })), { status: 'refused', code: 'REFUSED' })
      t.equal((await cluster.settle(a.sendMessage('bob', 1, { from: 'alice' }))).status, 'delivered')
      t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
    },
  )
}

inBothModes('a request is answered by the client, wherever it is', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', { request: message => ({ echo: message.body }) }))
  t.same(await cluster.settle(a.request('bob', 5)), { echo: 5 })
  t.same(await cluster.settle(b.request('bob', 6)), { echo: 6 })
  await cluster.settle(b.connectClient('carl', () => {}))
  await t.rejects(cluster.settle(a.request('carl', 5)), { code: 'REFUSED' })
  const absent = await cluster.settle(a.request('nobody', 5).catch((error: unknown) => error))
  t.ok(absent instanceof HomingError && absent.code === 'ABSENT' && absent.outcome === 'not-delivered')
})
