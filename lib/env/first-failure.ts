/** The first failure of what runs beside the main loop, told to whoever asks, before it or after. */
export class FirstFailure {
  readonly #listeners: ((error: Error) => void)[] = []
  #failure: Error | undefined
  #expected = false

  /** From now on an end is no failure. */
  expectEnd(): void {
    this.#expected = true
  }

  report(error: Error): void {
    if (this.#expected || this.#failure) return
    this.#failure = error
    for (const listener of this.#listeners) listener(error)
  }

  /** Also when it happened before, but never from within this call. */
  listen(fn: (error: Error) => void): void {
    this.#listeners.push(fn)
    const before = this.#failure
    if (before) queueMicrotask(() => fn(before))
  }
}
