/** Notices that this process stood still: it was stopped, its machine was suspended, or its loop had something else to do. */
import type { Clock } from './env.ts'

export class Standstill {
  readonly #clock: Clock
  #lookedMs: number
  #driftMs: number

  constructor(clock: Clock) {
    this.#clock = clock
    this.#lookedMs = clock.monotonicMs()
    this.#driftMs = clock.bootMs() - this.#lookedMs
  }

  /** How long ago it was last looked, ms, the time in which the machine slept included. What came in meanwhile may be handled before any timer. */
  look(): number {
    const nowMs = this.#clock.monotonicMs()
    const stoodMs = nowMs - this.#lookedMs
    this.#lookedMs = nowMs
    const sleptMs = this.#clock.bootMs() - nowMs - this.#driftMs
    this.#driftMs += sleptMs
    return stoodMs + sleptMs
  }
}
