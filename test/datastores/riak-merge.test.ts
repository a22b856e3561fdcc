import fc from 'fast-check'
import t from 'tap'
import { authorOf, entryOf, type Sibling } from '../../lib/datastores/riak-siblings.ts'
import type { Member, Owner } from '../../lib/sessions/directory.ts'
import { mergeRecords } from '../../lib/sessions/merge.ts'
import {
  decodeNotes,
  decodePeer,
  decodeSession,
  encodeNotes,
  encodePeer,
  encodeSession,
  notesMax,
  type Note,
  type SessionRecord,
} from '../../lib/sessions/records.ts'

const seed = Number(process.env['SEED'] ?? Date.now() % 1e9)
const numRuns = Number(process.env['RUNS'] ?? 400)
t.comment(`SEED=${seed}`)

const sessionKey = 'homing:test:sessions:alice'
const peerKey = 'homing:test:peers:a'
const notesKey = 'homing:test:notes:a'

// Small worlds, so that much is equal.
const few = fc.integer({ min: 0, max: 3 })
const owners: fc.Arbitrary<Owner> = fc.record({
  identity: fc.constantFrom('a', 'b'),
  incarnation: fc.constantFrom('run-1', 'run-2', 'run-3'),
  claim: few,
})
const sessions: fc.Arbitrary<SessionRecord> = fc
  .record({ owner: owners, previous: fc.option(owners, { nil: undefined }), moving: fc.boolean(), timeMs: fc.option(few) })
  .map(({ timeMs, ...record }) => (timeMs === null ? record : { ...record, timeMs }))
const members: fc.Arbitrary<Member> = fc.record({
  identity: fc.constant(''),
  incarnation: fc.constantFrom('run-1', 'run-2'),
  endpoints: fc.constantFrom([], ['tcp://a:1']),
  role: fc.constant('peer' as const),
  state: fc.constantFrom('up', 'draining'),
  version: fc.constant('1'),
  machine: fc.constant('m'),
  metadata: fc.constantFrom({}, { x: 1 }),
})
const peers = fc.record({ member: members, beat: few })
const notes: fc.Arbitrary<Note> = fc.record({
  address: fc.constantFrom('alice', 'bob', 'carol'),
  incarnation: fc.constantFrom('run-1', 'run-2'),
  claim: few,
  by: owners,
  withdrawn: fc.boolean(),
})
const garbage = fc.uint8Array({ maxLength: 3 })
const kinds: Record<string, fc.Arbitrary<Uint8Array>> = {
  [sessionKey]: fc.oneof({ arbitrary: sessions.map(encodeSession), weight: 9 }, garbage),
  [peerKey]: fc.oneof({ arbitrary: peers.map(encodePeer), weight: 9 }, garbage),
  [notesKey]: fc.oneof(
    { arbitrary: fc.record({ overflow: fc.boolean(), notes: fc.array(notes, { maxLength: 4 }) }).map(encodeNotes), weight: 9 },
    garbage,
  ),
  'not/ours': garbage,
}

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0

for (const [key, records] of Object.entries(kinds)) {
  t.test(`${key}: the merge is commutative, associative and idempotent`, async t => {
    const property = fc.property(records, records, records, (a, b, c) => {
      const merge = (x: Uint8Array, y: Uint8Array) => mergeRecords(key, x, y)
      if (!same(merge(a, a), a)) return false
      const both = merge(a, b)
      return (
        same(both, merge(b, a)) &&
        same(merge(both, b), both) &&
        same(merge(a, merge(b, c)), merge(both, c)) &&
        same(merge(merge(c, a), b), merge(both, c))
      )
    })
    fc.assert(property, { seed, numRuns })
    t.pass()
  })
}

t.test('siblings become the same in whatever order they are returned, with and without a merge', async t => {
  const siblings = fc.uniqueArray(
    fc.record({
      stamp: fc.record({ timeMs: few, writer: fc.constantFrom('p', 'q', 'r', 's') }),
      untilMs: fc.constantFrom(Infinity, 5, 9),
      bytes: sessions.map(encodeSession),
    }),
    { minLength: 1, maxLength: 6, selector: ({ stamp }) => `${stamp.timeMs} ${stamp.writer}` },
  )
  const property = fc.property(siblings, fc.boolean(), fc.gen(), (found, merging, gen) => {
    const vclock = Buffer.from('clock')
    const shuffled: Sibling[] = [...found]
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = gen(fc.integer, { min: 0, max: i })
      ;[shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!]
    }
    const merge = merging ? mergeRecords : undefined
    const [one, other] = [found, shuffled].map(each => entryOf(sessionKey, vclock, each, merge))
    const author = authorOf(one!, found)
    return (
      same(one!.bytes, other!.bytes) && one!.version === other!.version && authorOf(other!, shuffled)?.stamp === author?.stamp
    )
  })
  fc.assert(property, { seed, numRuns })
  t.pass()
})

t.test('of two claims the later one stays, whatever else is written at the same time', async t => {
  const a: Owner = { identity: 'a', incarnation: 'run-9', claim: 1 }
  const b: Owner = { identity: 'b', incarnation: 'run-1', claim: 1 }
  const [old, claimed] = [
    { owner: a, previous: undefined, moving: false, timeMs: 10 },
    { owner: b, previous: a, moving: false, timeMs: 11 },
  ]
  const merged = (x: SessionRecord, y: SessionRecord) =>
    decodeSession(sessionKey, mergeRecords(sessionKey, encodeSession(x), encodeSession(y)))
  t.same(merged({ ...old, moving: true }, claimed), claimed, 'a mark by the former owner')
  const { timeMs: _, ...restored } = old
  t.same(merged(restored, claimed), claimed, 'a claim that was put back')
  t.same(merged({ ...old, moving: true }, old), { ...old, moving: true }, 'the mark itself stays')
  t.same(merged({ ...claimed, timeMs: 10 }, old), old, 'at the same time: the greater incarnation')
})

t.test('of two records of a peer the one that was renewed more often stays, and its leaving', async t => {
  const member: Member = {
    identity: 'a',
    incarnation: 'run-1',
    endpoints: [],
    role: 'peer',
    state: 'up',
    version: '1',
    machine: 'm',
    metadata: {},
  }
  const merged = (x: { member: Member; beat: number }, y: { member: Member; beat: number }) =>
    decodePeer(peerKey, 'a', mergeRecords(peerKey, encodePeer(x), encodePeer(y)))
  const draining: Member = { ...member, state: 'draining' }
  t.same(merged({ member, beat: 4 }, { member: draining, beat: 4 }), { member: draining, beat: 4 })
  t.same(merged({ member, beat: 5 }, { member: draining, beat: 4 }), { member, beat: 5 })
  t.same(merged({ member: { ...member, incarnation: 'run-0' }, beat: 5 }, { member, beat: 4 }).member.incarnation, 'run-0')
})

t.test('notes are kept, all of them, until there are too many', async t => {
  const note = (address: string, claim: number, withdrawn = false): Note => ({
    address,
    incarnation: 'run-1',
    claim,
    by: { identity: 'b', incarnation: 'run-2', claim: 1 },
    withdrawn,
  })
  const merged = (x: Note[], y: Note[]) =>
    decodeNotes(
      notesKey,
      mergeRecords(notesKey, encodeNotes({ overflow: false, notes: x }), encodeNotes({ overflow: false, notes: y })),
    )
  t.same(merged([note('alice', 1)], [note('bob', 2)]), { overflow: false, notes: [note('alice', 1), note('bob', 2)] })
  t.same(merged([note('alice', 1)], [note('alice', 2, true)]).notes, [note('alice', 2, true)])
  t.same(merged([note('alice', 2)], [note('alice', 2, true)]).notes, [note('alice', 2)])
  const many = (of: string) => Array.from({ length: notesMax }, (_, i) => note(`${of}${i}`, 1))
  t.same(merged(many('a'), many('a')).notes.length, notesMax)
  t.same(merged(many('a'), many('b')), { overflow: true, notes: [] })
  const unreadable = mergeRecords(notesKey, new Uint8Array([1]), encodeNotes({ overflow: false, notes: [note('alice', 1)] }))
  t.same(decodeNotes(notesKey, unreadable), { overflow: true, notes: [] })
})
