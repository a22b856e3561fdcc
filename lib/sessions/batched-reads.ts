/** Reads by name: one lookup a name at a time, gathered into batches, a bounded number of them in flight. */

import { HomingError } from '../errors.ts'

/** Reads many at once, in the order of the names; an error stands for a name that failed alone, a promise for one that comes later. */
export type ReadMany<V> = (names: readonly string[]) => Promise<readonly (V | HomingError | undefined | Promise<V | undefined>)[]>

/** Protects the datastore from a stampede of lookups (FAULTS.md, F6). */
const inFlightMax = 64
/** Protects a round trip from becoming longer than an operation may take. */
const batchMax = 1_000

class Wanted<V> {
  readonly promise: Promise<V | undefined>
  resolve!: (value: V | undefined | Promise<V | undefined>) => void
  reject!: (error: unknown) => void

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }
}

type Batch<V> = Map<string, Wanted<V>>

/** A read that is asked for while one of the same name is under way waits for the next: what it gets was read after it asked. */
export class BatchedReads<V> {
  readonly #readMany: ReadMany<V>
  #wanted: Batch<V> = new Map()
  readonly #reading = new Set<Batch<V>>()
  #scheduled = false

  constructor(readMany: ReadMany<V>) {
    this.#readMany = readMany
  }

  /** `undefined`: there is none. Rejects with what the reading of its batch, or of it alone, failed with. */
  read(name: string): Promise<V | undefined> {
    const waiting = this.#wanted.get(name)
    if (waiting) return waiting.promise
    const wanted = new Wanted<V>()
    this.#wanted.set(name, wanted)
    this.#schedule()
    return wanted.promise
  }

  /** What is asked for in one turn goes out together. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      while (this.#reading.size < inFlightMax) {
        const batch = this.#nextBatch()
        if (batch.size === 0) return
        void this.#send(batch)
      }
    })
  }

  #nextBatch(): Batch<V> {
    const all = this.#wanted
    if (this.#reading.size === 0 && all.size <= batchMax) {
      this.#wanted = new Map()
      return all
    }
    const batch: Batch<V> = new Map()
    for (const [name, wanted] of all) {
      if (this.#isReading(name)) continue
      batch.set(name, wanted)
      if (batch.size === batchMax) break
    }
    for (const name of batch.keys()) all.delete(name)
    return batch
  }

  #isReading(name: string): boolean {
    for (const batch of this.#reading) if (batch.has(name)) return true
    return false
  }

  async #send(batch: Batch<V>): Promise<void> {
    this.#reading.add(batch)
    try {
      const values = await this.#readMany([...batch.keys()])
      let index = 0
      for (const wanted of batch.values()) {
        const value = values[index++]
        if (value instanceof HomingError) wanted.reject(value)
        else wanted.resolve(value)
      }
    } catch (error) {
      for (const { reject } of batch.values()) reject(error)
    } finally {
      this.#reading.delete(batch)
      if (this.#wanted.size > 0) this.#schedule()
    }
  }
}
