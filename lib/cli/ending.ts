/** That a program is asked to end: by a signal, by its last reader, or by an error that nobody expected. */
import { setMaxListeners } from 'node:events'

export class Ending {
  readonly #controller = new AbortController()
  /** Resolves when the end is asked for. */
  readonly requested: Promise<void>

  constructor() {
    const { signal } = this.#controller
    // Each pause listens; how many there are is bounded by those who make them.
    setMaxListeners(0, signal)
    this.requested = new Promise(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))
  }

  /** Aborts when the end is asked for. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get isRequested(): boolean {
    return this.#controller.signal.aborted
  }

  /** Idempotent. */
  request(): void {
    this.#controller.abort()
  }

  /** Resolves after `ms`, or when the end is asked for, whichever is first. */
  pause(ms: number): Promise<void> {
    if (this.isRequested || ms <= 0) return Promise.resolve()
    return new Promise(resolve => {
      const done = () => {
        clearTimeout(timer)
        this.signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      this.signal.addEventListener('abort', done)
    })
  }
}
