/** The clocks of this process. */

import { existsSync, openSync, readSync } from 'node:fs'
import type { Clock } from './env.ts'

/** Seconds since boot, suspended time included, to a hundredth. */
const uptimeFile = '/proc/uptime'
/** A suspend moves the wall clock against the monotonic one; what it moves less than that, ms, is nobody's lease. */
const movedMs = 20
/** Read again after that at the latest, ms: somebody may set the wall clock back by as much as the machine slept. */
const readEveryMs = 250

/** `bootMs` reads a file where there is one, and only when there may be news; elsewhere a suspend cannot be seen and it equals `monotonicMs`. */
export function realClock(): Clock {
  const monotonicMs = (): number => performance.now()
  const wallMs = (): number => Date.now()
  return { monotonicMs, wallMs, bootMs: existsSync(uptimeFile) ? bootClock(monotonicMs, wallMs) : monotonicMs }
}

/** Kept open, once for all peers of a process: opening it takes longer than reading it. */
let file: number | undefined

function bootClock(monotonicMs: () => number, wallMs: () => number): () => number {
  const uptime = (file ??= openSync(uptimeFile, 'r'))
  const text = Buffer.alloc(64)
  let asleepMs = 0
  let readAtMs = Number.NEGATIVE_INFINITY
  let wallAheadMs = 0
  return () => {
    const nowMs = monotonicMs()
    const aheadMs = wallMs() - nowMs
    if (nowMs - readAtMs >= readEveryMs || Math.abs(aheadMs - wallAheadMs) >= movedMs) {
      const uptimeMs = Number.parseFloat(text.toString('latin1', 0, readSync(uptime, text, 0, text.length, 0))) * 1_000
      // In steps of 10 ms, it would jump to and fro.
      const sleptMs = uptimeMs - nowMs - asleepMs
      if (Math.abs(sleptMs) >= movedMs) asleepMs += sleptMs
      readAtMs = nowMs
      wallAheadMs = aheadMs
    }
    return nowMs + asleepMs
  }
}
