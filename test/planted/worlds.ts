/**
 * A process that runs worlds, seed after seed and each in every mode, until one breaks a promise; it tells its parent of each. What is
 * planted, it was started with.
 */
import type { Mode } from '../../lib/testing/index.ts'
import { alterationsInEffect } from '../support/altered-modules.ts'
import { chosenOf } from './chosen.ts'
import { breachOf, planOf, type Breach } from './world.ts'

/** What it is asked for, as JSON in its first argument. */
export interface Asked {
  readonly from: number
  readonly seeds: number
  readonly modes: readonly Mode[]
  /** Names of what was planted: it must be in effect. */
  readonly planted: readonly string[]
}

export type Told =
  | { at: 'begin'; seed: number; mode: Mode }
  | { at: 'breach'; breach: Breach }
  /** No world showed anything. `missing` was planted in modules that none of them loaded. */
  | { at: 'end'; missing: readonly string[] }

function tell(told: Told): Promise<void> {
  return new Promise(resolve => process.send!(told, undefined, undefined, () => resolve()))
}

async function breached(breach: Breach): Promise<never> {
  await tell({ at: 'breach', breach })
  process.exit(0)
}

const { from, seeds, modes, planted } = JSON.parse(process.argv[2]!) as Asked
process.on('disconnect', () => process.exit(1))
// H10: what the library throws where nobody catches it.
process.setUncaughtExceptionCaptureCallback(
  error => void breached({ rule: 'H10', text: `uncaught: ${error.stack ?? error.message}` }),
)

const bugs = planted.length === 0 ? [] : chosenOf(planted)
for (let seed = from; seed < from + seeds; seed++) {
  for (const mode of modes) {
    const plan = planOf(seed, mode)
    if (!bugs.every(({ shows }) => shows?.(plan) ?? true)) continue
    await tell({ at: 'begin', seed, mode })
    const breach = await breachOf(seed, mode)
    if (breach) await breached(breach)
  }
}
const inEffect = alterationsInEffect()
await tell({ at: 'end', missing: planted.filter(name => !inEffect.includes(name)) })
process.exit(0)
