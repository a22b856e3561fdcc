/** Recovery from outages, the same for every engine that has a server: F4, F5 and F6 with real peers on real servers. */
import t, { type Test } from 'tap'
import { createPeer, type Peer, type PeerOptions } from '../../lib/index.ts'
import { knownDrivers } from '../contract/drivers.ts'
import type { StartedDriver } from '../contract/known-driver.ts'

/** Short times, in the proportions of the real ones. */
const times = { leaseMs: 4_000, renewEveryMs: 600, guardMs: 800, operationTimeoutMs: 500 }

const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

async function until(t: Test, what: string, withinMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  const sinceMs = performance.now()
  while (!(await holds())) {
    if (performance.now() - sinceMs > withinMs) return void t.fail(`${what}: not within ${withinMs} ms`)
    await pass(10)
  }
  t.pass(`${what}: after ${(performance.now() - sinceMs).toFixed()} ms`)
}

/** What was told of a peer that nobody should be told. */
function judgements(t: Test, peers: readonly Peer[]): string[] {
  const told: string[] = []
  for (const peer of peers) {
    peer.on('memberDown', ({ identity, why }) => {
      if (peers.some(other => other.identity === identity)) told.push(`${peer.identity} was told that ${identity} is ${why}`)
    })
    peer.on('displaced', ({ address, by }) => told.push(`${peer.identity} was told that ${by?.identity} has ${address}`))
    peer.on('fenced', () => told.push(`${peer.identity} was fenced`))
    peer.on('lease', state => t.comment(`the lease of ${peer.identity} is ${state}`))
  }
  return told
}

// They mostly wait.
t.jobs = 2

for (const known of knownDrivers) {
  if (known.name === 'rediss') continue // the same as redis, as far as this goes
  const missing = known.missing()
  t.test(known.name, { skip: missing ?? false, timeout: 120_000 }, async t => {
    await using driver = await known.start()
    const { crash, stall, elsewhere } = driver
    if (!crash || !stall || !elsewhere || !('url' in elsewhere)) return t.pass('an engine without a server')
    const peer = (identity: string, more: PeerOptions = {}) => createPeer({ identity, store: elsewhere.url, ...times, ...more })
    await t.test('F4: a start waits for the datastore, and says DATASTORE when it has waited long enough', t =>
      start(t, crash, peer),
    )
    await t.test('F2, F5: nobody is judged dead for an outage, known routes go on, and all that was forgotten is put back', t =>
      outage(t, crash, peer),
    )
    await t.test('F6: a datastore that stands still again and again changes no owner', t => flapping(t, stall, peer))
  })
}

type NewPeer = (identity: string, more?: PeerOptions) => Promise<Peer>

async function start(t: Test, crash: NonNullable<StartedDriver['crash']>, peer: NewPeer): Promise<void> {
  const restore = await crash()
  await t.rejects(peer('impatient', { startTimeoutMs: 600 }), { code: 'DATASTORE' })
  const starting = peer('patient')
  await pass(500)
  await restore()
  const backMs = performance.now()
  await using started = await starting
  t.ok(performance.now() - backMs < 2_000, `${(performance.now() - backMs).toFixed()} ms`)
  await started.connectClient('here', () => {})
  t.equal((await started.sendMessage('here', 1)).status, 'delivered')
}

async function outage(t: Test, crash: NonNullable<StartedDriver['crash']>, peer: NewPeer): Promise<void> {
  await using a = await peer('a')
  await using b = await peer('b')
  const got: unknown[] = []
  const others = Array.from({ length: 500 }, (_, i) => `client-${i}`)
  await b.connectClient('bob', message => void got.push(message.body))
  await b.connectClients(others, () => {})
  await a.connectClient('alice', () => {})
  t.equal((await a.sendMessage('bob', 'warm')).status, 'delivered')
  const told = judgements(t, [a, b])

  const restore = await crash()
  const cold = a.sendMessage('client-1', 'cold', { deadlineMs: 1_000 })
  const late = a.connectClients(['anna'], () => {}, { deadlineMs: 20_000 })
  const waiting = a.sendMessage('client-2', 'waiting', { deadlineMs: 20_000 })
  let delivered = 0
  const count = 60
  for (let i = 0; i < count; i++) {
    const receipt = await a.sendMessage('bob', i)
    if (receipt.status === 'delivered') delivered++
    else t.comment(`${receipt.status}, ${receipt.code}, after ${i} of ${count}`)
    await pass((1.3 * times.leaseMs) / count)
  }
  t.equal(delivered, count, 'a known address is reached throughout')
  t.match(await cold, { status: 'unreachable', code: 'DATASTORE' })
  await restore()
  const backMs = performance.now()
  await late
  t.equal((await waiting).status, 'delivered')
  t.ok(performance.now() - backMs < 2_500, `used again after ${(performance.now() - backMs).toFixed()} ms`)
  // Who comes now knows of nobody but by the records: they have been put back, or never went.
  await using c = await peer('c')
  await until(t, 'all that b holds is found', 5_000, async () => {
    // While 500 records are put back, an engine of single operations may have no time left for all 500 look-ups: not yet, then.
    // And not all the time: who looks for 500 in a loop is what it has no time for.
    await pass(100)
    const found = await Promise.allSettled(['bob', ...others].map(address => c.whereIs(address)))
    for (const one of found) if (one.status === 'rejected') t.match(one.reason, { code: 'DATASTORE' })
    return found.every(one => one.status === 'fulfilled' && one.value?.identity === 'b')
  })
  t.equal((await c.sendMessage('alice', 1)).status, 'delivered')
  await pass(times.leaseMs)
  t.same(told, [], 'nobody was judged')
}

async function flapping(t: Test, stall: NonNullable<StartedDriver['stall']>, peer: NewPeer): Promise<void> {
  await using a = await peer('a')
  await using b = await peer('b')
  const got: unknown[] = []
  await b.connectClient('bob', message => void got.push(message.body))
  t.equal((await a.sendMessage('bob', 'warm')).status, 'delivered')
  const told = judgements(t, [a, b])
  const claims: Promise<unknown>[] = []
  const sends: Promise<{ status: string }>[] = []
  for (let round = 0; round < 4; round++) {
    const resume = await stall()
    // These are sent, and their answers are late: each is read back and found to be ours.
    claims.push(b.connectClients([`slow-${round}/0`, `slow-${round}/1`], () => {}, { deadlineMs: 20_000 }))
    sends.push(a.sendMessage('bob', round))
    await pass(1.5 * times.operationTimeoutMs)
    await resume()
    await pass(times.operationTimeoutMs / 2)
  }
  await Promise.all(claims)
  for (const send of sends) t.equal((await send).status, 'delivered')
  for (let round = 0; round < 4; round++)
    for (const half of [0, 1]) t.equal((await a.sendMessage(`slow-${round}/${half}`, 1)).status, 'delivered')
  t.same(told, [])
}
