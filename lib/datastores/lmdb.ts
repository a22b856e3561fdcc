/** A datastore in a file that the processes of one machine share. */

import { setImmediate as turn } from 'node:timers/promises'
import type { RootDatabase } from 'lmdb'
import { HomingError } from '../errors.ts'
import type { Datastore, Entry, PutOptions, Removal, Write } from './datastore.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { lmdbFile } from './lmdb-file.ts'
import { LmdbVersions, readVersion, versionText } from './lmdb-versions.ts'
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
  wrap?: (file: RootDatabase<Uint8Array, Uint8Array>) => RootDatabase<Uint8Array, Uint8Array>
}

type File = RootDatabase<Uint8Array, Uint8Array>

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

/** What lmdb keeps of a write that was issued, in a list in their order. */
interface Resolution {
  /** Its status; `written` in it means that lmdb is done with it. */
  flag: number
  next: Resolution | null
  /** The promise of the write. */
  meta: object | null
}

const written = 0x1000000

/**
 * Takes the writes of a transaction that ended out of lmdb's list. Nobody looks at them again, but as soon as one of them is old, all
 * after it stay with it until the next full collection of garbage: half a kilobyte a write.
 */
function forgetWrites(file: File): void {
  const forget = ({ next, last }: { next: Resolution | null; last: Resolution | null }): void => {
    // Not at once: lmdb settles the promises right after this.
    queueMicrotask(() => {
      for (let done = next; done && done !== last && done.flag & written;) {
        const after: Resolution | null = done.next
        done.next = null
        done.meta = null
        done = after
      }
    })
  }
  // The declarations do not know what comes with this event.
  file.on('aftercommit', forget as () => void)
}

interface Engine {
  openFile: () => File
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

/** Writes of one call that wait for their transaction together. */
interface Job {
  /** Hands them to lmdb; each resolves to whether its condition held. */
  issue(file: File): Promise<boolean>[]
  bytes: number
  /** Not begun after that: who asked was told that it failed. */
  untilMs: number
  /** In the order of the writes. */
  resolve(held: boolean[]): void
  reject(error: HomingError): void
}

/** A write as lmdb takes it. */
interface Row {
  name: Uint8Array
  bytes: Uint8Array
  version: number
  /** The version to write over; `null`: only if absent; `undefined`: always. */
  condition: number | null | undefined
}

/** A stored value begins with the time it is forgotten at, a double, 0 for never. */
const headBytes = 8

/** Bounds how long one transaction holds the lock of all processes. */
const batchJobsMax = 10_000
const batchBytesMax = 16 * 2 ** 20

/** Writes that wait; beyond it the caller is told, before memory is short. */
const jobsMax = 1_000_000

/** Keys looked at between two turns of the event loop. */
const pageKeys = 500

const sweepEveryMs = 1_000

/** What lmdb says when its state in this process is beyond repair: only opening the file anew helps. */
const panic = -30795

const notFinished = (timeoutMs: number) =>
  new HomingError('DATASTORE', `lmdb: writing took longer than ${timeoutMs} ms: another process holds the lock`, {
    outcome: 'unknown',
  })

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

/**
 * Reads are made at once, on the newest state. Writes are native conditional ones, gathered while a transaction is under way: one
 * transaction of ours at a time, so that one that hangs (another process was stopped while it held the lock) costs one thread and no more.
 * Never a transaction callback: it would hold the lock of all processes while our event loop is blocked.
 */
class LmdbDatastore implements Datastore {
  readonly promises: Datastore['promises']
  readonly #engine: Engine
  readonly #versions = new LmdbVersions()
  #file: File | undefined
  #jobs: Job[] = []
  #pumping: Promise<void> | undefined
  #reopening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #sweptMs: number
  #sweptTo: Uint8Array | undefined

  constructor(engine: Engine) {
    this.#engine = engine
    this.promises = { atomicPut: true, durable: engine.durable, shared: true }
    this.#file = engine.openFile()
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
  #read<T>(look: (file: File) => T): T {
    const file = this.#open()
    try {
      return look(file)
    } catch (error) {
      if (codeOf(error) === panic) this.#reopen(file)
      throw failure('reading', error)
    } finally {
      // lmdb would keep the snapshot until its timer runs, a millisecond or a blocked loop later.
      file.resetReadTxn()
    }
  }

  #entry(file: File, key: string): Entry | undefined {
    const row = file.getBinaryFast(Buffer.from(key))
    const head = row && this.#headOf(row)
    if (!head || head.expired) return undefined
    return new LmdbEntry(Uint8Array.prototype.slice.call(row, headBytes, row.length), head.version)
  }

  #head(file: File, key: Uint8Array): Head | undefined {
    const row = file.getBinaryFast(key)
    return row && this.#headOf(row)
  }

  /** Of the row that was read last. `row` lies in memory that the next reading overwrites. */
  #headOf(row: Uint8Array): Head {
    if (row.length < headBytes) throw new Error('the file holds what Homing did not write')
    const untilMs = new DataView(row.buffer, row.byteOffset, headBytes).getFloat64(0)
    return { version: this.#engine.getLastVersion(), expired: untilMs !== 0 && untilMs <= this.#engine.nowMs() }
  }

  #page(file: File, from: Uint8Array | undefined): Page {
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

  /**
   * All in one job: a promise chain for each write would cost more memory than the writes. A condition is checked by lmdb, in the
   * transaction; only whether the entry expired is checked here, before.
   */
  async #put(writes: readonly Write[], untilMs: number): Promise<(string | undefined)[]> {
    const rows = writes.map(write => this.#row(write))
    const tried = rows.filter(row => row !== undefined)
    const held = tried.length === 0 ? [] : await this.#enqueue(untilMs, tried)
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
      const [held] = await this.#enqueue(untilMs, [{ ...row, condition: head ? head.version : null }])
      if (held) return true
    }
  }

  async #delete(key: string, ifVersion: string | undefined, untilMs: number): Promise<boolean> {
    const name = Buffer.from(key)
    if (ifVersion === undefined) {
      await this.#enqueueJob(untilMs, name.length, file => [file.remove(name)])
      return true
    }
    const condition = this.#conditionOn(name, ifVersion)
    if (condition === undefined) return false
    const [held] = await this.#enqueueJob(untilMs, name.length, file => [file.remove(name, condition)])
    return held === true
  }

  /** What lmdb is to compare with; `undefined` if the condition fails already, because nothing has this version or it expired. */
  #conditionOn(name: Uint8Array, ifVersion: string): number | undefined {
    const version = readVersion(ifVersion)
    const head = version === undefined ? undefined : this.#read(file => this.#head(file, name))
    return head?.version === version && !head?.expired ? version : undefined
  }

  #enqueue(untilMs: number, rows: readonly Row[]): Promise<boolean[]> {
    let bytes = 0
    for (const row of rows) bytes += row.bytes.length
    return this.#enqueueJob(untilMs, bytes, file =>
      rows.map(row =>
        // The declarations do not know null, which is lmdb's "only if absent".
        row.condition === undefined
          ? file.put(row.name, row.bytes, row.version)
          : file.put(row.name, row.bytes, row.version, row.condition as number),
      ),
    )
  }

  #enqueueJob(untilMs: number, bytes: number, issue: Job['issue']): Promise<boolean[]> {
    if (this.#jobs.length >= jobsMax) return Promise.reject(new HomingError('DATASTORE', `lmdb: ${jobsMax} writes are waiting`))
    return new Promise((resolve, reject) => {
      this.#jobs.push({ issue, bytes, untilMs, resolve, reject })
      this.#pumping ??= this.#pump()
    })
  }

  async #pump(): Promise<void> {
    await Promise.resolve() // the rest of what is written at once goes along
    let answer = (): void => undefined
    for (let file = this.#file; file && this.#jobs.length > 0;) {
      const committed = this.#commit(file, this.#takeJobs())
      // lmdb begins to write in the next turn. Only then what was written before is answered: so callers go on while it writes.
      await turn()
      answer()
      answer = await committed
      if (file !== this.#file) return answer() // given up meanwhile; another pump runs on the new one
      this.#sweep(file)
    }
    this.#pumping = undefined
    answer()
  }

  #takeJobs(): Job[] {
    let count = 0
    let bytes = 0
    while (count < this.#jobs.length && count < batchJobsMax && bytes < batchBytesMax) bytes += this.#jobs[count++]!.bytes
    return this.#jobs.splice(0, count)
  }

  /** One transaction. Resolves when it ended, to what settles its jobs. */
  async #commit(file: File, taken: Job[]): Promise<() => void> {
    const nowMs = performance.now()
    const jobs = taken.filter(job => job.untilMs > nowMs)
    for (const job of taken)
      if (job.untilMs <= nowMs) job.reject(new HomingError('DATASTORE', 'lmdb: the write came too late to be begun'))
    if (jobs.length === 0) return () => undefined
    try {
      const writes: Promise<boolean>[][] = []
      const batch = file.batch(() => {
        for (const job of jobs) writes.push(job.issue(file))
      })
      // An unconditional write's own promise says nothing of the transaction; the batch's does. All are heard, so that none is unhandled.
      const each = writes.map(some => Promise.all(some))
      const heard = Promise.allSettled(each)
      await batch
      const results = await heard
      return () =>
        results.forEach((result, i) => {
          if (result.status === 'fulfilled') jobs[i]!.resolve(result.value)
          else jobs[i]!.reject(failure('writing', result.reason))
        })
    } catch (error) {
      const cause = await reasonOf(error)
      if (codeOf(cause) === panic) this.#reopen(file)
      return () => {
        for (const job of jobs) job.reject(failure('writing', cause))
      }
    }
  }

  /** Removes what expired, a page now and then, by the way of other writes: what is never asked for again would stay for ever. */
  #sweep(file: File): void {
    const nowMs = this.#engine.nowMs()
    if (nowMs - this.#sweptMs < sweepEveryMs) return
    this.#sweptMs = nowMs
    try {
      file.readerCheck() // the snapshot of a killed process keeps old pages from being used again
      const { heads, next } = this.#page(file, this.#sweptTo)
      this.#sweptTo = next
      for (const [key, { version, expired }] of heads) {
        // Nobody waits for it; what fails is found again in the next round, and by the writes on both sides of it.
        const done = () => {}
        const untilMs = performance.now() + this.#engine.timeoutMs
        if (expired)
          this.#jobs.push({ issue: f => [f.remove(key, version)], bytes: key.length, untilMs, resolve: done, reject: done })
      }
    } catch (error) {
      if (codeOf(error) === panic) this.#reopen(file)
      else this.#sweptTo = undefined // the next read of a caller reports what is wrong with the file
    } finally {
      file.resetReadTxn()
    }
  }

  // ---- opening and closing

  #open(): File {
    if (this.#closing) throw closedError('lmdb')
    if (this.#reopening) throw new HomingError('DATASTORE', 'lmdb: the file is being opened again')
    try {
      this.#file ??= this.#engine.openFile()
    } catch (error) {
      throw failure('opening', error)
    }
    return this.#file
  }

  /** After a write that did not end: lmdb never settles one that met a panic, but says so to a reader. */
  #probe(): void {
    const file = this.#file
    if (!file || this.#closing) return
    try {
      file.getBinaryFast(Buffer.from('probe'))
    } catch (error) {
      if (codeOf(error) === panic) this.#reopen(file)
    } finally {
      file.resetReadTxn()
    }
  }

  /** Lets go of a file that is beyond repair; the next call opens it anew. What waited fails, what was under way is not known. */
  #reopen(file: File): void {
    if (file !== this.#file) return
    this.#file = undefined
    this.#pumping = undefined
    for (const job of this.#jobs.splice(0)) job.reject(new HomingError('DATASTORE', 'lmdb: the file is being opened again'))
    this.#reopening = this.#release(file).finally(() => {
      this.#reopening = undefined
    })
  }

  async #close(): Promise<void> {
    await this.#reopening
    const file = this.#file
    if (!file) return
    // Writes that were under way end first; if they hang, the file goes without them.
    await ended(this.#pumping ?? Promise.resolve(), this.#engine.timeoutMs)
    this.#file = undefined
    for (const job of this.#jobs.splice(0)) job.reject(closedError('lmdb'))
    await this.#release(file)
  }

  async #release(file: File): Promise<void> {
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

/** lmdb hides the cause of a failed commit in a promise beside the error. */
async function reasonOf(error: unknown): Promise<unknown> {
  try {
    if (error instanceof Error && 'commitError' in error) await error.commitError
    return error
  } catch (cause) {
    return cause
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

function failure(what: string, cause: unknown): HomingError {
  const because = cause instanceof Error ? cause.message : String(cause)
  // A transaction that failed wrote nothing, unless it failed at its last page: that is a panic.
  const outcome = codeOf(cause) === panic ? 'unknown' : 'not-delivered'
  return new HomingError('DATASTORE', `lmdb: ${what} failed: ${because}`, { cause, outcome })
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString()
}
