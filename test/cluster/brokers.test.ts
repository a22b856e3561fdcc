/** Brokers that die, restart and stand in for each other: F3, P62. */
import t, { type Test } from 'tap'
import type { Client, Peer, Receipt } from '../../lib/index.ts'
import { check, simulateCluster, type Cluster } from '../../lib/testing/index.ts'
import { inMode, taker, threePeers, type Taker } from '../support/clusters.ts'

inMode(
  'broker',
  'F3, P62: the broker is killed and restarted: nothing acknowledged is lost, nothing doubled, order kept',
  async (t, cluster) => {
    const [a, b] = await threePeers(cluster)
    const bob = taker()
    await cluster.settle(b.connectClient('bob', bob.take))
    const sends: Promise<Receipt>[] = []
    const load = async (from: number, to: number): Promise<void> => {
      for (let n = from; n < to; n++) {
        sends.push(a.sendMessage('bob', n, { deadlineMs: 30_000 }))
        await cluster.run(2)
      }
    }
    await load(0, 200)
    cluster.kill('hub')
    await load(200, 400)
    await cluster.restart('hub')
    const upMs = cluster.nowMs
    await load(400, 600)
    const receipts = await cluster.settle(Promise.all(sends))
    t.ok(cluster.nowMs - upMs <= 3_500, `${cluster.nowMs - upMs} ms`)
    t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
    t.same(
      bob.bodies,
      Array.from({ length: 600 }, (_, n) => n),
    )
    t.equal(b.client('bob')?.end, undefined)
    t.same(check(cluster.history.events), [])
  },
)

void t.test('F3: 30 servers are back 3 s after the broker listens again (seed 1)', async t => {
  await using cluster = await simulateCluster({ seed: 1, brokers: ['hub'] })
  const peers: Peer[] = []
  for (let n = 0; n < 30; n++) peers.push(await cluster.peer(`p${n}`))
  for (const [n, peer] of peers.entries()) await cluster.settle(peer.connectClient(`client${n}`, () => {}))
  cluster.kill('hub')
  await cluster.run(5_000)
  await cluster.restart('hub')
  const upMs = cluster.nowMs
  const receipts = await cluster.settle(Promise.all(peers.map((peer, n) => peer.sendMessage(`client${(n + 7) % 30}`, n))))
  t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
  t.ok(cluster.nowMs - upMs <= 3_000, `${cluster.nowMs - upMs} ms`)
})

void t.test('two brokers: servers behind different ones reach each other, and fail over when one dies (seed 1)', async t => {
  await using cluster = await simulateCluster({ seed: 1, brokers: ['one', 'two'] })
  const a = await cluster.peer('a', { brokers: ['one', 'two'] })
  const b = await cluster.peer('b', { brokers: ['two', 'one'] })
  const c = await cluster.peer('c', { brokers: ['one', 'two'] })
  const bob = taker()
  await cluster.settle(b.connectClient('bob', bob.take))
  const carl = await cluster.settle(c.connectClient('carl', () => {}))
  await cluster.run(4_000)
  t.equal((await cluster.settle(a.sendMessage('bob', 'across'))).status, 'delivered')
  const sends: Promise<Receipt>[] = []
  for (let n = 0; n < 200; n++) {
    sends.push(a.sendMessage('bob', n, { deadlineMs: 30_000 }), b.sendMessage('carl', n, { deadlineMs: 30_000 }))
    if (n === 60) cluster.kill('two')
    if (n === 120) await cluster.restart('two')
    if (n === 160) cluster.kill('one')
    await cluster.run(10)
  }
  const receipts = await cluster.settle(Promise.all(sends))
  t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
  t.equal(carl.end, undefined)
  await cluster.run(15_000)
  t.match(await cluster.settle(a.whereIs('bob')), { identity: 'b' })
  t.match(await cluster.settle(b.whereIs('carl')), { identity: 'c' })
  t.same(
    cluster.history.of('memberDown').filter(({ other }) => ['a', 'b', 'c'].includes(other)),
    [],
  )
  t.same(check(cluster.history.events), [])
})

inMode('broker', 'a broker cut off from one server: that one waits, the others go on', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  await cluster.settle(Promise.all([b.connectClient('bob', () => {}), c.connectClient('carl', () => {})]))
  cluster.cut('b', 'hub')
  await cluster.run(20_000)
  t.equal((await cluster.settle(a.sendMessage('carl', 1))).status, 'delivered')
  t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'absent')
  cluster.heal('b', 'hub')
  await cluster.run(3_000)
  t.equal((await cluster.settle(a.sendMessage('bob', 2))).status, 'delivered')
  t.equal((await cluster.settle(b.sendMessage('carl', 2))).status, 'delivered')
})

void t.test(
  'what was asked of a broker and never left is asked of the next one; the first one is joined again later (seed 1)',
  async t => {
    // So small a window that a second question waits for the answer to the first.
    await using cluster = await simulateCluster({ seed: 1, brokers: ['one', 'two'], options: { windowBytes: 100 } })
    const a = await cluster.peer('a', { brokers: ['one', 'two'] })
    await cluster.run(1_000)
    cluster.suspend('one', 8_000)
    const connects = ['u0', 'u1', 'u2'].map(address => a.connectClient(address, () => {}))
    const clients = await cluster.settle(Promise.all(connects), 7_000)
    t.same(
      clients.map(({ end }) => end),
      [undefined, undefined, undefined],
      'served by the other broker, once the silent one was given up',
    )
    await cluster.run(10_000)
    cluster.kill('two')
    await cluster.run(3_000)
    t.match(await cluster.settle(a.whereIs('u1'), 1_000), { identity: 'a' })
    await cluster.settle(
      a.connectClient('u3', () => {}),
      1_000,
    )
  },
)

inMode('broker', 'who is dead and whose record is still there does not come back by being asked for', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  cluster.kill('b')
  const isKnown = (): boolean => a.members().some(({ identity }) => identity === 'b')
  await cluster.until(() => !isKnown(), 15_000)
  const ups = (): number => cluster.history.of('memberUp').filter(({ peer, other }) => peer === 'a' && other === 'b').length
  const before = ups()
  const asked = a.protocol('chat/1').call(b.identity!, 1, { deadlineMs: 1_000 })
  await t.rejects(cluster.settle(asked))
  t.notOk(isKnown())
  t.equal(ups(), before)
})

void t.test('a member that one could not be told of it hears of nevertheless (seed 1)', async t => {
  // So small a window that what is told second waits for the answer to the first, and not for long.
  await using cluster = await simulateCluster({ seed: 1, brokers: ['hub'], options: { windowBytes: 100, deadlineMs: 500 } })
  const a = await cluster.peer('a')
  await cluster.run(1_000)
  cluster.stall('a', 2_500)
  for (const name of ['b', 'c', 'd']) await cluster.peer(name)
  await cluster.run(2_500)
  const known = (): string =>
    a
      .members()
      .map(({ identity }) => identity)
      .sort()
      .join()
  t.not(known(), 'a,b,c,d,hub')
  await cluster.until(() => known() === 'a,b,c,d,hub', 4_000)
})

/** A connect of 'carl' waits at the broker of `a` for the datastore; `a` ends, and `b` connects him through another broker. */
async function leftWaiting(cluster: Cluster, end: 'kill' | 'powerOff'): Promise<{ b: Peer; carl: Client }> {
  const a = await cluster.peer('a', { brokers: ['one'] })
  const b = await cluster.peer('b', { brokers: ['two'] })
  cluster.storeDown('one')
  a.connectClient('carl', () => {}).catch(() => 'it died')
  await cluster.run(500)
  cluster[end]('a')
  return { b, carl: await cluster.settle(b.connectClient('carl', () => {})) }
}

void t.test('what a peer asked is not done after it died, when its broker finds the datastore again (seed 1)', async t => {
  await using cluster = await simulateCluster({ seed: 1, brokers: ['one', 'two'] })
  const { b, carl } = await leftWaiting(cluster, 'kill')
  await cluster.run(500)
  cluster.storeUp('one')
  await cluster.run(20_000)
  t.equal(carl.end, undefined)
  t.match(await cluster.settle(b.whereIs('carl')), { identity: 'b' })
})

void t.test('F2: nor after its machine lost power, while its broker takes the silent link for open still (seed 1)', async t => {
  await using cluster = await simulateCluster({ seed: 1, brokers: ['one', 'two'] })
  const { b, carl } = await leftWaiting(cluster, 'powerOff')
  await cluster.run(3_000)
  t.same(
    cluster.history.of('linkDown').filter(({ peer }) => peer === 'one'),
    [],
  )
  cluster.storeUp('one')
  await cluster.run(20_000)
  t.equal(carl.end, undefined)
  t.match(await cluster.settle(b.whereIs('carl')), { identity: 'b' })
})

inMode('broker', 'a connect that the killed broker had is not asked again behind a newer one of its peer', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  cluster.storeDown('hub')
  const older = a.connectClient('carl', () => {})
  await cluster.run(200)
  cluster.kill('hub')
  await cluster.run(500)
  const newer = a.connectClient('carl', () => {})
  cluster.storeUp('hub')
  await cluster.restart('hub')
  const isOwned = async (): Promise<boolean> => (await c.whereIs('carl').catch(() => undefined))?.identity === 'a'
  let owned = false
  while (!owned) owned = await cluster.settle(isOwned())
  const carl = await cluster.settle(b.connectClient('carl', () => {}))
  const clients = await cluster.settle(Promise.all([older, newer]))
  await cluster.run(1_000)
  t.same(
    clients.map(({ end }) => end),
    ['displaced', 'displaced'],
  )
  t.equal(carl.end, undefined)
  t.match(await cluster.settle(c.whereIs('carl')), { identity: 'b' })
})

void t.test(
  'a connect that a broker wrote before it died goes over nobody who has come since, at the next broker (seed 1)',
  async t => {
    await using cluster = await simulateCluster({ seed: 1, brokers: ['one', 'two'] })
    const a = await cluster.peer('a', { brokers: ['one', 'two'] })
    const b = await cluster.peer('b', { brokers: ['one', 'two'] })
    const c = await cluster.peer('c', { brokers: ['two'] })
    cluster.storeSlow(0.5, 10_000, 'one')
    const connect = b.connectClient('carl', () => {})
    const queued = b.sendMessage('carl', 0, { deadlineMs: 10_000 })
    await cluster.run(100)
    cluster.kill('one')
    await cluster.run(1)
    const newest = taker()
    const carl = await cluster.settle(c.connectClient('carl', newest.take), 1_000)
    const overtaken = await cluster.settle(connect)
    await cluster.run(1_000)
    t.equal(overtaken.end, 'displaced')
    t.equal(carl.end, undefined)
    t.match(await cluster.settle(a.whereIs('carl')), { identity: 'c' })
    t.equal((await cluster.settle(b.sendMessage('carl', 1))).status, 'delivered')
    t.equal((await cluster.settle(queued)).status, 'delivered')
    t.same(newest.bodies, [0, 1], 'what waited at the one that was overtaken goes where the address is')
    await cluster.run(30_000)
    t.same(check(cluster.history.events), [])
  },
)

/** Of three clients of one address, the first two end, and the newest gets what the first had not read. */
async function unreadGoesTo(t: Test, cluster: Cluster, newest: Taker, clients: Client[]): Promise<void> {
  await cluster.run(3_000)
  t.same(
    clients.map(({ end }) => end),
    ['displaced', 'displaced', undefined],
  )
  t.same(newest.bodies, ['unread'])
  t.same(check(cluster.history.events), [])
}

void t.test('what the client before an overtaken connect had not read goes to who overtook it (seed 1)', async t => {
  await using cluster = await simulateCluster({ seed: 1, brokers: ['one', 'two'] })
  const b = await cluster.peer('b', { brokers: ['one', 'two'] })
  const c = await cluster.peer('c', { brokers: ['two'] })
  const before = await cluster.settle(b.connectClient('carl'))
  t.equal((await cluster.settle(c.sendMessage('carl', 'unread'))).status, 'delivered')
  // It is read, then written over; the answer to that is lost with the broker.
  cluster.storeSlow(0.5, 100, 'one')
  const connect = b.connectClient('carl', () => {})
  await cluster.run(250)
  cluster.kill('one')
  await cluster.run(1)
  const newest = taker()
  const carl = await cluster.settle(c.connectClient('carl', newest.take))
  await unreadGoesTo(t, cluster, newest, [before, await cluster.settle(connect), carl])
})

inMode('brokerless', 'so it is where the datastore does not answer in time', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const before = await cluster.settle(b.connectClient('carl'))
  t.equal((await cluster.settle(a.sendMessage('carl', 'unread'))).status, 'delivered')
  cluster.storeSlow(0.5, 100, 'b')
  const connect = b.connectClient('carl', () => {})
  await cluster.run(150)
  cluster.storeAmbiguous(true, 'b')
  await cluster.run(100)
  cluster.storeDown('b')
  await cluster.run(200)
  const newest = taker()
  const connectNewest = c.connectClient('carl', newest.take)
  await cluster.run(50)
  cluster.storeSlow(0.5, 0.5, 'b')
  cluster.storeAmbiguous(false, 'b')
  cluster.storeUp('b')
  const carl = await cluster.settle(connectNewest)
  await unreadGoesTo(t, cluster, newest, [before, await cluster.settle(connect), carl])
})

inMode('broker', 'a connect that was given up while the broker stood still is not done afterwards', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const carl = await cluster.settle(a.connectClient('carl', () => {}))
  cluster.stall('hub', 1_500)
  const connect = b.connectClients(['carl'], () => {}, { deadlineMs: 300 })
  await t.rejects(cluster.settle(connect), { code: 'DATASTORE' })
  await cluster.run(15_000)
  t.equal(carl.end, undefined)
  t.match(await cluster.settle(c.whereIs('carl')), { identity: 'a' })
  t.equal((await cluster.settle(c.sendMessage('carl', 1))).status, 'delivered')
})

inMode('broker', 'a connect that was given up and withdrawn leaves the address with whoever had it', async (t, cluster) => {
  const [a, b, c] = await threePeers(cluster)
  const carl = await cluster.settle(a.connectClient('carl', () => {}))
  cluster.storeSlow(140, 0, 'hub')
  await t.rejects(cluster.settle(b.connectClients(['carl'], () => {}, { deadlineMs: 300 })), { code: 'DATASTORE' })
  await cluster.run(500)
  cluster.storeSlow(0.5, 0.5, 'hub')
  await cluster.run(10_000)
  t.equal(carl.end, undefined)
  t.match(await cluster.settle(c.whereIs('carl')), { identity: 'a' })
  t.equal((await cluster.settle(c.sendMessage('carl', 1))).status, 'delivered')
})

void t.test(
  'F13: a reset link is no crash: who is linked to another broker keeps its identity, before it has joined there (seed 1)',
  async t => {
    await using cluster = await simulateCluster({ seed: 1, brokers: ['one', 'two'] })
    const b = await cluster.peer('b', { brokers: ['one', 'two'], machine: 'shared' })
    await cluster.settle(b.connectClient('bob', () => {}))
    cluster.storeSlow(300, 0, 'two')
    cluster.reset('b', 'one')
    await cluster.run(100)
    t.match(cluster.history.of('linkUp').at(-1), { other: 'two' }, 'it is linked, and its joining waits for the datastore')
    const startedMs = cluster.nowMs
    const twin = cluster.startPeer('b2', { identity: 'b', brokers: ['one'], machine: 'shared' })
    t.match(await cluster.settle(twin.catch((error: unknown) => error)), { code: 'IDENTITY_IN_USE' })
    t.ok(cluster.nowMs - startedMs <= 2_000, `${cluster.nowMs - startedMs} ms`)
    await cluster.run(5_000)
    t.same(cluster.history.of('fenced'), [])
    t.equal((await cluster.settle(b.sendMessage('bob', 1))).status, 'delivered')
    cluster.kill('b')
    const killedMs = cluster.nowMs
    await cluster.settle(cluster.startPeer('b3', { identity: 'b', brokers: ['one'], machine: 'shared' }))
    t.ok(cluster.nowMs - killedMs <= 2_000, `after a crash at once: ${cluster.nowMs - killedMs} ms`)
    await cluster.run(5_000)
    t.same(check(cluster.history.events), [])
  },
)
