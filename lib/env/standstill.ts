/** Notices that this process stood still: it was stopped, its machine was suspended, or its loop had something else to do. */
import type { Env, Timer } from './env.ts'

export interface StandstillOptions {
  /** How long nothing may have moved unnoticed, ms. */
  readonly mostMs: number
}

export class Standstill {
  readonly #env: Env
  readonly #mostMs: number
  readonly #ticker: Timer
  #movedMs: number
  #driftMs: number
  #count = 0

  constructor(env: Env, { mostMs }: StandstillOptions) {
    this.#env = env
    this.#mostMs = mostMs
    this.#movedMs = env.clock.monotonicMs()
    this.#driftMs = env.clock.bootMs() - this.#movedMs
    this.#ticker = env.timers.every(mostMs / 2, () => void this.count)
  }

  /** How often it has stood still by now. Looks at the clocks: whatever came in meanwhile may be handled before any timer. */
  get count(): number {
    const nowMs = this.#env.clock.monotonicMs()
    const suspendedMs = this.#env.clock.bootMs() - nowMs - this.#driftMs
    if (nowMs - this.#movedMs + suspendedMs > this.#mostMs) this.#count++
    this.#movedMs = nowMs
    this.#driftMs += suspendedMs
    return this.#count
  }

  end(): void {
    this.#ticker.cancel()
  }
}
