/** One listener an `AbortSignal`, however many calls share it: adding a listener for each message costs more than the message. */
export class Signals {
  readonly #lists = new Map<AbortSignal, { calls: Set<() => void>; listener: () => void }>()

  /** Calls `fn` when the signal aborts, or soon where it has; returns the function that ends the watch. */
  watch(signal: AbortSignal, fn: () => void): () => void {
    if (signal.aborted) {
      queueMicrotask(fn)
      return () => {}
    }
    let list = this.#lists.get(signal)
    if (!list) {
      const calls = new Set<() => void>()
      const listener = (): void => {
        this.#lists.delete(signal)
        for (const call of calls) call()
      }
      list = { calls, listener }
      this.#lists.set(signal, list)
      signal.addEventListener('abort', listener, { once: true })
    }
    const { calls, listener } = list
    calls.add(fn)
    return () => {
      calls.delete(fn)
      if (calls.size > 0 || this.#lists.get(signal)?.calls !== calls) return
      this.#lists.delete(signal)
      signal.removeEventListener('abort', listener)
    }
  }
}
