/** A process that uses a Redis datastore until it is told to close it; then it has to end by itself. */

import { openDatastore } from '../../lib/datastores/open.ts'

const store = await openDatastore(process.argv[2]!, { operationTimeoutMs: 500, cluster: 'test' })
await store.put('a', new Uint8Array(1))
process.once('message', () => {
  process.channel?.unref()
  void store[Symbol.asyncDispose]()
})
process.send!('ready')
