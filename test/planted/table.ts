/** What became of a planted bug, in a line. */
import type { Find } from './hunt.ts'

export interface Row {
  readonly name: string
  readonly what: string
  readonly found: Find | undefined
  /** What seeds show without the bug: they have not found it, and something else is wrong. */
  readonly spoilt: readonly Find[]
  /** Seeds that were run until it was found, each in every mode. */
  readonly seeds: number
  readonly seconds: number
}

/** `width`: of the longest name. */
export function planted({ name, found, spoilt, seeds, seconds }: Row, width: number): string {
  const took = `${seeds} seed${seeds === 1 ? '' : 's'}, ${seconds.toFixed(1)} s`
  const without = spoilt.map(find => `\n  without it: ${findText(find)}`).join('')
  return `${name.padEnd(width)}  ${took}  ${found ? findText(found) : 'NOT FOUND'}${without}`
}

function findText({ seed, mode, breach: { rule, text } }: Find): string {
  return `seed ${seed}, ${mode}: ${rule}: ${text.split('\n')[0]!.slice(0, 160)}`
}
