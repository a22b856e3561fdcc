/** The environment of a process in production. */

import { realClock } from './clock.ts'
import type { Env } from './env.ts'
import { machineText } from './machine.ts'
import { startProcess } from './process.ts'
import { realRandom } from './random.ts'
import { tcpTransport } from './tcp.ts'
import { realTimers } from './timers.ts'
import { startWorker } from './worker.ts'

export function realEnv(): Env {
  return {
    clock: realClock(),
    timers: realTimers(),
    random: realRandom(),
    transport: tcpTransport(),
    machine: machineText(),
    startWorker,
    startProcess,
  }
}
