/** The clocks of this process. */

import { existsSync, readFileSync } from 'node:fs'
import type { Clock } from './env.ts'

/** Seconds since boot, suspended time included, to a hundredth. */
const uptimeFile = '/proc/uptime'

/** `bootMs` reads a file where there is one (some microseconds); elsewhere a suspend cannot be seen and it equals `monotonicMs`. */
export function realClock(): Clock {
  const monotonicMs = (): number => performance.now()
  return {
    monotonicMs,
    wallMs: () => Date.now(),
    bootMs: existsSync(uptimeFile) ? () => Number.parseFloat(readFileSync(uptimeFile, 'latin1')) * 1_000 : monotonicMs,
  }
}
