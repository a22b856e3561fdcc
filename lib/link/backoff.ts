/** How long to wait before dialling again: doubling with full jitter, and a memory for links that open and die at once. */
import type { Random } from '../env/env.ts'
import type { LinkOptions } from './options.ts'

export class Backoff {
  readonly #options: LinkOptions
  readonly #random: Random
  #failures = 0
  #failingSinceMs: number | undefined

  constructor(options: LinkOptions, random: Random) {
    this.#options = options
    this.#random = random
  }

  get failures(): number {
    return this.#failures
  }

  /** Wait before the next attempt, ms, after one that failed at `nowMs`. */
  failed(nowMs: number): number {
    const { redialMs, redialCapMs, redialOldCapMs, redialYoungMs } = this.#options
    this.#failingSinceMs ??= nowMs
    const cap = nowMs - this.#failingSinceMs > redialYoungMs ? redialOldCapMs : redialCapMs
    const ceiling = Math.min(cap, redialMs * 2 ** Math.min(this.#failures++, 20))
    return ceiling * this.#random.fraction()
  }

  /** A link that had stood for `stoodMs` was lost: only one that stood a while has proved anything. */
  lost(nowMs: number, stoodMs: number): number {
    if (stoodMs >= this.#options.provenMs) this.#forget()
    return this.failed(nowMs)
  }

  #forget(): void {
    this.#failures = 0
    this.#failingSinceMs = undefined
  }
}
