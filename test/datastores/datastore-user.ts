/** A process that uses a datastore until it is told to close it; then it has to end by itself. Its arguments: the URL, a sign to show. */

import { openDatastore } from '../../lib/datastores/open.ts'

const [, , url, sign] = process.argv
const store = await openDatastore(url!, { operationTimeoutMs: 500, cluster: 'test' })
await store.put('a', new Uint8Array(1))
if (sign !== undefined) store.presence!.show(sign)
process.once('message', () => {
  process.channel?.unref()
  void store[Symbol.asyncDispose]()
})
process.send!('ready')
