/** A datastore that fails on demand, around any other. */

import type { Datastore, Entry, PutOptions, Removal, Write } from '../datastores/datastore.ts'
import type { Timers } from '../env/env.ts'
import { HomingError } from '../errors.ts'

/** Set at any time; a call goes by what is set when it is made. */
export class FaultyDatastore implements Datastore {
  /** Every call rejects with `DATASTORE` and does nothing. */
  down = false
  /** How much later every call reaches the store, ms. */
  slowMs = 0
  /** How much later every answer comes back, ms: others may see what a write did before its writer hears of it. */
  answerMs = 0
  /** Writes and removals are done, and then reject with `DATASTORE`, as when the answer was lost. */
  ambiguous = false
  /** Calls that were made, for tests that bound them. */
  calls = 0

  readonly #store: Datastore
  readonly #timers: Pick<Timers, 'after'>

  constructor(store: Datastore, timers: Pick<Timers, 'after'>) {
    this.#store = store
    this.#timers = timers
  }

  get promises(): Datastore['promises'] {
    return this.#store.promises
  }

  get presence(): Datastore['presence'] {
    return this.#store.presence
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#read(() => this.#store.get(key))
  }

  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    return this.#read(() => this.#store.getMany(keys))
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string | undefined> {
    const copy = new Uint8Array(bytes) // a slow write keeps what was given at the time of the call
    return this.#write(() => this.#store.put(key, copy, options))
  }

  putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    const copies = writes.map(write => ({ ...write, bytes: new Uint8Array(write.bytes) }))
    return this.#write(() => this.#store.putMany(copies))
  }

  delete(key: string, options?: { ifVersion?: string }): Promise<boolean> {
    return this.#write(() => this.#store.delete(key, options))
  }

  deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    return this.#write(() => this.#store.deleteMany(removals))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    const keys = await this.#read(async () => this.#store.keys(prefix))
    for await (const key of keys) {
      if (this.down) throw isDown()
      yield key
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve(this.#store[Symbol.asyncDispose]())
  }

  async #read<T>(work: () => Promise<T>): Promise<T> {
    this.calls++
    if (this.down) throw isDown()
    const { slowMs, answerMs } = this
    if (slowMs > 0) await this.#after(slowMs)
    if (answerMs <= 0) return work()
    const answer = work()
    await Promise.allSettled([answer, this.#after(answerMs)])
    return answer
  }

  #after(ms: number): Promise<void> {
    return new Promise(resolve => void this.#timers.after(ms, resolve))
  }

  async #write<T>(work: () => Promise<T>): Promise<T> {
    const { ambiguous } = this
    const result = await this.#read(work)
    if (ambiguous) throw new HomingError('DATASTORE', 'the answer of the datastore was lost', { outcome: 'unknown' })
    return result
  }
}

function isDown(): HomingError {
  return new HomingError('DATASTORE', 'the datastore is down')
}
