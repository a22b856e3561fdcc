/** Timers of Node's event loop, without their two traps. */

import type { Timer, Timers } from './env.ts'

/** What fits into Node's timers; above it they would fire at once. */
const delayMsMax = 2 ** 31 - 1

class RealTimer implements Timer {
  readonly #dueMs: number
  readonly #fn: () => void
  #handle: NodeJS.Timeout

  constructor(ms: number, fn: () => void) {
    this.#dueMs = performance.now() + ms
    this.#fn = fn
    this.#handle = setTimeout(this.#due, Math.min(ms, delayMsMax))
  }

  cancel(): void {
    clearTimeout(this.#handle)
  }

  // Node counts whole milliseconds and may be up to one early; and a long wait comes in parts.
  readonly #due = (): void => {
    const leftMs = this.#dueMs - performance.now()
    if (leftMs <= 0) this.#fn()
    else this.#handle = setTimeout(this.#due, Math.min(leftMs, delayMsMax))
  }
}

/** Timers that keep the process alive, as Node's own do. */
export function realTimers(): Timers {
  return {
    after: (ms, fn) => new RealTimer(ms, fn),
    every: (ms, fn) => {
      const handle = setInterval(fn, Math.min(ms, delayMsMax))
      return { cancel: () => clearInterval(handle) }
    },
    soon,
  }
}

let due: (() => void)[] = []

/**
 * All that is asked for in one turn runs in one: what several channels over one socket write then leaves in one system call, while Node
 * would let each of them write by itself.
 */
function soon(fn: () => void): void {
  if (due.push(fn) === 1) setImmediate(runDue)
}

function runDue(): void {
  const now = due
  due = []
  let ran = 0
  try {
    while (ran < now.length) now[ran++]!()
  } finally {
    // What is left where one has thrown: that is nobody else's fault.
    now.slice(ran).forEach(soon)
  }
}
