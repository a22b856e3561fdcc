/** All drivers that are held against the contract here, in the order of the table's columns. */

import { couchbaseUnderTest } from './couchbase-driver.ts'
import type { KnownDriver } from './known-driver.ts'
import { lmdbUnderTest } from './lmdb-driver.ts'
import { faultyUnderTest, memoryUnderTest } from './memory-driver.ts'
import { redisClusterUnderTest, redisSentinelUnderTest, redisTlsUnderTest, redisUnderTest } from './redis-drivers.ts'
import { riakUnderTest } from './riak-driver.ts'
import { zooKeeperUnderTest } from './zookeeper-driver.ts'

export const knownDrivers: readonly KnownDriver[] = [
  memoryUnderTest,
  faultyUnderTest,
  lmdbUnderTest,
  redisUnderTest,
  redisTlsUnderTest,
  redisSentinelUnderTest,
  redisClusterUnderTest,
  riakUnderTest,
  couchbaseUnderTest,
  zooKeeperUnderTest,
]
