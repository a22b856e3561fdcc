/** Objects as Riak keeps them: values side by side under one vector clock, and the rules by which some replace others. */

/** How many writes each replica has coordinated, and when the last of them was, s. */
export type Clock = ReadonlyMap<string, { readonly count: number; readonly seconds: number }>

/** One value. The fields of its metadata stay as they came. */
export interface Content {
  readonly value: Buffer
  readonly contentType: Buffer | undefined
  readonly charset: Buffer | undefined
  readonly encoding: Buffer | undefined
  readonly links: readonly Buffer[]
  readonly userMeta: readonly Buffer[]
  /** Names and terms. */
  readonly indexes: readonly (readonly [name: Buffer, term: Buffer])[]
  readonly vtag: string
  readonly lastModifiedMs: number
  /** A tombstone. */
  readonly deleted: boolean
  /** The write that made it. */
  readonly dot: { readonly actor: string; readonly count: number } | undefined
}

export interface RiakObject {
  readonly clock: Clock
  readonly contents: readonly Content[]
}

/** How a bucket resolves. */
export interface Resolution {
  readonly allowMult: boolean
  readonly lastWriteWins: boolean
  /** Siblings know which write made them (Riak's dotted version vectors), so that only those stay that nobody replaced. */
  readonly dotted: boolean
}

const freshClock: Clock = new Map()

/** Opaque to clients. */
export function encodeClock(clock: Clock): Buffer {
  const entries = [...clock].map(([actor, { count, seconds }]) => [actor, count, seconds] as const)
  return Buffer.from(JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1))))
}

export function decodeClock(bytes: Buffer | undefined): Clock {
  if (!bytes || bytes.length === 0) return freshClock
  const entries = JSON.parse(bytes.toString()) as [string, number, number][]
  return new Map(entries.map(([actor, count, seconds]) => [actor, { count, seconds }]))
}

export function sameClock(a: Clock, b: Clock): boolean {
  return encodeClock(a).equals(encodeClock(b))
}

/** Whether `a` has seen all that `b` has. */
export function descends(a: Clock, b: Clock): boolean {
  for (const [actor, { count }] of b) if ((a.get(actor)?.count ?? 0) < count) return false
  return true
}

export function isTombstone({ contents }: RiakObject): boolean {
  return contents.every(({ deleted }) => deleted)
}

function mergedClock(a: Clock, b: Clock): Clock {
  const merged = new Map(a)
  for (const [actor, entry] of b) if ((merged.get(actor)?.count ?? 0) < entry.count) merged.set(actor, entry)
  return merged
}

function incremented(clock: Clock, actor: string, nowMs: number): Clock {
  const count = (clock.get(actor)?.count ?? 0) + 1
  return new Map(clock).set(actor, { count, seconds: Math.floor(nowMs / 1_000) })
}

/** What the replica that coordinates a write makes of it: `put` has the clock that its writer had read. */
export function coordinated(
  before: RiakObject | undefined,
  put: RiakObject,
  actor: string,
  nowMs: number,
  rules: Resolution,
): RiakObject {
  const local = before?.clock ?? freshClock
  const knowing = descends(put.clock, local) || rules.lastWriteWins
  const clock = incremented(mergedClock(put.clock, local), actor, nowMs)
  const dot = { actor, count: clock.get(actor)!.count }
  const written = put.contents.map(content => ({ ...content, dot }))
  if (knowing || !before) return { clock, contents: written }
  const others = rules.dotted ? before.contents.filter(({ dot: of }) => !of || !seen(put.clock, of)) : before.contents
  return resolved({ clock, contents: [...written, ...others] }, rules)
}

function seen(clock: Clock, { actor, count }: { actor: string; count: number }): boolean {
  return (clock.get(actor)?.count ?? 0) >= count
}

/** What two replicas' objects become. */
export function merged(a: RiakObject, b: RiakObject, rules: Resolution): RiakObject {
  if (descends(a.clock, b.clock)) return a
  if (descends(b.clock, a.clock)) return b
  return resolved({ clock: mergedClock(a.clock, b.clock), contents: mergedContents(a, b, rules.dotted) }, rules)
}

function mergedContents(a: RiakObject, b: RiakObject, dotted: boolean): Content[] {
  const inBoth = (content: Content, other: RiakObject) => other.contents.some(one => one.vtag === content.vtag)
  // One that the other side has seen and does not hold was replaced there.
  const stays = (content: Content, other: RiakObject) =>
    !dotted || !content.dot || !seen(other.clock, content.dot) || inBoth(content, other)
  return [
    ...a.contents.filter(content => stays(content, b)),
    ...b.contents.filter(content => stays(content, a) && !inBoth(content, a)),
  ]
}

/** Without siblings, the value that was modified last stays, a tombstone only before another one. */
function resolved(object: RiakObject, { allowMult }: Resolution): RiakObject {
  if (allowMult || object.contents.length < 2) return object
  const [last] = object.contents.toSorted(
    (a, b) => b.lastModifiedMs - a.lastModifiedMs || Number(a.deleted) - Number(b.deleted) || Buffer.compare(a.value, b.value),
  )
  return { clock: object.clock, contents: [last!] }
}

/** Of several replicas' answers. At least one. */
export function reconciled(objects: readonly RiakObject[], rules: Resolution): RiakObject {
  return objects.reduce((all, object) => merged(all, object, rules))
}
