/**
 * What two records become that were written under one key at the same moment, where the datastore kept both. Every reader comes to the
 * same: the merge is commutative, associative and idempotent.
 */

import type { Merge } from '../datastores/datastore.ts'
import type { Owner } from './directory.ts'
import {
  decodeNotes,
  decodePeer,
  decodeSession,
  encodeNotes,
  encodeSession,
  isUnreadable,
  kindOf,
  notesMax,
  sameClaim,
  type Note,
  type NotesRecord,
  type PeerRecord,
  type SessionRecord,
} from './records.ts'

/** For `openDatastore`. */
export const mergeRecords: Merge = (key, a, b) => {
  if (Buffer.compare(a, b) === 0) return a
  switch (kindOf(key)) {
    case 'session':
      return mergeSessions(key, a, b)
    case 'peer':
      return mergePeers(key, a, b)
    case 'notes':
      return encodeNotes(mergedNotes(readNotes(key, a), readNotes(key, b)))
    case undefined:
      return greaterBytes(a, b)
  }
}

/** The later claim stays: by its time, then by its incarnation, and so on to the end, so that there are no two equal ones. */
function mergeSessions(key: string, a: Uint8Array, b: Uint8Array): Uint8Array {
  const [one, other] = [a, b].map(bytes => readable(() => decodeSession(key, bytes)))
  if (!one || !other) return one ? a : other ? b : greaterBytes(a, b)
  const order = compareClaims(one, other)
  if (order !== 0) return order > 0 ? a : b
  return encodeSession({
    owner: one.owner,
    previous: greaterOwner(one.previous, other.previous),
    moving: one.moving || other.moving, // a mark that was made stays: nobody takes it back
    ...(one.timeMs ? { timeMs: one.timeMs } : {}), // none and 0 are the same time, and must be written alike
  })
}

function compareClaims(a: SessionRecord, b: SessionRecord): number {
  return (a.timeMs ?? 0) - (b.timeMs ?? 0) || compareOwners(a.owner, b.owner)
}

/**
 * The one that was renewed more often; whoever takes an identity over counts on from there. Of one run that renewed twice at the same
 * moment, the one that says that it is leaving.
 */
function mergePeers(key: string, a: Uint8Array, b: Uint8Array): Uint8Array {
  const [one, other] = [a, b].map(bytes => readable(() => decodePeer(key, '', bytes)))
  if (!one || !other) return one ? a : other ? b : greaterBytes(a, b)
  const order = comparePeers(one, other)
  return order === 0 ? greaterBytes(a, b) : order > 0 ? a : b
}

function comparePeers(a: PeerRecord, b: PeerRecord): number {
  return (
    a.beat - b.beat ||
    compareTexts(a.member.incarnation, b.member.incarnation) ||
    Number(a.member.state === 'draining') - Number(b.member.state === 'draining')
  )
}

/** All of them. What cannot be read stands for everything, as it does for its reader. */
function mergedNotes(a: NotesRecord, b: NotesRecord): NotesRecord {
  const overflow: NotesRecord = { overflow: true, notes: [] }
  if (a.overflow || b.overflow) return overflow
  const notes = new Map<string, Note>()
  for (const note of [...a.notes, ...b.notes]) {
    const name = `${note.incarnation}:${note.address}`
    const known = notes.get(name)
    if (!known || compareNotes(note, known) > 0) notes.set(name, note)
  }
  if (notes.size > notesMax) return overflow
  return { overflow: false, notes: [...notes].toSorted(([m], [n]) => compareTexts(m, n)).map(([, note]) => note) }
}

/** The one for the later claim; of those, one that was not withdrawn. */
function compareNotes(a: Note, b: Note): number {
  return a.claim - b.claim || Number(b.withdrawn) - Number(a.withdrawn) || compareOwners(a.by, b.by)
}

function readNotes(key: string, bytes: Uint8Array): NotesRecord {
  return readable(() => decodeNotes(key, bytes)) ?? { overflow: true, notes: [] }
}

function readable<R>(read: () => R): R | undefined {
  try {
    return read()
  } catch (error) {
    if (isUnreadable(error)) return undefined
    throw error
  }
}

function greaterOwner(a: Owner | undefined, b: Owner | undefined): Owner | undefined {
  if (!a || !b) return a ?? b
  return sameClaim(a, b) || compareOwners(a, b) > 0 ? a : b
}

function compareOwners(a: Owner, b: Owner): number {
  return compareTexts(a.incarnation, b.incarnation) || compareTexts(a.identity, b.identity) || a.claim - b.claim
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

function greaterBytes(a: Uint8Array, b: Uint8Array): Uint8Array {
  return Buffer.compare(a, b) >= 0 ? a : b
}
