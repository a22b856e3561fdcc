/** Waiting that ends: by a timer of the environment. */

import type { Env } from '../env/env.ts'

/** Resolves after `ms`. */
export function passing(env: Env, ms: number): Promise<void> {
  return new Promise(resolve => void env.timers.after(ms, resolve))
}

/** The outcome of `work`, or at `untilMs` (monotonic clock) a rejection with what `late` makes. The work itself goes on. */
export function settledBy<T>(env: Env, untilMs: number, work: Promise<T>, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = env.timers.after(Math.max(0, untilMs - env.clock.monotonicMs()), () => reject(late()))
    work.then(resolve, reject).finally(() => timer.cancel())
  })
}
