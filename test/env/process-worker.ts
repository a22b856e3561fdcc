/** The code of a process that does what it is told. */

import { createConnection } from 'node:net'
import { workerPort } from '../../lib/env/worker-port.ts'

export type Order =
  | { do: 'echo'; value: unknown }
  | { do: 'throw'; message: string }
  | { do: 'exit'; code: number }
  /** Until somebody kills it. */
  | { do: 'stand still' }
  /** Whoever listens there learns of its end. */
  | { do: 'connect'; port: number }
  | { do: 'close' }

const port = workerPort()
port.onMessage(message => {
  const order = message as Order
  switch (order.do) {
    case 'echo':
      return port.post(order.value)
    case 'throw':
      throw new Error(order.message)
    case 'exit':
      return process.exit(order.code)
    case 'stand still':
      return void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    case 'connect':
      return void createConnection(order.port, '127.0.0.1')
    case 'close':
      return port.close()
  }
})
