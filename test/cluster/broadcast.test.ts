/** Broadcasts: P51 to P54. */
import type { Peer } from '../../lib/peer.ts'
import { inBothModes, taker, threePeers } from '../support/clusters.ts'

inBothModes('P51, P54: every client of every server gets it once, one copy a server', async (t, cluster) => {
  const peers = await threePeers(cluster)
  const takers = new Map<string, ReturnType<typeof taker>>()
  for (const peer of peers) {
    for (const n of [1, 2, 3]) {
      const client = taker()
      takers.set(`${peer.identity}${n}`, client)
      await cluster.settle(peer.connectClient(`${peer.identity}${n}`, client.take))
    }
  }
  const [a] = peers
  const result = await cluster.settle(a.broadcast('all', { from: 'a1' }))
  t.match(result, {
    reached: 6,
    peers: [
      { identity: 'b', reached: 3, full: 0 },
      { identity: 'c', reached: 3, full: 0 },
    ],
  })
  t.equal((await cluster.settle(a.broadcast('own too', { own: true }))).reached, 9)
  await cluster.run(20_000)
  for (const [address, { bodies }] of takers) t.same(bodies, address.startsWith('a') ? ['own too'] : ['all', 'own too'], address)
})

inBothModes('P52: a server that joins meanwhile gets it whole or not at all', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  const d = await cluster.peer('d')
  const clients = taker()
  await cluster.settle(d.connectClients(['d1', 'd2', 'd3'], clients.take))
  for (let n = 0; n < 20; n++) {
    await cluster.settle(a.broadcast(n))
    await cluster.run(300)
  }
  await cluster.run(100)
  const counts = new Map<unknown, number>()
  for (const body of clients.bodies) counts.set(body, (counts.get(body) ?? 0) + 1)
  t.ok(counts.size > 0)
  t.ok(
    [...counts.values()].every(count => count === 3),
    'each of them all three, once',
  )
})

inBothModes('P53: the others get it although one server is dead, and the result names that one', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  await cluster.settle(Promise.all([b.connectClient('bob', () => {}), c.connectClient('carl', () => {})]))
  cluster.kill('b')
  const result = await cluster.settle(a.broadcast('x', { deadlineMs: 1_000 }), 1_200)
  t.equal(result.reached, 1)
  t.match(result.peers, [
    { identity: 'b', reached: 0, code: /UNREACHABLE|LOST|TIMEOUT/ },
    { identity: 'c', reached: 1, code: undefined },
  ])
})

inBothModes('what cannot be sent is the result at each server, by the limits that are configured', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const clients = taker()
  await cluster.settle(Promise.all([b.connectClient('bob', clients.take), c.connectClient('carl', clients.take)]))
  const codes = async (peer: Peer, body: unknown) => (await cluster.settle(peer.broadcast(body))).peers.map(({ code }) => code)
  t.same(await codes(a, () => 'a function'), ['UNENCODABLE', 'UNENCODABLE'])
  t.same(await codes(a, Buffer.alloc((1 << 20) - 10)), ['TOO_LARGE', 'TOO_LARGE'], 'too large with what goes round it')
  const small = await cluster.peer('small', { bodyBytesMax: 1_024 })
  t.same(await codes(small, 'x'.repeat(1_100)), ['TOO_LARGE', 'TOO_LARGE', 'TOO_LARGE'])
  t.same(await codes(small, 'x'), [undefined, undefined, undefined])
  t.same(clients.bodies, ['x', 'x'])
})
