/** Whether the datastore answers: seen by its own use, with one question more before it is called down. */

import type { Datastore, PutOptions, Removal, Write } from '../datastores/datastore.ts'
import type { Env, Timer } from '../env/env.ts'
import { HomingError, homingError } from '../errors.ts'

export interface HealthOptions {
  readonly env: Env
  readonly datastore: Datastore
  /** What is read to see whether it answers. */
  readonly key: string
  readonly down: (error: HomingError) => void
  readonly up: () => void
}

const probeMsMin = 100
/** With an operation's own second it keeps recovery within two (FAULTS.md, F5). */
const probeMsMax = 800

/**
 * `watched` is the datastore with an eye on it. A failed operation, and a failed question right after it, make it down; an answer to a
 * later question makes it up again. Failures before `begin` are the business of whoever starts.
 */
export class Health {
  readonly watched: Datastore
  readonly #options: HealthOptions
  #error: HomingError | undefined
  #asking = false
  #failures = 0
  #timer: Timer | undefined
  #at: 'new' | 'watching' | 'ended' = 'new'

  constructor(options: HealthOptions) {
    this.#options = options
    this.watched = new WatchedDatastore(
      options.datastore,
      error => this.#suspect(error),
      () => this.#answered(),
    )
  }

  /** Why it is down; `undefined` while it is up. */
  get error(): HomingError | undefined {
    return this.#error
  }

  begin(): void {
    this.#at = 'watching'
  }

  stop(): void {
    this.#at = 'ended'
    this.#timer?.cancel()
  }

  #suspect(error: unknown): void {
    if (error instanceof HomingError && error.code !== 'DATASTORE') return // closed, or a wrong argument
    if (!this.#error) void this.#ask()
  }

  /** Something got through: it is worth asking at once. */
  #answered(): void {
    if (this.#error && !this.#asking) void this.#ask()
  }

  async #ask(): Promise<void> {
    if (this.#asking || this.#at !== 'watching') return
    this.#asking = true
    this.#timer?.cancel()
    try {
      await this.#options.datastore.get(this.#options.key)
      this.#asking = false
      this.#recovered()
    } catch (error) {
      this.#asking = false
      this.#failed(homingError(error, 'DATASTORE', 'the datastore does not answer'))
    }
  }

  #recovered(): void {
    this.#failures = 0
    if (!this.#error || this.#at !== 'watching') return
    this.#error = undefined
    this.#options.up()
  }

  #failed(error: HomingError): void {
    if (this.#at !== 'watching') return
    const delayMs =
      Math.min(probeMsMax, probeMsMin * 2 ** Math.min(this.#failures++, 10)) * (0.5 + this.#options.env.random.fraction() / 2)
    this.#timer = this.#options.env.timers.after(delayMs, () => void this.#ask())
    if (this.#error) return
    this.#error = error
    this.#options.down(error)
  }
}

/** Passes everything on, and says how it went. Disposal is not its business: it belongs to whoever opened the datastore. */
class WatchedDatastore implements Datastore {
  readonly promises: Datastore['promises']
  readonly presence: Datastore['presence']
  readonly #below: Datastore
  readonly #failed: (error: unknown) => void
  readonly #answered: () => void

  constructor(below: Datastore, failed: (error: unknown) => void, answered: () => void) {
    this.promises = below.promises
    this.presence = below.presence
    this.#below = below
    this.#failed = failed
    this.#answered = answered
  }

  get(key: string): ReturnType<Datastore['get']> {
    return this.#seen(this.#below.get(key))
  }

  getMany(keys: readonly string[]): ReturnType<Datastore['getMany']> {
    return this.#seen(this.#below.getMany(keys))
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): ReturnType<Datastore['put']> {
    return this.#seen(this.#below.put(key, bytes, options))
  }

  putMany(writes: readonly Write[]): ReturnType<Datastore['putMany']> {
    return this.#seen(this.#below.putMany(writes))
  }

  delete(key: string, options?: { ifVersion?: string }): ReturnType<Datastore['delete']> {
    return this.#seen(this.#below.delete(key, options))
  }

  deleteMany(removals: readonly Removal[]): ReturnType<Datastore['deleteMany']> {
    return this.#seen(this.#below.deleteMany(removals))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    try {
      yield* this.#below.keys(prefix)
      this.#answered()
    } catch (error) {
      this.#failed(error)
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #seen<T>(work: Promise<T>): Promise<T> {
    try {
      const result = await work
      this.#answered()
      return result
    } catch (error) {
      this.#failed(error)
      throw error
    }
  }
}
