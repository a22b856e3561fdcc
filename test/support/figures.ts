/** Figures that tests measure on their way: docs/faults.md has them from `npm run faults -- --full`. */
import type { Test } from 'tap'

/** As many of everything as FAULTS.md says, however long it takes. */
export const full = process.env['HOMING_FULL'] === '1'

/** Says what was measured, in a comment that `npm run faults` picks up. */
export function measured(t: Test, fault: string, what: string, value: number, unit: string): void {
  t.comment(`measured ${fault}: ${what}: ${round(value)} ${unit}`.trimEnd())
}

function round(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Math.round(value * 1_000) / 1_000
}

/** The value that `share` of them do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0
}
