/** What a broker does with the records of its peers, in every order in which its calls to the datastore may end. */
import t from 'tap'
import { ServedPeers } from '../../lib/broker/served-peers.ts'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { Link } from '../../lib/link/link.ts'
import type { Member, Run } from '../../lib/sessions/directory.ts'
import { sessionOptions } from '../../lib/sessions/options.ts'
import { PeerRecords } from '../../lib/sessions/peer-records.ts'
import { SessionStore } from '../../lib/sessions/session-store.ts'
import { everyOrder, Gate, settle } from '../sessions/stepped-datastore.ts'

const alice: Run = { identity: 'alice', incarnation: 'run-alice' }
const member: Member = {
  ...alice,
  endpoints: [],
  via: 'hub',
  role: 'peer',
  state: 'up',
  version: '0.1.0',
  machine: 'there',
  metadata: {},
}

function setUp() {
  const time = new VirtualTime({ seed: 'served peers' })
  const engine = new MemoryEngine(time.clock)
  const gate = new Gate()
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  const datastore = gate.datastore('hub', engine.connect())
  const gone: string[] = []
  const told: string[] = []
  const peers: ServedPeers = new ServedPeers({
    env,
    records: new PeerRecords(datastore, 'test'),
    sessions: new SessionStore({ env, datastore, cluster: 'test' }),
    options: sessionOptions({}),
    identity: 'hub',
    probe: incumbent => peers.ask(incumbent),
    tell: ({ incarnation }, { op }) => void told.push(`${incarnation} ${op}`),
    joined() {},
    gone: ({ identity }, why) => void gone.push(`${identity} ${why}`),
    trouble: error => t.fail('trouble', { error }),
  })
  const pass = async (choose: (count: number) => number): Promise<void> => {
    for (await settle(); gate.waiting.length > 0; await settle()) gate.take(choose(gate.waiting.length)).run('pass')
  }
  return { time, engine, env, peers, gone, told, pass }
}

t.test('a goodbye while the leases are renewed, in every order: no record is left, and none is put back', async t => {
  const runs = await everyOrder(async choose => {
    const { engine, peers, gone, pass } = setUp()
    peers.linkUp({ remote: alice } as Link)
    const joined = peers.join(alice, member)
    await pass(() => 0)
    await joined
    t.ok(engine.get('homing:test:peers:alice'))
    peers.recheck()
    await settle()
    const left = peers.leave(alice)
    await pass(choose)
    await left
    if (engine.get('homing:test:peers:alice')) t.fail('its record is there')
    if (gone.join() !== 'alice left') t.fail(`told: ${gone.join()}`)
  })
  t.ok(runs >= 3, `${runs} orders`)
})

/** A link whose other end says whether it is there. */
const linkTo = (run: Run, answers: () => boolean): Link =>
  ({ remote: run, isHeard: true, answers: async () => answers() }) as unknown as Link

t.test('what a run asked before the broker stood still is confirmed: the run lives, and is with this broker', async t => {
  const { time, engine, peers, pass } = setUp()
  const first = (): number => 0
  let answers = true
  peers.linkUp(linkTo(alice, () => answers))
  const joined = peers.join(alice, member)
  await pass(first)
  await joined
  const stay = peers.stay(alice)
  t.equal(peers.confirm(alice), undefined, 'nothing stood still')
  t.ok(stay.isConfirmed())
  await time.run(1_000)
  t.equal(peers.confirm(alice), undefined)

  /** Stands still, and is asked before any timer ran. */
  const confirmLate = async (): Promise<unknown> => {
    time.stall('here', 5_000)
    await time.run(4_999)
    t.notOk(stay.isConfirmed())
    const confirmed = Promise.resolve(peers.confirm(alice)).then(
      () => 'confirmed',
      (error: unknown) => (error as { code?: string }).code,
    )
    await pass(first)
    return confirmed
  }
  t.equal(await confirmLate(), 'confirmed')
  t.ok(stay.isConfirmed())
  await time.run(1)
  answers = false
  t.equal(await confirmLate(), 'UNREACHABLE', 'its process has ended')
  answers = true
  await time.run(1)
  const other = new PeerRecords(engine.connect(), 'test')
  const entry = (await other.get('alice'))!
  await other.put({ member: { ...entry.member, via: 'hub2' }, beat: entry.beat + 1 }, entry.version)
  t.equal(await confirmLate(), 'FENCED', 'it is with another broker')
  t.notOk(stay.isConfirmed())
  await peers.end()
})

t.test('a stay ends with the next joining: the run may have been with another broker in between', async t => {
  const { peers, pass } = setUp()
  const first = (): number => 0
  const join = async (): Promise<void> => {
    const joined = peers.join(alice, member)
    await pass(first)
    await joined
  }
  peers.linkUp(linkTo(alice, () => true))
  await join()
  const stay = peers.stay(alice)
  t.ok(stay.isConfirmed())
  await join()
  t.notOk(stay.isConfirmed())
  const next = peers.stay(alice)
  t.ok(next.isConfirmed())
  t.notOk(next.hasLeft())
  const left = peers.leave(alice)
  await pass(first)
  await left
  t.notOk(next.isConfirmed())
  t.ok(next.hasLeft(), 'it holds nothing any more')
  t.notOk(stay.hasLeft(), 'nothing is known of the one before')
  t.throws(() => peers.stay(alice), { code: 'FENCED' })
  await peers.end()
})

t.test(
  'a datastore that went back to before a run took the identity over: the run takes it again; from one that lives it does not',
  async t => {
    const { time, engine, peers, gone, told, pass } = setUp()
    const key = 'homing:test:peers:alice'
    const first = (): number => 0
    const run = async (ms: number): Promise<void> => {
      for (let passedMs = 0; passedMs < ms; passedMs += 100) {
        await time.run(100)
        await pass(first)
      }
    }
    const linked = (incarnation: string): Link => linkTo({ ...alice, incarnation }, () => true)
    const former = linked('run-alice')
    peers.linkUp(former)
    const joined = peers.join(alice, member)
    await pass(first)
    await joined
    await run(6_000)
    peers.linkDown(former, 'stale')
    const back = engine.get(key)!

    const later: Run = { ...alice, incarnation: 'later' }
    peers.linkUp(linked('later'))
    const again = peers.join(later, { ...member, ...later })
    await run(12_000)
    await again
    await run(6_000)
    gone.length = 0
    engine.put(key, back.bytes, {})
    await run(14_000)
    const records = new PeerRecords(engine.connect(), 'test')
    t.equal((await records.get('alice'))?.member.incarnation, 'later')
    t.ok(peers.serves(later))
    t.same(gone, [])
    t.same(told, ['later revalidate'])

    // Of the record that it went back to, the run lives.
    engine.put(key, back.bytes, {})
    const renewing = time.timers.every(1_000, () => void records.renewMany([{ run: alice }]))
    await run(14_000)
    renewing.cancel()
    t.same(told, ['later revalidate', 'later fenced'])
    t.same(gone, ['alice replaced'])
    t.equal((await records.get('alice'))?.member.incarnation, 'run-alice')
    await peers.end()
  },
)

t.test('a datastore that went back to a former run which had left: its successor is not told that it is fenced', async t => {
  const { time, engine, peers, gone, told, pass } = setUp()
  const key = 'homing:test:peers:alice'
  const first = (): number => 0
  const run = async (ms: number): Promise<void> => {
    for (let passedMs = 0; passedMs < ms; passedMs += 100) {
      await time.run(100)
      await pass(first)
    }
  }
  const former = linkTo(alice, () => true)
  peers.linkUp(former)
  const joined = peers.join(alice, member)
  await pass(first)
  await joined
  await run(30_000)
  const back = engine.get(key)!
  const left = peers.leave(alice)
  await pass(first)
  await left
  peers.linkDown(former, 'leaving')

  const later: Run = { ...alice, incarnation: 'later' }
  peers.linkUp(linkTo(later, () => true))
  const again = peers.join(later, { ...member, ...later })
  await pass(first)
  await again
  gone.length = 0
  engine.put(key, back.bytes, {})
  peers.lost()
  await run(14_000)
  const records = new PeerRecords(engine.connect(), 'test')
  t.equal((await records.get('alice'))?.member.incarnation, 'later')
  t.ok(peers.serves(later))
  t.same(gone, [])
  t.notOk(told.includes('later fenced'), told.join())

  // Renewed since the loss: who has the identity now came later.
  const entry = (await records.get('alice'))!
  await records.put({ member: { ...entry.member, incarnation: 'latest' }, beat: entry.beat + 1 }, entry.version)
  await run(3_500)
  t.equal(told.at(-1), 'later fenced')
  t.same(gone, ['alice replaced'])
  await peers.end()
})
