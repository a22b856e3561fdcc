/** A datastore on a ZooKeeper ensemble. */

import type { Stat, TransactionResult } from 'node-zookeeper-client'
import { HomingError } from '../errors.ts'
import type { Datastore, Entry, PutOptions, Removal, Write } from './datastore.ts'
import { folderOf, type KeyPlace, mayHold, placeOf } from './folders.ts'
import { chunkCallsMax, inTurn } from './in-turn.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { closedError, within } from './settling.ts'
import type { ZooKeeperPlace } from './zookeeper-url.ts'
import { NotSent, Unanswered } from './zookeeper-connection.ts'
import {
  encodeEntry,
  Marks,
  mayLapse,
  readVersion,
  type StoredEntry,
  suits,
  type Version,
  versionText,
  writtenMs,
} from './zookeeper-entry.ts'
import { anyVersion, held, none, Nodes, only } from './zookeeper-nodes.ts'
import { ZooKeeperPresence } from './zookeeper-presence.ts'
import { failures, isFailure, ZooKeeperSession } from './zookeeper-session.ts'
import { readMarkName, textOf, type Tree } from './zookeeper-tree.ts'

export interface ZooKeeperDatastoreOptions extends ZooKeeperPlace {
  operationTimeoutMs: number
  /** Told in a sentence what goes wrong where no caller waits. */
  warn: (text: string) => void
}

/**
 * Connects, and makes the root if it is missing. Fails with `DATASTORE` within `operationTimeoutMs`; the caller tries again. Later it
 * reconnects by itself, and meanwhile fails each call at once.
 */
export async function zookeeperDatastore(options: ZooKeeperDatastoreOptions): Promise<Datastore> {
  const { default: zookeeper } = await import('node-zookeeper-client')
  const { operationTimeoutMs } = options
  const session = new ZooKeeperSession({ zookeeper, place: options, operationTimeoutMs })
  const nodes = new Nodes(session, zookeeper, options)
  try {
    const opened = session.open().then(() => nodes.makeFolders(options.root))
    await within(operationTimeoutMs, opened, () => tooLong(operationTimeoutMs))
    return new ZooKeeperDatastore(session, nodes, options)
  } catch (error) {
    await session.close()
    throw failure('connecting', error)
  }
}

/** A request is at most this long by default (`jute.maxbuffer`, less one byte than 1 MiB); a longer one costs everybody the connection. */
const requestBytesMax = 1_048_575
/** What of a request is not the value: two paths, each with a root, a folder and a name of escapes, and what stands around them. */
const besideValueBytesMax = 8 * 1024
const valueBytesMax = requestBytesMax - besideValueBytesMax

/** The leader's clock is looked at anew after this, ms. */
const clockMs = 60_000
/** Lapsed entries that are being removed at a time; who finds more leaves them to the next reader. */
const sweepingMax = 100

class ZooKeeperDatastore implements Datastore {
  /** Acknowledged means: synced to the disks of a majority. */
  readonly promises = { atomicPut: true, durable: true, shared: true }
  readonly presence: ZooKeeperPresence
  readonly #session: ZooKeeperSession
  readonly #nodes: Nodes
  readonly #tree: Tree
  readonly #marks = new Marks()
  readonly #timeoutMs: number
  #clock: { leaderMs: number; atMs: number } | undefined
  #clockReading: Promise<void> | undefined
  #sweeping = 0
  /** Which transaction made the root: another one is another world. */
  #rootMade: string | undefined
  readonly #lossListeners: (() => void)[] = []
  #closing: Promise<void> | undefined

  constructor(session: ZooKeeperSession, nodes: Nodes, { operationTimeoutMs, warn }: ZooKeeperDatastoreOptions) {
    this.#session = session
    this.#nodes = nodes
    this.#tree = nodes.tree
    this.#timeoutMs = operationTimeoutMs
    this.presence = new ZooKeeperPresence({ session, nodes, marks: this.#marks, warn })
    const look = (): void => void this.#lookAtRoot(warn)
    session.onConnected(look)
    look()
  }

  async get(key: string): Promise<Entry | undefined> {
    checkKey(key)
    return this.#reading(async () => entryOf(await this.#live(placeOf(key))))
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    for (const key of keys) checkKey(key)
    return this.#reading(async () => (await this.#liveMany(keys.map(placeOf))).map(entryOf))
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    const [version] = await this.putMany([{ ...options, key, bytes }])
    return version
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const write of writes) {
      checkPut(write.key, write)
      checkSize(write)
    }
    const taken = writes.map(write => ({ ...write, bytes: new Uint8Array(write.bytes) })) // at the call, whatever the caller does with it
    return this.#writing(taken, (write, untilMs) => this.#put(write, untilMs))
  }

  async delete(key: string, options: { ifVersion?: string } = {}): Promise<boolean> {
    const [gone] = await this.deleteMany([{ ...options, key }])
    return gone!
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    for (const { key } of removals) checkKey(key)
    return this.#writing(removals, (removal, untilMs) => this.#remove(removal, untilMs))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    checkText(prefix)
    const single = folderOf(prefix)
    for (const folder of single === undefined ? await this.#reading(() => this.#folders(prefix)) : [single]) {
      const names = await this.#reading(() => this.#children(this.#tree.marks(folder)))
      let may: KeyPlace[] = []
      for (const name of names) {
        const read = readMarkName(name)
        if (!read || !(folder + read.leaf).startsWith(prefix)) continue
        if (!mayLapse(read.mark)) yield this.#listed(folder, read.leaf)
        else if (may.push({ folder, leaf: read.leaf }) === chunkCallsMax) {
          yield* await this.#stillLive(may)
          may = []
        }
      }
      yield* await this.#stillLive(may)
    }
  }

  /** An ensemble that was set up anew has lost everything; otherwise ZooKeeper keeps what it acknowledged. */
  onLoss(lost: () => void): void {
    this.#lossListeners.push(lost)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#session.close()
    return this.#closing
  }

  /** The first question on each connection: its answer is there before any other's. */
  async #lookAtRoot(warn: (text: string) => void): Promise<void> {
    const { root } = this.#tree
    try {
      let stat = await this.#session.read<Stat | null>((client, answer) => client.exists(root, undefined, answer))
      const made = stat?.czxid.toString('hex')
      if (this.#rootMade !== undefined && this.#rootMade !== made) for (const lost of this.#lossListeners) lost()
      if (!stat) {
        await this.#nodes.makeFolders(root)
        stat = await this.#session.read<Stat | null>((client, answer) => client.exists(root, undefined, answer))
      }
      this.#rootMade = stat?.czxid.toString('hex') ?? this.#rootMade
    } catch (error) {
      // The connection is gone again: the next one is asked.
      if (!(error instanceof NotSent || error instanceof Unanswered)) warn(`zookeeper: ${String(error)}`)
    }
  }

  // Reading

  #children(path: string): Promise<string[]> {
    const reading = this.#session.read<string[]>((client, answer) => client.getChildren(path, undefined, answer))
    return reading.catch((error: unknown) => {
      if (isFailure(error, failures.noNode)) return []
      throw error
    })
  }

  async #folders(prefix: string): Promise<string[]> {
    const folders = (await this.#children(this.#tree.root)).map(textOf)
    return folders.filter(folder => folder !== undefined).filter(folder => mayHold(folder, prefix))
  }

  #listed(folder: string, leaf: string): string {
    if (this.#closing) throw closedError('zookeeper')
    return folder + leaf
  }

  /** Of entries that may have lapsed, the keys of those that have not. */
  async #stillLive(places: readonly KeyPlace[]): Promise<string[]> {
    const entries = await this.#reading(() => this.#liveMany(places))
    return places.filter((_, at) => entries[at]).map(({ folder, leaf }) => folder + leaf)
  }

  async #liveMany(places: readonly KeyPlace[]): Promise<(StoredEntry | undefined)[]> {
    const found: (StoredEntry | undefined)[] = []
    for (let from = 0; from < places.length; from += chunkCallsMax) {
      const chunk = places.slice(from, from + chunkCallsMax)
      found.push(...(await Promise.all(chunk.map(place => this.#live(place)))))
    }
    return found
  }

  async #live(place: KeyPlace): Promise<StoredEntry | undefined> {
    const entry = await this.#nodes.read(place)
    if (!entry || !(await this.#hasLapsed(entry))) return entry
    this.#sweep(place, entry)
    return undefined
  }

  async #hasLapsed({ lifetime }: StoredEntry): Promise<boolean> {
    return lifetime !== undefined && (await this.#leaderMs()) >= lifetime.fromMs + lifetime.ttlMs
  }

  /** What the leader's clock shows. It is seen in answers to writes only. */
  async #leaderMs(): Promise<number> {
    if (!this.#clock || performance.now() - this.#clock.atMs > clockMs) {
      this.#clockReading ??= this.#readClock().finally(() => {
        this.#clockReading = undefined
      })
      await this.#clockReading
    }
    const { leaderMs, atMs } = this.#clock!
    return leaderMs + performance.now() - atMs
  }

  async #readClock(): Promise<void> {
    const sentMs = performance.now()
    const path = this.#tree.root
    this.#sawClock(await this.#session.call<Stat>((client, answer) => client.setData(path, none, anyVersion, answer)), sentMs)
  }

  #sawClock(stat: Stat, sentMs: number): void {
    // It was read there some time between the sending and now.
    this.#clock = { leaderMs: writtenMs(stat), atMs: (sentMs + performance.now()) / 2 }
  }

  /** Nobody can see it any more: it is removed by the way. */
  #sweep(place: KeyPlace, entry: StoredEntry): void {
    if (this.#sweeping >= sweepingMax || this.#closing) return
    this.#sweeping++
    this.#nodes
      .remove(place, entry)
      .catch(() => false) // the next one who reads it tries again
      .finally(() => this.#sweeping--)
  }

  // Writing

  async #put(write: Write, untilMs: number): Promise<string | undefined> {
    const { key, ifVersion } = write
    const place = placeOf(key)
    if (typeof ifVersion === 'string') {
      const expected = readVersion(ifVersion)
      if (!expected || !(await this.#holds(place, expected))) return undefined
      this.#checkTime(untilMs)
      return this.#writeOver(place, expected, write)
    }
    for (;;) {
      this.#checkTime(untilMs)
      const created = await this.#create(place, write)
      if (created !== undefined) return created
      const found = await this.#nodes.read(place)
      if (!found) continue
      // What nobody can see any more is no obstacle, and may be written over as it is.
      if (ifVersion === null && !(await this.#hasLapsed(found))) return undefined
      this.#checkTime(untilMs)
      const version = ifVersion === null ? found : { ...found, dataVersion: anyVersion }
      const written = await this.#writeOver(place, version, write)
      if (written !== undefined) return written
    }
  }

  /** Resolves to `undefined` where the key is there. */
  async #create(place: KeyPlace, { bytes, ttlMs }: Write): Promise<string | undefined> {
    const mark = this.#marks.next(ttlMs)
    const data = encodeEntry(mark, bytes, ttlMs)
    const create = (): Promise<TransactionResult[]> =>
      this.#nodes.commit(transaction => {
        this.#nodes.create(transaction, this.#tree.entry(place), data)
        this.#nodes.create(transaction, this.#tree.mark(place, mark), none)
      })
    try {
      await create().catch(async (error: unknown) => {
        if (!isFailure(error, failures.noNode)) throw error
        await this.#nodes.makeFolder(place.folder)
        return create()
      })
      return versionText({ mark, dataVersion: 0 })
    } catch (error) {
      if (isFailure(error, failures.nodeExists)) return undefined
      throw error
    }
  }

  /** Resolves to `undefined` where the key is not of this version (any more). */
  async #writeOver(place: KeyPlace, { mark, dataVersion }: Version, { bytes, ttlMs }: Write): Promise<string | undefined> {
    const keeps = suits(mark, ttlMs)
    const next = keeps ? mark : this.#marks.next(ttlMs)
    const data = encodeEntry(next, bytes, ttlMs)
    const sentMs = performance.now()
    const results = await held(
      this.#nodes.commit(transaction => {
        if (keeps) {
          transaction.check(this.#tree.mark(place, mark))
        } else {
          transaction.remove(this.#tree.mark(place, mark))
          this.#nodes.create(transaction, this.#tree.mark(place, next), none)
        }
        transaction.setData(this.#tree.entry(place), data)
        only(transaction, dataVersion)
      }),
    )
    const stat = results?.at(-1)?.stat
    if (!stat) return undefined
    this.#sawClock(stat, sentMs)
    return versionText({ mark: next, dataVersion: stat.version })
  }

  async #remove({ key, ifVersion }: Removal, untilMs: number): Promise<boolean> {
    const place = placeOf(key)
    if (ifVersion !== undefined) {
      const expected = readVersion(ifVersion)
      if (!expected || !(await this.#holds(place, expected))) return false
      this.#checkTime(untilMs)
      return this.#nodes.remove(place, expected)
    }
    for (;;) {
      this.#checkTime(untilMs)
      const found = await this.#nodes.read(place)
      if (!found) return true
      this.#checkTime(untilMs)
      if (await this.#nodes.remove(place, { ...found, dataVersion: anyVersion })) return true
    }
  }

  /** Whether a condition on this version can hold, as far as the server does not see to it: it knows no lifetimes. */
  async #holds(place: KeyPlace, expected: Version): Promise<boolean> {
    if (!mayLapse(expected.mark)) return true
    const found = await this.#nodes.read(place)
    return found !== undefined && versionText(found) === versionText(expected) && !(await this.#hasLapsed(found))
  }

  /** Before each sending that follows an answer: who asked may have been told that it took too long. */
  #checkTime(untilMs: number): void {
    if (performance.now() > untilMs) throw tooLong(this.#timeoutMs)
  }

  // How calls end

  async #reading<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing) throw closedError('zookeeper')
    try {
      return await within(this.#timeoutMs, work(), () => tooLong(this.#timeoutMs))
    } catch (error) {
      throw failure('reading', error)
    }
  }

  /** Each by itself, in the order of `all`. */
  async #writing<O extends { key: string; bytes?: Uint8Array }, R>(
    all: readonly O[],
    work: (one: O, untilMs: number) => Promise<R>,
  ): Promise<R[]> {
    if (this.#closing) throw closedError('zookeeper')
    const untilMs = performance.now() + this.#timeoutMs
    const check = (): void => this.#checkTime(untilMs)
    try {
      return await within(
        this.#timeoutMs,
        inTurn(all, check, one => work(one, untilMs)),
        () => tooLong(this.#timeoutMs),
      )
    } catch (error) {
      throw failure('writing', error, all.length === 1 && neverDone(error) ? 'not-delivered' : 'unknown')
    }
  }
}

function checkSize({ key, bytes }: Write): void {
  if (bytes.length <= valueBytesMax) return
  throw new HomingError('TOO_LARGE', `zookeeper: '${key}' would have ${bytes.length} bytes; a node takes ${valueBytesMax}`)
}

function entryOf(stored: StoredEntry | undefined): Entry | undefined {
  return stored && { bytes: stored.bytes, version: versionText(stored) }
}

function tooLong(timeoutMs: number): Error {
  return new Error(`no answer within ${timeoutMs} ms`)
}

/** It was never sent, or the server refused. */
function neverDone(error: unknown): boolean {
  return error instanceof NotSent || isFailure(error, failures.noAuth)
}

function failure(what: string, cause: unknown, outcome?: HomingError['outcome']): HomingError {
  if (cause instanceof HomingError) return cause
  const because = cause instanceof Error ? cause.message : String(cause)
  return new HomingError('DATASTORE', `zookeeper: ${what} failed: ${because}`, { cause, ...(outcome && { outcome }) })
}
