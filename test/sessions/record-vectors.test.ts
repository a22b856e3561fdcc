/** test/vectors/records.json: what every version writes into the datastore, and reads there. */
import { readFileSync } from 'node:fs'
import { unpack } from 'msgpackr'
import t from 'tap'
import {
  decodeNotes,
  decodePeer,
  decodeSession,
  encodeNotes,
  encodePeer,
  encodeSession,
  isUnreadable,
  Keys,
  kindOf,
} from '../../lib/sessions/records.ts'

type Kind = 'peer' | 'session' | 'notes'

interface Vector {
  kind: Kind
  key: string
  record: object
  hex: string
}

const vectors = JSON.parse(readFileSync('test/vectors/records.json', 'utf8')) as {
  version: string
  keys: { cluster: string; kind: Kind; name: string; key: string }[]
  written: Vector[]
  read: Vector[]
  unreadable: { kind: Kind; hex: string; why: string }[]
}

const encode = { peer: encodePeer, session: encodeSession, notes: encodeNotes } as Record<Kind, (record: never) => Uint8Array>
const decode = {
  peer: (key: string, bytes: Uint8Array) => decodePeer(key, key.split(':').at(-1)!, bytes),
  session: decodeSession,
  notes: decodeNotes,
}

/** What JSON does not keep: a record says of some fields that they are not there. */
const plain = (record: object): unknown => JSON.parse(JSON.stringify(record))

t.test('keys are those of version 1', async t => {
  t.equal(vectors.version, 'v1')
  for (const { cluster, kind, name, key } of vectors.keys) {
    t.equal(new Keys(cluster)[kind](name), key)
    t.equal(kindOf(key), kind)
  }
})

t.test('F21: records of version 1 are written so, and read so', async t => {
  t.same([...new Set(vectors.written.map(({ kind }) => kind))].sort(), ['notes', 'peer', 'session'])
  for (const { kind, key, record, hex } of vectors.written) {
    t.equal(Buffer.from(encode[kind](record as never)).toString('hex'), hex, `${kind}: written`)
    t.same(plain(decode[kind](key, Buffer.from(hex, 'hex'))), record, `${kind}: read`)
    t.equal(typeof unpack(Buffer.from(hex, 'hex')), 'object', 'by any decoder of msgpack')
  }
})

t.test('F21: what a later version adds to a record counts for nothing', async t => {
  for (const { kind, key, record, hex } of vectors.read)
    t.same(plain(decode[kind](key, Buffer.from(hex, 'hex'))), record, `${kind}: ${hex}`)
})

t.test('what is no record of version 1 is unreadable', async t => {
  for (const { kind, hex, why } of vectors.unreadable) {
    try {
      decode[kind]('homing:homing:sessions:x', Buffer.from(hex, 'hex'))
      t.fail(why)
    } catch (error) {
      t.ok(isUnreadable(error), why)
    }
  }
})
