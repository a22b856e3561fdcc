/** Records as they come from a datastore that others write to, or that is damaged; and their merge. */
import { mergeRecords } from '../../../lib/sessions/merge.ts'
import {
  decodeNotes,
  decodePeer,
  decodeSession,
  encodeNotes,
  encodePeer,
  encodeSession,
  type Note,
} from '../../../lib/sessions/records.ts'
import type { Member, Owner } from '../../../lib/sessions/directory.ts'
import { encodeBody } from '../../../lib/wire/body.ts'
import { bodyWords } from '../dictionary.ts'
import { u16 } from '../stream.ts'
import { about, claim, pureTarget, refusal } from '../target.ts'

const kinds = [
  {
    key: 'homing:test:sessions:alice',
    decode: decodeSession,
    again: (bytes: Uint8Array) => encodeSession(decodeSession('k', bytes)),
  },
  {
    key: 'homing:test:peers:a',
    decode: (key: string, bytes: Uint8Array) => decodePeer(key, 'a', bytes),
    again: (bytes: Uint8Array) => encodePeer(decodePeer('k', 'a', bytes)),
  },
  { key: 'homing:test:notes:a', decode: decodeNotes, again: (bytes: Uint8Array) => encodeNotes(decodeNotes('k', bytes)) },
] as const

const [a, b]: Owner[] = [
  { identity: 'a', incarnation: 'run-1', claim: 7 },
  { identity: 'b', incarnation: 'run-2', claim: 2 ** 40 },
]
const member: Member = {
  identity: 'a',
  incarnation: 'run-1',
  endpoints: ['tcp://127.0.0.1:1', 'unix:/x'],
  via: 'hub',
  role: 'peer',
  state: 'up',
  version: '1.0.0',
  machine: 'here',
  metadata: { 'x/1': { deep: [1, { a: null }], date: new Date(1e12), big: 1n << 70n }, ['__proto__']: 1 },
}
const note: Note = { address: 'alice', incarnation: 'run-1', claim: 3, by: b!, withdrawn: true }

/** Which kind, and two records: the first behind its length. */
function pair(kind: number, one: Uint8Array, other: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([kind]), u16(one.length), one, other])
}

function seeds(): Buffer[] {
  const sessions = [
    encodeSession({ owner: a!, previous: undefined, moving: false }),
    encodeSession({ owner: b!, previous: a!, moving: true, timeMs: 1.7e12 }),
    encodeSession({ owner: b!, previous: b!, moving: false, timeMs: 0 }),
  ]
  const peers = [encodePeer({ member, beat: 9 }), encodePeer({ member: { ...member, state: 'draining', metadata: {} }, beat: 9 })]
  const notes = [
    encodeNotes({ overflow: false, notes: [note, { ...note, address: 'bob', withdrawn: false }] }),
    encodeNotes({ overflow: true, notes: [] }),
    encodeNotes({ overflow: false, notes: [{ ...note, claim: 4 }] }),
  ]
  return [sessions, peers, notes].flatMap((records, kind) => records.flatMap(one => records.map(other => pair(kind, one, other))))
}

const same = (x: Uint8Array, y: Uint8Array): boolean => Buffer.compare(x, y) === 0

export const recordsTarget = pureTarget(
  {
    name: 'records',
    about: 'records of sessions, peers and notes from a datastore, and what two of them become together',
    bytesMax: 4_096,
    dictionary: [
      ...bodyWords,
      ...['i', 'n', 'c', 'p', 'm', 't', 'b', 'e', 'v', 'r', 's', 'l', 'x', 'o', 'up', 'run-1', 'a'].map(key => encodeBody(key)),
    ],
    seeds,
  },
  input => {
    const { key, decode, again } = kinds[(input[0] ?? 0) % kinds.length]!
    const end = 3 + (input.length >= 3 ? input.readUInt16BE(1) : 0)
    const [one, other] = [input.subarray(3, end), input.subarray(end)]
    const words: string[] = [key]
    for (const bytes of [one, other]) {
      try {
        const record = decode(key, bytes)
        const written = again(bytes)
        claim(same(again(written), written), 'a record has two forms')
        words.push(`fine ${about(JSON.stringify(record, (_, value: unknown) => (typeof value === 'bigint' ? 0 : value)).length)}`)
      } catch (error) {
        words.push(refusal(error, 'DATASTORE'))
      }
    }
    const merged = mergeRecords(key, one, other)
    claim(same(merged, mergeRecords(key, other, one)), 'the merge is not commutative')
    claim(same(mergeRecords(key, one, one), one), 'the merge is not idempotent')
    claim(
      same(mergeRecords(key, merged, one), merged) && same(mergeRecords(key, other, merged), merged),
      'the merge is not absorbing',
    )
    words.push(same(merged, one) ? 'one' : same(merged, other) ? 'other' : 'both')
    return words.join(', ')
  },
)
