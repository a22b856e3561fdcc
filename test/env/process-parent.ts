/** A process that starts one of its own, says so, and says when a signal came and that one still answers. Its argument: a port to connect it to. */

import { realEnv } from '../../lib/env/real.ts'
import type { Order } from './process-worker.ts'

const worker = realEnv().startProcess!(new URL('./process-worker.js', import.meta.url))
worker.onMessage(message => console.log(message))
worker.onFailure(error => console.log(error.message))
const order = (what: Order): void => worker.post(what)
const port = process.argv[2]
if (port !== undefined) {
  order({ do: 'connect', port: Number(port) })
  order({ do: 'echo', value: 'started' })
  process.on('SIGINT', () => order({ do: 'echo', value: 'answers' }))
  process.stdin.resume()
}
