/** The bytes that all waiting messages of a peer may take together. */
/** Of the whole; the rest is kept for what peers say to each other. */
const usersShare = 7 / 8

export class Budget {
  readonly bytesMax: number
  #used = 0

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax
  }

  get used(): number {
    return this.#used
  }

  /** Takes `bytes` for a user's message, or says that there is no room. */
  take(bytes: number): boolean {
    return this.#takeUpTo(this.bytesMax * usersShare, bytes)
  }

  /** Whether there is room for `bytes` of a user's message. */
  admits(bytes: number): boolean {
    return this.#used + bytes <= this.bytesMax * usersShare
  }

  /** Takes `bytes` for what peers say to each other, without which users' messages could not leave: look-ups, claims, replies. */
  takeForPeers(bytes: number): boolean {
    return this.#takeUpTo(this.bytesMax, bytes)
  }

  #takeUpTo(bytesMax: number, bytes: number): boolean {
    if (this.#used + bytes > bytesMax) return false
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
