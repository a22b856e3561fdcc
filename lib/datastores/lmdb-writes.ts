/** Writes on their way into one opened file of lmdb: gathered while a transaction is under way, and then all in the next. */

import { setImmediate as turn } from 'node:timers/promises'
import type { RootDatabase } from 'lmdb'
import { HomingError } from '../errors.ts'
import { failure, isPanic, reasonOf } from './lmdb-failure.ts'

export type LmdbFile = RootDatabase<Uint8Array, Uint8Array>

export interface LmdbWritesSetup {
  readonly file: LmdbFile
  /** The file is beyond repair; `end` follows. */
  panicked(): void
  /** A transaction ended, well or badly: time for what is to be done now and then. */
  between(): void
}

/** A write as lmdb takes it. */
export interface Row {
  name: Uint8Array
  bytes: Uint8Array
  version: number
  /** The version to write over; `null`: only if absent; `undefined`: always. */
  condition: number | null | undefined
}

/** Writes of one call that wait for their transaction together. */
interface Job {
  /** Hands them to lmdb; each resolves to whether its condition held. */
  issue(): Promise<boolean>[]
  bytes: number
  /** Not begun after that: who asked was told that it failed. */
  untilMs: number
  /** In the order of the writes. */
  resolve(held: boolean[]): void
  reject(error: HomingError): void
}

/** Bounds how long one transaction holds the lock of all processes. */
const batchJobsMax = 10_000
const batchBytesMax = 16 * 2 ** 20

/** Writes that wait; beyond it the caller is told, before memory is short. */
const jobsMax = 1_000_000

/**
 * Native conditional writes, one transaction of ours at a time, so that one that hangs (another process was stopped while it held the lock)
 * costs one thread and no more. Never a transaction callback: it would hold the lock of all processes while our event loop is blocked.
 * `untilMs` is by the clock of `performance`.
 */
export class LmdbWrites {
  readonly #setup: LmdbWritesSetup
  #jobs: Job[] = []
  #pumping: Promise<void> | undefined
  #ended = false

  constructor(setup: LmdbWritesSetup) {
    this.#setup = setup
  }

  /** Whether the condition of each held. All in one job: a promise chain for each write would cost more memory than the writes. */
  put(rows: readonly Row[], untilMs: number): Promise<boolean[]> {
    const { file } = this.#setup
    let bytes = 0
    for (const row of rows) bytes += row.bytes.length
    return this.#enqueue(untilMs, bytes, () =>
      rows.map(row =>
        // The declarations do not know null, which is lmdb's "only if absent".
        row.condition === undefined
          ? file.put(row.name, row.bytes, row.version)
          : file.put(row.name, row.bytes, row.version, row.condition as number),
      ),
    )
  }

  /** Whether it had the version, as the only element: what resolves further costs a promise more. Without a version it says nothing. */
  remove(name: Uint8Array, version: number | undefined, untilMs: number): Promise<boolean[]> {
    const { file } = this.#setup
    return this.#enqueue(untilMs, name.length, () => [version === undefined ? file.remove(name) : file.remove(name, version)])
  }

  /** As `remove`, along with what else is written next. Nobody waits for it, and nobody is told where it fails. */
  removeAlong(name: Uint8Array, version: number, untilMs: number): void {
    const done = (): void => undefined
    this.#add({ issue: () => [this.#setup.file.remove(name, version)], bytes: name.length, untilMs, resolve: done, reject: done })
  }

  #enqueue(untilMs: number, bytes: number, issue: Job['issue']): Promise<boolean[]> {
    if (this.#jobs.length >= jobsMax) return Promise.reject(new HomingError('DATASTORE', `lmdb: ${jobsMax} writes are waiting`))
    return new Promise((resolve, reject) => this.#add({ issue, bytes, untilMs, resolve, reject }))
  }

  #add(job: Job): void {
    this.#jobs.push(job)
    this.#pumping ??= this.#pump()
  }

  async #pump(): Promise<void> {
    await Promise.resolve() // the rest of what is written at once goes along
    let answer = (): void => undefined
    while (!this.#ended && this.#jobs.length > 0) {
      const committed = this.#commit(this.#takeJobs())
      // lmdb begins to write in the next turn. Only then what was written before is answered: so callers go on while it writes.
      await turn()
      answer()
      answer = await committed
      if (this.#ended) return answer() // given up meanwhile
      this.#setup.between()
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
  async #commit(taken: Job[]): Promise<() => void> {
    const nowMs = performance.now()
    const jobs = taken.filter(job => job.untilMs > nowMs)
    for (const job of taken)
      if (job.untilMs <= nowMs) job.reject(new HomingError('DATASTORE', 'lmdb: the write came too late to be begun'))
    if (jobs.length === 0) return () => undefined
    try {
      const writes: Promise<boolean>[][] = []
      const batch = this.#setup.file.batch(() => {
        for (const job of jobs) writes.push(job.issue())
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
      if (isPanic(cause)) this.#setup.panicked()
      return () => {
        for (const job of jobs) job.reject(failure('writing', cause))
      }
    }
  }

  /** Resolves when all that was written has its answer; never, where a transaction hangs. */
  get settled(): Promise<void> {
    return this.#pumping ?? Promise.resolve()
  }

  /** What waits fails with `error`; what is under way is answered when its transaction ends. Nothing may be written any more. */
  end(error: HomingError): void {
    this.#ended = true
    for (const job of this.#jobs.splice(0)) job.reject(error)
  }
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
export function forgetWrites(file: LmdbFile): void {
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
