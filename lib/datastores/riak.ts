/** A datastore on a Riak cluster: always there to be written to, and therefore sometimes of two minds. */

import { randomBytes } from 'node:crypto'
import { HomingError } from '../errors.ts'
import type { Datastore, Entry, Merge, PutOptions, Removal, Write } from './datastore.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { checkBucket } from './riak-bucket.ts'
import { RiakRecent } from './riak-recent.ts'
import { Refusal, RiakRequests } from './riak-requests.ts'
import {
  authorOf,
  entryOf,
  latestMs,
  living,
  pastVersionText,
  readTerm,
  readVersion,
  sameStamp,
  versionText,
  writesOf,
  type Found,
  type Sibling,
} from './riak-siblings.ts'
import type { RiakPlace } from './riak-url.ts'
import { closedError, within } from './settling.ts'

export interface RiakDatastoreOptions extends RiakPlace {
  operationTimeoutMs: number
  /** Told in a sentence what of the bucket's properties will hurt later. */
  warn: (text: string) => void
  /** Default: of two values, the one that was written later. */
  merge: Merge | undefined
  /** What lifetimes and writes are dated by. Default: the wall clock, for the machines have no other in common. */
  nowMs?: () => number
}

/**
 * Connects, and checks the bucket. Rejects with `DATASTORE` within `operationTimeoutMs` (try again), with `BAD_OPTION` for a bucket that
 * cannot keep siblings. Later it finds nodes that come back by itself.
 */
export async function riakDatastore(options: RiakDatastoreOptions): Promise<Datastore> {
  const { operationTimeoutMs, warn } = options
  const requests = await RiakRequests.load(options)
  try {
    const untilMs = performance.now() + operationTimeoutMs
    const started = requests.start().then(() => checkBucket(requests, options, untilMs, warn))
    const { indexed } = await within(operationTimeoutMs, started, () => tooLong(operationTimeoutMs))
    return new RiakDatastore(requests, options, indexed)
  } catch (error) {
    await requests.close()
    throw failure('connecting', error)
  }
}

/** Forgotten entries that are being removed at once; what is more is found again by the next reader. */
const sweepsMax = 16
/** Heads that are asked for at once where there is no index. */
const headsAtOnce = 500

/**
 * A write replaces what its writer had read; what it did not know of, Riak keeps beside it. Conditions are judged by Riak before it
 * writes: of two writers at the same moment both may be told that theirs held. What each reads then is the merge of both values, the same
 * everywhere. Writes of this datastore to one key go one after the other, so that among them conditions decide.
 */
class RiakDatastore implements Datastore {
  readonly promises = { atomicPut: false, durable: false, shared: true }
  readonly #requests: RiakRequests
  readonly #timeoutMs: number
  readonly #merge: Merge | undefined
  readonly #nowMs: () => number
  /** Whether listings come from the index; otherwise from all keys of the bucket. */
  readonly #indexed: boolean
  /** Random for each opened datastore: with the count, no write has the name of another. */
  readonly #mark = randomBytes(9).toString('base64url')
  #written = 0
  /** The last write of each key that is under way. */
  readonly #turns = new Map<string, Promise<unknown>>()
  readonly #recent = new RiakRecent()
  readonly #sweeps = new Set<Promise<void>>()
  /** Under way; each ends within its time. */
  readonly #calls = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  constructor(requests: RiakRequests, { operationTimeoutMs, merge, nowMs = Date.now }: RiakDatastoreOptions, indexed: boolean) {
    this.#requests = requests
    this.#timeoutMs = operationTimeoutMs
    this.#merge = merge
    this.#nowMs = nowMs
    this.#indexed = indexed
  }

  async get(key: string): Promise<Entry | undefined> {
    const [entry] = await this.getMany([key])
    return entry
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    for (const key of keys) checkKey(key)
    return this.#reading(untilMs => Promise.all(keys.map(key => this.#get(key, untilMs))))
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    const [version] = await this.putMany([{ ...options, key, bytes }])
    return version
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const write of writes) checkPut(write.key, write)
    const copies = writes.map(write => ({ ...write, bytes: new Uint8Array(write.bytes) }))
    return this.#writing(copies, (write, untilMs) => this.#put(write, untilMs))
  }

  async delete(key: string, options: { ifVersion?: string } = {}): Promise<boolean> {
    const [gone] = await this.deleteMany([{ ...options, key }])
    return gone!
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    for (const { key } of removals) checkKey(key)
    return this.#writing(removals, (removal, untilMs) => this.#delete(removal, untilMs))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    checkText(prefix)
    const seen = new Set<string>() // a key with siblings is in the index once for each
    for await (const page of this.#indexed ? this.#indexPages(prefix) : this.#headPages(prefix)) {
      const fresh = page.filter(key => !seen.has(key))
      for (const key of fresh) seen.add(key)
      yield* await this.#withoutRemoved([...new Set(fresh)])
    }
    yield* await this.#livingOf(this.#recent.written(prefix).filter(key => !seen.has(key)))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  /** Calls that were made before have their time. */
  async #close(): Promise<void> {
    await Promise.allSettled(this.#calls)
    await this.#requests.close()
    await Promise.all(this.#sweeps)
  }

  // ---- reading

  async #get(key: string, untilMs: number): Promise<Entry | undefined> {
    const found = await this.#requests.fetch(key, untilMs, false)
    const siblings = living(found, this.#nowMs())
    if (siblings.length > 0) return entryOf(key, found.vclock!, siblings, this.#merge)
    this.#sweep(key, found)
    return undefined
  }

  async *#indexPages(prefix: string): AsyncGenerator<string[]> {
    let from: Buffer | undefined
    do {
      const { rows, next } = await this.#reading(untilMs => this.#requests.page(prefix, from, untilMs))
      const nowMs = this.#nowMs()
      const ends = rows.map(({ key, term }) => (key.startsWith(prefix) ? readTerm(key, term) : undefined))
      for (const [i, endMs] of ends.entries()) if (endMs !== undefined && endMs <= nowMs) this.#sweepUnread(rows[i]!.key)
      yield rows.flatMap(({ key }, i) => (ends[i] !== undefined && ends[i] > nowMs ? [key] : []))
      from = next
    } while (from)
  }

  /** Without an index every key is looked at: the list has removed ones, and forgotten ones. */
  async *#headPages(prefix: string): AsyncGenerator<string[]> {
    const keys = (await this.#reading(untilMs => this.#requests.list(untilMs))).filter(key => key.startsWith(prefix))
    for (let i = 0; i < keys.length; i += headsAtOnce) yield this.#livingOf(keys.slice(i, i + headsAtOnce))
  }

  /** Whether keys are there, asked of as many copies as any read. */
  async #livingOf(keys: readonly string[]): Promise<string[]> {
    const there: string[] = []
    for (let i = 0; i < keys.length; i += headsAtOnce) {
      const chunk = keys.slice(i, i + headsAtOnce)
      const found = await this.#reading(untilMs => Promise.all(chunk.map(key => this.#requests.fetch(key, untilMs, true))))
      there.push(...chunk.filter((_, at) => living(found[at]!, this.#nowMs()).length > 0))
    }
    return there
  }

  async #withoutRemoved(keys: readonly string[]): Promise<readonly string[]> {
    const doubtful = new Set(keys.filter(key => this.#recent.removed(key)))
    const there = new Set(await this.#livingOf([...doubtful]))
    return keys.filter(key => there.has(key) || !doubtful.has(key))
  }

  // ---- writing

  #put(write: Write, untilMs: number): Promise<string | undefined> {
    if (write.ifVersion === null) return this.#create(write, untilMs)
    if (write.ifVersion === undefined) return this.#overwrite(write, untilMs)
    return this.#replace(write, write.ifVersion, untilMs)
  }

  async #create(write: Write, untilMs: number): Promise<string | undefined> {
    for (;;) {
      const sibling = this.#siblingOf(write, 0)
      const stored = await this.#requests.store({ key: write.key, sibling, only: 'absent' }, untilMs)
      if (stored) return this.#versionOf(write.key, sibling, stored, untilMs)
      // Something is there: what is forgotten counts as absent. Each round more was lost to a write of somebody else.
      const found = await this.#requests.fetch(write.key, untilMs, true)
      if (living(found, this.#nowMs()).length > 0) return undefined
      if (found.siblings.length === 0) continue
      const version = await this.#storeOver(write, found, 'unchanged', untilMs)
      if (version !== undefined) return version
    }
  }

  /** Without what is there being known, Riak would keep it beside the new value. */
  async #overwrite(write: Write, untilMs: number): Promise<string> {
    const version = await this.#storeOver(write, await this.#requests.fetch(write.key, untilMs, true), undefined, untilMs)
    return version!
  }

  async #replace(write: Write, ifVersion: string, untilMs: number): Promise<string | undefined> {
    const version = readVersion(write.key, ifVersion)
    if (!version || version.untilMs <= this.#nowMs()) return undefined
    const sibling = this.#siblingOf(write, version.timeMs)
    const stored = await this.#requests.store({ key: write.key, sibling, vclock: version.vclock, only: 'unchanged' }, untilMs)
    return stored && this.#versionOf(write.key, sibling, stored, untilMs)
  }

  async #storeOver(write: Write, found: Found, only: 'unchanged' | undefined, untilMs: number): Promise<string | undefined> {
    const sibling = this.#siblingOf(write, latestMs(found.siblings))
    const over = { ...(found.vclock && { vclock: found.vclock }), ...(only && { only }) }
    const stored = await this.#requests.store({ key: write.key, sibling, ...over }, untilMs)
    return stored && this.#versionOf(write.key, sibling, stored, untilMs)
  }

  /** Resolves to whether it was there as `ifVersion` says. */
  async #delete({ key, ifVersion }: Removal, untilMs: number): Promise<boolean> {
    const version = ifVersion === undefined ? undefined : readVersion(key, ifVersion)
    if (ifVersion !== undefined && !version) return false
    const found = await this.#requests.fetch(key, untilMs, true)
    const siblings = living(found, this.#nowMs())
    if (version && (siblings.length === 0 || writesOf(siblings) !== version.writes)) return false
    // What was written since this look stays: it is not in the vector clock.
    if (found.siblings.length > 0) await this.#requests.remove(key, found.vclock!, untilMs)
    this.#recent.wrote(key, false)
    return true
  }

  /** `seenMs`: the latest time of what it is knowingly written over. */
  #siblingOf({ bytes, ttlMs }: Write, seenMs: number): Sibling {
    const nowMs = Math.floor(this.#nowMs())
    return {
      stamp: { timeMs: Math.max(nowMs, seenMs + 1), writer: `${this.#mark}${(++this.#written).toString(36)}` },
      untilMs: ttlMs === undefined ? Infinity : Math.ceil(this.#nowMs() + ttlMs),
      bytes,
    }
  }

  /** The version of a write that was done. `stored` is what it left there: others beside it, if they wrote at the same time. */
  async #versionOf(key: string, mine: Sibling, stored: Found, untilMs: number): Promise<string> {
    this.#recent.wrote(key, true)
    const others = living(stored, this.#nowMs()).filter(({ stamp }) => !sameStamp(stamp, mine.stamp))
    const alone = others.length === 0 && stored.siblings.length > 0 && stored.vclock
    if (alone) return versionText(key, stored.vclock!, [mine])
    try {
      const found = await this.#requests.fetch(key, untilMs, false)
      const siblings = living(found, this.#nowMs())
      const entry = siblings.length > 0 ? entryOf(key, found.vclock!, siblings, this.#merge) : undefined
      const author = entry && authorOf(entry, siblings)
      if (author && sameStamp(author.stamp, mine.stamp)) return entry.version
    } catch (error) {
      // It was written; only what became of it since is not known. Its writer learns that at its next look.
      if (!(error instanceof HomingError || error instanceof Refusal)) throw error
    }
    return pastVersionText(key, mine)
  }

  // ---- forgetting

  /** Removes what is nothing but forgotten, by the way. */
  #sweep(key: string, { vclock, siblings }: Found): void {
    if (!vclock || siblings.length === 0) return
    this.#inBackground(untilMs => this.#requests.remove(key, vclock, untilMs))
  }

  /** The same for a key whose index alone was seen. */
  #sweepUnread(key: string): void {
    this.#inBackground(async untilMs => {
      const found = await this.#requests.fetch(key, untilMs, true)
      if (found.siblings.length > 0 && living(found, this.#nowMs()).length === 0)
        await this.#requests.remove(key, found.vclock!, untilMs)
    })
  }

  #inBackground(work: (untilMs: number) => Promise<void>): void {
    if (this.#closing || this.#sweeps.size >= sweepsMax) return
    // Nobody waits for it, and whoever comes by next finds what was left.
    const done = (): void => void this.#sweeps.delete(sweep)
    const sweep: Promise<void> = work(performance.now() + this.#timeoutMs).then(done, done)
    this.#sweeps.add(sweep)
  }

  // ---- calls

  async #reading<T>(work: (untilMs: number) => Promise<T>): Promise<T> {
    try {
      return await this.#called(work, () => tooLong(this.#timeoutMs))
    } catch (error) {
      throw failure('reading', error)
    }
  }

  /** All of a batch side by side, those of one key in their order. */
  async #writing<T extends { readonly key: string }, R>(
    parts: readonly T[],
    write: (part: T, untilMs: number) => Promise<R>,
  ): Promise<R[]> {
    const all = (untilMs: number) =>
      Promise.allSettled(parts.map(part => this.#inTurn(part.key, untilMs, () => write(part, untilMs))))
    const settled = await this.#called(all, () => failure('writing', tooLong(this.#timeoutMs), 'unknown'))
    return settled.map((result, _, all) => {
      if (result.status === 'fulfilled') return result.value
      const outcome = all.every(isUndone) ? 'not-delivered' : 'unknown'
      throw failure('writing', result.reason, outcome)
    })
  }

  /** One call, within its time. */
  async #called<T>(work: (untilMs: number) => Promise<T>, late: () => Error): Promise<T> {
    if (this.#closing) throw closedError('riak')
    const call = within(this.#timeoutMs, work(performance.now() + this.#timeoutMs), late)
    this.#calls.add(call)
    try {
      return await call
    } finally {
      this.#calls.delete(call)
    }
  }

  /** A condition is judged before it is written: of writes that overlap, each would find its own fulfilled. */
  #inTurn<T>(key: string, untilMs: number, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key)
    const begin = (): Promise<T> => {
      if (performance.now() < untilMs) return work()
      throw new HomingError('DATASTORE', 'riak: earlier writes of the same key took all the time')
    }
    const turn: Promise<T> = before ? before.then(begin, begin) : work()
    this.#turns.set(key, turn)
    const left = (): void => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key)
    }
    turn.then(left, left)
    return turn
  }
}

function isUndone(result: PromiseSettledResult<unknown>): boolean {
  return result.status === 'rejected' && result.reason instanceof HomingError && result.reason.outcome === 'not-delivered'
}

function tooLong(timeoutMs: number): Error {
  return new Error(`no answer within ${timeoutMs} ms`)
}

function failure(what: string, cause: unknown, outcome?: HomingError['outcome']): HomingError {
  if (cause instanceof HomingError && (outcome === undefined || cause.outcome === outcome || cause.code !== 'DATASTORE'))
    return cause
  const because = cause instanceof Error ? cause.message : String(cause)
  const sentence = cause instanceof HomingError ? because : `riak: ${what} failed: ${because}`
  return new HomingError('DATASTORE', sentence, { cause, ...(outcome && { outcome }) })
}
