/** What became of a planted bug, in a line. */
import type { Find } from './hunt.ts'

export interface Row {
  readonly name: string
  readonly what: string
  readonly found: Find | undefined
  /** What the same seed shows without the bug: nothing, or it is no find. */
  readonly without: Find | undefined
  /** Seeds that were run until it was found, each in every mode. */
  readonly seeds: number
  readonly seconds: number
}

/** `width`: of the longest name. */
export function planted({ name, found, without, seeds, seconds }: Row, width: number): string {
  const took = `${seeds} seed${seeds === 1 ? '' : 's'}, ${seconds.toFixed(1)} s`
  const start = name.padEnd(width)
  if (!found) return `${start}  NOT FOUND  ${took}`
  const { seed, mode, breach } = found
  if (without) return `${start}  seed ${seed} (${without.mode}) breaks ${without.breach.rule} without it: ${without.breach.text}`
  return `${start}  seed ${seed}, ${mode}  ${took}  ${breach.rule}  ${breach.text.split('\n')[0]!.slice(0, 120)}`
}
