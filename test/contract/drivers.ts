/** The drivers that are held against the contract here, each with an engine of its own. */

import type { DriverUnderTest } from '../../lib/testing/index.ts'
import { lmdbUnderTest } from './lmdb-driver.ts'
import { faultyUnderTest, memoryUnderTest } from './memory-driver.ts'
import { redisClusterUnderTest, redisSentinelUnderTest, redisTlsUnderTest, redisUnderTest } from './redis-drivers.ts'

/** A driver with its engine running, until it is disposed of. */
export interface StartedDriver extends DriverUnderTest, AsyncDisposable {}

/** How a driver comes to the contract. */
export interface KnownDriver {
  /** Heads its column in the table. */
  readonly name: string
  /** Why it cannot be tried on this machine; `undefined`: it can. */
  missing(): string | undefined
  start(): Promise<StartedDriver>
}

export const knownDrivers: readonly KnownDriver[] = [
  memoryUnderTest,
  faultyUnderTest,
  lmdbUnderTest,
  redisUnderTest,
  redisTlsUnderTest,
  redisSentinelUnderTest,
  redisClusterUnderTest,
]
