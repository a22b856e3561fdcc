/** A datastore in the memory of this process: for one process, for tests, and the store of the simulation. */

import type { Clock } from '../env/env.ts'
import type { Datastore, Entry, PutOptions, Removal, Write } from './datastore.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { closedError } from './settling.ts'

/** An entry as the engine keeps it. */
export interface Row extends Entry {
  /** By the engine's clock. */
  untilMs: number
}

/** What only the passing of time is asked of. */
export type MemoryClock = Pick<Clock, 'monotonicMs'>

/**
 * What a server would be to other drivers: it holds the entries, and `connect` gives each peer a datastore of its own on them.
 * Deterministic: versions count up, entries are listed in the order of their first writing, and each call takes effect when it is made.
 */
export class MemoryEngine {
  readonly #rows = new Map<string, Row>()
  readonly #clock: MemoryClock
  #written = 0
  #sweepAt = sweepEveryMin

  constructor(clock: MemoryClock) {
    this.#clock = clock
  }

  connect(): Datastore {
    return new MemoryDatastore(this)
  }

  get(key: string): Entry | undefined {
    checkKey(key)
    const row = this.#live(key)
    return row && { bytes: new Uint8Array(row.bytes), version: row.version }
  }

  put(key: string, bytes: Uint8Array, options: PutOptions): string | undefined {
    checkPut(key, options, bytes)
    if (options.ifVersion !== undefined && (this.#live(key)?.version ?? null) !== options.ifVersion) return undefined
    const version = String(++this.#written)
    const untilMs = options.ttlMs === undefined ? Infinity : this.#clock.monotonicMs() + options.ttlMs
    this.#rows.set(key, { bytes: new Uint8Array(bytes), version, untilMs })
    if (this.#written >= this.#sweepAt) this.#sweep()
    return version
  }

  delete(key: string, ifVersion: string | undefined): boolean {
    checkKey(key)
    if (ifVersion !== undefined && this.#live(key)?.version !== ifVersion) return false
    this.#rows.delete(key)
    return true
  }

  keys(prefix: string): string[] {
    checkText(prefix)
    return [...this.#rows.keys()].filter(key => key.startsWith(prefix) && this.#live(key))
  }

  /** What is under the key, so that it can be put back as it was: for engines that forget what they acknowledged. */
  row(key: string): Row | undefined {
    return this.#live(key)
  }

  restore(key: string, row: Row | undefined): void {
    if (row) this.#rows.set(key, row)
    else this.#rows.delete(key)
  }

  #live(key: string): Row | undefined {
    const row = this.#rows.get(key)
    if (!row || this.#clock.monotonicMs() < row.untilMs) return row
    this.#rows.delete(key)
    return undefined
  }

  /** Forgets what nobody will ask for again; as often as the store is large, so that it costs a write next to nothing. */
  #sweep(): void {
    for (const key of this.#rows.keys()) this.#live(key)
    this.#sweepAt = this.#written + Math.max(sweepEveryMin, this.#rows.size)
  }
}

const sweepEveryMin = 1_000

/** One user's hold on the engine. An `async` method answers in a microtask, never at once. */
class MemoryDatastore implements Datastore {
  readonly promises = { atomicPut: true, durable: false, shared: false }
  #engine: MemoryEngine | undefined

  constructor(engine: MemoryEngine) {
    this.#engine = engine
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#open().get(key)
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    const engine = this.#open()
    return keys.map(key => engine.get(key))
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    return this.#open().put(key, bytes, options)
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    const engine = this.#open()
    for (const write of writes) checkPut(write.key, write)
    return writes.map(write => engine.put(write.key, write.bytes, write))
  }

  async delete(key: string, { ifVersion }: { ifVersion?: string } = {}): Promise<boolean> {
    return this.#open().delete(key, ifVersion)
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    const engine = this.#open()
    for (const { key } of removals) checkKey(key)
    return removals.map(({ key, ifVersion }) => engine.delete(key, ifVersion))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    for (const key of this.#open().keys(prefix)) {
      this.#open()
      yield key
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#engine = undefined
  }

  #open(): MemoryEngine {
    if (!this.#engine) throw closedError('memory')
    return this.#engine
  }
}

/** A memory store of one's own. */
export function memoryDatastore({ clock }: { clock: MemoryClock }): Datastore {
  return new MemoryEngine(clock).connect()
}
