/** What the session store writes: the keys, and the records under them: maps with short names, encoded as bodies are. */

import { keyBytesMax } from '../datastores/limits.ts'
import { HomingError } from '../errors.ts'
import { decodeBody, encodeBody } from '../wire/body.ts'
import { FINE, scanBody, scanError } from '../wire/scan.ts'
import type { Member, Owner, Run } from './directory.ts'

/** What a peer says of itself, and the counter that shows that it lives. */
export interface PeerRecord {
  readonly member: Member
  /** Grows with each renewal of one incarnation; only a change of it is looked at. */
  readonly beat: number
}

/** Who holds an address. */
export interface SessionRecord {
  readonly owner: Owner
  /** Whom this claim displaced: lets a former owner recognise a claim of its own that was overtaken. */
  readonly previous: Owner | undefined
  readonly moving: boolean
  /**
   * When the owner connected: its wall clock, or one more than the time of the claim that it displaced. Only on a datastore that may keep
   * two claims at once, where the later one stays; absent otherwise, and where a record that was lost was put back.
   */
  readonly timeMs?: number
}

/** Tells one claim of a former owner that `by` came after it: a hint to look at the session's own record. */
export interface Note {
  readonly address: string
  /** The run and the claim that the note is for. */
  readonly incarnation: string
  readonly claim: number
  readonly by: Owner
  /** `by` was given up again: if nobody holds the address now, the former owner still does. */
  readonly withdrawn: boolean
}

/** All notes for one identity. */
export interface NotesRecord {
  /** There were too many: everything is to be revalidated. */
  readonly overflow: boolean
  readonly notes: readonly Note[]
}

/** Protects the record of notes from growing without an end; beyond it `overflow` says the same with one bit. */
export const notesMax = 1_000

const encoder = new TextEncoder()

/** The keys of one cluster. */
export class Keys {
  readonly peers: string
  readonly sessions: string
  readonly signs: string
  readonly #notes: string

  constructor(cluster: string) {
    // A colon would let the keys of one cluster lie within those of another.
    if (cluster === '' || cluster.includes(':')) {
      throw new HomingError('BAD_OPTION', `the cluster's name is not empty and has no colon: '${cluster}'`)
    }
    this.peers = `homing:${cluster}:peers:`
    this.sessions = `homing:${cluster}:sessions:`
    this.signs = `homing:${cluster}:signs:`
    this.#notes = `homing:${cluster}:notes:`
  }

  peer(identity: string): string {
    return checked(this.peers, identity, 'identity')
  }

  session(address: string): string {
    return checked(this.sessions, address, 'address')
  }

  /** A run shows that it lives by each of its connections to the datastore. */
  sign(incarnation: string, by: 'main' | 'pulse'): string {
    return checked(this.signs, `${incarnation}/${by}`, 'incarnation')
  }

  notes(identity: string): string {
    return checked(this.#notes, identity, 'identity')
  }
}

/** Which record is under a key; `undefined`: none of ours. */
export function kindOf(key: string): 'peer' | 'session' | 'notes' | undefined {
  const [, kind] = /^homing:[^:]+:(peer|session|note)s:/.exec(key) ?? []
  return kind === 'note' ? 'notes' : (kind as 'peer' | 'session' | undefined)
}

function checked(prefix: string, name: string, what: string): string {
  const key = prefix + name
  // A UTF-16 unit takes at most three bytes: most names need no encoding to be known as short enough.
  if (key.length * 3 > keyBytesMax && encoder.encode(key).length > keyBytesMax) {
    const roomBytes = keyBytesMax - encoder.encode(prefix).length
    throw new HomingError('BAD_OPTION', `the ${what} '${name.slice(0, 40)}...' is longer than ${roomBytes} bytes`)
  }
  if (name === '') throw new HomingError('BAD_OPTION', `the ${what} is empty`)
  return key
}

type Fields = Readonly<Record<string, unknown>>

function unpack<R>(key: string, bytes: Uint8Array, read: (fields: Fields) => R): R {
  try {
    // Others write to the datastore as well, and disks fail: nothing is believed, not even a length.
    const scan = scanBody(bytes, 0, bytes.length)
    if (scan !== FINE) throw new TypeError(scanError(scan))
    return read(fieldsOf(decodeBody(bytes, 0, bytes.length)))
  } catch (cause) {
    throw new HomingError('DATASTORE', `unreadable record under '${key}'`, { cause })
  }
}

/** A record that is there and cannot be read: by another program, or damaged. */
export function isUnreadable(error: unknown): error is HomingError {
  return error instanceof HomingError && error.code === 'DATASTORE' && error.message.startsWith('unreadable record')
}

/** The record, or that it is unreadable; what is wrong with it is told. */
export function decodeOrTell(key: string, bytes: Uint8Array, tell: (error: HomingError) => void): SessionRecord | 'unreadable' {
  try {
    return decodeSession(key, bytes)
  } catch (error) {
    if (!isUnreadable(error)) throw error
    tell(error)
    return 'unreadable'
  }
}

/** Throws `UNENCODABLE`, `TOO_LARGE` for metadata that no body could be. */
export function encodePeer({ member, beat }: PeerRecord): Uint8Array {
  return encodeBody({
    n: member.incarnation,
    b: beat,
    e: member.endpoints,
    ...(member.via === undefined ? {} : { v: member.via }),
    r: member.role,
    s: member.state,
    l: member.version,
    m: member.machine,
    x: member.metadata,
  })
}

/** Whether two descriptions of a peer would be written alike. */
export function sameMember(a: Member, b: Member): boolean {
  return Buffer.compare(encodePeer({ member: a, beat: 0 }), encodePeer({ member: b, beat: 0 })) === 0
}

/** The identity is not in the record but in its key. */
export function decodePeer(key: string, identity: string, bytes: Uint8Array): PeerRecord {
  return unpack(key, bytes, fields => ({
    member: {
      identity,
      incarnation: text(fields, 'n'),
      endpoints: list(fields, 'e').map(endpoint => textOf(endpoint, 'e')),
      ...(fields.v === undefined ? {} : { via: text(fields, 'v') }),
      role: oneOf(fields, 'r', ['peer', 'broker'] as const),
      state: oneOf(fields, 's', ['up', 'draining'] as const),
      version: text(fields, 'l'),
      machine: text(fields, 'm'),
      metadata: fieldsOf(fields.x),
    },
    beat: count(fields.b, 'b'),
  }))
}

export function encodeSession({ owner, previous, moving, timeMs }: SessionRecord): Uint8Array {
  const fields: Record<string, unknown> = { i: owner.identity, n: owner.incarnation, c: owner.claim }
  if (previous) fields.p = ownerList(previous)
  if (moving) fields.m = 1
  if (timeMs !== undefined) fields.t = timeMs
  return encodeBody(fields)
}

export function decodeSession(key: string, bytes: Uint8Array): SessionRecord {
  return unpack(key, bytes, fields => ({
    owner: { identity: text(fields, 'i'), incarnation: text(fields, 'n'), claim: count(fields.c, 'c') },
    previous: fields.p === undefined ? undefined : ownerOf(list(fields, 'p')),
    moving: fields.m !== undefined && fields.m !== 0 && fields.m !== false,
    ...(fields.t === undefined ? {} : { timeMs: count(fields.t, 't') }),
  }))
}

export function encodeNotes({ overflow, notes }: NotesRecord): Uint8Array {
  return encodeBody({
    ...(overflow ? { o: 1 } : {}),
    l: notes.map(note => [note.address, note.incarnation, note.claim, ...ownerList(note.by), ...(note.withdrawn ? [1] : [])]),
  })
}

export function decodeNotes(key: string, bytes: Uint8Array): NotesRecord {
  return unpack(key, bytes, fields => ({
    overflow: fields.o !== undefined && fields.o !== 0 && fields.o !== false,
    notes: list(fields, 'l').map(noteOf),
  }))
}

function noteOf(row: unknown): Note {
  if (!Array.isArray(row)) throw new TypeError('a note is a list')
  const [address, incarnation, claim, ...by] = row as unknown[]
  return {
    address: textOf(address, 'address'),
    incarnation: textOf(incarnation, 'incarnation'),
    claim: count(claim, 'claim'),
    by: ownerOf(by),
    withdrawn: by[3] === 1,
  }
}

function ownerList(owner: Owner): [string, string, number] {
  return [owner.identity, owner.incarnation, owner.claim]
}

function ownerOf([identity, incarnation, claim]: readonly unknown[]): Owner {
  return { identity: textOf(identity, 'identity'), incarnation: textOf(incarnation, 'incarnation'), claim: count(claim, 'claim') }
}

function fieldsOf(value: unknown): Fields {
  if (value === null || typeof value !== 'object' || Array.isArray(value) || ArrayBuffer.isView(value))
    throw new TypeError('not a map')
  return value as Fields
}

function text(fields: Fields, name: string): string {
  return textOf(fields[name], name)
}

function textOf(value: unknown, name: string): string {
  if (typeof value !== 'string') throw new TypeError(`'${name}' is no text`)
  return value
}

function count(value: unknown, name: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw new TypeError(`'${name}' is no count`)
  return value as number
}

function list(fields: Fields, name: string): readonly unknown[] {
  const value = fields[name]
  if (!Array.isArray(value)) throw new TypeError(`'${name}' is no list`)
  return value as unknown[]
}

function oneOf<T extends string>(fields: Fields, name: string, allowed: readonly T[]): T {
  const found = allowed.find(value => value === fields[name])
  if (found === undefined) throw new TypeError(`'${name}' is none of ${allowed.join(', ')}`)
  return found
}

export function sameRun(a: Run, b: Run): boolean {
  return a.identity === b.identity && a.incarnation === b.incarnation
}

export function sameClaim(a: Owner, b: Owner): boolean {
  return sameRun(a, b) && a.claim === b.claim
}
