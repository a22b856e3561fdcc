/** That a program is asked to end: by a signal, by its last reader, or by an error that nobody expected. */
import { setMaxListeners } from 'node:events'

export class Ending {
  readonly #controller = new AbortController()
  #hungUp: (() => void) | undefined
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

  /** A hang-up means this from now on, as of a daemon, and not the end any more. */
  onHangUp(fn: () => void): void {
    this.#hungUp = fn
  }

  /** The terminal has hung up, or somebody sent the signal for it. */
  hangUp(): void {
    if (this.#hungUp) this.#hungUp()
    else this.request()
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
