/** Chance for mutations, repeated by its seed. */
import { seededRandom } from '../../lib/env/random.ts'

export class Dice {
  readonly #fraction: () => number

  constructor(seed: string | number) {
    this.#fraction = seededRandom(seed).fraction
  }

  /** Chosen by the bytes themselves: what a harness decides by it, it decides again for the same input. */
  static of(bytes: Uint8Array): Dice {
    let hashed = bytes.length
    for (const byte of bytes) hashed = (Math.imul(hashed, 0x01000193) ^ byte) | 0
    return new Dice(hashed)
  }

  /** From 0 to `count - 1`. */
  below(count: number): number {
    return Math.floor(this.#fraction() * count)
  }

  chance(share: number): boolean {
    return this.#fraction() < share
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }
}
