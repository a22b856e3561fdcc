import t from 'tap'
import { ClaimsAsked, type AskedClaim } from '../../lib/broker/claims-asked.ts'
import { realEnv } from '../../lib/env/real.ts'

const run = { identity: 'a', incarnation: '0123456789abcdef' }
const other = { identity: 'b', incarnation: 'fedcba9876543210', claim: 7 }
const late = (): Error => new Error('late')

/** Claims 1, 2 and so on of one address, each of a call of its own. */
function line(count: number): { asked: ClaimsAsked; claims: AskedClaim[] } {
  const asked = new ClaimsAsked(run)
  const claims = Array.from({ length: count }, (_, at) => asked.enter([{ address: 'carl', claim: at + 1 }])[0]!)
  return { asked, claims }
}

void t.test('claims are asked for again until a newer one was asked for', async t => {
  const [older, newer] = line(2).claims as [AskedClaim, AskedClaim]
  t.ok(older.go())
  t.ok(older.go())
  t.ok(newer.go())
  t.notOk(older.go())
  t.notOk(older.isAnswered)
})

void t.test('what a newer one was written over the oldest was, and each over the one before', async t => {
  const [first, second, third] = line(3).claims as [AskedClaim, AskedClaim, AskedClaim]
  t.ok(third.go())
  third.answer(other)
  t.notOk(first.go())
  t.notOk(second.go())
  t.same(
    [first, second, third].map(({ isAnswered, previous }) => [isAnswered, previous]),
    [
      [true, other],
      [true, { ...run, claim: 1 }],
      [true, { ...run, claim: 2 }],
    ],
  )
})

void t.test('who has the newest has all before it', async t => {
  const [older, newer] = line(2).claims as [AskedClaim, AskedClaim]
  t.ok(newer.go())
  newer.answer(undefined, other)
  t.notOk(older.go())
  t.same(
    [older, newer].map(({ overtakenBy }) => overtakenBy),
    [other, other],
  )
})

void t.test('a newer one that is connected may have come and gone: the older connects nobody', async t => {
  for (const connects of [true, false]) {
    const { asked, claims } = line(2)
    const [older, newer] = claims as [AskedClaim, AskedClaim]
    t.ok(newer.go())
    newer.answer(undefined)
    if (connects) newer.connects()
    asked.leave([newer])
    t.notOk(older.go())
    t.ok(older.isAnswered)
    t.same(older.overtakenBy, connects ? { ...run, claim: 2 } : undefined, 'unless its call failed for another address')
  }
})

void t.test('one that was written after all has nobody before it that is known', async t => {
  const [older, newer] = line(2).claims as [AskedClaim, AskedClaim]
  t.ok(newer.go())
  newer.answer({ ...run, claim: 1 })
  t.notOk(older.go())
  t.ok(older.isAnswered)
  t.equal(older.previous, undefined)
  t.same(newer.previous, { ...run, claim: 1 })
})

void t.test('a newer one whose call is over without an answer leaves the older to be asked for', async t => {
  const env = realEnv()
  const { asked, claims } = line(2)
  const [older, newer] = claims as [AskedClaim, AskedClaim]
  t.ok(newer.go())
  t.notOk(older.go())
  const settled = older.newerSettled(env, env.clock.monotonicMs() + 60_000, late)
  asked.leave([newer])
  await settled
  t.ok(older.go())
})

void t.test('a newer one is waited for until the deadline', async t => {
  const env = realEnv()
  const [older, newer] = line(2).claims as [AskedClaim, AskedClaim]
  t.ok(newer.go())
  await t.rejects(older.newerSettled(env, env.clock.monotonicMs() + 1, late), { message: 'late' })
})

void t.test('a newer one that was answered counts after its call is over, as long as an older one is under way', async t => {
  const { asked, claims } = line(2)
  const [older, newer] = claims as [AskedClaim, AskedClaim]
  t.ok(newer.go())
  newer.answer(other)
  asked.leave([newer])
  t.notOk(older.go())
  t.same(older.previous, other)
  asked.leave([older])
  t.ok(asked.enter([{ address: 'carl', claim: 3 }])[0]!.go())
})

void t.test('claims of other addresses are not in the way', async t => {
  const asked = new ClaimsAsked(run)
  const [carl, dora] = asked.enter(['carl', 'dora'].map((address, at) => ({ address, claim: at + 1 })))
  t.ok(dora!.go())
  t.ok(carl!.go())
})
