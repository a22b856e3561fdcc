/** The environment of a simulated process. */

import type { Env } from './env.ts'
import type { MemoryNetwork } from './memory-network.ts'
import type { VirtualTime } from './virtual-time.ts'

/**
 * A new life on `host`: what `time` and `network` say of the process `host` (stall, suspend, cut) is said of this one. After `killProcess`
 * the same call gives the next life.
 */
export function virtualEnv(time: VirtualTime, network: MemoryNetwork, host: string, machine = `machine of ${host}`): Env {
  return {
    clock: time.clockOf(host),
    timers: time.timersOf(host),
    random: time.randomOf(host),
    transport: network.transportOf(host),
    machine,
    startWorker: undefined,
    startProcess: undefined,
  }
}

/** `kill -9`: nothing of the process ever runs again, and its kernel closes its connections. */
export function killProcess(time: VirtualTime, network: MemoryNetwork, host: string): void {
  time.halt(host)
  network.kill(host)
}
