import t from 'tap'
import { openDatastore } from '../../lib/datastores/open.ts'
import { datastoreContract } from '../contract/datastore.ts'
import { couchbaseMissing, startCouchbase } from '../support/couchbase-server.ts'

const missing = couchbaseMissing()
const options = { operationTimeoutMs: 5_000, cluster: 'test' }
const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

if (missing) t.test('Couchbase', { skip: missing }, async () => {})
else
  t.test('the contract', async t => {
    await using server = await startCouchbase()
    await t.test('on the server', async t => {
      datastoreContract(t, {
        open: () => openDatastore(server.url, options),
        promises: { atomicPut: true, durable: false, shared: true },
        pass,
      })
    })
  })
