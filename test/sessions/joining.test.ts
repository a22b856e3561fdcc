import t from 'tap'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import type { Probe } from '../../lib/sessions/directory.ts'
import { Joining } from '../../lib/sessions/joining.ts'
import { sessionOptions } from '../../lib/sessions/options.ts'
import { PeerRecords } from '../../lib/sessions/peer-records.ts'
import { ownerOf, seed, whats, World } from './world.ts'

t.comment(`seed ${seed}`)

t.test('F13: an incumbent that answers keeps its identity, and the newcomer learns it at once', async t => {
  const world = new World(seed)
  const first = await world.peer('one', { identity: 'a' })
  const startedMs = world.time.nowMs
  const { joining } = world.joining('two', { identity: 'a', probe: async () => 'answers' })
  await t.rejects(world.soon(joining), { code: 'IDENTITY_IN_USE', outcome: 'not-delivered', message: /'a'.*tcp:\/\/one:1/ })
  t.ok(world.time.nowMs - startedMs <= 2_000)
  await world.time.run(30_000)
  t.same(whats(first), [])
})

t.test('F13: a crashed incumbent on this machine, refused: taken over at once', async t => {
  const world = new World(seed)
  const asked: string[] = []
  await world.peer('one', { identity: 'a', machine: 'box' })
  world.time.halt('one')
  const startedMs = world.time.nowMs
  const second = await world.peer('two', {
    identity: 'a',
    machine: 'box',
    probe: async incumbent => {
      asked.push(...incumbent.endpoints)
      return 'refused'
    },
  })
  t.ok(world.time.nowMs - startedMs < 100)
  t.same(asked, ['tcp://one:1'])
  t.same(whats(second), [])
})

for (const [probe, machine] of [
  ['silent', 'box'],
  ['silent', 'elsewhere'],
  ['refused', 'elsewhere'],
] as [Probe, string][]) {
  t.test(`F13: ${probe} on ${machine}: its lease is waited for, and that is said`, async t => {
    const world = new World(seed)
    await world.peer('one', { identity: 'a', machine })
    world.time.halt('one')
    const startedMs = world.time.nowMs
    const second = await world.peer('two', { identity: 'a', machine: 'box', probe: async () => probe })
    const tookMs = world.time.nowMs - startedMs
    t.ok(tookMs >= 10_000 && tookMs <= 12_000, `${tookMs} ms`)
    t.same(whats(second), ['waiting for a'])
  })
}

t.test('F13: an incumbent that is silent but renews its lease is alive', async t => {
  const world = new World(seed)
  const first = await world.peer('one', { identity: 'a' })
  const { joining } = world.joining('two', { identity: 'a' })
  await t.rejects(world.soon(joining), { code: 'IDENTITY_IN_USE' })
  t.ok(world.time.nowMs < 15_000)
  t.equal(first.directory.lease, 'sure')
})

t.test('F13: one that answers only after its lease keeps its identity too', async t => {
  const world = new World(seed)
  await world.peer('one', { identity: 'a' })
  world.time.stall('one', 11_000)
  let probes = 0
  const { joining } = world.joining('two', { identity: 'a', probe: async () => (++probes === 1 ? 'silent' : 'answers') })
  await t.rejects(world.soon(joining), { code: 'IDENTITY_IN_USE' })
  t.equal(probes, 2)
})

t.test('F13: an incumbent that was taken over is fenced: it stops, once, and changes nothing any more', async t => {
  const world = new World(seed)
  const first = await world.peer('one', { identity: 'a' })
  await first.claim('alice')
  first.store.down = true
  const second = await world.peer('two', { identity: 'a' })
  first.store.down = false
  await world.time.run(30_000)
  const told = whats(first)
  t.equal(told.filter(what => what.startsWith('fenced')).length, 1)
  t.equal(told.at(-1), `fenced by ${second.self.incarnation}`)
  t.equal(first.directory.lease, 'unsure')
  await t.rejects(world.soon(first.directory.claim([{ address: 'alice', claim: 9 }], Infinity)), { code: 'FENCED' })
  await t.rejects(first.directory.find('alice'), { code: 'FENCED' })
  t.same(
    whats(second).filter(what => what.startsWith('fenced')),
    [],
    'no ping-pong',
  )
  t.equal(second.directory.lease, 'sure')
})

t.test(
  'a store that went back to before a crashed incumbent was taken over: who took over stays, and what it holds is written again',
  async t => {
    const world = new World(seed)
    const key = 'homing:test:peers:a'
    await world.peer('one', { identity: 'a', machine: 'box' })
    await world.time.run(7_000)
    world.time.halt('one')
    const before = world.engine.get(key)!
    const second = await world.peer('two', { identity: 'a', machine: 'box', probe: async () => 'refused' })
    const other = await world.peer('b')
    await second.claim('alice')
    world.engine.put(key, before.bytes, {})
    world.engine.delete('homing:test:sessions:alice', undefined)
    await world.time.run(6_000)
    t.match(await world.soon(other.directory.find('alice')), { owner: ownerOf(second, 1) })
    t.equal(other.directory.member('a')?.incarnation, second.self.incarnation)
    t.equal(second.directory.lease, 'sure')
    t.same(
      whats(second).filter(what => /fenced|waiting|displaced/.test(what)),
      [],
    )
  },
)

t.test('a store that went back to a former run which had left: its successor is not fenced by it, for all its beats', async t => {
  const world = new World(seed)
  const key = 'homing:test:peers:a'
  const first = await world.peer('one', { identity: 'a' })
  await world.time.run(30_000)
  const before = world.engine.get(key)!
  await world.soon(first.directory.leave(first.env.clock.monotonicMs() + 5_000))
  const second = await world.peer('two', { identity: 'a' })
  const other = await world.peer('b')
  await second.claim('alice')
  world.engine.put(key, before.bytes, {})
  world.engine.delete('homing:test:sessions:alice', undefined)
  for (const { store } of [second, other]) store.lose()
  await world.time.run(15_000)
  t.equal(
    whats(second).find(what => /fenced|displaced/.test(what)),
    undefined,
  )
  t.equal(second.directory.lease, 'sure')
  t.equal(other.directory.member('a')?.incarnation, second.self.incarnation)
  t.match(await world.soon(other.directory.find('alice')), { owner: ownerOf(second, 1) })

  // Once it has renewed its lease after a loss, whoever has the identity came later.
  await world.time.run(15_000)
  const third = await world.peer('three', { identity: 'b2' })
  const record = new PeerRecords(world.engine.connect(), 'test')
  const { version, beat } = (await record.get('a'))!
  await record.put({ member: { ...third.self, identity: 'a' }, beat: beat + 1 }, version)
  await world.time.run(3_500)
  t.equal(whats(second).at(-1), `fenced by ${third.self.incarnation}`)
})

t.test('a store that went back to a former run which lives: that one keeps its identity', async t => {
  const world = new World(seed)
  const key = 'homing:test:peers:a'
  const first = await world.peer('one', { identity: 'a' })
  await world.time.run(30_000)
  const before = world.engine.get(key)!
  world.engine.delete(key, undefined)
  first.store.down = true
  const second = await world.peer('two', { identity: 'a' })
  world.engine.put(key, before.bytes, {})
  first.store.down = false
  for (const { store } of [first, second]) store.lose()
  await world.time.run(15_000)
  t.equal(whats(second).at(-1), `fenced by ${first.self.incarnation}`)
  t.equal(first.directory.lease, 'sure')
})

t.test('a store that forgot a peer, and had its identity taken by another that lives: the other stays', async t => {
  const world = new World(seed)
  const first = await world.peer('one', { identity: 'a', probe: async () => 'silent' })
  await world.time.run(20_000)
  world.engine.delete('homing:test:peers:a', undefined)
  const second = await world.peer('two', { identity: 'a' })
  await world.time.run(20_000)
  t.equal(whats(first).at(-1), `fenced by ${second.self.incarnation}`)
  t.equal(second.directory.lease, 'sure')
  t.same(
    whats(second).filter(what => /fenced/.test(what)),
    [],
  )
})

t.test('F13: two newcomers at once: one gets the identity', async t => {
  const world = new World(seed)
  const probe = async (): Promise<Probe> => 'answers'
  const both = ['one', 'two', 'three'].map(host => world.joining(host, { identity: 'a', probe }).joining)
  const results = await world.soon(Promise.allSettled(both))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results) if (result.status === 'rejected') t.equal(result.reason.code, 'IDENTITY_IN_USE')
})

t.test('F4: with the datastore down a start waits, gently, then says DATASTORE; one that comes back in time is used', async t => {
  const world = new World(seed)
  const { peer, joining } = world.joining('one')
  peer.store.down = true
  joining.catch(() => undefined)
  await world.time.run(5_000)
  const early = peer.store.calls
  await world.time.run(20_000)
  t.ok(peer.store.calls - early <= 20, `${peer.store.calls - early} tries in 20 s`)
  await t.rejects(world.soon(joining), { code: 'DATASTORE', cause: { code: 'DATASTORE' } })
  t.ok(Math.abs(world.time.nowMs - 30_000) < 100, `${world.time.nowMs} ms`)
  const { calls } = peer.store
  await world.time.run(30_000)
  t.equal(peer.store.calls, calls, 'nothing is left behind')

  const other = world.joining('two')
  other.peer.store.down = true
  other.joining.catch(() => undefined)
  await world.time.run(10_000)
  other.peer.store.down = false
  const startedMs = world.time.nowMs
  await world.soon(other.joining)
  t.ok(world.time.nowMs - startedMs <= 1_000)
})

t.test('a start whose answers are lost knows its own record again', async t => {
  const world = new World(seed)
  const { peer, joining } = world.joining('one')
  peer.store.ambiguous = true
  joining.catch(() => undefined)
  await world.time.run(500)
  peer.store.ambiguous = false
  const directory = await world.soon(joining)
  t.equal(directory.lease, 'sure')
  t.same(
    directory.members().map(({ identity }) => identity),
    ['one'],
  )
})

t.test('who was closed while an incumbent was asked leaves no record: nobody would renew it', async t => {
  const world = new World(seed)
  const { env, self } = await world.peer('one', { identity: 'a', machine: 'box' })
  world.time.halt('one')
  let answer: (probe: Probe) => void = () => t.fail('not asked')
  const joining = new Joining({
    env: virtualEnv(world.time, world.network, 'two', env.machine),
    records: new PeerRecords(world.engine.connect(), 'test'),
    options: sessionOptions({}),
    probe: () => new Promise(resolve => (answer = resolve)),
    waiting: () => {},
  })
  const joined = joining.join({ ...self, incarnation: 'second' }).catch((error: unknown) => error)
  await world.time.run(500)
  joining.stop()
  answer('refused')
  t.match(await world.soon(joined), { code: 'CLOSED' })
  const record = await new PeerRecords(world.engine.connect(), 'test').get('a')
  t.equal(record?.member.incarnation, self.incarnation)
})
