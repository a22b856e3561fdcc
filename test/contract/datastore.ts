/** The contract of datastores (homing/testing) as tests of tap. */

import type { Test } from 'tap'
import { datastoreContract as statements, exemption, type DriverUnderTest, type Statement } from '../../lib/testing/index.ts'
import { started, type KnownDriver } from './known-driver.ts'

/** Statements of the seed, and what of the contract holds a driver to each. P50: one contract for all engines. */
export const ofSeed: Readonly<Record<string, readonly string[]>> = {
  P42: [
    'what was put is read, with the version that put gave',
    'delete removes, and deleting nothing is true as well',
    'compare-and-delete: removes the version it names',
    'after disposal every call rejects with CLOSED, and disposing again is nothing',
  ],
  P45: ['an absent key reads as undefined'],
  P46: ['ten writers that count together to 1,000 lose no update', 'compare-and-delete: removes the version it names'],
  P49: ['after disposal nothing of it keeps the process alive'],
}

/** What an engine does not promise, or a test does not have, is skipped and says so. */
function datastoreContract(t: Test, driver: DriverUnderTest, part: readonly Statement[]): void {
  for (const statement of part) {
    const exempt = exemption(statement, driver)
    const skip = exempt && ('sentence' in exempt ? exempt.sentence : `there is no '${exempt.missing}' for this driver here`)
    t.test(statement.name, { skip: skip ?? false }, async t => {
      await statement.check(driver)
      t.pass()
    })
  }
}

/** Where all of it takes long, two files share it: `rough` is what other processes and outages take part in. */
export type Part = 'all' | 'calm' | 'rough'

function partOf(part: Part): readonly Statement[] {
  const isRough = ({ needs }: Statement): boolean => needs.some(need => need !== 'atomicPut')
  return statements.filter(statement => part === 'all' || isRough(statement) === (part === 'rough'))
}

/** The contract for a driver of the list, on an engine that is started for it. */
export function contractOf(t: Test, known: KnownDriver, part: Part = 'all'): void {
  const missing = known.missing()
  t.test(
    `the contract: ${known.name}${part === 'all' ? '' : `, ${part}`}`,
    { skip: missing ?? false, timeout: 170_000 },
    async t => {
      const driver = await started(known)
      t.teardown(() => driver[Symbol.asyncDispose]())
      for (const statement of partOf(part)) {
        const exempt = exemption(statement, driver)
        if (exempt && 'missing' in exempt)
          t.fail(`'${statement.name}' needs ${exempt.missing}, and no sentence says why it is not here`)
      }
      datastoreContract(t, driver, partOf(part))
    },
  )
}
