/** One seeded world, and what it shows. */
import { drawPlan, simulate, type Finding, type Mode, type Plan } from '../../lib/testing/index.ts'

/** What a world has shown. */
export interface Breach {
  /** `H1` to `H10` of the checker; `world`: what no history shows, as that not all became right in the end; `thrown`: it ended before its time. */
  readonly rule: Finding['rule'] | 'thrown' | 'stuck'
  readonly text: string
}

/** What is drawn for it. */
export function planOf(seed: number, mode: Mode): Plan {
  return drawPlan(seed, mode)
}

/** The first promise that breaks in this world; undefined where none does. */
export async function breachOf(seed: number, mode: Mode): Promise<Breach | undefined> {
  try {
    const { findings } = await simulate({ seed, mode })
    return findings[0] && { rule: findings[0].rule, text: findings[0].text }
  } catch (error) {
    return { rule: 'thrown', text: String(error) }
  }
}
