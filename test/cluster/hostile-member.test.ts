/** F27: a member that says in the library's own protocols what no library says. The public door to a protocol lets it. */
import { inBothModes, taker, threePeers } from '../support/clusters.ts'

inBothModes('F27: a broadcast of bytes that are no body is refused, and reaches nobody', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  const broadcast = a.protocol('broadcast/1')
  // An array of four thousand million items: whoever decoded it would not come to an end.
  for (const bytes of [Buffer.from('ddffffffff', 'hex'), Buffer.alloc(0), Buffer.from('c1', 'hex'), Buffer.from('8101', 'hex')]) {
    await t.rejects(cluster.settle(broadcast.call('b', { from: '', number: 1, bytes })), {
      code: 'REMOTE',
      cause: { code: 'REFUSED' },
    })
  }
  for (const body of [null, 'all', {}, { from: 7, number: 1, bytes: Buffer.from([1]) }])
    await t.rejects(cluster.settle(broadcast.call('b', body)), { code: 'REMOTE', cause: { code: 'REFUSED' } })
  t.same(bob.bodies, [])
  t.equal((await cluster.settle(a.sendMessage('bob', 'hi'))).status, 'delivered')
})

inBothModes('F27: asking for the rest of what a client left does not end the client', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  const by = { identity: 'a', incarnation: a.incarnation, claim: 99 }
  const { claim } = (await cluster.settle(a.whereIs('bob')))!
  for (const part of [1, 0]) {
    const answer = await cluster.settle(a.protocol('sessions/1').call('b', { address: 'bob', claim, by, part }))
    t.same(answer, { messages: [], left: 0 })
  }
  t.ok(b.client('bob'), 'it is still there')
  t.equal((await cluster.settle(a.sendMessage('bob', 'hi'))).status, 'delivered')
  t.same(bob.bodies, ['hi'])
})

inBothModes('F27: a question for an address that is none is refused', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  const by = { identity: 'a', incarnation: a.incarnation, claim: 99 }
  for (const question of [
    null,
    'bob',
    { address: 'bob' },
    { address: 7, claim: 1, by, part: 0 },
    { address: 'bob', claim: -1, by, part: 0 },
    { address: 'bob', claim: 1, by: { identity: 'a' }, part: 0 },
    { address: 'bob', claim: 1, by, part: -1 },
    { address: 'bob', claim: 1, by: { ...by, identity: 'c' }, part: 0 },
  ]) {
    const asked = a.protocol('sessions/1').call('b', question)
    await t.rejects(cluster.settle(asked), { code: 'REMOTE', cause: { code: 'REFUSED' } }, JSON.stringify(question))
  }
  t.ok(b.client('bob'))
})
