/** One turn of the event loop: what the clock said in it, and what has been looked at. */
import type { Env } from '../env/env.ts'

export class Turn {
  readonly #env: Env
  #began = false
  #nowMs = -1
  #looked = false

  constructor(env: Env) {
    this.#env = env
  }

  /** The time at which this turn began to need it, ms: asking the clock for each message would cost a tenth of the message. */
  get nowMs(): number {
    if (this.#nowMs < 0) {
      this.#nowMs = this.#env.clock.monotonicMs()
      this.#begin()
    }
    return this.#nowMs
  }

  /** True when it is asked the first time in this turn. */
  isFirstLook(): boolean {
    if (this.#looked) return false
    this.#looked = true
    this.#begin()
    return true
  }

  #begin(): void {
    if (this.#began) return
    this.#began = true
    this.#env.timers.soon(this.#end)
  }

  readonly #end = (): void => {
    this.#began = false
    this.#looked = false
    this.#nowMs = -1
  }
}
