/** One seeded world, and what it shows. */
import type { Mode } from '../support/clusters.ts'
import { runWorld } from '../support/random-world.ts'

/** What a world has shown. */
export interface Breach {
  /** `H1` to `H10` of the judge; `quiet`: after the last fault not all became right; `thrown`: the world itself came to an end. */
  readonly rule: string
  readonly text: string
}

/** The first promise that breaks in this world; undefined where none does. */
export async function breachOf(seed: number, mode: Mode): Promise<Breach | undefined> {
  try {
    const { violations } = await runWorld(seed, mode)
    return violations[0] === undefined ? undefined : { rule: ruleOf(violations[0]), text: violations[0] }
  } catch (error) {
    return { rule: 'thrown', text: String(error) }
  }
}

function ruleOf(text: string): string {
  if (text.startsWith('duplicate')) return 'H3'
  return /^H\d+/.exec(text)?.[0] ?? 'quiet'
}
