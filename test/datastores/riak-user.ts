/** A process that uses a Riak cluster: says what came of opening it, and closes it when it is told to. */
import { openDatastore } from '../../lib/datastores/open.ts'
import type { HomingError } from '../../lib/errors.ts'

try {
  const store = await openDatastore(process.argv[2]!, { operationTimeoutMs: 500, cluster: 'test' })
  await store.put('a', new Uint8Array(1))
  process.once('message', () => {
    void store[Symbol.asyncDispose]().then(() => process.disconnect())
  })
  process.send!('ready')
} catch (error) {
  process.send!((error as HomingError).code)
  process.disconnect()
}
