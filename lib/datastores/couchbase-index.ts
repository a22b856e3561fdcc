/**
 * Which keys there are: Couchbase finds documents by their keys only. Each kind of keys has a log of those that were written, cut into
 * documents; who writes a key adds it there first. The log holds every key that exists, and some that do not any more.
 */

import { createHash } from 'node:crypto'
import type { Documents, StoredDocument } from './couchbase-documents.ts'
import { folderOf, mayHold, placeOf } from './folders.ts'
import { chunkCallsMax } from './in-turn.ts'

/** Documents of the index begin so, and no key may. */
export const indexPrefix = '_homing-index:'

/** What became of a key of the log. `lapsed`: its document is there, and nobody sees it. */
export type KeyState = 'live' | 'lapsed' | 'absent'

/** A log begins as one document; when that gets long, new keys go to a level of more of them. The old ones stay, and are read as well. */
const shardsOfLevel = [1, 16, 256, 4_096] as const
/** From here on a document is looked through for keys that are gone, and the log gets its next level. */
const shardBytesMax = 16 * 1024
/** One of so many additions looks whether its document got long. */
const lookEvery = 64
/** A key that this process added so long ago is added again with its next writing: what an outage lost comes back. */
const freshMs = 5 * 60_000
/** Keys that this process added and knows of; beyond it the oldest are added once more. */
const freshMax = 20_000
/**
 * A key without a document is taken out of the log so many minutes after it was added. By then its writer has written it or given up: only
 * here do clocks of different machines meet, and they may differ by as much as this is above `freshMs`.
 */
const goneMinutes = 10

interface Added {
  readonly key: string
  /** By the wall clock of who added it, minutes since 1970. */
  readonly minute: number
}

/** Keys that are added together. */
interface Addition {
  readonly keys: readonly string[]
  readonly done: Promise<void>
}

interface Shard extends StoredDocument {
  readonly id: string
}

/** In two halves, of which the older goes as a whole: a Map that forgets its first entry each time looks for it longer and longer. */
class Fresh {
  #newer = new Map<string, number>()
  #older = new Map<string, number>()

  add(key: string, atMs: number): void {
    if (this.#newer.size >= freshMax / 2) {
      this.#older = this.#newer
      this.#newer = new Map()
    }
    this.#newer.set(key, atMs)
  }

  isNewer(key: string, sinceMs: number): boolean {
    const atMs = this.#newer.get(key) ?? this.#older.get(key)
    return atMs !== undefined && atMs > sinceMs
  }

  delete(key: string): void {
    this.#newer.delete(key)
    this.#older.delete(key)
  }

  clear(): void {
    this.#newer.clear()
    this.#older.clear()
  }
}

export class CouchbaseIndex {
  readonly #documents: Documents
  /** When keys were added by this process, by its own clock. */
  readonly #fresh = new Fresh()
  /** Levels of folders as they were last seen: they only rise. */
  readonly #levels = new Map<string, number>()
  /** From which length on a shard is worth looking through again. */
  readonly #lookAtBytes = new Map<string, number>()
  #additions = 0

  constructor(documents: Documents) {
    this.#documents = documents
  }

  /** A key may be written when its promise has resolved; one that has none may be now. */
  add(keys: readonly string[]): ReadonlyMap<string, Promise<void>> {
    const sinceMs = performance.now() - freshMs
    const due = new Set(keys.filter(key => !this.#fresh.isNewer(key, sinceMs)))
    const added = new Map<string, Promise<void>>()
    for (const [folder, keys] of groups(due, key => placeOf(key).folder)) {
      for (const { keys: some, done } of this.#addToFolder(folder, keys)) {
        done.catch(() => {}) // whoever waits for one of its keys hears of it
        for (const key of some) added.set(key, done)
      }
    }
    return added
  }

  /** Keys with the prefix whose documents are live, each once. `look` tells of keys what became of them, in their order. */
  async *list(prefix: string, look: (keys: readonly string[]) => Promise<KeyState[]>): AsyncGenerator<string> {
    const single = folderOf(prefix)
    const folders = single === undefined ? (await this.#folders()).filter(folder => mayHold(folder, prefix)) : [single]
    for (const folder of folders) {
      const seen = new Set<string>()
      for (const ids of chunks(await this.#shardIds(folder), 256)) {
        const shards = await Promise.all(ids.map(id => this.#shard(id)))
        for (const shard of shards) if (shard) yield* this.#listShard(shard, prefix, seen, look)
      }
    }
  }

  async *#listShard(
    shard: Shard,
    prefix: string,
    seen: Set<string>,
    look: (keys: readonly string[]) => Promise<KeyState[]>,
  ): AsyncGenerator<string> {
    const keys = [...new Set(recordsOf(shard.content).map(({ key }) => key))].filter(key => key.startsWith(prefix))
    const absent = new Set<string>()
    for (const chunk of chunks(keys, chunkCallsMax)) {
      const states = await look(chunk)
      for (const [at, key] of chunk.entries()) {
        if (states[at] === 'absent') absent.add(key)
        if (states[at] !== 'live' || seen.has(key)) continue
        seen.add(key)
        yield key
      }
    }
    if (2 * absent.size > keys.length && shard.content.length > 1024) this.#behind(this.#prune(shard, absent))
  }

  // Adding

  /** In a folder that this process does not know, all keys wait for the folder; in one that it knows, those of each shard for themselves. */
  #addToFolder(folder: string, keys: readonly string[]): Addition[] {
    const level = this.#levels.get(folder)
    return level === undefined ? [{ keys, done: this.#beginWith(folder, keys) }] : this.#addTo(folder, level, keys)
  }

  async #beginWith(folder: string, keys: readonly string[]): Promise<void> {
    const level = await this.#begin(folder)
    await Promise.all(this.#addTo(folder, level, keys).map(({ done }) => done))
  }

  #addTo(folder: string, level: number, keys: readonly string[]): Addition[] {
    const root = rootId(folder)
    const shards = groups(keys, key => shardId(root, level, key))
    this.#additions += shards.size
    if (this.#additions >= lookEvery) {
      this.#additions = 0
      this.#behind(this.#tend(folder, level, [...shards.keys()].at(-1)!))
    }
    return [...shards].map(([id, keys]) => ({ keys, done: this.#addToShard(id, keys) }))
  }

  async #addToShard(id: string, keys: readonly string[]): Promise<void> {
    const minute = minuteNow()
    await this.#append(id, Buffer.concat(keys.map(key => recordOf({ key, minute }))))
    const nowMs = performance.now()
    for (const key of keys) this.#fresh.add(key, nowMs)
  }

  /** The folder's level; a new folder is made known first, so that no key is in a log that nobody finds. */
  async #begin(folder: string): Promise<number> {
    const known = await this.#readLevel(folder)
    if (known !== undefined) return known
    await this.#append(foldersId, recordOf({ key: folder, minute: minuteNow() }))
    await this.#documents.insert(rootId(folder), Buffer.of(0))
    return (await this.#readLevel(folder)) ?? 0
  }

  async #append(id: string, records: Buffer): Promise<void> {
    while (
      (await this.#documents.append(id, records)) === undefined &&
      (await this.#documents.insert(id, records)) === undefined
    );
  }

  // Reading

  async #folders(): Promise<string[]> {
    const log = await this.#documents.get(foldersId)
    return log ? [...new Set(recordsOf(log.content).map(({ key }) => key))] : []
  }

  async #shardIds(folder: string): Promise<string[]> {
    const level = await this.#readLevel(folder)
    if (level === undefined) {
      // Known, and not there: the engine has lost it, and so it may have lost whatever else was added.
      if (this.#levels.has(folder)) this.forget()
      return []
    }
    return shardsOfLevel
      .slice(0, level + 1)
      .flatMap((count, at) => Array.from({ length: count }, (_, number) => `${rootId(folder)}:${at}:${number}`))
  }

  async #readLevel(folder: string): Promise<number | undefined> {
    const root = await this.#documents.get(rootId(folder))
    if (!root) return undefined
    const level = Math.min(root.content[0] ?? 0, shardsOfLevel.length - 1)
    this.#levels.set(folder, level)
    return level
  }

  async #shard(id: string): Promise<Shard | undefined> {
    const document = await this.#documents.get(id)
    return document && { id, ...document }
  }

  /** The engine has lost what was added: keys are added again with their next writing. */
  forget(): void {
    this.#levels.clear()
    this.#fresh.clear()
    this.#lookAtBytes.clear()
  }

  // Keeping it short

  /** Nobody waits for it, and nobody needs it today: what fails is tried again by whoever looks next. */
  #behind(work: Promise<void>): void {
    work.catch(() => {})
  }

  async #tend(folder: string, level: number, id: string): Promise<void> {
    const shard = await this.#shard(id)
    if (!shard || shard.content.length < (this.#lookAtBytes.get(id) ?? shardBytesMax)) return
    const old = [...latestOf(shard.content)].filter(([, minute]) => isOld(minute)).map(([key]) => key)
    const absent = new Set<string>()
    for (const keys of chunks(old, chunkCallsMax)) {
      const found = await Promise.all(keys.map(key => this.#documents.get(key)))
      for (const [at, key] of keys.entries()) if (!found[at]) absent.add(key)
    }
    await this.#prune(shard, absent)
    if ((this.#lookAtBytes.get(id) ?? 0) > shardBytesMax) await this.#raise(folder, level)
  }

  /** Writes the log without repetitions, and without those of `absent` that were added long ago; unless it was added to meanwhile. */
  async #prune({ id, content, cas }: Shard, absent: ReadonlySet<string>): Promise<void> {
    const kept = [...latestOf(content)].filter(([key, minute]) => !(absent.has(key) && isOld(minute)))
    const shorter = Buffer.concat(kept.map(([key, minute]) => recordOf({ key, minute })))
    this.#lookAtBytes.set(id, Math.max(shardBytesMax, 2 * shorter.length))
    if (shorter.length < content.length && (await this.#documents.replace(id, shorter, cas)) !== undefined)
      for (const key of absent) this.#fresh.delete(key)
  }

  async #raise(folder: string, level: number): Promise<void> {
    const root = await this.#documents.get(rootId(folder))
    if (!root || root.content[0] !== level || level + 1 >= shardsOfLevel.length) return
    if ((await this.#documents.replace(rootId(folder), Buffer.of(level + 1), root.cas)) !== undefined)
      this.#levels.set(folder, level + 1)
  }
}

// Names of documents

const foldersId = `${indexPrefix}folders`

function rootId(folder: string): string {
  return indexPrefix + createHash('sha256').update(folder).digest('base64url').slice(0, 22)
}

function shardId(root: string, level: number, key: string): string {
  const number = createHash('sha1').update(key).digest().readUInt32BE() % shardsOfLevel[level]!
  return `${root}:${level}:${number}`
}

// Records: two bytes of length, the key, four bytes of minutes

function recordOf({ key, minute }: Added): Buffer {
  const length = Buffer.byteLength(key)
  const record = Buffer.allocUnsafe(2 + length + 4)
  record.writeUInt16BE(length)
  record.write(key, 2)
  record.writeUInt32BE(minute, 2 + length)
  return record
}

function recordsOf(log: Buffer): Added[] {
  const records: Added[] = []
  for (let at = 0; at < log.length;) {
    if (at + 2 > log.length) throw new Error('a log of keys holds what Homing did not write')
    const end = at + 2 + log.readUInt16BE(at)
    if (end + 4 > log.length) throw new Error('a log of keys holds what Homing did not write')
    records.push({ key: log.toString('utf8', at + 2, end), minute: log.readUInt32BE(end) })
    at = end + 4
  }
  return records
}

/** When each key was added last. */
function latestOf(log: Buffer): Map<string, number> {
  const latest = new Map<string, number>()
  for (const { key, minute } of recordsOf(log)) latest.set(key, Math.max(minute, latest.get(key) ?? 0))
  return latest
}

function minuteNow(): number {
  return Math.floor(Date.now() / 60_000)
}

function isOld(minute: number): boolean {
  return minuteNow() - minute >= goneMinutes
}

function* chunks<T>(all: readonly T[], size: number): Generator<T[]> {
  for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size)
}

/** In the order in which the first of each group comes. */
function groups(keys: Iterable<string>, groupOf: (key: string) => string): Map<string, string[]> {
  const grouped = new Map<string, string[]>()
  for (const key of keys) {
    const group = groupOf(key)
    const others = grouped.get(group)
    if (others) others.push(key)
    else grouped.set(group, [key])
  }
  return grouped
}
