import t from 'tap'
import { pack } from 'msgpackr'
import {
  decodeNotes,
  decodePeer,
  decodeSession,
  encodeNotes,
  encodePeer,
  encodeSession,
  isUnreadable,
  Keys,
  type PeerRecord,
} from '../../lib/sessions/records.ts'

const owner = { identity: 'a', incarnation: 'run-1', claim: 7 }
const peer: PeerRecord = {
  member: {
    identity: 'a',
    incarnation: 'run-1',
    endpoints: ['tcp://127.0.0.1:1', 'unix:/x'],
    via: 'broker-1',
    role: 'peer',
    state: 'draining',
    version: '0.1.0',
    machine: 'here',
    metadata: { services: { types: ['x'] } },
  },
  beat: 2 ** 40,
}

t.test('records come back as they were written', async t => {
  t.same(decodePeer('k', 'a', encodePeer(peer)), peer)
  const { via: _, ...unlinked } = peer.member
  t.same(decodePeer('k', 'a', encodePeer({ member: unlinked, beat: 1 })), { member: unlinked, beat: 1 })
  for (const moving of [true, false]) {
    for (const previous of [undefined, { ...owner, identity: 'b' }]) {
      const session = { owner, previous, moving }
      t.same(decodeSession('k', encodeSession(session)), session)
    }
  }
  const note = { address: 'alice', incarnation: 'run-1', claim: 3, by: owner, withdrawn: false }
  const notes = { overflow: false, notes: [note, { ...note, withdrawn: true }] }
  t.same(decodeNotes('k', encodeNotes(notes)), notes)
  t.same(decodeNotes('k', encodeNotes({ overflow: true, notes: [] })), { overflow: true, notes: [] })
})

t.test('a session record is small', async t => {
  const bytes = encodeSession({
    owner: { identity: 'server-1', incarnation: '0123456789abcdef', claim: 1 },
    previous: undefined,
    moving: false,
  })
  t.ok(bytes.length < 48, `${bytes.length} bytes`)
})

t.test('unknown fields are passed over', async t => {
  t.same(decodeSession('k', pack({ i: 'a', n: 'run-1', c: 7, z: { new: true } })), { owner, previous: undefined, moving: false })
})

t.test('what is no record is unreadable, and the error names the key', async t => {
  const garbage = [
    new Uint8Array(),
    new Uint8Array([0xc1]),
    new TextEncoder().encode('{"i":"a"}'),
    pack('text'),
    pack([1, 2, 3]),
    pack({}),
    pack({ i: 'a', n: 'run-1', c: -1 }),
    pack({ i: 'a', n: 1, c: 1 }),
    pack({ i: 'a', n: 'b', c: 1, p: ['a'] }),
    pack({ l: [['alice']] }),
    encodeSession({ owner, previous: owner, moving: true }).subarray(0, 20),
  ]
  for (const bytes of garbage) {
    for (const decode of [decodeSession, decodeNotes, (key: string, given: Uint8Array) => decodePeer(key, 'a', given)]) {
      try {
        decode('the-key', bytes)
        t.fail(`accepted ${Buffer.from(bytes).toString('hex')}`)
      } catch (error) {
        t.ok(isUnreadable(error), String(error))
        t.match((error as Error).message, 'the-key')
      }
    }
  }
})

t.test('F24: a record that claims millions of elements is unreadable, and takes no memory', async t => {
  const before = process.memoryUsage().heapUsed
  for (const hex of ['dd01ffffff', 'df01ffffff', '81a16cdd01ffffff', 'd57240019100', 'c70573']) {
    t.throws(() => decodeNotes('k', Buffer.from(hex, 'hex')), { code: 'DATASTORE', message: /unreadable/ }, hex)
  }
  t.ok(process.memoryUsage().heapUsed - before < 8 << 20)
})

t.test('metadata of layers is any body: integers of any size, dates, keys of any name; what is none is refused', async t => {
  const metadata = JSON.parse('{"__proto__":{"a":1},"x":[null]}') as Record<string, unknown>
  Object.assign(metadata, { big: 1n << 70n, at: new Date(5), bytes: Buffer.from([1]) })
  const read = decodePeer('k', 'a', encodePeer({ ...peer, member: { ...peer.member, metadata } })).member.metadata
  t.same(Object.keys(read), Object.keys(metadata))
  t.equal(read.big, 1n << 70n)
  t.ok(Object.hasOwn(read, '__proto__'))
  t.throws(() => encodePeer({ ...peer, member: { ...peer.member, metadata: { f: () => 1 } } }), { code: 'UNENCODABLE' })
})

t.test('keys: one cluster never reads within another, and none is too long', async t => {
  const keys = new Keys('main')
  t.equal(keys.session('alice'), 'homing:main:sessions:alice')
  t.equal(keys.peer('server-1'), 'homing:main:peers:server-1')
  t.equal(keys.notes('server-1'), 'homing:main:notes:server-1')
  for (const cluster of ['', 'a:b']) t.throws(() => new Keys(cluster), { code: 'BAD_OPTION' })
  t.throws(() => keys.session(''), { code: 'BAD_OPTION' })
  t.throws(() => keys.session('ä'.repeat(120)), { code: 'BAD_OPTION' })
  t.equal(Buffer.byteLength(keys.session('ä'.repeat(109))), 239)
})
