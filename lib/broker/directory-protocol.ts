/** What a peer asks its broker, and what the broker tells it: `directory/1`. docs/protocol.md, "The directory of a broker". */
import { HomingError } from '../errors.ts'
import type { Departure, Held, Located, Member, Owner, Released, Run } from '../sessions/directory.ts'
import { isName } from '../wire/name.ts'

export const directoryProtocol = 'directory/1'

/** Claims in one question: within the limits of a body. */
export const claimsMax = 1_000

/** Questions of a peer. `ms` is how long the broker may take. */
export type Question =
  | { op: 'join'; member: Member }
  | { op: 'reassert'; claims: Held[]; ms: number }
  /** `again`: perhaps they have been written already, by this broker or another one. */
  | { op: 'claim'; claims: Held[]; ms: number; again?: boolean }
  /** `withdrawn`: no client ever had these claims; their call failed, and may have been done. */
  | { op: 'release'; claims: Held[]; ms: number; withdrawn?: boolean }
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
  /** All live members. `told` is the number of the last change of members that the answer includes; absent: of a broker that does not count. */
  join: { members: Member[]; told?: number }
  /** By place in the claims: who holds an address that is not the asker's any more; which ones the asker may not hold (absent: none). */
  reassert: { elsewhere: { at: number; owner: Owner }[]; refused?: number[] }
  /** By place in the claims: whom each displaced; and who had displaced one that was asked for again before its answer (absent: none). */
  claim: { previous: (Owner | null)[]; overtaken?: { at: number; owner: Owner }[] }
  release: { released: Released[] }
  moving: null
  find: { located: (Located | null)[] }
  wait: { located: Located | null }
  /** `cursor` 0: that was all. */
  sessions: { sessions: { address: string; owner: Owner; moving: boolean }[]; cursor: number }
  /** Null: gone, or never there. */
  member: { member: Member | null }
  /** All live members, read afresh; `told` as above. */
  members: { members: Member[]; told?: number }
  note: null
  update: null
  leave: null
}

export type Answer<Q extends Question['op']> = Answers[Q]

/** That a member came, changed or went; numbered in the order in which it happened, because an answer may overtake it, or it an answer. */
export type MemberNews =
  | { op: 'memberUp' | 'memberChanged'; member: Member; told?: number }
  | { op: 'memberDown'; run: Run; why: Departure; told?: number }

/** What a broker tells its peers. */
export type News =
  | MemberNews
  /** Something else of that could not be told: ask for all members. */
  | { op: 'untold' }
  | { op: 'displaced'; address: string; claim: number; by: Owner }
  | { op: 'revalidate' }
  | { op: 'store'; up: boolean; text: string }
  | { op: 'fenced'; by: Run }

/** What the broker relies on of a field, in words for whoever sent another one. */
const fields = {
  member: [isMember, 'member is the description of a member'],
  claims: [isClaims, 'claims are up to 1,000 of {address, claim}, a claim being an integer from 1'],
  ms: [isAtLeastZero, 'ms is a number of at least 0'],
  addresses: [isTexts, 'addresses are up to 1,000 texts'],
  address: [isText, 'address is a text'],
  identity: [isText, 'identity is a text'],
  cursor: [isAtLeastZero, 'cursor is a number of at least 0'],
  to: [isOwner, 'to is {identity, incarnation, claim}'],
  by: [isOwner, 'by is {identity, incarnation, claim}'],
} as const

const questions = new Map<unknown, readonly (keyof typeof fields)[]>(
  Object.entries({
    join: ['member'],
    reassert: ['claims', 'ms'],
    claim: ['claims', 'ms'],
    release: ['claims', 'ms'],
    moving: ['claims', 'ms'],
    find: ['addresses'],
    wait: ['address', 'ms'],
    sessions: ['cursor'],
    member: ['identity'],
    members: [],
    note: ['to', 'address', 'by'],
    update: ['member'],
    leave: [],
  } satisfies Record<Question['op'], (keyof typeof fields)[]>),
)

/** A question as it came in, its shape checked: what passes goes into records that every peer reads. Throws `REFUSED`. */
export function readQuestion(body: unknown): Question {
  const question = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>
  const names = questions.get(question.op)
  if (!names) throw refused('a question that is not known')
  for (const name of names) {
    const [isFine, words] = fields[name]
    if (!isFine(question[name])) throw refused(words)
  }
  return question as unknown as Question
}

function refused(what: string): HomingError {
  return new HomingError('REFUSED', `directory/1: ${what}`)
}

export function isText(value: unknown): boolean {
  return typeof value === 'string'
}

export function isAtLeastZero(value: unknown): boolean {
  return typeof value === 'number' && value >= 0
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.length <= claimsMax && value.every(isText)
}

export function isClaim(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

function isClaims(value: unknown): boolean {
  if (!Array.isArray(value) || value.length > claimsMax) return false
  return value.every((held: Partial<Held> | null) => isName(held?.address) && isClaim(held?.claim))
}

function isOwner(value: unknown): boolean {
  const owner = value as Partial<Owner> | null
  return isText(owner?.identity) && isText(owner?.incarnation) && isClaim(owner?.claim)
}

/** Of each text this many characters at most. */
const textMax = 1_000

export function isMember(value: unknown): boolean {
  const { identity, incarnation, version, machine, state, metadata } = (value ?? {}) as Partial<Member>
  const texts = [identity, incarnation, version, machine].every(text => typeof text === 'string' && text.length <= textMax)
  const plain = typeof metadata === 'object' && metadata !== null && !Array.isArray(metadata) && !ArrayBuffer.isView(metadata)
  return texts && plain && (state === 'up' || state === 'draining')
}
