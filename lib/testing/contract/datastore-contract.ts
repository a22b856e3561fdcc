/** The contract of datastores: what every driver does, whatever the engine, as statements that any test runner can run. */

import { within } from '../../datastores/settling.ts'
import { batchStatements } from './batches.ts'
import { claimStatements } from './claims.ts'
import { conditionStatements } from './conditions.ts'
import { endStatements } from './endings.ts'
import { entryStatements } from './entries.ts'
import { lifetimeStatements } from './lifetimes.ts'
import { listingStatements } from './listings.ts'
import { outageStatements } from './outages.ts'
import { sharingStatements } from './sharing.ts'
import { nowMs } from './scene.ts'
import { exemption, type DriverUnderTest, type Need, type Statement } from './statement.ts'

/**
 * In the order in which they are best checked, one at a time: those that take the engine away come last.
 *
 * ```ts
 * for (const statement of datastoreContract) {
 *   test(statement.name, { skip: exemption(statement, driver) !== undefined }, () => statement.check(driver))
 * }
 * ```
 */
export const datastoreContract: readonly Statement[] = [
  ...entryStatements,
  ...conditionStatements,
  ...lifetimeStatements,
  ...batchStatements,
  ...listingStatements,
  ...sharingStatements,
  ...claimStatements,
  ...endStatements,
  ...outageStatements,
]

/** What became of a statement with one driver. */
export type Verdict =
  | { readonly at: 'kept'; readonly tookMs: number }
  /** It is not promised; the sentence says why. */
  | { readonly at: 'exempt'; readonly sentence: string }
  /** Whoever runs the contract did not give what the statement needs. */
  | { readonly at: 'untried'; readonly missing: Need }
  | { readonly at: 'broken'; readonly error: unknown }

/** A driver that leaves a call unsettled would leave its user without a table. With many rounds, races take their time. */
const checkMsMax = 600_000

/** Checks one statement; never rejects. */
export async function judge(statement: Statement, driver: DriverUnderTest): Promise<Verdict> {
  const exempt = exemption(statement, driver)
  if (exempt) return 'sentence' in exempt ? { at: 'exempt', ...exempt } : { at: 'untried', ...exempt }
  const sinceMs = nowMs()
  try {
    await within(checkMsMax, statement.check(driver), () => new Error(`not settled after ${checkMsMax} ms`))
    return { at: 'kept', tookMs: nowMs() - sinceMs }
  } catch (error) {
    return { at: 'broken', error }
  }
}
