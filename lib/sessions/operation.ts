/** One operation on the record of one address, on its way to the datastore, and the call that it is of. */
import type { Timer } from '../env/env.ts'
import type { HomingError } from '../errors.ts'
import type { Held, Owner, Run } from './directory.ts'
import { sameClaim } from './records.ts'
import type { Moved, MoveKind, Step } from './session-moves.ts'

export interface Op extends Held {
  kind: MoveKind
  readonly run: Run
  readonly key: string
  /** Nobody is known to hold the address: a claim is tried without reading. */
  blind: boolean
  wrote: boolean
  /** It was asked for before: another process may have written it. */
  again: boolean
  /** Over whom a write of a claim went that may have taken effect without us knowing: nobody else can tell them. */
  readonly suspects: Owner[]
  races: number
  flying: boolean
  result: Moved | undefined
  /** Absent: nobody waits for it any more. */
  call: Call | undefined
  /** For whom it is, where that one is not this process: it stays with the operation when nobody waits for it any more. */
  asker: Asker | undefined
  /** A release that goes on for its own sake, without a call. */
  orphan: boolean
  pause: Timer | undefined
  /** It waits for a batch to take it along. */
  ready: boolean
  /** Next in line for the same address. */
  behind: Op | undefined
}

/** Somebody else, for whom this process writes. He may go to another one, and ask there for the very same claims. */
export interface Asker {
  /** He asked for it before, perhaps another process: it may have been written, and overtaken since. */
  readonly again: boolean
  /** He waits for it here: asked before each write. */
  isWanted(): boolean
  /** A claim that he did not get here, he cannot have got from another process: asked before each removal of one. */
  mayRevoke(): boolean
}

export interface Call {
  readonly what: string
  readonly ops: readonly Op[]
  left: number
  resolve(results: Moved[]): void
  reject(error: HomingError): void
  timer: Timer | undefined
}

/** A step that writes or removes. */
export type Change = Exclude<Step, { done: Moved }>

export function newOp(kind: MoveKind, run: Run, address: string, claim: number, key: string): Op {
  return {
    kind,
    run,
    address,
    claim,
    key,
    blind: kind === 'claim',
    wrote: false,
    again: false,
    suspects: [],
    races: 0,
    flying: false,
    result: undefined,
    call: undefined,
    asker: undefined,
    orphan: false,
    pause: undefined,
    ready: false,
    behind: undefined,
  }
}

/** Protects the memory of one operation that fails again and again; the first is the one that may have been displaced longest. */
const suspectsMax = 16

/** A write was neither confirmed nor refused. */
export function doubtful(op: Op, step: Change): void {
  op.wrote = true
  if (op.kind === 'claim' && 'write' in step && step.write.previous) suspect(op, step.write.previous)
}

export function suspect(op: Op, owner: Owner): void {
  if (op.suspects.length < suspectsMax && !op.suspects.some(other => sameClaim(other, owner))) op.suspects.push(owner)
}

/** Suspects elsewhere, without the one that the caller of a claim is told of. This run's peer knows of its own claims. */
export function others(op: Op, told: Owner | undefined): Owner[] {
  return op.suspects.filter(owner => owner.identity !== op.run.identity && !(told && sameClaim(owner, told)))
}

/**
 * A claim that took effect unseen, and was overtaken before its answer came, displaced one of its suspects: the caller is told of the last,
 * to take what that one had at once. By its note alone it would hear of that seconds later, and what it took meanwhile would come late.
 */
export function named(op: Op, result: Moved): Moved {
  if (op.suspects.length === 0 || result.kind !== 'claim' || result.previous) return result
  const previous = others(op, undefined).at(-1)
  return previous ? { ...result, previous } : result
}
