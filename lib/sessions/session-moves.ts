/** What one operation on an address does about the record that it found: pure decisions, no I/O. */

import type { Held, Owner, Released, Run } from './directory.ts'
import { sameClaim, sameRun, type SessionRecord } from './records.ts'

/**
 * `reassert`: a claim that should be there already, after a time in which the datastore or this peer may have lost it. `revoke`: a claim
 * that its caller does not wait for any more, whether or not it was written.
 */
export type MoveKind = 'claim' | 'reassert' | 'release' | 'revoke' | 'moving'

/** One operation, and what is known of its earlier attempts. */
export interface Move extends Held {
  readonly kind: MoveKind
  readonly run: Run
  /** A write of it left and was neither confirmed nor refused: it may have happened, or may happen yet. */
  readonly wrote: boolean
  /** Another process may have written it as well. */
  readonly again: boolean
}

/**
 * What each kind of operation resolves to. `previous` is whom a claim was written over: perhaps an earlier claim of the same run; `overtakenBy`
 * who was written over it before its writer learnt of it.
 */
export type Moved =
  | { kind: 'claim'; previous: Owner | undefined; overtakenBy?: Owner }
  | { kind: 'reassert'; by: Owner | undefined }
  | { kind: 'release'; released: Released }
  | { kind: 'moving' }

/** The next step: it is done already, a write, or a removal (both over what was read). */
export type Step = { done: Moved } | { write: SessionRecord; then: Moved } | { remove: true; then: Moved }

/**
 * `unreadable`: a record is there and cannot be read. A claim goes over it: an address that nobody can ever claim again helps no one.
 * `nowMs`: the wall clock, on a datastore that may keep two claims at once (see `SessionRecord.timeMs`).
 */
export function nextStep(move: Move, found: SessionRecord | 'unreadable' | undefined, nowMs?: number): Step {
  switch (move.kind) {
    case 'claim':
      return claimStep(move, found, nowMs)
    case 'reassert':
      return reassertStep(move, found, nowMs)
    case 'release':
    case 'revoke':
      return releaseStep(move, found)
    case 'moving':
      return movingStep(move, found)
  }
}

function ownerOf(move: Move): Owner {
  return { identity: move.run.identity, incarnation: move.run.incarnation, claim: move.claim }
}

function written(move: Move, previous: Owner | undefined, timeMs?: number): SessionRecord {
  const record: SessionRecord = { owner: ownerOf(move), previous, moving: false }
  return timeMs === undefined ? record : { ...record, timeMs }
}

/** Later than what it is knowingly written over, whatever the clocks of the two machines say. */
function timeOver(nowMs: number | undefined, found?: SessionRecord): number | undefined {
  return nowMs === undefined ? undefined : Math.max(Math.floor(nowMs), (found?.timeMs ?? 0) + 1)
}

const claimedFreely: Moved = { kind: 'claim', previous: undefined }

function claimed(previous: Owner | undefined): Moved {
  return previous ? { kind: 'claim', previous } : claimedFreely
}

function claimStep(move: Move, found: SessionRecord | 'unreadable' | undefined, nowMs: number | undefined): Step {
  if (found === undefined || found === 'unreadable')
    return { write: written(move, undefined, timeOver(nowMs)), then: claimed(undefined) }
  if (sameRun(found.owner, move.run) && found.owner.claim >= move.claim) {
    // Ours, written by an attempt whose answer was lost; or a later one, which must not be undone.
    return { done: claimed(found.owner.claim === move.claim ? found.previous : undefined) }
  }
  // An attempt of ours succeeded and was overtaken before we learnt it, or a later claim of this run was: the other one is newer, and stays.
  if (found.previous && sameRun(found.previous, move.run)) {
    const mayBeThis = found.previous.claim === move.claim && (move.wrote || move.again)
    if (mayBeThis || found.previous.claim > move.claim)
      return { done: { kind: 'claim', previous: undefined, overtakenBy: found.owner } }
  }
  return { write: written(move, found.owner, timeOver(nowMs, found)), then: claimed(found.owner) }
}

function reassertStep(move: Move, found: SessionRecord | 'unreadable' | undefined, nowMs: number | undefined): Step {
  const kept: Moved = { kind: 'reassert', by: undefined }
  // Without a time: whoever connected meanwhile, without seeing it, came later.
  if (found === undefined || found === 'unreadable') return { write: written(move, undefined), then: kept }
  if (!sameRun(found.owner, move.run)) return { done: { kind: 'reassert', by: found.owner } }
  if (found.owner.claim >= move.claim) return { done: kept }
  // The datastore lost our last write and has the one before.
  return { write: written(move, found.previous, timeOver(nowMs, found)), then: kept }
}

function releaseStep(move: Move, found: SessionRecord | 'unreadable' | undefined): Step {
  const released: Moved = { kind: 'release', released: { at: 'released' } }
  if (found === undefined) return { done: move.wrote ? released : { kind: 'release', released: { at: 'absent' } } }
  if (found !== 'unreadable' && sameClaim(found.owner, ownerOf(move))) return { remove: true, then: released }
  // What cannot be read does not carry our claim.
  return {
    done: { kind: 'release', released: found === 'unreadable' ? { at: 'absent' } : { at: 'elsewhere', owner: found.owner } },
  }
}

function movingStep(move: Move, found: SessionRecord | 'unreadable' | undefined): Step {
  const moved: Moved = { kind: 'moving' }
  if (found === undefined || found === 'unreadable' || found.moving || !sameClaim(found.owner, ownerOf(move)))
    return { done: moved }
  return { write: { ...found, moving: true }, then: moved }
}
