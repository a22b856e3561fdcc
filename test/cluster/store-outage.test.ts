/** Promise 8: what works without the datastore, what waits, and how it comes back (F4, F5, F6). */
import t from 'tap'
import { check, simulateCluster } from '../../lib/testing/index.ts'
import { inBothModes, inMode, storeUser, taker, threePeers } from '../support/clusters.ts'
import { full, measured } from '../support/figures.ts'
import { heapBytes } from '../support/heap.ts'

void t.test('F4: a start waits for the datastore, and then says DATASTORE; few tries, nothing half started', async t => {
  await using cluster = await simulateCluster({ seed: 1 })
  const a = await cluster.peer('a')
  cluster.startPeer('b', { startTimeoutMs: 1 }).catch(() => {}) // only to have the name
  await cluster.run(100)
  cluster.kill('b')
  cluster.storeDown('b')
  const failed = await cluster.settle(cluster.startPeer('b').catch((error: unknown) => error))
  t.match(failed, { code: 'DATASTORE' })
  t.ok(cluster.nowMs >= 28_000 && cluster.nowMs <= 33_000, `after ${cluster.nowMs} ms`)
  cluster.kill('b')
  t.same(
    a.members().map(({ identity }) => identity),
    ['a'],
  )
  const starting = cluster.startPeer('b')
  await cluster.run(3_000)
  cluster.storeUp('b')
  await cluster.settle(starting, 1_100)
})

inBothModes(
  'promise 8, F5: with the datastore down, known routes go on, nobody is judged dead, and all heals',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const bob = taker()
    await cluster.settle(b.connectClient('bob', bob.take))
    await cluster.settle(c.connectClient('carl', () => {}))
    await cluster.settle(a.sendMessage('bob', 0))
    cluster.storeDown()
    let delivered = 0
    const count = 600
    for (let n = 1; n <= count; n++) {
      void a.sendMessage('bob', n).then(({ status }) => (delivered += status === 'delivered' ? 1 : 0))
      await cluster.run(1_000)
    }
    t.ok(delivered >= count * 0.999, `${delivered} of ${count}`)
    t.equal(cluster.history.of('memberDown').length, 0)
    const cold = await cluster.settle(a.sendMessage('carl', 1, { deadlineMs: 2_000 }))
    t.match(cold, { status: 'unreachable', code: 'DATASTORE' })
    await t.rejects(cluster.settle(a.connectClients(['anna'], () => {}, { deadlineMs: 1_000 })), { code: 'DATASTORE' })
    const late = a.connectClients(['anna'], () => {}, { deadlineMs: 20_000 })
    const waiting = a.sendMessage('carl', 2, { deadlineMs: 20_000 })
    await cluster.run(5_000)
    cluster.storeUp()
    await cluster.settle(late, 2_000)
    t.equal((await cluster.settle(waiting, 2_000)).status, 'delivered')
    await cluster.run(30_000)
    t.equal(cluster.history.of('memberDown').length, 0)
    t.equal((await cluster.settle(c.sendMessage('bob', 'after'))).status, 'delivered')
    t.same(check(cluster.history.events), [])
  },
)

inBothModes(
  'promise 8: a wait that ends while the datastore does not answer says nothing of what was sent meanwhile',
  async (t, cluster) => {
    const [a] = await threePeers(cluster)
    const waiting = a.sendMessage('nobody', 1, { waitMs: 2_000 })
    await cluster.run(1_900)
    cluster.storeSlow(10_000) // whoever asks hears nothing for as long as an operation may take
    const during = await cluster.settle(a.sendMessage('nobody', 2, { deadlineMs: 3_000 }), 4_000)
    t.ok(during.status === 'unreachable' || during.status === 'expired', during.status)
    cluster.storeSlow(0)
    await cluster.run(12_000)
    t.equal((await cluster.settle(a.sendMessage('nobody', 3))).status, 'absent')
    await cluster.settle(waiting)
    t.same(check(cluster.history.events), [])
  },
)

inBothModes(
  'promise 8: whenStoreIsDown stop: an owner that cannot renew stops delivering before its lease is over',
  async (t, cluster, mode) => {
    const [a, b, c] = await threePeers(cluster)
    const bob = taker()
    await cluster.settle(b.connectClient('bob', bob.take))
    await cluster.settle(a.sendMessage('bob', 'before'))
    const user = storeUser(mode, 'b')
    cluster.storeDown(user)
    await cluster.run(10_000)
    const receipt = await cluster.settle(a.sendMessage('bob', 'during', { deadlineMs: 1_000 }))
    t.not(receipt.status, 'delivered')
    const here = await cluster.settle(b.sendMessage('bob', 'here', { deadlineMs: 1_000 }))
    t.not(here.status, 'delivered')
    t.same(bob.bodies, ['before'])
    if (mode === 'brokerless') {
      // It has lapsed for the others; the client goes elsewhere, and is reached there.
      const again = taker()
      await cluster.settle(c.connectClient('bob', again.take))
      t.equal((await cluster.settle(a.sendMessage('bob', 'elsewhere', { deadlineMs: 5_000 }))).status, 'delivered')
      await cluster.run(1_000)
      t.same(again.bodies, ['elsewhere'])
    }
    cluster.storeUp(user)
    await cluster.run(5_000)
    t.same(bob.bodies, ['before'])
    const last = await cluster.settle(a.sendMessage('bob', 'after', { deadlineMs: 5_000 }))
    t.equal(last.status, 'delivered')
    t.same(check(cluster.history.events, { whenStoreIsDown: 'stop' }), [])
  },
  { options: { whenStoreIsDown: 'stop' } },
)

inMode(
  'brokerless',
  'promise 8: stop: sends that waited at an owner which is unsure go on to the new one',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    await cluster.settle(b.connectClient('bob', () => {}))
    await cluster.settle(a.sendMessage('bob', 0))
    cluster.storeDown('b')
    await cluster.run(9_000)
    const waiting = a.sendMessage('bob', 1, { deadlineMs: 20_000 })
    await cluster.run(500)
    const bob = taker()
    await cluster.settle(c.connectClient('bob', bob.take))
    t.equal((await cluster.settle(waiting, 3_000)).status, 'delivered')
    await cluster.run(1_100)
    t.same(bob.bodies, [1])
  },
  { options: { whenStoreIsDown: 'stop' } },
)

inBothModes('F6: a slow and ambiguous datastore changes no owner by itself', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  const bob = await cluster.settle(b.connectClient('bob', () => {}))
  for (let round = 0; round < 10; round++) {
    cluster.storeSlow(400, 400)
    cluster.storeAmbiguous(round % 2 === 0)
    await cluster.run(2_000)
    cluster.storeSlow(0.5, 0.5)
    cluster.storeAmbiguous(false)
    await cluster.run(2_000)
  }
  t.equal(bob.end, undefined)
  t.same(cluster.history.of('memberDown'), [])
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
})

inBothModes('F5: an outage of ten minutes under load takes 32 MiB at most, and is over in 2 s', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const addresses = Array.from({ length: 200 }, (_, n) => `client${n}`)
  await cluster.settle(b.connectClients(addresses, () => {}))
  await cluster.settle(c.connectClient('cold', () => {}))
  await cluster.settle(Promise.all(addresses.map(address => a.sendMessage(address, 0))))
  cluster.history.events.length = 0 // what the test itself keeps is not to be measured
  const before = heapBytes()
  const every = full ? 1 : 5
  cluster.storeDown()
  let [warm, delivered, peakBytes] = [0, 0, 0]
  const failed = new Set<string>()
  for (let second = 0; second < 600; second++) {
    for (let n = 0; n < 5; n++) {
      warm++
      void a
        .sendMessage(addresses[(second * 5 + n) % 200]!, n)
        .then(({ status }) => (delivered += status === 'delivered' ? 1 : 0))
    }
    // What needs the datastore: clients that come and go, here and there, and sends to addresses that nobody has asked for.
    if (second % every === 0) void a.sendMessage(`unknown${second}`, 'x'.repeat(1_000)).then(({ status }) => failed.add(status))
    for (const peer of second % every === 0 ? [a, b] : []) {
      void peer.connectClient(`new${second}`, () => {}).catch((error: { code: string }) => failed.add(error.code))
    }
    if (second % every === 0) void b.disconnectClient(`gone${second}`).catch((error: { code: string }) => failed.add(error.code))
    await cluster.run(1_000)
    cluster.history.events.length = 0
    if (second % 60 === 59) peakBytes = Math.max(peakBytes, heapBytes() - before)
  }
  measured(t, 'F5', 'sends to warm addresses that were delivered', (100 * delivered) / warm, '%')
  measured(t, 'F5', 'heap that three peers took in ten minutes', peakBytes / 2 ** 20, 'MiB')
  t.ok(delivered >= warm * 0.999, `${delivered} of ${warm}`)
  t.ok(peakBytes <= 32 * 2 ** 20, `${Math.round(peakBytes / 2 ** 20)} MiB`)
  t.same([...failed].sort(), ['DATASTORE', 'unreachable'])
  cluster.storeUp()
  const upMs = cluster.nowMs
  const cold = a.sendMessage('cold', 1)
  const connecting = a.connectClient('anna', () => {})
  t.equal((await cluster.settle(cold)).status, 'delivered')
  await cluster.settle(connecting)
  measured(t, 'F5', 'recovery', cluster.nowMs - upMs, 'ms')
  t.ok(cluster.nowMs - upMs <= 2_000, `${cluster.nowMs - upMs} ms`)
  await cluster.run(20_000)
  t.equal(await cluster.settle(a.whereIs('new300')), undefined, 'what was given up was not claimed late')
})
