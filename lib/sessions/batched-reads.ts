/** Reads by name: one lookup a name at a time, gathered into batches, a bounded number of them in flight. */

import { HomingError } from '../errors.ts'

/** Reads many at once, in the order of the names; an error stands for a name that failed alone. */
export type ReadMany<V> = (names: readonly string[]) => Promise<readonly (V | HomingError | undefined)[]>

/** Protects the datastore from a stampede of lookups (FAULTS.md, F6). */
const inFlightMax = 64
/** Protects a round trip from becoming longer than an operation may take. */
const batchMax = 1_000

interface Wanted<V> {
  readonly promise: Promise<V | undefined>
  resolve(value: V | undefined): void
  reject(error: unknown): void
}

/** A read that is asked for while one of the same name is under way waits for the next: what it gets was read after it asked. */
export class BatchedReads<V> {
  readonly #readMany: ReadMany<V>
  readonly #wanted = new Map<string, Wanted<V>>()
  readonly #reading = new Set<string>()
  #inFlight = 0
  #scheduled = false

  constructor(readMany: ReadMany<V>) {
    this.#readMany = readMany
  }

  /** `undefined`: there is none. Rejects with what the reading of its batch, or of it alone, failed with. */
  read(name: string): Promise<V | undefined> {
    const waiting = this.#wanted.get(name)
    if (waiting) return waiting.promise
    const wanted = newWanted<V>()
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
      while (this.#inFlight < inFlightMax) {
        const batch = this.#nextBatch()
        if (batch.size === 0) return
        void this.#send(batch)
      }
    })
  }

  #nextBatch(): Map<string, Wanted<V>> {
    const batch = new Map<string, Wanted<V>>()
    for (const [name, wanted] of this.#wanted) {
      if (this.#reading.has(name)) continue
      batch.set(name, wanted)
      if (batch.size === batchMax) break
    }
    for (const name of batch.keys()) {
      this.#wanted.delete(name)
      this.#reading.add(name)
    }
    return batch
  }

  async #send(batch: Map<string, Wanted<V>>): Promise<void> {
    this.#inFlight++
    const wanted = [...batch.values()]
    try {
      const values = await this.#readMany([...batch.keys()])
      for (const [index, value] of values.entries()) {
        if (value instanceof HomingError) wanted[index]!.reject(value)
        else wanted[index]!.resolve(value)
      }
    } catch (error) {
      for (const { reject } of wanted) reject(error)
    } finally {
      this.#inFlight--
      for (const name of batch.keys()) this.#reading.delete(name)
      if (this.#wanted.size > 0) this.#schedule()
    }
  }
}

function newWanted<V>(): Wanted<V> {
  let settle: Pick<Wanted<V>, 'resolve' | 'reject'> | undefined
  const promise = new Promise<V | undefined>((resolve, reject) => (settle = { resolve, reject }))
  return { promise, ...settle! }
}
