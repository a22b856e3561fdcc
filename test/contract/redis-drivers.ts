/** Redis under the contract: on a server of its own, or on the one that HOMING_TEST_REDIS names. */

import { openDatastore } from '../../lib/datastores/open.ts'
import { hasRedisServer, startRedisServer } from '../support/redis-server.ts'
import type { KnownDriver } from './drivers.ts'

const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))
const promises = { atomicPut: true, durable: false, shared: true }

export const redisUnderTest: KnownDriver = {
  name: 'redis',
  missing: () => (hasRedisServer() ? undefined : 'redis-server is not installed'),
  async start() {
    const server = await startRedisServer()
    return {
      open: ({ operationTimeoutMs = 2_000 } = {}) => openDatastore(server.url, { operationTimeoutMs, cluster: 'contract' }),
      promises,
      pass, // the lifetimes are the server's, so its time has to go by
      elsewhere: { url: server.url },
      async crash() {
        await server.kill()
        return () => server.restart()
      },
      async stall() {
        process.kill(server.pid, 'SIGSTOP')
        return async () => void process.kill(server.pid, 'SIGCONT')
      },
      [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    }
  },
}
