/** What a peer asks its broker, and what the broker tells it: `directory/1`. docs/protocol.md, "The directory of a broker". */
import { HomingError } from '../errors.ts'
import type { Departure, Held, Located, Member, Owner, Released, Run } from '../sessions/directory.ts'

export const directoryProtocol = 'directory/1'

/** Claims in one question: within the limits of a body. */
export const claimsMax = 1_000

/** Questions of a peer. `ms` is how long the broker may take. */
export type Question =
  | { op: 'join'; member: Member }
  | { op: 'reassert'; claims: Held[]; ms: number }
  | { op: 'claim'; claims: Held[]; ms: number }
  | { op: 'release'; claims: Held[]; ms: number }
  | { op: 'moving'; claims: Held[]; ms: number }
  | { op: 'find'; addresses: string[] }
  | { op: 'wait'; address: string; ms: number }
  | { op: 'sessions'; cursor: number }
  | { op: 'member'; identity: string }
  | { op: 'members' }
  | { op: 'note'; to: Owner; address: string; by: Owner }
  | { op: 'update'; member: Member }
  | { op: 'leave' }

/** Answers, by question. */
export interface Answers {
  /** All live members. */
  join: { members: Member[] }
  /** By place in the claims: who holds an address that is not the asker's any more. */
  reassert: { elsewhere: { at: number; owner: Owner }[] }
  claim: { previous: (Owner | null)[] }
  release: { released: Released[] }
  moving: null
  find: { located: (Located | null)[] }
  wait: { located: Located | null }
  /** `cursor` 0: that was all. */
  sessions: { sessions: { address: string; owner: Owner; moving: boolean }[]; cursor: number }
  member: { member: Member | null }
  /** All live members, read afresh. */
  members: { members: Member[] }
  note: null
  update: null
  leave: null
}

export type Answer<Q extends Question['op']> = Answers[Q]

/** What a broker tells its peers. */
export type News =
  | { op: 'displaced'; address: string; claim: number; by: Owner }
  | { op: 'revalidate' }
  | { op: 'memberUp' | 'memberChanged'; member: Member }
  | { op: 'memberDown'; run: Run; why: Departure }
  | { op: 'store'; up: boolean; text: string }
  | { op: 'fenced'; by: Run }

const questions: ReadonlySet<string> = new Set([
  'join',
  'reassert',
  'claim',
  'release',
  'moving',
  'find',
  'wait',
  'sessions',
  'member',
  'members',
  'note',
  'update',
  'leave',
] satisfies Question['op'][])

/** A question as it came in, its shape checked as far as the broker relies on it. Throws `REFUSED`. */
export function readQuestion(body: unknown): Question {
  const question = body as Record<string, unknown> | null
  if (typeof question !== 'object' || question === null || !questions.has(String(question.op))) {
    throw refused('a question that is not known')
  }
  if ('claims' in question && !isClaims(question.claims)) throw refused('claims are up to 1,000 of {address, claim}')
  if ('ms' in question && !isCount(question.ms)) throw refused('ms is a number of at least 0')
  if ('addresses' in question && !isTexts(question.addresses)) throw refused('addresses are up to 1,000 texts')
  if (question.op === 'wait' && typeof question.address !== 'string') throw refused('address is a text')
  if (question.op === 'member' && typeof question.identity !== 'string') throw refused('identity is a text')
  if (question.op === 'sessions' && !isCount(question.cursor)) throw refused('cursor is a number')
  if (question.op === 'note' && !(isOwner(question.to) && isOwner(question.by) && typeof question.address === 'string')) {
    throw refused('a note is {to, address, by}')
  }
  if ((question.op === 'join' || question.op === 'update') && !isMember(question.member)) throw refused('not the description of a member')
  return question as unknown as Question
}

function refused(what: string): HomingError {
  return new HomingError('REFUSED', `directory/1: ${what}`)
}

function isCount(value: unknown): boolean {
  return typeof value === 'number' && value >= 0
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.length <= claimsMax && value.every(text => typeof text === 'string')
}

function isClaims(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > claimsMax) return false
  return value.every((held: Partial<Held> | null) => typeof held?.address === 'string' && Number.isSafeInteger(held.claim))
}

function isOwner(value: unknown): boolean {
  const owner = value as Partial<Owner> | null
  return typeof owner?.identity === 'string' && typeof owner.incarnation === 'string' && Number.isSafeInteger(owner.claim)
}

function isMember(value: unknown): boolean {
  const member = value as Partial<Member> | null
  const texts = [member?.identity, member?.incarnation, member?.version, member?.machine]
  return texts.every(text => typeof text === 'string' && text.length <= 1_000) && typeof member?.metadata === 'object' && member.metadata !== null
}
