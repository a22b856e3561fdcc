/** What has ended leaves no timer and no connection behind, which would keep a process alive. */
import t from 'tap'
import { simulateCluster } from '../../lib/testing/index.ts'
import { inBothModes, threePeers } from '../support/clusters.ts'

/** Connections linger, calls have their deadlines, ms. */
const afterMs = 15_000

inBothModes('closed peers', async (t, cluster, mode) => {
  const peers = await threePeers(cluster)
  await cluster.settle(peers[0].connectClient('bob', () => {}))
  await cluster.settle(peers[1].sendMessage('bob', 'hi'))
  await cluster.settle(Promise.all(peers.map(peer => peer.close())))
  if (mode === 'broker') cluster.kill('hub')
  await cluster.run(afterMs)
  t.equal(cluster.time.pending, 0)
  t.equal(cluster.network.connections, 0)
})

t.test('peers that could not join: the datastore, or the broker, was away', async t => {
  for (const brokers of [[], ['hub']]) {
    await using cluster = await simulateCluster({ seed: 1, options: { startTimeoutMs: 2_000 } })
    const joining = cluster.startPeer('a', { brokers })
    cluster.storeDown('a')
    await t.rejects(cluster.settle(joining), { code: brokers.length === 0 ? 'DATASTORE' : 'UNREACHABLE' })
    await cluster.run(afterMs)
    t.equal(cluster.time.pending, 0, brokers.length === 0 ? 'brokerless' : 'broker')
    t.equal(cluster.network.connections, 0)
  }
})

inBothModes('peers whose identity is taken', async (t, cluster, mode) => {
  await cluster.peer('a')
  for (let n = 0; n < 3; n++) {
    await t.rejects(cluster.settle(cluster.startPeer(`other${n}`, { identity: 'a' })), { code: 'IDENTITY_IN_USE' })
  }
  cluster.kill('a')
  if (mode === 'broker') cluster.kill('hub')
  await cluster.run(afterMs)
  t.equal(cluster.time.pending, 0)
})
