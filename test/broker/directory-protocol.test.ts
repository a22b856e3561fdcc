/** What a broker takes for a question. Whatever passes goes into records that every peer of the cluster reads. */
import t from 'tap'
import { readQuestion } from '../../lib/broker/directory-protocol.ts'

const member = {
  identity: 'a',
  incarnation: '1',
  endpoints: [],
  role: 'peer',
  state: 'up',
  version: '1.0.0',
  machine: 'here',
  metadata: {},
}
const held = { address: 'alice', claim: 1 }
const owner = { identity: 'a', incarnation: '1', claim: 1 }

t.test('questions', async t => {
  for (const question of [
    { op: 'join', member },
    { op: 'join', member: { ...member, state: 'draining', metadata: { 'x/1': { any: ['thing'] } }, later: true } },
    { op: 'claim', claims: [], ms: 0 },
    { op: 'claim', claims: [held], ms: 1_000, later: true },
    { op: 'release', claims: [held], ms: 1.5 },
    { op: 'reassert', claims: Array.from({ length: 1_000 }, (_, i) => ({ address: `a${i}`, claim: i + 1 })), ms: 1 },
    { op: 'moving', claims: [{ address: 'a', claim: Number.MAX_SAFE_INTEGER }], ms: 1 },
    { op: 'find', addresses: [] },
    { op: 'find', addresses: ['alice', 'bob'] },
    { op: 'wait', address: 'alice', ms: 0 },
    { op: 'sessions', cursor: 0 },
    { op: 'member', identity: 'a' },
    { op: 'members' },
    { op: 'note', to: owner, address: 'alice', by: owner },
    { op: 'update', member },
    { op: 'leave' },
  ]) {
    t.equal(readQuestion(question), question, question.op)
  }
})

t.test('what is refused', async t => {
  const claims = (...given: unknown[]) => ({ op: 'claim', claims: given, ms: 1_000 })
  const of = (op: string, change: object) => ({ op, member: { ...member, ...change } })
  for (const body of [
    null,
    'join',
    [],
    {},
    { op: 'delete' },
    { op: '__proto__' },
    { op: ['join'], member },
    { op: 'join' },
    { op: 'update', member: null },
    of('join', { identity: undefined }),
    of('join', { incarnation: 7 }),
    of('join', { version: 'x'.repeat(1_001) }),
    of('join', { machine: undefined }),
    of('join', { state: undefined }),
    of('update', { state: 'gone' }),
    of('join', { metadata: undefined }),
    of('join', { metadata: null }),
    of('join', { metadata: [] }),
    of('update', { metadata: new Uint8Array(1) }),
    { op: 'claim', ms: 1_000 },
    { op: 'claim', claims: [held] },
    { op: 'claim', claims: [held], ms: -1 },
    { op: 'claim', claims: [held], ms: Number.NaN },
    { op: 'claim', claims: [held], ms: '1' },
    { op: 'claim', claims: held, ms: 1_000 },
    claims(null),
    claims({ claim: 1 }),
    claims({ address: 7, claim: 1 }),
    claims({ address: 'alice' }),
    claims({ address: 'alice', claim: 1n }),
    claims({ address: 'alice', claim: 0 }),
    claims({ address: 'alice', claim: -1 }),
    claims({ address: 'alice', claim: 1.5 }),
    claims({ address: 'alice', claim: 2 ** 53 }),
    claims(...Array.from({ length: 1_001 }, () => held)),
    { op: 'release', ms: 1 },
    { op: 'reassert', claims: [held] },
    { op: 'find' },
    { op: 'find', addresses: 'alice' },
    { op: 'find', addresses: [null] },
    { op: 'find', addresses: Array.from({ length: 1_001 }, () => 'alice') },
    { op: 'wait', address: 'alice' },
    { op: 'wait', ms: 1 },
    { op: 'sessions' },
    { op: 'sessions', cursor: '0' },
    { op: 'member' },
    { op: 'note', to: owner, address: 'alice' },
    { op: 'note', to: owner, address: 'alice', by: { ...owner, claim: 0 } },
    { op: 'note', to: { identity: 'a', incarnation: '1' }, address: 'alice', by: owner },
    { op: 'note', to: owner, address: 7, by: owner },
  ]) {
    t.throws(
      () => readQuestion(body),
      { code: 'REFUSED' },
      JSON.stringify(body, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))?.slice(0, 100),
    )
  }
})
