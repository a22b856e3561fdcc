/** What a broker answered, or told, with its shape checked: a peer relies on each field of it. docs/protocol.md, "The directory of a broker". */
import { HomingError } from '../errors.ts'
import type { Departure } from '../sessions/directory.ts'
import { isName } from '../wire/name.ts'
import { isClaim, isAtLeastZero, isMember, isText, type Answer, type News, type Question } from './directory-protocol.ts'

type Fields = Readonly<Record<string, unknown>>
type Check = (value: unknown) => boolean

/** Whether the answer is one to the question. Of an answer that says nothing, nothing is asked. */
const answers: { readonly [Q in Question['op']]: (fields: Fields, question: Question & { op: Q }) => boolean } = {
  join: ({ members, told }) => isList(members, isWholeMember) && orAbsent(isAtLeastZero)(told),
  reassert: ({ elsewhere }) => isList(elsewhere, isPlaced),
  claim: ({ previous, overtaken }, { claims }) =>
    isList(previous, orNull(isOwner), claims.length) && (overtaken === undefined || isList(overtaken, isPlaced)),
  release: ({ released }, { claims }) => isList(released, isReleased, claims.length),
  moving: () => true,
  find: ({ located }, { addresses }) => isList(located, orNull(isLocated), addresses.length),
  wait: ({ located }) => orNull(isLocated)(located),
  sessions: ({ sessions, cursor }) => isList(sessions, isSession) && isAtLeastZero(cursor),
  member: ({ member }) => orNull(isWholeMember)(member),
  members: ({ members, told }) => isList(members, isWholeMember) && orAbsent(isAtLeastZero)(told),
  note: () => true,
  update: () => true,
  leave: () => true,
}

/** An answer as it came in. Throws `DATASTORE` where it is none to this question: the directory cannot be asked. */
export function readAnswer<Q extends Question>(question: Q, body: unknown): Answer<Q['op']> {
  const check = answers[question.op] as (fields: Fields, question: Question) => boolean
  if (check(fieldsOf(body), question)) return body as Answer<Q['op']>
  throw new HomingError('DATASTORE', `directory/1: the broker gave no answer to the question '${question.op}'`)
}

const departures: readonly unknown[] = ['left', 'lapsed', 'replaced'] satisfies Departure[]

const news = new Map<unknown, (fields: Fields) => boolean>(
  Object.entries({
    displaced: ({ address, claim, by }) => isName(address) && isClaim(claim) && isOwner(by),
    revalidate: () => true,
    memberUp: ({ member, told }) => isWholeMember(member) && orAbsent(isAtLeastZero)(told),
    memberChanged: ({ member, told }) => isWholeMember(member) && orAbsent(isAtLeastZero)(told),
    memberDown: ({ run, why, told }) => isRun(run) && departures.includes(why) && orAbsent(isAtLeastZero)(told),
    untold: () => true,
    store: ({ up, text }) => typeof up === 'boolean' && isText(text),
    fenced: ({ by }) => isRun(by),
  } satisfies Record<News['op'], (fields: Fields) => boolean>),
)

/** News as it came in; `undefined`: such as a later version tells. Throws `REFUSED` for what lacks its fields. */
export function readNews(body: unknown): News | undefined {
  const fields = fieldsOf(body)
  const check = news.get(fields.op)
  if (!check) return undefined
  if (check(fields)) return body as News
  throw new HomingError('REFUSED', `directory/1: news of '${String(fields.op)}' without its fields`)
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}

function isList(value: unknown, check: Check, length?: number): boolean {
  return Array.isArray(value) && (length === undefined || value.length === length) && value.every(check)
}

function orNull(check: Check): Check {
  return value => value === null || check(value)
}

/** Brokers of before did not say it. */
function orAbsent(check: Check): Check {
  return value => value === undefined || check(value)
}

function isRun(value: unknown): boolean {
  const { identity, incarnation } = fieldsOf(value)
  return isName(identity) && isName(incarnation)
}

function isOwner(value: unknown): boolean {
  return isRun(value) && isClaim(fieldsOf(value).claim)
}

function isPlaced(value: unknown): boolean {
  const { at, owner } = fieldsOf(value)
  return isAtLeastZero(at) && isOwner(owner)
}

function isReleased(value: unknown): boolean {
  const { at, owner } = fieldsOf(value)
  return at === 'released' || at === 'absent' || (at === 'elsewhere' && isOwner(owner))
}

function isSession(value: unknown): boolean {
  const { address, owner, moving } = fieldsOf(value)
  return isName(address) && isOwner(owner) && typeof moving === 'boolean'
}

function isLocated(value: unknown): boolean {
  return isSession(value) && isWholeMember(fieldsOf(value).member)
}

/** In a question the broker overwrites the rest; in an answer it counts. */
function isWholeMember(value: unknown): boolean {
  const { endpoints, role, via } = fieldsOf(value)
  const reached = isList(endpoints, isText) && (via === undefined || isName(via))
  return isMember(value) && isRun(value) && reached && (role === 'peer' || role === 'broker')
}
