/** Promises 5, 6 and 9 under the faults of FAULTS.md: who dies, stalls, sleeps or is cut off, and what the others see when. */
import { HomingError } from '../../lib/index.ts'
import { check } from '../../lib/testing/index.ts'
import { inBothModes, inMode, taker, threePeers } from '../support/clusters.ts'

inBothModes(
  'F1, promise 5: a killed server: noticed at once, its client elsewhere reachable, the rest absent after a lease',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    await cluster.settle(b.connectClients(['bob', 'ben'], () => {}))
    await cluster.settle(Promise.all([a.sendMessage('bob', 0), a.sendMessage('ben', 0)]))
    await cluster.run(4_000)
    const killedMs = cluster.nowMs
    cluster.kill('b')
    await cluster.settle(c.connectClient('bob', () => {}))
    const receipt = await cluster.settle(a.sendMessage('bob', 1))
    t.equal(receipt.status, 'delivered')
    t.ok(cluster.nowMs - killedMs <= 1_000, `reachable after ${cluster.nowMs - killedMs} ms`)
    await cluster.until(() => cluster.history.of('memberDown').some(({ peer, other }) => peer === 'a' && other === 'b'), 15_000)
    t.ok(cluster.nowMs - killedMs <= 12_000, `judged after ${cluster.nowMs - killedMs} ms`)
    t.equal((await cluster.settle(a.sendMessage('ben', 1), 200)).status, 'absent')
    t.same(check(cluster.history.events), [])
  },
)

inBothModes('F1: what is under way at a killed server is unknown, at the latest when its lease is over', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => new Promise(() => {})))
  await cluster.settle(a.sendMessage('bob', 0))
  cluster.stall('b', 50)
  const sends = [1, 2, 3].map(n => a.sendMessage('bob', n, { deadlineMs: 60_000 }))
  const asked = a.request('bob', 1, { deadlineMs: 60_000 }).catch((error: unknown) => error)
  await cluster.run(20)
  cluster.kill('b')
  const receipts = await cluster.settle(Promise.all(sends), 13_000)
  t.ok(receipts.every(({ status }) => status === 'unknown'))
  const error = await cluster.settle(asked, 100)
  t.ok(error instanceof HomingError && error.outcome === 'unknown')
})

inBothModes('promise 5: a server that says goodbye is gone at once', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClients(['bob', 'ben'], () => {}))
  await cluster.settle(a.sendMessage('bob', 0))
  await cluster.settle(b.close())
  t.equal((await cluster.settle(a.sendMessage('bob', 1), 200)).status, 'absent')
  t.equal((await cluster.settle(a.sendMessage('ben', 1), 200)).status, 'absent')
})

inBothModes('P57: a server that stops gracefully takes all its sessions with it in few operations', async (t, cluster, mode) => {
  const [a, b] = await threePeers(cluster)
  const addresses = Array.from({ length: 500 }, (_, n) => `client${n}`)
  await cluster.settle(b.connectClients(addresses, () => {}))
  const before = cluster.storeCalls(mode === 'broker' ? 'hub' : 'b')
  await cluster.settle(b.close())
  const calls = cluster.storeCalls(mode === 'broker' ? 'hub' : 'b') - before
  t.ok(calls <= 10, `${calls} calls`)
  t.equal(await cluster.settle(a.whereIs('client7')), undefined)
})

inBothModes('F10: wall clocks an hour apart, and one in 2100, change nothing', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  for (const [name, ms] of [
    ['a', 3_600_000],
    ['b', -3_600_000],
    ['c', 2.4e12],
    ['a', -3_600_000],
  ] as const) {
    cluster.setWallOffset(name, ms)
    await cluster.run(12_000)
    t.equal((await cluster.settle(a.sendMessage('bob', ms))).status, 'delivered')
  }
  const owned = await cluster.settle(c.connectClient('bob', () => {}))
  await cluster.run(12_000)
  t.equal(owned.end, undefined)
  t.same(cluster.history.of('memberDown'), [])
  t.same(check(cluster.history.events), [])
})

inBothModes('F11: after a sleep of 60 s nothing is delivered before the lease was checked', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const former = taker()
  const bob = await cluster.settle(b.connectClient('bob', former.take))
  await cluster.settle(a.sendMessage('bob', 0))
  cluster.suspend('b', 60_000)
  await cluster.run(100)
  const before = a.sendMessage('bob', 1, { deadlineMs: 100_000 })
  await cluster.run(20_000)
  await cluster.settle(c.connectClient('bob', () => {}))
  t.equal((await cluster.settle(a.sendMessage('bob', 2))).status, 'delivered')
  await cluster.run(45_000)
  await cluster.settle(before)
  t.same(former.bodies, [0])
  t.equal(bob.end, 'displaced')
  t.same(check(cluster.history.events), [])
})

inBothModes("F12: a loop that stalls for 5 s is nobody's death", async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  await cluster.settle(a.sendMessage('bob', 0))
  for (const name of ['b', 'a', 'c']) {
    cluster.stall(name, 5_000)
    const sent = a.sendMessage('bob', name, { deadlineMs: 20_000 })
    await cluster.run(20_000)
    t.equal((await sent).status, 'delivered')
  }
  t.same(cluster.history.of('memberDown'), [])
  t.same(check(cluster.history.events), [])
})

inBothModes(
  'F12: who stalled for 30 or 90 s judges nobody, and delivers nothing that it does not hold any more',
  async (t, cluster) => {
    const [a, b, c] = await threePeers(cluster)
    const former = taker()
    await cluster.settle(b.connectClient('bob', former.take))
    await cluster.settle(a.sendMessage('bob', 0))
    for (const ms of [30_000, 90_000]) {
      cluster.stall('b', ms)
      await cluster.run(100)
      void a.sendMessage('bob', 'queued', { deadlineMs: 120_000 })
      await cluster.run(15_000)
      await cluster.settle(c.connectClient('bob', () => {}))
      await cluster.run(ms)
      t.notOk(former.bodies.includes('queued'))
      t.notOk(
        cluster.history.of('memberDown').some(({ peer, why }) => peer === 'b' && why === 'lapsed'),
        'it judged nobody',
      )
      await cluster.settle(b.connectClient('bob', former.take))
      await cluster.run(12_000)
      former.bodies.splice(0)
    }
    t.same(check(cluster.history.events), [])
  },
)

inBothModes('F13: one identity started twice: the second is told, and the first goes on', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  const startedMs = cluster.nowMs
  const failed = await cluster.settle(cluster.startPeer('b2', { identity: 'b' }).catch((error: unknown) => error))
  t.match(failed, { code: 'IDENTITY_IN_USE' })
  t.ok(cluster.nowMs - startedMs <= 2_000, `${cluster.nowMs - startedMs} ms`)
  await cluster.run(5_000)
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
})

inBothModes('F13: a crashed server comes back on its machine at once, and elsewhere after its lease', async (t, cluster) => {
  const [a] = await threePeers(cluster)
  cluster.kill('b')
  let startedMs = cluster.nowMs
  const again = (await cluster.restart('b')) as typeof a
  t.ok(cluster.nowMs - startedMs <= 2_000, `${cluster.nowMs - startedMs} ms`)
  await cluster.settle(again.connectClient('bob', () => {}))
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')
  cluster.kill('b')
  startedMs = cluster.nowMs
  await cluster.settle(cluster.startPeer('b3', { identity: 'b' }))
  const tookMs = cluster.nowMs - startedMs
  t.ok(tookMs >= 5_000 && tookMs <= 13_000, `${tookMs} ms`)
})

inMode('brokerless', 'F13: a silent incumbent is taken over from after its lease, and is fenced', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  cluster.stall('b', 40_000)
  await cluster.settle(cluster.startPeer('b2', { identity: 'b' }))
  await cluster.run(60_000)
  t.equal(cluster.history.of('fenced').length, 1)
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'absent')
})

inMode('brokerless', 'F8: a one-way cut: both ends close within 6 s, no flapping, and it heals', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  await cluster.settle(a.sendMessage('bob', 0))
  const cutMs = cluster.nowMs
  cluster.cut('a', 'b', { oneWay: true })
  await cluster.run(30_000)
  for (const [peer, other] of [
    ['a', 'b'],
    ['b', 'a'],
  ]) {
    const downs = cluster.history
      .of('linkDown')
      .filter(event => event.peer === peer && event.other === other && event.atMs >= cutMs)
    t.ok(downs.length >= 1 && downs[0]!.atMs - cutMs <= 6_000, `${peer}: ${downs[0]?.atMs}`)
    const changes = cluster.history.events.filter(
      event =>
        (event.what === 'linkDown' || event.what === 'linkUp') &&
        event.peer === peer &&
        event.other === other &&
        event.atMs >= cutMs,
    )
    t.ok(changes.length <= 3, `${changes.length} changes in 30 s`)
  }
  const waiting = a.sendMessage('bob', 1, { deadlineMs: 60_000 })
  cluster.heal('a', 'b')
  t.equal((await cluster.settle(waiting, 11_000)).status, 'delivered')
})

inMode('brokerless', 'F9: a half-open connection is closed within 6 s, without waiting for the kernel', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  await cluster.settle(a.sendMessage('bob', 0))
  const cutMs = cluster.nowMs
  cluster.cut('a', 'b')
  await cluster.until(() => cluster.history.of('linkDown').filter(({ atMs }) => atMs >= cutMs).length >= 2, 6_000)
  t.pass(`closed after ${cluster.nowMs - cutMs} ms`)
})
