/** ZooKeeper under the contract, on a server of its own. */

import { openDatastore } from '../../lib/datastores/open.ts'
import { standStill } from '../support/stopped.ts'
import { startZooKeeper, zooKeeperMissing } from '../support/zookeeper-server.ts'
import type { KnownDriver } from './known-driver.ts'

/** The sentence of docs/datastores.md. */
const smallerValues =
  'ZooKeeper takes no request above 1 MiB, so a value has at most 1,040,383 bytes; a larger one is `TOO_LARGE`.'

export const zooKeeperUnderTest: KnownDriver = {
  name: 'zookeeper',
  missing: zooKeeperMissing,
  cannot: { 'a value may be 1 MiB of any bytes': smallerValues },
  async start() {
    const server = await startZooKeeper()
    return {
      open: ({ operationTimeoutMs = 5_000 } = {}) => openDatastore(server.url, { operationTimeoutMs, cluster: 'contract' }),
      promises: { atomicPut: true, durable: true, shared: true },
      pass: ms => new Promise(resolve => setTimeout(resolve, ms)), // the lifetimes are by the leader's clock
      elsewhere: { url: server.url },
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
