import t from 'tap'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { Held, Run } from '../../lib/sessions/directory.ts'
import { SessionStore } from '../../lib/sessions/session-store.ts'
import { FaultyDatastore } from '../../lib/testing/faulty-datastore.ts'
import { everyOrder, Gate, settle, type Fate } from './stepped-datastore.ts'

const a: Run = { identity: 'a', incarnation: 'run-a' }
const b: Run = { identity: 'b', incarnation: 'run-b' }
const alice = (claim: number): Held[] => [{ address: 'alice', claim }]
const key = 'homing:test:sessions:alice'

function setUp(seed = 1) {
  const time = new VirtualTime({ seed })
  const engine = new MemoryEngine(time.clock)
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  const troubles: string[] = []
  const user = () => {
    const store = new FaultyDatastore(engine.connect(), env.timers)
    const sessions = new SessionStore({ env, datastore: store, cluster: 'test', trouble: error => troubles.push(error.message) })
    return { store, sessions }
  }
  const soon = async <T>(promise: Promise<T>, maxMs = 60_000): Promise<T> => {
    let settled = false
    const done = (): void => void (settled = true)
    promise.then(done, done)
    await time.until(() => settled, maxMs)
    return promise
  }
  const inMs = (ms: number): number => env.clock.monotonicMs() + ms
  return { time, engine, env, troubles, user, soon, inMs }
}

t.test('a claim of a free address is one write; a move reads once and writes over what it read', async t => {
  const { user, soon, inMs } = setUp()
  const { sessions, store } = user()
  t.same(await soon(sessions.claimMany(a, alice(1), inMs(1_000))), [{ address: 'alice', claim: 1, previous: undefined }])
  t.equal(store.calls, 1)
  const other = user()
  t.same(await soon(other.sessions.claimMany(b, alice(1), inMs(1_000))), [
    { address: 'alice', claim: 1, previous: { ...a, claim: 1 } },
  ])
  t.equal(other.store.calls, 3)
  t.match(await soon(sessions.read('alice')), { owner: { ...b, claim: 1 }, previous: { ...a, claim: 1 }, moving: false })
  t.match(await soon(sessions.claimMany(b, alice(2), inMs(1_000))), [{ previous: undefined }], 'its own earlier claim is no news')
})

t.test('a claim that is not wanted any more is not written, however often it was tried before', async t => {
  const { time, user, soon, inMs } = setUp()
  const { sessions, store } = user()
  let wanted = true
  store.down = true
  const claiming = sessions.claimMany(a, alice(1), inMs(10_000), { isWanted: () => wanted, mayRevoke: () => true, again: false })
  const rejected = t.rejects(claiming, { code: 'LOST' })
  await time.run(500)
  wanted = false
  store.down = false
  await soon(rejected)
  await time.run(5_000)
  t.equal(await soon(sessions.read('alice')), undefined)
  const other = user()
  await soon(other.sessions.claimMany(b, alice(1), inMs(1_000)))
  t.match(await soon(sessions.read('alice')), { owner: { ...b, claim: 1 } })
})

t.test(
  'a claim that its asker may have got elsewhere is not removed: neither one in doubt nor one that was written too late',
  async t => {
    for (const manner of ['doubtful', 'late'] as const) {
      const { time, user, soon, inMs } = setUp()
      const asker = { again: false, isHere: true, isWanted: () => asker.isHere, mayRevoke: () => asker.isHere }
      const [one, other] = [user(), user()]
      await soon(one.sessions.claimMany(b, alice(1), inMs(1_000)))
      if (manner === 'doubtful') one.store.ambiguous = true
      else one.store.answerMs = 600
      const rejected = t.rejects(one.sessions.claimMany(a, alice(1), inMs(1_500), asker))
      await time.run(manner === 'doubtful' ? 52 : 1_600)
      t.match(await soon(other.sessions.read('alice')), { owner: { ...a, claim: 1 } }, `${manner}: written`)
      asker.isHere = false
      t.match(await soon(other.sessions.claimMany(a, alice(1), inMs(1_000))), [{ previous: { ...b, claim: 1 } }])
      one.store.ambiguous = false
      one.store.answerMs = 0
      await soon(rejected)
      await time.run(10_000)
      t.match(await soon(other.sessions.read('alice')), { owner: { ...a, claim: 1 } }, `${manner}: it stays`)
      t.match(await soon(other.sessions.readNotes('b')), { notes: [{ address: 'alice', claim: 1, withdrawn: true }] })
      await soon(other.sessions.releaseMany(a, alice(1), inMs(1_000)))
      t.equal(await soon(other.sessions.read('alice')), undefined, 'until its asker releases it')
    }
  },
)

t.test('a release removes only its own claim, and says what it found (P13, P14, P16)', async t => {
  const { user, soon, inMs } = setUp()
  const { sessions } = user()
  t.same(await soon(sessions.releaseMany(a, alice(1), inMs(1_000))), [{ at: 'absent' }])
  await soon(sessions.claimMany(a, alice(1), inMs(1_000)))
  t.same(await soon(sessions.releaseMany(b, alice(1), inMs(1_000))), [{ at: 'elsewhere', owner: { ...a, claim: 1 } }])
  t.same(await soon(sessions.releaseMany(a, alice(2), inMs(1_000))), [{ at: 'elsewhere', owner: { ...a, claim: 1 } }])
  t.same(await soon(sessions.releaseMany(a, alice(1), inMs(1_000))), [{ at: 'released' }])
  t.equal(await soon(sessions.read('alice')), undefined)
})

t.test('while one of several servers is away, what the others hold is claimed, found and released as ever', async t => {
  const { user, soon, inMs, time, engine } = setUp()
  const { sessions, store } = user()
  const addresses = Array.from({ length: 100 }, (_, i) => `client-${i}`)
  store.away = name => Number(name.split('-')[1]) % 3 === 0
  const [away, near] = [addresses.filter(store.away), addresses.filter(name => !store.away!(name))]
  // One call each, as clients come: they share batches, and those that cannot be reached come up in them again and again.
  const claims = new Map(
    addresses.map((address, i) => [address, sessions.claimMany(a, [{ address, claim: i + 1 }], inMs(8_000))]),
  )
  for (const claim of claims.values()) claim.catch(() => {})
  const sinceMs = time.nowMs
  for (const address of near) t.match(await soon(claims.get(address)!), [{ address }])
  t.ok(time.nowMs - sinceMs < 3_000, `${time.nowMs - sinceMs} ms`)
  const found = await soon(Promise.allSettled(addresses.map(address => sessions.read(address))))
  for (const [i, result] of found.entries()) {
    if (away.includes(addresses[i]!)) t.match(result, { status: 'rejected', reason: { code: 'DATASTORE' } })
    else t.match(result, { status: 'fulfilled', value: { owner: a } })
  }
  const gone = near[0]!
  t.same(await soon(sessions.releaseMany(a, [{ address: gone, claim: addresses.indexOf(gone) + 1 }], inMs(4_000))), [
    { at: 'released' },
  ])
  store.away = undefined
  for (const address of away) t.match(await soon(claims.get(address)!), [{ address }])
  await time.run(1_000)
  t.equal(engine.keys('homing:test:sessions:').length, 99)
})

t.test('calls for one address take effect in their order, whatever they wait for', async t => {
  const { user, soon, inMs } = setUp()
  const { sessions } = user()
  const untilMs = inMs(5_000)
  const results = await soon(
    Promise.all([
      sessions.claimMany(a, alice(1), untilMs),
      sessions.releaseMany(a, alice(1), untilMs),
      sessions.claimMany(a, alice(2), untilMs),
      sessions.claimMany(a, alice(3), untilMs),
      sessions.releaseMany(a, alice(2), untilMs),
      sessions.markMoving(a, alice(3), untilMs),
    ]),
  )
  t.same(results[1], [{ at: 'released' }])
  t.same(results[4], [{ at: 'elsewhere', owner: { ...a, claim: 3 } }])
  t.match(await soon(sessions.read('alice')), { owner: { ...a, claim: 3 }, moving: true })
})

t.test('a thousand addresses a round trip', async t => {
  const { user, soon, inMs } = setUp()
  const { sessions, store } = user()
  const claims = Array.from({ length: 2_500 }, (_, index) => ({ address: `client-${index}`, claim: index + 1 }))
  const claimed = await soon(sessions.claimMany(a, claims, inMs(5_000)))
  t.same(
    claimed.map(({ address, claim }) => ({ address, claim })),
    claims,
  )
  t.equal(store.calls, 3)
  const sessionsRead = await soon(sessions.readMany(claims.map(({ address }) => address)))
  t.equal(sessionsRead.filter(session => session?.owner.identity === 'a').length, 2_500)
  t.equal(store.calls, 6)
  let listed = 0
  for await (const { owner } of sessions.list()) if (owner.identity === 'a') listed++
  t.equal(listed, 2_500)
  await soon(sessions.releaseMany(a, claims, inMs(5_000)))
  t.same((await soon(sessions.readMany(['client-0', 'client-2499']))).filter(Boolean), [])
})

t.test('P15: a release here and a claim there, in every order of their steps: the newer claim stays', async t => {
  const seen = new Set<string>()
  const runs = await everyOrder(async choose => {
    const { engine, env, inMs } = setUp()
    const gate = new Gate()
    const at = (name: string) => new SessionStore({ env, datastore: gate.datastore(name, engine.connect()), cluster: 'test' })
    const [one, two] = [at('a'), at('b')]
    await passAll(gate, one.claimMany(a, alice(1), inMs(1_000)))
    const released = one.releaseMany(a, alice(1), inMs(1_000))
    const claimed = two.claimMany(b, alice(1), inMs(1_000))
    await passInAnyOrder(gate, choose, () => 'pass', Promise.all([released, claimed]))
    const [outcome] = await released
    seen.add(outcome!.at)
    await claimed
    const session = await passAll(gate, two.read('alice'))
    if (session?.owner.identity !== 'b') t.fail(`the address went to ${session?.owner.identity}`)
  })
  t.ok(runs >= 10, `${runs} orders`)
  t.same([...seen].sort(), ['elsewhere', 'released'], 'both outcomes occur')
})

t.test('three claims at once, in every order: one owner, each knows truly whom it displaced', async t => {
  let chains = 0
  const runs = await everyOrder(async choose => {
    const { engine, env, inMs } = setUp()
    const gate = new Gate()
    const claims = ['a', 'b', 'c'].map(identity => {
      const sessions = new SessionStore({ env, datastore: gate.datastore(identity, engine.connect()), cluster: 'test' })
      return sessions.claimMany({ identity, incarnation: `run-${identity}` }, alice(1), inMs(1_000))
    })
    await passInAnyOrder(gate, choose, () => 'pass', Promise.all(claims))
    const displaced = (await Promise.all(claims)).map(([claimed]) => claimed!.previous?.identity)
    const { sessions } = setUpReader(engine, env)
    const owner = (await sessions.read('alice'))!.owner.identity
    // The last owner was displaced by nobody, everybody else by exactly one.
    const losers = ['a', 'b', 'c'].filter(identity => identity !== owner)
    t.same(displaced.filter(Boolean).sort(), losers, `owner ${owner}`)
    chains++
  }, 200_000)
  t.equal(chains, runs)
  t.comment(`${runs} orders`)
})

t.test('writes whose answers are lost are read back: every fate in every order ends with one owner who knows it', async t => {
  const fates: Fate[] = ['pass', 'lose', 'refuse']
  const runs = await everyOrder(async choose => {
    const { time, engine, env, inMs } = setUp()
    const gate = new Gate()
    const [one, two] = ['a', 'b'].map(
      name => new SessionStore({ env, datastore: gate.datastore(name, engine.connect()), cluster: 'test' }),
    ) as [SessionStore, SessionStore]
    const claims = Promise.all([one.claimMany(a, alice(1), inMs(60_000)), two.claimMany(b, alice(1), inMs(60_000))])
    let faults = 0
    const fate = (what: string): Fate => {
      if (faults === 4 || !what.startsWith('put')) return 'pass'
      const fate = fates[choose(3)]!
      if (fate !== 'pass') faults++
      return fate
    }
    await passInAnyOrder(gate, choose, fate, claims, () => time.run(600))
    const [[byA], [byB]] = await claims
    const { sessions } = setUpReader(engine, env)
    const owner = (await sessions.read('alice'))!.owner
    // Both claims took effect, so one was written over the other: whoever has it knows whom it displaced, and the other of nobody newer.
    const [winner, loser] = owner.identity === 'a' ? [byA, byB] : [byB, byA]
    const loserRun = owner.identity === 'a' ? b : a
    if (winner!.previous?.identity !== loserRun.identity) t.fail(`${owner.identity} displaced ${winner!.previous?.identity}`)
    if (loser!.previous) t.fail('the overtaken one believes to be newer')
  }, 200_000)
  t.ok(runs > 100, `${runs} runs`)
})

t.test('an ambiguous claim is one claim: written, lost, read back', async t => {
  const { user, soon, time, inMs } = setUp()
  const { sessions, store } = user()
  store.ambiguous = true
  const claiming = sessions.claimMany(a, alice(1), inMs(5_000))
  await time.run(20)
  store.ambiguous = false
  t.same(await soon(claiming), [{ address: 'alice', claim: 1, previous: undefined }])
  const version = (await soon(sessions.read('alice')))!.version
  store.ambiguous = true
  const released = sessions.releaseMany(a, alice(1), inMs(5_000))
  await time.run(20)
  store.ambiguous = false
  t.same(await soon(released), [{ at: 'released' }], 'removed, though nobody said so')
  t.equal(version, '1', 'it was written once')
})

t.test('an ambiguous claim that was overtaken is not repeated', async t => {
  const { user, soon, time, inMs } = setUp()
  const [one, two] = [user(), user()]
  one.store.ambiguous = true
  const claiming = one.sessions.claimMany(a, alice(1), inMs(5_000))
  await time.run(1)
  one.store.ambiguous = false
  await soon(two.sessions.claimMany(b, alice(9), inMs(5_000)))
  t.same(await soon(claiming), [{ address: 'alice', claim: 1, previous: undefined, overtakenBy: { ...b, claim: 9 } }])
  t.match(await soon(two.sessions.read('alice')), { owner: { ...b, claim: 9 } })
})

t.test('an older claim of a run goes over nobody who displaced a newer one of it', async t => {
  const { user, soon, inMs } = setUp()
  const [one, two, three] = [user(), user(), user()]
  await soon(one.sessions.claimMany(a, alice(5), inMs(1_000)))
  await soon(three.sessions.claimMany(b, alice(9), inMs(1_000)))
  const by = { ...b, claim: 9 }
  t.same(await soon(two.sessions.claimMany(a, alice(4), inMs(1_000))), [
    { address: 'alice', claim: 4, previous: undefined, overtakenBy: by },
  ])
  t.match(await soon(three.sessions.read('alice')), { owner: by })
})

t.test('a claim that another process may have written is not repeated where that one was overtaken', async t => {
  for (const again of [true, false]) {
    const { user, soon, inMs } = setUp()
    const [one, two, three] = [user(), user(), user()]
    const asker = { again, isWanted: () => true, mayRevoke: () => true }
    t.same(await soon(two.sessions.claimMany(a, alice(1), inMs(1_000), asker)), [
      { address: 'alice', claim: 1, previous: undefined },
    ])
    await soon(one.sessions.claimMany(a, alice(2), inMs(1_000)))
    await soon(three.sessions.claimMany(b, alice(9), inMs(1_000)))
    const [claimed] = await soon(two.sessions.claimMany(a, alice(2), inMs(1_000), asker))
    const owner = (await soon(three.sessions.read('alice')))?.owner
    if (again) t.same([claimed!.overtakenBy, owner], [owner, { ...b, claim: 9 }])
    else t.same([claimed!.overtakenBy, owner], [undefined, { ...a, claim: 2 }], 'who asks for the first time comes last')
  }
})

t.test('a datastore that is down is waited for until the deadline, then DATASTORE', async t => {
  const { user, soon, time, inMs } = setUp()
  const { sessions, store } = user()
  store.down = true
  const startedMs = time.nowMs
  await t.rejects(soon(sessions.claimMany(a, alice(1), inMs(3_000))), {
    code: 'DATASTORE',
    outcome: 'unknown',
    cause: { code: 'DATASTORE' },
  })
  t.equal(time.nowMs - startedMs, 3_000)
  t.ok(store.calls < 20, `${store.calls} tries`)

  const second = sessions.claimMany(a, alice(2), inMs(3_000))
  await time.run(1_000)
  store.down = false
  t.same(await soon(second), [{ address: 'alice', claim: 2, previous: undefined }])
  await time.run(2_000)
  t.match(await soon(sessions.read('alice')), { owner: { claim: 2 } }, 'what was given up does not come back')
})

t.test('a claim that was given up is taken back when the datastore is back', async t => {
  const { user, soon, time, engine, inMs } = setUp()
  const { sessions, store } = user()
  store.ambiguous = true
  store.slowMs = 400
  const both = [...alice(1), { address: 'bob', claim: 2 }]
  await t.rejects(soon(sessions.claimMany(a, both, inMs(500))), { code: 'DATASTORE', outcome: 'unknown' })
  t.ok(engine.get(key), 'it had been written')
  store.ambiguous = false
  store.slowMs = 0
  await time.run(2_000)
  t.equal(engine.get(key), undefined)
  t.equal(engine.get('homing:test:sessions:bob'), undefined)
})

t.test('a claim that was given up after it displaced somebody: the former owner is told to look again', async t => {
  const { user, soon, time, inMs } = setUp()
  const [one, two] = [user(), user()]
  await soon(one.sessions.claimMany(a, alice(1), inMs(500)))
  two.store.slowMs = 300 // refused, read, written: and then it is too late
  await t.rejects(soon(two.sessions.claimMany(b, alice(7), inMs(800))), { code: 'DATASTORE', outcome: 'unknown' })
  await time.run(5_000)
  t.equal(await soon(one.sessions.read('alice')), undefined, 'revoked')
  t.match(await soon(one.sessions.readNotes('a')), {
    notes: [{ address: 'alice', incarnation: 'run-a', claim: 1, by: { ...b, claim: 7 }, withdrawn: true }],
  })
})

t.test(
  'a claim that was given up after it displaced somebody, and a newer one of its run behind it: that one displaced them',
  async t => {
    const { user, soon, time, inMs } = setUp()
    const [one, two] = [user(), user()]
    await soon(one.sessions.claimMany(a, alice(1), inMs(500)))
    two.store.slowMs = 300
    const givenUp = t.rejects(two.sessions.claimMany(b, alice(7), inMs(800)), { code: 'DATASTORE', outcome: 'unknown' })
    const newer = two.sessions.claimMany(b, alice(8), inMs(5_000))
    await soon(givenUp)
    t.same(await soon(newer), [{ address: 'alice', claim: 8, previous: { ...a, claim: 1 } }])
    await time.run(5_000)
    t.match(await soon(one.sessions.read('alice')), { owner: { ...b, claim: 8 } })
    t.match(await soon(one.sessions.readNotes('a')), {
      notes: [{ address: 'alice', incarnation: 'run-a', claim: 1, by: { ...b, claim: 8 }, withdrawn: false }],
    })
  },
)

t.test('claims of one run that were given up, one over the other: whom the first displaced is told to look again', async t => {
  const { user, soon, time, inMs } = setUp()
  const [one, two] = [user(), user()]
  await soon(one.sessions.claimMany(a, alice(1), inMs(500)))
  two.store.slowMs = 300
  const first = t.rejects(two.sessions.claimMany(b, alice(7), inMs(800)), { code: 'DATASTORE' })
  const second = t.rejects(two.sessions.claimMany(b, alice(8), inMs(1_700)), { code: 'DATASTORE' })
  await soon(Promise.all([first, second]))
  await time.run(5_000)
  t.equal(await soon(one.sessions.read('alice')), undefined, 'revoked')
  t.match(await soon(one.sessions.readNotes('a')), {
    notes: [{ address: 'alice', incarnation: 'run-a', claim: 1, by: { ...b, claim: 8 }, withdrawn: true }],
  })
})

t.test('a claim that was overtaken before its answer came: whom it displaced is named, and told by a note', async t => {
  const { user, soon, time, inMs } = setUp()
  const [one, two, three] = [user(), user(), user()]
  const c: Run = { identity: 'c', incarnation: 'run-c' }
  await soon(one.sessions.claimMany(a, alice(1), inMs(500)))
  two.store.ambiguous = true
  const overtaken = two.sessions.claimMany(b, alice(7), inMs(5_000))
  await time.until(() => two.store.calls === 3, 1_000) // refused, read, written; and no answer to either write
  await soon(three.sessions.claimMany(c, alice(9), inMs(500)))
  two.store.ambiguous = false
  t.match(await soon(overtaken), [{ previous: { ...a, claim: 1 } }])
  await time.run(100)
  const { owner, previous } = (await soon(one.sessions.read('alice')))!
  t.equal(owner.identity, 'c')
  t.equal(previous!.identity, 'b', 'it had been written')
  t.match(await soon(one.sessions.readNotes('a')), { notes: [{ claim: 1, by: { ...b, claim: 7 }, withdrawn: false }] })
})

t.test('a release that nobody waits for any more goes on', async t => {
  const { user, soon, time, engine, inMs } = setUp()
  const { sessions, store } = user()
  await soon(sessions.claimMany(a, alice(1), inMs(500)))
  store.down = true
  await t.rejects(soon(sessions.releaseMany(a, alice(1), inMs(500))), { code: 'DATASTORE' })
  store.down = false
  await time.run(2_000)
  t.equal(engine.get(key), undefined)
})

t.test('missing claims are put back; those of others stay', async t => {
  const { user, soon, time, engine, inMs } = setUp()
  const { sessions } = user()
  await soon(sessions.claimMany(a, [...alice(1), { address: 'bob', claim: 2 }, { address: 'carol', claim: 3 }], inMs(500)))
  engine.delete(key, undefined)
  await soon(user().sessions.claimMany(b, [{ address: 'bob', claim: 1 }], inMs(500)))
  const held = [...alice(1), { address: 'bob', claim: 2 }, { address: 'carol', claim: 3 }]
  t.same(await soon(sessions.reassertMany(a, held, inMs(500))), [undefined, { ...b, claim: 1 }, undefined])
  t.match(await soon(sessions.readMany(['alice', 'bob', 'carol'])), [{ owner: a }, { owner: b }, { owner: { claim: 3 } }])

  const released = sessions.releaseMany(a, alice(1), inMs(500))
  const reasserted = sessions.reassertMany(a, alice(1), inMs(500))
  await soon(Promise.all([released, reasserted]))
  await time.run(100)
  t.equal(engine.get(key), undefined, 'not what is being released')
})

t.test('a claim is not put back behind a newer one of its run; who holds the address is told all the same', async t => {
  const { engine, env, soon, user, inMs } = setUp()
  const gate = new Gate()
  const sessions = new SessionStore({ env, datastore: gate.datastore('a', engine.connect()), cluster: 'test' })
  await soon(user().sessions.claimMany(a, alice(1), inMs(500)))
  await soon(user().sessions.claimMany(b, alice(1), inMs(500)))
  const newer = sessions.claimMany(a, alice(2), inMs(10_000))
  const reasserted = sessions.reassertMany(a, alice(1), inMs(10_000))
  await settle()
  t.equal(gate.waiting.length, 2, 'the newer claim is on its way')
  gate.take(1).run('pass')
  t.same(await soon(reasserted), [{ ...b, claim: 1 }])
  while (gate.waiting.length > 0) {
    gate.take(0).run('pass')
    await settle()
  }
  t.match(await soon(newer), [{ previous: b }])
})

t.test('F6: one lookup an address and 64 in all at a time, and each answer is younger than its question', async t => {
  const { engine, env, time } = setUp()
  const gate = new Gate()
  const sessions = new SessionStore({ env, datastore: gate.datastore('a', engine.connect()), cluster: 'test' })
  const results: unknown[] = []
  for (let index = 0; index < 200; index++) {
    void sessions.read('alice').then(session => results.push(session))
    void sessions.read(`other-${index}`)
    await Promise.resolve()
    await settle()
  }
  t.equal(gate.waiting.length, 64)
  t.equal(gate.waiting.filter(({ what }) => what.includes(key)).length, 1)
  gate.take(0).run('pass') // the first reading of alice: nobody is there
  await settle()
  t.same(results, [undefined])
  const writer = new SessionStore({ env, datastore: engine.connect(), cluster: 'test' })
  await writer.claimMany(a, alice(1), time.nowMs + 1_000)
  while (gate.waiting.length > 0) {
    gate.take(0).run('pass')
    await settle()
  }
  t.equal(results.length, 200)
  t.ok(results.slice(1).every(Boolean), 'whoever asked while the first was under way got a later answer')
  writer.end(new Error('over') as never)
})

t.test('an unreadable record fails its own readers only, and can be claimed over', async t => {
  const { user, soon, engine, inMs, troubles } = setUp()
  const { sessions } = user()
  engine.put(key, new Uint8Array([0xc1, 1, 2]), {})
  await soon(sessions.claimMany(b, [{ address: 'bob', claim: 1 }], inMs(500)))
  const reads = await soon(Promise.allSettled([sessions.read('alice'), sessions.read('bob')]))
  t.match(reads[0], { status: 'rejected', reason: { code: 'DATASTORE', message: new RegExp(key) } })
  t.match(reads[1], { status: 'fulfilled', value: { owner: b } })
  t.same(await soon(sessions.claimMany(a, alice(1), inMs(500))), [{ address: 'alice', claim: 1, previous: undefined }])
  t.match(troubles, [new RegExp(key)])
})

t.test('notes: many writers, one bounded record; a reader takes away what it read', async t => {
  const { user, soon, inMs } = setUp()
  const users = Array.from({ length: 5 }, user)
  const by = (index: number) => ({ ...b, claim: index })
  await soon(
    Promise.all(
      users.flatMap(({ sessions }, at) =>
        Array.from({ length: 20 }, (_, index) => sessions.leaveNote({ ...a, claim: index }, `client-${at}-${index}`, by(index))),
      ),
    ),
  )
  const { sessions } = users[0]!
  const notes = (await soon(sessions.readNotes('a')))!
  t.equal(notes.notes.length, 100)
  t.equal(notes.overflow, false)
  await soon(sessions.leaveNote({ ...a, claim: 1 }, 'late', by(1)))
  t.equal(await soon(sessions.dropNotes('a', notes)), false, 'more came meanwhile')
  for (let index = 0; index < 1_000; index++) void sessions.leaveNote({ ...a, claim: index }, `more-${index}`, by(index))
  await soon(sessions.leaveNote({ ...a, claim: 1 }, 'last', by(1)))
  const full = (await soon(sessions.readNotes('a')))!
  t.equal(full.overflow, true)
  t.equal(await soon(sessions.dropNotes('a', full)), true)
  t.equal(await soon(sessions.readNotes('a')), undefined)
  t.ok(inMs(0) < 5_000)
})

t.test('an older note that comes late does not hide a newer one', async t => {
  const { user, soon } = setUp()
  const [one, two] = [user().sessions, user().sessions]
  await soon(one.leaveNote({ ...a, claim: 5 }, 'alice', { ...b, claim: 2 }))
  await soon(two.leaveNote({ ...a, claim: 4 }, 'alice', { ...b, claim: 1 }))
  t.match(await soon(one.readNotes('a')), { notes: [{ address: 'alice', claim: 5, by: { claim: 2 } }] })
})

t.test('after its end every call rejects with the reason, waiting ones at once', async t => {
  const { user, soon, inMs } = setUp()
  const { sessions, store } = user()
  store.down = true
  const waiting = sessions.claimMany(a, alice(1), inMs(60_000))
  waiting.catch(() => undefined)
  await sessions[Symbol.asyncDispose]()
  await t.rejects(soon(waiting), { code: 'CLOSED' })
  await t.rejects(sessions.releaseMany(a, alice(1), inMs(1_000)), { code: 'CLOSED' })
  await t.rejects(sessions.read('alice'), { code: 'CLOSED' })
  await t.rejects(sessions.leaveNote({ ...a, claim: 1 }, 'alice', { ...b, claim: 1 }), { code: 'CLOSED' })
})

function setUpReader(engine: MemoryEngine, env: ReturnType<typeof setUp>['env']) {
  return { sessions: new SessionStore({ env, datastore: engine.connect(), cluster: 'test' }) }
}

async function passAll<T>(gate: Gate, work: Promise<T>): Promise<T> {
  await passInAnyOrder(
    gate,
    () => 0,
    () => 'pass',
    work,
  )
  return work
}

/** Lets one waiting call after the other go, as chosen, until `work` settles. `idle` lets time pass when nothing waits. */
async function passInAnyOrder(
  gate: Gate,
  choose: (count: number) => number,
  fate: (what: string) => Fate,
  work: Promise<unknown>,
  idle?: () => Promise<void>,
): Promise<void> {
  let settled = false
  work.then(
    () => (settled = true),
    () => (settled = true),
  )
  for (let steps = 0; ; steps++) {
    await settle()
    if (settled) return
    if (steps > 500) throw new Error('it does not come to an end')
    if (gate.waiting.length === 0) {
      if (!idle) throw new Error('nothing waits, and it is not settled')
      await idle()
      continue
    }
    const call = gate.take(choose(gate.waiting.length))
    call.run(fate(call.what))
  }
}
