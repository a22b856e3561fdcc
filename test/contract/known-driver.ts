/** How a driver comes to the contract: what it does not promise, and an engine of its own. */

import type { DriverUnderTest } from '../../lib/testing/index.ts'

/** A driver with its engine running, until it is disposed of. */
export interface StartedDriver extends Omit<DriverUnderTest, 'cannot' | 'lacks'>, AsyncDisposable {}

/** How a driver comes to the contract. */
export interface KnownDriver {
  /** Heads its column in the table. */
  readonly name: string
  /** See `DriverUnderTest`; each sentence stands in docs/datastores.md. */
  readonly cannot?: NonNullable<DriverUnderTest['cannot']>
  readonly lacks?: NonNullable<DriverUnderTest['lacks']>
  /** Why it cannot be tried on this machine; `undefined`: it can. */
  missing(): string | undefined
  start(): Promise<StartedDriver>
}

/** Starts its engine. */
export async function started(known: KnownDriver): Promise<DriverUnderTest & AsyncDisposable> {
  const { cannot = {}, lacks = {} } = known
  return { ...(await known.start()), cannot, lacks }
}
