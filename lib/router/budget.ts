/** The bytes that all waiting messages of a peer may take together. */
export class Budget {
  readonly bytesMax: number
  #used = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get used(): number {
    return this.#used
  }

  /** Takes `bytes`, or says that there is no room. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.bytesMax) return false
    this.#used += bytes
    return true
  }

  /** Takes `bytes` whether there is room or not: for what was accepted and may not be lost. */
  force(bytes: number): void {
    this.#used += bytes
  }

  give(bytes: number): void {
    this.#used -= bytes
  }
}
