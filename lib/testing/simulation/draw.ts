/** Chance in the words of a test: one of these, between those, in so many of a hundred. */
import type { Random } from '../../env/env.ts'

export class Draw {
  readonly #random: Random

  constructor(random: Random) {
    this.#random = random
  }

  /** In [0, 1). */
  fraction(): number {
    return this.#random.fraction()
  }

  chance(share: number): boolean {
    return this.fraction() < share
  }

  /** A whole number, both ends included. */
  whole(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1))
  }

  /** Any number between both, small ones as often as large ones: each order of magnitude has the same share. */
  spread(min: number, max: number): number {
    return min * (max / min) ** this.fraction()
  }

  /** One of at least one. */
  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.fraction() * from.length)]!
  }

  /** One name, each as often as its weight says. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const entries = Object.entries(weights) as [Name, number][]
    let left = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0)
    for (const [name, weight] of entries) if ((left -= weight) < 0) return name
    return entries.at(-1)![0]
  }

  shuffled<T>(from: readonly T[]): T[] {
    const rest = [...from]
    const shuffled: T[] = []
    while (rest.length > 0) shuffled.push(...rest.splice(Math.floor(this.fraction() * rest.length), 1))
    return shuffled
  }

  /** Some of them, at least one. */
  some<T>(from: readonly T[], max: number): T[] {
    return this.shuffled(from).slice(0, this.whole(1, Math.max(1, Math.min(max, from.length))))
  }
}
