/** What the new owner of an address and its former one ask and tell each other. docs/protocol.md, "sessions/1". */
import { HomingError } from '../errors.ts'
import type { Owner, Run } from '../sessions/directory.ts'
import { isCount } from '../wire/count.ts'
import { isName } from '../wire/name.ts'

export const handOverProtocol = 'sessions/1'

/** One message on its way to the new owner. */
export interface Moved {
  from: string
  bytes: Uint8Array
  /** Identity of the peer that sent it; a former owner of an older version says it in `origin` only. */
  peer?: string
  origin: string
  number: number
}

/** A question of the new owner: that address, of that claim of yours, is mine. What is left, from `part` on? Told instead: it has come, up to `part`. */
export interface Take {
  address: string
  claim: number
  by: Owner
  part: number
  /** Who asks will tell when it has come. */
  confirms?: boolean
}

export interface Part {
  messages: Moved[]
  /** Messages that are still to come after this part. */
  left: number
  /** With the first part: the client had begun to give out messages. Not said by an older version, nor where it had ended before. */
  opened?: boolean
}

/** Throws `REFUSED`. */
export function readTake(body: unknown): Take {
  const { address, claim, by, part, confirms } = (body ?? {}) as Partial<Record<keyof Take, unknown>>
  const { identity, incarnation, claim: claimed } = (by ?? {}) as Partial<Record<keyof Owner, unknown>>
  const named = isName(address) && isName(identity) && isName(incarnation)
  if (!named || !isCount(claim) || !isCount(claimed) || !isCount(part)) {
    throw new HomingError('REFUSED', 'not a question of sessions/1')
  }
  return { address, claim, by: { identity, incarnation, claim: claimed }, part, confirms: confirms === true }
}

/** Bodies in it are decoded by the client: they are checked as those that come in messages. Throws `REMOTE`. */
export function readPart(body: unknown, isBody: (bytes: Uint8Array) => boolean): Part {
  const { messages, left, opened } = (body ?? {}) as Partial<Record<keyof Part, unknown>>
  // Nothing, and more to come, again and again: it would be asked for ever.
  const fine = Array.isArray(messages) && isCount(left) && (left === 0 || messages.length > 0)
  if (!fine || !messages.every((moved): moved is Moved => isMoved(moved, isBody))) {
    throw new HomingError('REMOTE', 'not an answer of sessions/1')
  }
  return { messages, left, opened: opened === true }
}

function isMoved(value: unknown, isBody: (bytes: Uint8Array) => boolean): value is Moved {
  const { from, bytes, peer, origin, number } = (value ?? {}) as Partial<Record<keyof Moved, unknown>>
  const named = typeof from === 'string' && typeof origin === 'string' && (peer === undefined || isName(peer))
  return named && Number.isSafeInteger(number) && bytes instanceof Uint8Array && isBody(bytes)
}

export function isOf({ identity, incarnation }: Owner, run: Run): boolean {
  return identity === run.identity && incarnation === run.incarnation
}

/** An origin is identity/incarnation, and an incarnation of this library has no slash. */
export function identityIn(origin: string): string {
  return origin.slice(0, Math.max(0, origin.lastIndexOf('/')))
}
