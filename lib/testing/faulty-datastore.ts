/** A datastore that fails on demand, around any other. */

import type { Datastore, Entry, PutOptions, Removal, Write } from '../datastores/datastore.ts'
import { PartialFailure } from '../datastores/partial-failure.ts'
import type { Timers } from '../env/env.ts'
import { HomingError } from '../errors.ts'

/** Set at any time; a call goes by what is set when it is made. */
export class FaultyDatastore implements Datastore {
  /** Every call rejects with `DATASTORE` and does nothing. */
  down = false
  /** Keys of which it is true are on a server that is away: they fail, alone or as parts of a batch, and so does every listing. */
  away: ((key: string) => boolean) | undefined
  /** How much later every call reaches the store, ms. */
  slowMs = 0
  /** How much later every answer comes back, ms: others may see what a write did before its writer hears of it. */
  answerMs = 0
  /** Writes and removals are done, and then reject with `DATASTORE`, as when the answer was lost. */
  ambiguous = false
  /** Calls that were made, for tests that bound them. */
  calls = 0
  /** Of these, those that read. */
  reads = 0

  readonly #store: Datastore
  readonly #timers: Pick<Timers, 'after'>
  #closed = false
  readonly #lost: (() => void)[] = []

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
    this.reads++
    return this.#read(() => this.#reaching([key], () => this.#store.get(key)))
  }

  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    this.reads++
    return this.#read(() => this.#reachable(keys, String, rest => this.#store.getMany(rest)))
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string | undefined> {
    const copy = new Uint8Array(bytes) // a slow write keeps what was given at the time of the call
    return this.#write(() => this.#reaching([key], () => this.#store.put(key, copy, options)))
  }

  putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    const copies = writes.map(write => ({ ...write, bytes: new Uint8Array(write.bytes) }))
    return this.#write(() =>
      this.#reachable(
        copies,
        ({ key }) => key,
        rest => this.#store.putMany(rest),
      ),
    )
  }

  delete(key: string, options?: { ifVersion?: string }): Promise<boolean> {
    return this.#write(() => this.#reaching([key], () => this.#store.delete(key, options)))
  }

  deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    return this.#write(() =>
      this.#reachable(
        removals,
        ({ key }) => key,
        rest => this.#store.deleteMany(rest),
      ),
    )
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    this.reads++
    const keys = await this.#read(async () => this.#store.keys(prefix))
    if (this.away) throw isDown()
    for await (const key of keys) {
      this.#checkUp()
      yield key
    }
  }

  onLoss(lost: () => void): void {
    this.#lost.push(lost)
    this.#store.onLoss?.(lost)
  }

  /** Says that entries may be gone, as a driver does when another server has taken over. Taking them away is the test's business. */
  lose(): void {
    for (const lost of this.#lost) lost()
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    return Promise.resolve(this.#store[Symbol.asyncDispose]())
  }

  async #reaching<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    if (this.away && keys.some(this.away)) throw isDown()
    return work()
  }

  /** What can be reached is done; the rest are failures in their places. */
  async #reachable<Part, T>(
    parts: readonly Part[],
    keyOf: (part: Part) => string,
    work: (parts: readonly Part[]) => Promise<T[]>,
  ): Promise<T[]> {
    const { away } = this
    const near = parts.filter(part => !away?.(keyOf(part)))
    if (near.length === parts.length) return work(parts)
    if (near.length === 0) throw isDown()
    const results = await work(near)
    let at = 0
    throw new PartialFailure(
      isDown(),
      parts.map(part => (away?.(keyOf(part)) ? isDown() : results[at++]!)),
    )
  }

  async #read<T>(work: () => Promise<T>): Promise<T> {
    this.calls++
    this.#checkUp()
    const { slowMs, answerMs } = this
    if (slowMs > 0) await this.#after(slowMs)
    if (answerMs <= 0) return work()
    const answer = work()
    await Promise.allSettled([answer, this.#after(answerMs)])
    return answer
  }

  /** A closed one says so, whatever has become of the engine. */
  #checkUp(): void {
    if (this.down && !this.#closed) throw isDown()
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
