/** A process of its own that joins a cluster and prints what it sees of the others, a line an event. Ends with its standard input. */

import { openDatastore } from '../../lib/datastores/open.ts'
import { realEnv } from '../../lib/env/real.ts'
import type { SessionOptions } from '../../lib/sessions/options.ts'
import { StoreDirectory } from '../../lib/sessions/store-directory.ts'

const [storeUrl, given] = process.argv.slice(2) as [string, string]
const options = JSON.parse(given) as SessionOptions
const env = realEnv()
const datastore = await openDatastore(storeUrl, { cluster: 'test', operationTimeoutMs: options.operationTimeoutMs })
const directory = await StoreDirectory.join({
  env,
  datastore,
  cluster: 'test',
  self: {
    identity: 'observer',
    incarnation: `run-${process.pid}`,
    endpoints: [],
    role: 'peer',
    state: 'up',
    version: '0.1.0',
    machine: env.machine,
    metadata: {},
  },
  options,
  probe: async () => 'silent',
  handler: {
    held: () => [],
    displaced: () => undefined,
    memberUp: member => console.log(`up ${member.identity}`),
    memberChanged: () => undefined,
    memberDown: (run, why) => console.log(`down ${run.identity} ${why}`),
    storeDown: error => console.log(`store down ${error.message}`),
    storeUp: () => console.log('store up'),
    lease: () => undefined,
    fenced: () => undefined,
  },
})
process.stdin.resume()
process.stdin.once('end', () => {
  void directory.leave(env.clock.monotonicMs() + 1_000).finally(() => datastore[Symbol.asyncDispose]())
})
