/** Couchbase under the contract: on its makers' mock, or on a bucket that somebody else runs. */

import { keyBytesMax } from '../../lib/datastores/limits.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { couchbaseMissing, startCouchbase } from '../support/couchbase-server.ts'
import { standStill } from '../support/stopped.ts'
import type { KnownDriver, StartedDriver } from './known-driver.ts'

/** The sentences of docs/datastores.md. */
const shorterKeys = "A key in a collection other than the bucket's own has at most 246 bytes."
const notOurs = 'A cluster that others may use is not stopped for a test.'

export const couchbaseUnderTest: KnownDriver = {
  name: 'couchbase (mock)',
  missing: couchbaseMissing,
  async start() {
    const server = await startCouchbase()
    return {
      ...driverOn(server.url),
      async crash() {
        await server.kill()
        return () => server.restart()
      },
      async stall() {
        const { pid } = server
        await standStill(pid)
        return async () => void process.kill(pid, 'SIGCONT')
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
}

/** The same on a bucket that somebody else runs. */
export function couchbaseGiven(url: string): KnownDriver {
  return {
    name: 'couchbase, given',
    missing: () => undefined,
    cannot: /[?&](scope|collection)=/.test(url)
      ? {
          [`a key may have ${keyBytesMax} bytes`]: shorterKeys,
          [`a key of ${keyBytesMax} bytes may be unicode of any width`]: shorterKeys,
        }
      : {},
    lacks: { crash: notOurs, stall: notOurs },
    start: async () => ({ ...driverOn(url), async [Symbol.asyncDispose]() {} }),
  }
}

function driverOn(url: string): Pick<StartedDriver, 'open' | 'promises' | 'pass' | 'elsewhere'> {
  return {
    open: ({ operationTimeoutMs = 5_000 } = {}) => openDatastore(url, { operationTimeoutMs, cluster: 'contract' }),
    promises: { atomicPut: true, durable: /[?&]durability=\w*persist/i.test(url), shared: true },
    pass: ms => new Promise(resolve => setTimeout(resolve, ms)), // the lifetimes are by the wall clocks of the writers
    elsewhere: { url },
  }
}
