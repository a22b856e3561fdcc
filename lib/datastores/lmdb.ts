/** A datastore in a file that the processes of one machine share. */

import { setImmediate as turn } from 'node:timers/promises'
import { HomingError } from '../errors.ts'
import type { Datastore, Entry, PutOptions, Removal, Write } from './datastore.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { failure, isPanic } from './lmdb-failure.ts'
import { lmdbFile } from './lmdb-file.ts'
import { LmdbVersions, readVersion, versionText } from './lmdb-versions.ts'
import { forgetWrites, LmdbWrites, type LmdbFile, type Row } from './lmdb-writes.ts'
import { closedError, within } from './settling.ts'

export interface LmdbOptions {
  /** Absolute path; made if absent. */
  folder: string
  /** The folder above, when both were chosen by us: then both must belong to this user alone. */
  base?: string | undefined
  operationTimeoutMs: number
  /** Milliseconds that run alike in all processes of this machine. Default: see `machineMs`. */
  nowMs?: () => number
  /** Stands before lmdb, for tests that break it. */
  wrap?: (file: LmdbFile) => LmdbFile
}

/** Opens or makes the file. Fails with `REFUSED` (a default folder of somebody else), `DATASTORE`. */
export async function lmdbDatastore(options: LmdbOptions): Promise<Datastore> {
  const { open, getLastVersion } = await import('lmdb')
  try {
    const { path, thisBootOnly } = await lmdbFile(options.folder, options.base)
    const settings = {
      path,
      noSubdir: true,
      encoding: 'binary' as const,
      keyEncoding: 'binary' as const,
      useVersions: true,
      maxReaders: 4096,
      mapSize: 2 ** 28, // address space, not disk; it grows when needed, which all processes have to notice
      overlappingSync: false, // with it, a writer that was stopped and then killed left the survivors panicking
      noSync: thisBootOnly,
      eventTurnBatching: false, // with it, lmdb keeps a promise to itself: a full disk is an unhandled rejection
      batchStartThreshold: Infinity, // the write lock is taken when a batch is complete, not while our loop is making it
    }
    const openFile = () => {
      const file = open<Uint8Array, Uint8Array>(settings)
      forgetWrites(file)
      return (options.wrap ?? (file => file))(file)
    }
    const nowMs = options.nowMs ?? (thisBootOnly ? machineMs : Date.now)
    return new LmdbDatastore({ openFile, getLastVersion, nowMs, timeoutMs: options.operationTimeoutMs, durable: !thisBootOnly })
  } catch (error) {
    throw error instanceof HomingError ? error : failure('opening', error)
  }
}

/**
 * The monotonic clock of the machine: since its start, the same in all processes, and no setting of the wall clock moves it. A file
 * that is shared beyond one start of the machine needs the wall clock instead.
 */
function machineMs(): number {
  const [seconds, nanoseconds] = process.hrtime()
  return seconds * 1_000 + nanoseconds / 1e6
}

interface Engine {
  openFile: () => LmdbFile
  getLastVersion: () => number
  nowMs: () => number
  timeoutMs: number
  durable: boolean
}

/** What is stored of an entry besides its bytes. */
interface Head {
  version: number
  expired: boolean
}

/** The file, until it is let go of. */
interface Opened {
  readonly file: LmdbFile
  readonly writes: LmdbWrites
}

/** A stored value begins with the time it is forgotten at, a double, 0 for never. */
const headBytes = 8

/** Keys looked at between two turns of the event loop. */
const pageKeys = 500

const sweepEveryMs = 1_000

const notFinished = (timeoutMs: number) =>
  new HomingError('DATASTORE', `lmdb: writing took longer than ${timeoutMs} ms: another process holds the lock`, {
    outcome: 'unknown',
  })

const isBeingOpened = (): HomingError => new HomingError('DATASTORE', 'lmdb: the file is being opened again')

/** Most readers never ask for the version: its text costs as much as finding the entry. */
class LmdbEntry implements Entry {
  readonly bytes: Uint8Array
  readonly #version: number

  constructor(bytes: Uint8Array, version: number) {
    this.bytes = bytes
    this.#version = version
  }

  get version(): string {
    return versionText(this.#version)
  }
}

/** Reads are made at once, on the newest state; writes as `LmdbWrites` tells. A file that is beyond repair is opened anew. */
class LmdbDatastore implements Datastore {
  readonly promises: Datastore['promises']
  readonly #engine: Engine
  readonly #versions = new LmdbVersions()
  #opened: Opened | undefined
  #reopening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #sweptMs: number
  #sweptTo: Uint8Array | undefined

  constructor(engine: Engine) {
    this.#engine = engine
    this.promises = { atomicPut: true, durable: engine.durable, shared: true }
    this.#opened = this.#openFile()
    this.#sweptMs = engine.nowMs()
  }

  async get(key: string): Promise<Entry | undefined> {
    checkKey(key)
    return this.#read(file => this.#entry(file, key))
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    for (const key of keys) checkKey(key)
    return this.#read(file => keys.map(key => this.#entry(file, key)))
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    checkPut(key, options, bytes)
    return this.#written(async untilMs => (await this.#put([{ ...options, key, bytes }], untilMs))[0])
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const write of writes) checkPut(write.key, write)
    return this.#written(untilMs => this.#put(writes, untilMs))
  }

  async delete(key: string, { ifVersion }: { ifVersion?: string } = {}): Promise<boolean> {
    checkKey(key)
    return this.#written(untilMs => this.#delete(key, ifVersion, untilMs))
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    for (const { key } of removals) checkKey(key)
    return this.#written(untilMs => Promise.all(removals.map(({ key, ifVersion }) => this.#delete(key, ifVersion, untilMs))))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    checkText(prefix)
    const begin = Buffer.from(prefix)
    let from: Uint8Array | undefined = begin.length === 0 ? undefined : begin
    do {
      const page: Page = this.#read(file => this.#page(file, from))
      for (const [key, { expired }] of page.heads) {
        if (begin.compare(key.subarray(0, begin.length)) !== 0) return
        if (!expired) yield textOf(key)
      }
      from = page.next
      await turn() // a long listing lets others go first
    } while (from)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  // ---- reading

  /** Runs `look` on the newest state: what another process was told is written is seen. */
  #read<T>(look: (file: LmdbFile) => T): T {
    const opened = this.#open()
    try {
      return look(opened.file)
    } catch (error) {
      if (isPanic(error)) this.#reopen(opened)
      throw failure('reading', error)
    } finally {
      // lmdb would keep the snapshot until its timer runs, a millisecond or a blocked loop later.
      opened.file.resetReadTxn()
    }
  }

  #entry(file: LmdbFile, key: string): Entry | undefined {
    const row = file.getBinaryFast(Buffer.from(key))
    const head = row && this.#headOf(row)
    if (!head || head.expired) return undefined
    return new LmdbEntry(Uint8Array.prototype.slice.call(row, headBytes, row.length), head.version)
  }

  #head(file: LmdbFile, key: Uint8Array): Head | undefined {
    const row = file.getBinaryFast(key)
    return row && this.#headOf(row)
  }

  /** Of the row that was read last. `row` lies in memory that the next reading overwrites. */
  #headOf(row: Uint8Array): Head {
    if (row.length < headBytes) throw new Error('the file holds what Homing did not write')
    const untilMs = new DataView(row.buffer, row.byteOffset, headBytes).getFloat64(0)
    return { version: this.#engine.getLastVersion(), expired: untilMs !== 0 && untilMs <= this.#engine.nowMs() }
  }

  #page(file: LmdbFile, from: Uint8Array | undefined): Page {
    const keys = [...file.getKeys({ ...(from && { start: from }), limit: pageKeys })]
    const heads = keys.flatMap((key): [Uint8Array, Head][] => {
      const head = this.#head(file, key)
      return head ? [[key, head]] : []
    })
    const last = keys.length === pageKeys ? keys.at(-1) : undefined
    return { heads, next: last && Buffer.concat([last, Buffer.alloc(1)]) } // the next key that could be
  }

  // ---- writing

  #written<T>(work: (untilMs: number) => Promise<T>): Promise<T> {
    const { timeoutMs } = this.#engine
    this.#open()
    return within(timeoutMs, work(performance.now() + timeoutMs), () => {
      this.#probe()
      return notFinished(timeoutMs)
    })
  }

  /** A condition is checked by lmdb, in the transaction; only whether the entry expired is checked here, before. */
  async #put(writes: readonly Write[], untilMs: number): Promise<(string | undefined)[]> {
    const rows = writes.map(write => this.#row(write))
    const tried = rows.filter(row => row !== undefined)
    const held = tried.length === 0 ? [] : await this.#open().writes.put(tried, untilMs)
    let at = 0
    const versions: (string | undefined)[] = []
    for (const row of rows) {
      const written = row !== undefined && (held[at++] || (row.condition === null && (await this.#putOverExpired(row, untilMs))))
      versions.push(written ? versionText(row.version) : undefined)
    }
    return versions
  }

  /** `undefined` where the condition fails already. */
  #row({ key, bytes, ttlMs, ifVersion }: Write): Row | undefined {
    const name = Buffer.from(key)
    const condition = typeof ifVersion === 'string' ? this.#conditionOn(name, ifVersion) : ifVersion
    if (condition === undefined && ifVersion !== undefined) return undefined
    const row = Buffer.allocUnsafe(headBytes + bytes.length)
    row.writeDoubleBE(ttlMs === undefined ? 0 : this.#engine.nowMs() + ttlMs)
    row.set(bytes, headBytes)
    return { name, bytes: row, version: this.#versions.next(), condition }
  }

  /** Something was there: what has expired counts as absent. */
  async #putOverExpired(row: Row, untilMs: number): Promise<boolean> {
    for (;;) {
      const head: Head | undefined = this.#read(file => this.#head(file, row.name))
      if (head && !head.expired) return false
      // Each round was lost to a write of somebody else; the last one ends when its time is over.
      const [held] = await this.#open().writes.put([{ ...row, condition: head ? head.version : null }], untilMs)
      if (held) return true
    }
  }

  async #delete(key: string, ifVersion: string | undefined, untilMs: number): Promise<boolean> {
    const name = Buffer.from(key)
    const condition = ifVersion === undefined ? undefined : this.#conditionOn(name, ifVersion)
    if (condition === undefined && ifVersion !== undefined) return false
    const [held] = await this.#open().writes.remove(name, condition, untilMs)
    return ifVersion === undefined || held === true
  }

  /** What lmdb is to compare with; `undefined` if the condition fails already, because nothing has this version or it expired. */
  #conditionOn(name: Uint8Array, ifVersion: string): number | undefined {
    const version = readVersion(ifVersion)
    const head = version === undefined ? undefined : this.#read(file => this.#head(file, name))
    return head?.version === version && !head?.expired ? version : undefined
  }

  /** Removes what expired, a page now and then, by the way of other writes: what is never asked for again would stay for ever. */
  #sweep(opened: Opened): void {
    const { file, writes } = opened
    const nowMs = this.#engine.nowMs()
    if (nowMs - this.#sweptMs < sweepEveryMs) return
    this.#sweptMs = nowMs
    try {
      file.readerCheck() // the snapshot of a killed process keeps old pages from being used again
      const { heads, next } = this.#page(file, this.#sweptTo)
      this.#sweptTo = next
      const untilMs = performance.now() + this.#engine.timeoutMs
      // What fails is found again in the next round, and by the writes on both sides of it.
      for (const [key, { version, expired }] of heads) if (expired) writes.removeAlong(key, version, untilMs)
    } catch (error) {
      if (isPanic(error)) this.#reopen(opened)
      else this.#sweptTo = undefined // the next read of a caller reports what is wrong with the file
    } finally {
      file.resetReadTxn()
    }
  }

  // ---- opening and closing

  #open(): Opened {
    if (this.#closing) throw closedError('lmdb')
    if (this.#reopening) throw isBeingOpened()
    try {
      this.#opened ??= this.#openFile()
    } catch (error) {
      throw failure('opening', error)
    }
    return this.#opened
  }

  #openFile(): Opened {
    const file = this.#engine.openFile()
    const panicked = (): void => this.#reopen(opened)
    const between = (): void => this.#sweep(opened)
    const opened: Opened = { file, writes: new LmdbWrites({ file, panicked, between }) }
    return opened
  }

  /** After a write that did not end: lmdb never settles one that met a panic, but says so to a reader. */
  #probe(): void {
    const opened = this.#opened
    if (!opened || this.#closing) return
    try {
      opened.file.getBinaryFast(Buffer.from('probe'))
    } catch (error) {
      if (isPanic(error)) this.#reopen(opened)
    } finally {
      opened.file.resetReadTxn()
    }
  }

  /** Lets go of a file that is beyond repair; the next call opens it anew. What waited fails, what was under way is not known. */
  #reopen(opened: Opened): void {
    if (opened !== this.#opened) return
    this.#opened = undefined
    opened.writes.end(isBeingOpened())
    this.#reopening = this.#release(opened.file).finally(() => {
      this.#reopening = undefined
    })
  }

  async #close(): Promise<void> {
    await this.#reopening
    const opened = this.#opened
    if (!opened) return
    // Writes that were under way end first; if they hang, the file goes without them.
    await ended(opened.writes.settled, this.#engine.timeoutMs)
    this.#opened = undefined
    opened.writes.end(closedError('lmdb'))
    await this.#release(opened.file)
  }

  async #release(file: LmdbFile): Promise<void> {
    if (await ended(file.close(), this.#engine.timeoutMs)) return
    // lmdb waits for its own writes for ever. All openings of one process share one native environment, which is only renewed
    // when the last one let go of it, so this must be done by force.
    const { env } = file as unknown as { env: { close(): void } }
    await ended(
      Promise.resolve().then(() => env.close()),
      this.#engine.timeoutMs,
    )
  }
}

interface Page {
  heads: [Uint8Array, Head][]
  /** Where the next page begins; `undefined`: there is none. */
  next: Uint8Array | undefined
}

/** Whether `work` ended within `ms`, well or badly: what fails while a file is let go of has no caller to be told. */
async function ended(work: Promise<void>, ms: number): Promise<boolean> {
  const late = new Error('late')
  try {
    await within(ms, work, () => late)
    return true
  } catch (error) {
    return error !== late
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString()
}
