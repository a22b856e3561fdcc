import t from 'tap'
import { openDatastore } from '../../lib/datastores/open.ts'
import { datastoreContract } from '../contract/datastore.ts'
import { startZooKeeper, zooKeeperMissing } from '../support/zookeeper-server.ts'

const missing = zooKeeperMissing()
const options = { operationTimeoutMs: 5_000, cluster: 'test' }
const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

if (missing) t.test('ZooKeeper', { skip: missing }, async () => {})
else
  t.test('the contract', async t => {
    await using server = await startZooKeeper()
    await t.test('on the server', async t => {
      datastoreContract(t, {
        open: () => openDatastore(server.url, options),
        promises: { atomicPut: true, durable: true, shared: true },
        pass,
      })
    })
  })
