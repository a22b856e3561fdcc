/** Who waits for an address to appear: all of them are looked up together, as often as one would be. */

import type { Env, Timer } from '../env/env.ts'
import { HomingError, homingError } from '../errors.ts'
import type { Located } from './directory.ts'

export interface WaitersOptions {
  readonly env: Env
  readonly pollMs: number
  /** Looks an address up. What it rejects with counts as "not yet". */
  readonly find: (address: string) => Promise<Located | undefined>
  /** The datastore is known to be down: not worth asking. */
  readonly blind: () => boolean
}

interface Waiter {
  resolve(located: Located | undefined): void
  reject(error: HomingError): void
}

export class Waiters {
  readonly #options: WaitersOptions
  readonly #waiting = new Map<string, Set<Waiter>>()
  #timer: Timer | undefined
  #polling = false
  #ended: HomingError | undefined

  constructor(options: WaitersOptions) {
    this.#options = options
  }

  /** Resolves to where `address` is as soon as that is known, to `undefined` at `untilMs` or when the signal aborts. */
  wait(address: string, untilMs: number, signal?: AbortSignal): Promise<Located | undefined> {
    if (this.#ended) return Promise.reject(this.#ended)
    if (signal?.aborted) return Promise.resolve(undefined)
    const { env } = this.#options
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', giveUp)
        this.#remove(address, waiter)
      }
      const waiter: Waiter = {
        resolve: located => {
          leave()
          resolve(located)
        },
        reject: error => {
          leave()
          reject(error)
        },
      }
      const giveUp = (): void => waiter.resolve(undefined)
      const timer = env.timers.after(Math.max(0, untilMs - env.clock.monotonicMs()), giveUp)
      signal?.addEventListener('abort', giveUp, { once: true })
      this.#add(address, waiter)
      void this.#look(address)
    })
  }

  /** Whether somebody waits for `address`. */
  expect(address: string): boolean {
    return this.#waiting.has(address)
  }

  /** `address` is known to be there: whoever waits for it goes on at once. */
  appeared(address: string, located: Located): void {
    for (const waiter of [...(this.#waiting.get(address) ?? [])]) waiter.resolve(located)
  }

  /** Looks all up now. */
  lookNow(): void {
    void this.#poll()
  }

  end(error: HomingError): void {
    this.#ended = error
    this.#timer?.cancel()
    for (const waiters of [...this.#waiting.values()]) for (const waiter of [...waiters]) waiter.reject(error)
  }

  #add(address: string, waiter: Waiter): void {
    const waiters = this.#waiting.get(address)
    if (waiters) waiters.add(waiter)
    else this.#waiting.set(address, new Set([waiter]))
    this.#timer ??= this.#options.env.timers.every(this.#options.pollMs, () => void this.#poll())
  }

  #remove(address: string, waiter: Waiter): void {
    const waiters = this.#waiting.get(address)
    if (!waiters?.delete(waiter) || waiters.size > 0) return
    this.#waiting.delete(address)
    if (this.#waiting.size > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** One at a time: a slow datastore is not asked faster than it answers. */
  async #poll(): Promise<void> {
    if (this.#polling || this.#options.blind()) return
    this.#polling = true
    await Promise.all([...this.#waiting.keys()].map(address => this.#look(address)))
    this.#polling = false
  }

  async #look(address: string): Promise<void> {
    try {
      const located = await this.#options.find(address)
      if (located) this.appeared(address, located)
    } catch (error) {
      // An outage is waited through, and the datastore's own watch reports it; anything else would be the same at the next look.
      if (error instanceof HomingError && error.code === 'DATASTORE') return
      this.#fail(address, homingError(error, 'DATASTORE', `'${address}' could not be looked up`))
    }
  }

  #fail(address: string, error: HomingError): void {
    for (const waiter of [...(this.#waiting.get(address) ?? [])]) waiter.reject(error)
  }
}
