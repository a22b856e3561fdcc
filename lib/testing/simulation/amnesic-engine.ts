/** An engine that replicates behind its acknowledgements, as Redis does: a fail-over loses the last writes. */
import type { Datastore, Entry, PutOptions, Removal, Write } from '../../datastores/datastore.ts'
import { MemoryEngine, type Row } from '../../datastores/memory.ts'
import type { Env, Timers } from '../../env/env.ts'
import type { VirtualTime } from '../../env/virtual-time.ts'
import { HomingError } from '../../errors.ts'
import type { Engine } from '../cluster.ts'

/** What was under a key before a write. */
interface Undo {
  readonly atMs: number
  readonly key: string
  readonly row: Row | undefined
}

/** Writes are kept so long to be lost, ms. */
const journalMs = 5_000
/** Protects the memory: writes that are kept. */
const journalMax = 20_000
/** How long clients look for the new server at most, ms. */
const reconnectMsMax = 1_000

export class AmnesicEngine implements Engine {
  readonly #time: VirtualTime
  readonly #rows: MemoryEngine
  readonly #connections = new Set<AmnesicConnection>()
  #journal: Undo[] = []

  constructor(time: VirtualTime) {
    this.#time = time
    this.#rows = new MemoryEngine(time.clock)
  }

  connect(_process: string, env: Env): Datastore {
    const connection = new AmnesicConnection(
      this.#rows.connect(),
      env.timers,
      key => this.#note(key),
      () => this.#connections.delete(connection),
    )
    this.#connections.add(connection)
    return connection
  }

  /** Another server takes over, which has not heard of the writes of the last `lostMs`: all later than the first lost one are lost. */
  failOver(lostMs: number): void {
    const sinceMs = this.#time.nowMs - lostMs
    for (let last = this.#journal.at(-1); last && last.atMs >= sinceMs; last = this.#journal.at(-1)) {
      this.#rows.restore(last.key, last.row)
      this.#journal.pop()
    }
    for (const connection of this.#connections) connection.lose(this.#time.random.fraction() * reconnectMsMax)
  }

  #note(key: string): void {
    const { nowMs } = this.#time
    this.#journal.push({ atMs: nowMs, key, row: this.#rows.row(key) })
    if (this.#journal.length > journalMax) this.#journal = this.#journal.filter(({ atMs }) => atMs > nowMs - journalMs)
  }
}

class AmnesicConnection implements Datastore {
  readonly promises = { atomicPut: true, durable: false, shared: true }
  readonly #rows: Datastore
  readonly #timers: Timers
  readonly #note: (key: string) => void
  readonly #closed: () => void
  readonly #lost: (() => void)[] = []
  /** How many servers it lost and has not found the next of. */
  #away = 0

  constructor(rows: Datastore, timers: Timers, note: (key: string) => void, closed: () => void) {
    this.#rows = rows
    this.#timers = timers
    this.#note = note
    this.#closed = closed
  }

  /** The new server is found by and by; before it answers anything, the process is told what that means. */
  lose(foundAfterMs: number): void {
    this.#away++
    this.#timers.after(foundAfterMs, () => {
      this.#away--
      if (this.#away === 0) for (const lost of this.#lost) lost()
    })
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#server().get(key)
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    return this.#server().getMany(keys)
  }

  async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string | undefined> {
    return this.#server([key]).put(key, bytes, options)
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    return this.#server(writes.map(({ key }) => key)).putMany(writes)
  }

  async delete(key: string, options?: { ifVersion?: string }): Promise<boolean> {
    return this.#server([key]).delete(key, options)
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    return this.#server(removals.map(({ key }) => key)).deleteMany(removals)
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    yield* this.#server().keys(prefix)
  }

  onLoss(lost: () => void): void {
    this.#lost.push(lost)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lost.length = 0
    this.#closed()
    await this.#rows[Symbol.asyncDispose]()
  }

  /** The present one, which is about to write under `keys`. */
  #server(keys: readonly string[] = []): Datastore {
    if (this.#away > 0) throw new HomingError('DATASTORE', 'the server is gone, and the next one is not found yet')
    for (const key of keys) this.#note(key)
    return this.#rows
  }
}
