/** F3, F23: many servers that come back at once. `HOMING_FULL=1` (`npm run faults -- --full`) has as many as FAULTS.md says. */
import t, { type Test } from 'tap'
import type { Peer } from '../../lib/index.ts'
import { simulateCluster, type Cluster, type HistoryEvent } from '../../lib/testing/index.ts'
import { full, measured } from '../support/figures.ts'

const seed = Number(process.env['HOMING_SEED'] ?? 1)

async function crowd(cluster: Cluster, count: number): Promise<Peer[]> {
  const starting: Promise<Peer>[] = []
  for (let n = 0; n < count; n++) starting.push(cluster.startPeer(`p${n}`))
  const peers = await cluster.settle(Promise.all(starting))
  await cluster.settle(Promise.all(peers.map((peer, n) => peer.connectClient(`client${n}`, () => {}))))
  return peers
}

/** How long until each of them has reached the client of another one, ms. */
async function backAfterMs(t: Test, cluster: Cluster, peers: readonly Peer[], sinceMs: number): Promise<number> {
  const sends = peers.map((peer, n) => peer.sendMessage(`client${(n + 7) % peers.length}`, n, { deadlineMs: 30_000 }))
  const receipts = await cluster.settle(Promise.all(sends))
  t.same([...new Set(receipts.map(({ status }) => status))], ['delivered'])
  return cluster.nowMs - sinceMs
}

void t.test(`F3: 100 servers are back 3 s after the broker listens again (seed ${seed})`, async t => {
  await using cluster = await simulateCluster({ seed, brokers: ['hub'] })
  const peers = await crowd(cluster, 100)
  cluster.kill('hub')
  await cluster.run(5_000)
  await cluster.restart('hub')
  const tookMs = await backAfterMs(t, cluster, peers, cluster.nowMs)
  measured(t, 'F3', '100 peers back after the broker listens', tookMs, 'ms')
  t.ok(tookMs <= 3_000, `${tookMs} ms`)
  t.same(deaths(cluster), [])
})

/** Of servers: brokers are replaced here. */
function deaths(cluster: Cluster): HistoryEvent[] {
  return cluster.history.of('memberDown').filter(({ other }) => other.startsWith('p'))
}

const many = full ? 1_000 : 100

void t.test(`F23: ${many} servers redial a broker at once: no false death, no stampede (seed ${seed})`, async t => {
  await using cluster = await simulateCluster({ seed, brokers: ['hub'] })
  const peers = await crowd(cluster, many)
  const clients = peers.flatMap(peer => [...peer.clients()])
  await backAfterMs(t, cluster, peers, 0) // all ways are open, and all routes known
  const before = cluster.storeReads('hub')
  const brokenMs = cluster.nowMs
  for (let n = 0; n < many; n++) cluster.reset(`p${n}`, 'hub')
  const tookMs = await backAfterMs(t, cluster, peers, brokenMs)
  const reads = (cluster.storeReads('hub') - before) / many
  measured(t, 'F23', `${many} peers back at their broker`, tookMs, 'ms')
  measured(t, 'F23', 'store reads a peer, at the broker', reads, '')
  t.ok(tookMs <= 10_000, `${tookMs} ms`)
  t.ok(reads <= 2, `${reads} reads a peer`)
  await cluster.run(15_000)
  t.same(deaths(cluster), [])
  t.ok(clients.every(({ end }) => end === undefined))
})

/** Each reads the records of all others every 3 s: of a thousand, that alone is a third of a million records a virtual second. */
const dialling = full ? 300 : 100

void t.test(`F23: ${dialling} servers redial one server at once (seed ${seed})`, async t => {
  await using cluster = await simulateCluster({ seed })
  const one = await cluster.peer('one')
  await cluster.settle(one.connectClient('bob', () => {}))
  const peers = await crowd(cluster, dialling)
  const toBob = (deadlineMs: number): Promise<{ status: string }[]> =>
    cluster.settle(Promise.all(peers.map(peer => peer.sendMessage('bob', 1, { deadlineMs }))))
  t.ok((await toBob(10_000)).every(({ status }) => status === 'delivered'))
  const before = new Map(peers.map(({ identity }) => [identity, cluster.storeReads(identity)]))
  const brokenMs = cluster.nowMs
  for (const { identity } of peers) cluster.reset(identity, 'one')
  t.ok((await toBob(30_000)).every(({ status }) => status === 'delivered'))
  const tookMs = cluster.nowMs - brokenMs
  measured(t, 'F23', `${dialling} peers back at one server`, tookMs, 'ms')
  t.ok(tookMs <= 10_000, `${tookMs} ms`)
  // Besides what every peer reads anyway each 3 s: its own record, all keys, all records.
  const usual = 3 * Math.ceil(tookMs / 3_000)
  const reads = peers.map(({ identity }) => Math.max(0, cluster.storeReads(identity) - before.get(identity)! - usual))
  measured(t, 'F23', 'store reads a peer, at most', Math.max(...reads), '')
  t.ok(Math.max(...reads) <= 2, `${Math.max(...reads)} reads of one peer`)
  await cluster.run(15_000)
  t.same(cluster.history.of('memberDown'), [])
})
