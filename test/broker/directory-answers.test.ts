/** What a peer takes for an answer, or for news, of its broker: whatever passes is relied on, field by field. */
import t from 'tap'
import { readAnswer, readNews } from '../../lib/broker/directory-answers.ts'
import type { Question } from '../../lib/broker/directory-protocol.ts'

const owner = { identity: 'a', incarnation: '1', claim: 1 }
const member = { identity: 'a', incarnation: '1', endpoints: ['tcp://h:1'], role: 'peer', state: 'up', version: '1', machine: 'm', metadata: {} } as const // prettier-ignore
const located = { address: 'alice', owner, moving: false, member }
const session = { address: 'alice', owner, moving: true }
const held = { address: 'alice', claim: 1 }

const join: Question = { op: 'join', member }
const claim: Question = { op: 'claim', claims: [held, { address: 'bob', claim: 2 }], ms: 1 }
const release: Question = { op: 'release', claims: [held], ms: 1 }
const reassert: Question = { op: 'reassert', claims: [held], ms: 1 }
const find: Question = { op: 'find', addresses: ['alice', 'bob'] }
const wait: Question = { op: 'wait', address: 'alice', ms: 1 }
const sessions: Question = { op: 'sessions', cursor: 0 }
const oneMember: Question = { op: 'member', identity: 'a' }
const members: Question = { op: 'members' }

t.test('answers', async t => {
  const fine: [Question, unknown][] = [
    [join, { members: [] }],
    [join, { members: [member, { ...member, via: 'hub', endpoints: [], role: 'broker', later: true }] }],
    [claim, { previous: [null, owner] }],
    [claim, { previous: [null, owner], overtaken: [{ at: 0, owner }] }],
    [release, { released: [{ at: 'released' }] }],
    [release, { released: [{ at: 'elsewhere', owner }] }],
    [release, { released: [{ at: 'absent' }] }],
    [reassert, { elsewhere: [] }],
    [reassert, { elsewhere: [{ at: 0, owner }] }],
    [find, { located: [located, null] }],
    [wait, { located: null }],
    [wait, { located }],
    [sessions, { sessions: [session], cursor: 0 }],
    [oneMember, { member: null }],
    [oneMember, { member }],
    [members, { members: [member] }],
    [{ op: 'moving', claims: [held], ms: 1 }, null],
    [{ op: 'leave' }, null],
  ]
  for (const [question, answer] of fine) t.equal(readAnswer(question, answer), answer, JSON.stringify(answer))
})

t.test('what is no answer', async t => {
  const bad: [Question, unknown][] = [
    [join, null],
    [join, { members: {} }],
    [join, { members: [null] }],
    [join, { members: [{ ...member, endpoints: undefined }] }],
    [join, { members: [{ ...member, endpoints: [1] }] }],
    [join, { members: [{ ...member, role: 'king' }] }],
    [join, { members: [{ ...member, via: 7 }] }],
    [join, { members: [{ ...member, identity: 'a\n' }] }],
    [join, { members: [{ ...member, metadata: null }] }],
    [claim, { previous: [null] }],
    [claim, { previous: [null, owner], overtaken: [{ at: 0 }] }],
    [claim, { previous: [null, owner], overtaken: owner }],
    [claim, { previous: [null, { ...owner, claim: 0 }] }],
    [release, { released: [] }],
    [release, { released: [{ at: 'nowhere' }] }],
    [release, { released: [{ at: 'elsewhere' }] }],
    [reassert, 'fine'],
    [reassert, { elsewhere: [{ at: -1, owner }] }],
    [reassert, { elsewhere: [{ at: 0 }] }],
    [find, { located: [located] }],
    [find, { located: [{ ...located, member: undefined }, null] }],
    [find, { located: [{ ...located, moving: 1 }, null] }],
    [wait, {}],
    [sessions, { sessions: [session] }],
    [sessions, { sessions: [{ ...session, address: 7 }], cursor: 0 }],
    [oneMember, {}],
    [members, []],
  ]
  for (const [question, answer] of bad)
    t.throws(() => readAnswer(question, answer), { code: 'DATASTORE' }, `${question.op} ${JSON.stringify(answer)}`)
})

t.test('news', async t => {
  for (const news of [
    { op: 'displaced', address: 'alice', claim: 1, by: owner },
    { op: 'revalidate' },
    { op: 'memberUp', member },
    { op: 'memberChanged', member },
    { op: 'memberDown', run: owner, why: 'left' },
    { op: 'store', up: false, text: 'down' },
    { op: 'fenced', by: owner },
  ]) {
    t.equal(readNews(news), news, news.op)
  }
  for (const unknown of [null, 'revalidate', [], {}, { op: 'party' }, { op: '__proto__' }, { op: 7 }])
    t.equal(readNews(unknown), undefined, JSON.stringify(unknown))
  for (const malformed of [
    { op: 'displaced', address: '', claim: 1, by: owner },
    { op: 'displaced', address: 'alice', claim: '1', by: owner },
    { op: 'displaced', address: 'alice', claim: 1 },
    { op: 'memberUp' },
    { op: 'memberChanged', member: { ...member, endpoints: 'tcp://h:1' } },
    { op: 'memberDown', run: null, why: 'left' },
    { op: 'memberDown', run: owner, why: 'bored' },
    { op: 'store', up: 1, text: '' },
    { op: 'fenced' },
  ]) {
    t.throws(() => readNews(malformed), { code: 'REFUSED' }, JSON.stringify(malformed))
  }
})
