/** Values that Riak keeps side by side under one key: how they are told apart, what they become together, and the version of that. */

import { createHash } from 'node:crypto'
import type { Entry, Merge } from './datastore.ts'

/**
 * Names one write: no two have the same. The time is hybrid: that of the writer's clock, or one more than the greatest it had seen under
 * the key, so that what was written knowingly over something is always later than it.
 */
export interface Stamp {
  readonly timeMs: number
  readonly writer: string
}

/** One value under a key. */
export interface Sibling {
  readonly stamp: Stamp
  /** When it is forgotten, by the wall clock, ms; `Infinity`: never. */
  readonly untilMs: number
  /** Empty where only the heads were asked for. */
  readonly bytes: Uint8Array
}

/** What is under a key. `vclock` is Riak's own version of all of it; a removed key may have one, too. */
export interface Found {
  readonly vclock: Buffer | undefined
  /** All that are no tombstones, the forgotten ones among them. */
  readonly siblings: readonly Sibling[]
}

/** A version as callers hold it, read. */
export interface Version {
  readonly vclock: Buffer
  /** The greatest of the siblings' times. */
  readonly timeMs: number
  readonly untilMs: number
  /** Names the writes that are in it. */
  readonly writes: string
}

export function living({ siblings }: Found, nowMs: number): readonly Sibling[] {
  return siblings.filter(({ untilMs }) => untilMs > nowMs)
}

/** What siblings become together. At least one. */
export function entryOf(key: string, vclock: Buffer, siblings: readonly Sibling[], merge: Merge | undefined): Entry {
  const [first, ...rest] = siblings.length > 1 ? siblings.toSorted((a, b) => compareStamps(a.stamp, b.stamp)) : siblings
  let { bytes } = first!
  // Without somebody who knows what the bytes mean, the latest write stays.
  for (const next of rest) bytes = merge ? merge(key, bytes, next.bytes) : next.bytes
  return new RiakEntry(bytes, key, vclock, siblings)
}

/** Most readers never ask for the version: its text has two digests in it. */
class RiakEntry implements Entry {
  readonly bytes: Uint8Array
  readonly #key: string
  readonly #vclock: Buffer
  readonly #siblings: readonly Sibling[]

  constructor(bytes: Uint8Array, key: string, vclock: Buffer, siblings: readonly Sibling[]) {
    this.bytes = bytes
    this.#key = key
    this.#vclock = vclock
    this.#siblings = siblings
  }

  get version(): string {
    return versionText(this.#key, this.#vclock, this.#siblings)
  }
}

/** Whose write it is that siblings became; `undefined`: their merge is nobody's alone. Of several equal ones, the latest. */
export function authorOf({ bytes }: Entry, siblings: readonly Sibling[]): Sibling | undefined {
  const equal = siblings.filter(sibling => Buffer.compare(sibling.bytes, bytes) === 0)
  return equal.toSorted((a, b) => compareStamps(a.stamp, b.stamp)).at(-1)
}

export function sameStamp(a: Stamp, b: Stamp): boolean {
  return compareStamps(a, b) === 0
}

/** By time, then by the writer's name: a total order, the same everywhere. */
export function compareStamps(a: Stamp, b: Stamp): number {
  return a.timeMs - b.timeMs || (a.writer < b.writer ? -1 : Number(a.writer > b.writer))
}

export function latestMs(siblings: readonly Sibling[]): number {
  return Math.max(0, ...siblings.map(({ stamp }) => stamp.timeMs))
}

// ---- what is stored beside a value

/** Riak's own metadata of a value: time, writer, end. */
export function headText({ stamp, untilMs }: Omit<Sibling, 'bytes'>): string {
  return `${stamp.timeMs.toString(36)}.${stamp.writer}.${endText(untilMs)}`
}

/** `undefined` for what Homing did not write. */
export function readHead(text: string): Omit<Sibling, 'bytes'> | undefined {
  const [time, writer, end, ...more] = text.split('.')
  const timeMs = readNumber(time)
  const untilMs = end === '' ? Infinity : readNumber(end)
  if (timeMs === undefined || untilMs === undefined || !writer || more.length > 0) return undefined
  return { stamp: { timeMs, writer }, untilMs }
}

// ---- versions

/**
 * The vector clock, so that Riak can compare it; and what of the value decides before Riak is asked: its key (two keys may have the same
 * clock), its end (what is forgotten is absent to every condition), and which writes it consists of.
 */
export function versionText(key: string, vclock: Buffer, siblings: readonly Sibling[]): string {
  const untilMs = Math.max(...siblings.map(sibling => sibling.untilMs))
  const parts = [vclock.toString('base64'), latestMs(siblings).toString(36), endText(untilMs), writesOf(siblings), keyMark(key)]
  return parts.join('.')
}

/** The version of what was written and is overwritten already: it fulfils no condition. */
export function pastVersionText(key: string, sibling: Sibling): string {
  return versionText(key, Buffer.alloc(0), [sibling])
}

/** `undefined` for what no entry under `key` can have as its version now. */
export function readVersion(key: string, text: string): Version | undefined {
  const [clock, time, end, writes, mark, ...more] = text.split('.')
  if (!clock || !writes || mark !== keyMark(key) || more.length > 0) return undefined
  const timeMs = readNumber(time)
  const untilMs = end === '' ? Infinity : readNumber(end)
  if (timeMs === undefined || untilMs === undefined) return undefined
  return { vclock: Buffer.from(clock, 'base64'), timeMs, untilMs, writes }
}

/** Names a set of writes, in whatever order Riak returns them. */
export function writesOf(siblings: readonly Sibling[]): string {
  if (siblings.length === 1) return siblings[0]!.stamp.writer
  const writers = siblings.map(({ stamp }) => stamp.writer).sort()
  return `${siblings.length}*${digest(writers.join(' '))}`
}

function keyMark(key: string): string {
  return digest(key).slice(0, 8)
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 16)
}

// ---- the index

/** What listings are made from: the key, so that prefixes are ranges, and the end, so that what is forgotten need not be read. */
export function termText(key: string, untilMs: number): string {
  return `${key}\0${endText(untilMs)}`
}

/** The end that a term of `key` tells; `undefined` for a term of something else. */
export function readTerm(key: string, term: string): number | undefined {
  if (!term.startsWith(`${key}\0`)) return undefined
  const end = term.slice(key.length + 1)
  return end === '' ? Infinity : readNumber(end)
}

/** Encoded, no longer term begins with `prefix` and is greater: a term has less bytes than so many of the greatest character. */
export function rangeOf(prefix: string): { start: string; end: string } {
  return { start: prefix === '' ? '\0' : prefix, end: prefix + '\u{10ffff}'.repeat(80) }
}

function endText(untilMs: number): string {
  return untilMs === Infinity ? '' : untilMs.toString(36)
}

function readNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9a-z]{1,11}$/.test(text)) return undefined
  const value = Number.parseInt(text, 36)
  return Number.isSafeInteger(value) ? value : undefined
}
