/** How long each of many messages took. */

export class Latencies {
  #ms: Float64Array
  #count = 0
  #sorted = true

  constructor(expected: number) {
    this.#ms = new Float64Array(Math.max(1, Math.min(expected, 1 << 16)))
  }

  get count(): number {
    return this.#count
  }

  add(ms: number): void {
    if (this.#count === this.#ms.length) {
      const wider = new Float64Array(this.#ms.length * 2)
      wider.set(this.#ms)
      this.#ms = wider
    }
    this.#ms[this.#count++] = ms
    this.#sorted = false
  }

  addAll(many: readonly number[]): void {
    for (const ms of many) this.add(ms)
  }

  /** The latency that this part (0 to 1) of all messages did not exceed; undefined if there are none. */
  quantile(part: number): number | undefined {
    const ms = this.values()
    return ms[Math.max(0, Math.ceil(part * ms.length) - 1)]
  }

  /** In rising order. */
  values(): Float64Array {
    const ms = this.#ms.subarray(0, this.#count)
    if (!this.#sorted) ms.sort()
    this.#sorted = true
    return ms
  }
}
