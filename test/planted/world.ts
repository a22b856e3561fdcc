/** One seeded world, and what it shows. */
import { check, drawPlan, simulate, type CheckOptions, type Mode, type Plan } from '../../lib/testing/index.ts'

/** What a world has shown. */
export interface Breach {
  /** `H1` to `H10` of the checker; `world`: what no history shows, as that not all became right in the end; `thrown`: it ended before its time. */
  readonly rule: string
  readonly text: string
}

/** What is drawn for it. */
export function planOf(seed: number, mode: Mode): Plan {
  return drawPlan(seed, mode)
}

/** The first promise that breaks in this world; undefined where none does. */
export async function breachOf(seed: number, mode: Mode): Promise<Breach | undefined> {
  try {
    const world = { seed, mode, judge: () => [] }
    const { plan, history, findings, virtualMs } = await simulate(world)
    const [violation] = check(history.events, boundsOf(plan, virtualMs))
    if (violation) return violation
    return findings[0] && { rule: 'world', text: findings[0].text }
  } catch (error) {
    return { rule: 'thrown', text: String(error) }
  }
}

function boundsOf({ options, clockRates, store }: Plan, endMs: number): CheckOptions {
  const {
    leaseMs = 10_000,
    renewEveryMs = 3_000,
    guardMs = 2_000,
    operationTimeoutMs = 1_000,
    whenStoreIsDown = 'serve',
  } = options
  const times = { endMs, leaseMs, renewEveryMs, guardMs, operationTimeoutMs, whenStoreIsDown }
  // Deadlines are counted by clocks that may be slow. Of siblings the one that loses is told within two seconds more.
  const isEventual = store.kind === 'eventual'
  const overlapMsMax = renewEveryMs + guardMs + (isEventual ? 2_000 : 0)
  return { ...times, overlapMsMax, slackMs: clockRates.size > 0 ? 400 : 100, atomicPut: !isEventual }
}
