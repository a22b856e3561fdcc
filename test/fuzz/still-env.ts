/** An environment in which time stands still unless it is told to move, and which knows what is set in it. */
import { seededRandom } from '../../lib/env/random.ts'
import type { Clock, Env, Random, Timer, Timers, Transport } from '../../lib/env/env.ts'
import { claim } from './target.ts'

interface Due {
  atMs: number
  readonly everyMs: number | undefined
  readonly fn: () => void
}

/** Events without a moment between them: a loop that would never end. */
const eventsMax = 10_000

export class StillEnv implements Env {
  nowMs = 1_000_000
  readonly clock: Clock = { monotonicMs: () => this.nowMs, wallMs: () => this.nowMs, bootMs: () => this.nowMs }
  readonly random: Random = seededRandom('still')
  readonly machine = 'here'
  readonly startWorker = undefined
  readonly startProcess = undefined
  readonly transport: Transport = {
    listen: () => Promise.reject(new Error('nobody listens here')),
    dial: () => {
      throw new Error('nobody dials here')
    },
  }
  readonly #due = new Set<Due>()
  #soon: (() => void)[] = []
  readonly timers: Timers = {
    after: (ms, fn) => this.#set(ms, undefined, fn),
    every: (ms, fn) => this.#set(ms, Math.max(1, ms), fn),
    soon: fn => void this.#soon.push(fn),
  }

  /** Timers that are set and not cancelled. */
  get timersSet(): number {
    return this.#due.size
  }

  #set(ms: number, everyMs: number | undefined, fn: () => void): Timer {
    const due: Due = { atMs: this.nowMs + Math.max(0, ms), everyMs, fn }
    this.#due.add(due)
    return { cancel: () => void this.#due.delete(due) }
  }

  /** To the end of this turn of the loop. */
  turn(): void {
    for (let events = 0; this.#soon.length > 0; events++) {
      claim(events < eventsMax, 'turns of the loop without end')
      for (const fn of this.#soon.splice(0)) fn()
    }
  }

  pass(ms: number): void {
    const untilMs = this.nowMs + ms
    this.turn()
    for (let events = 0; ; events++) {
      claim(events < eventsMax, 'timers without end')
      let first: Due | undefined
      for (const due of this.#due) if (due.atMs <= untilMs && (!first || due.atMs < first.atMs)) first = due
      if (!first) break
      this.nowMs = Math.max(this.nowMs, first.atMs)
      if (first.everyMs === undefined) this.#due.delete(first)
      else first.atMs += first.everyMs
      first.fn()
      this.turn()
    }
    this.nowMs = untilMs
  }
}
