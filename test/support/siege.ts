/** A broker in a process of its own, besieged by strangers, and how long members take to come in meanwhile. FAULTS.md, F26. */

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Env } from '../../lib/env/env.ts'
import { realEnv } from '../../lib/env/real.ts'
import { Link, type LinkHandler } from '../../lib/link/link.ts'
import { linkDefaults } from '../../lib/link/options.ts'
import type { Siege, SiegeCounts } from '../security/strangers-worker.ts'
import type { Child } from './processes.ts'

const siegeSecret = 'a secret that no stranger has'

export interface SiegeOutcome {
  /** Of a member that dials until it is in: how long the whole took, ms, sorted. The first one comes from a host that nobody knows. */
  latenciesMs: number[]
  firstMs: number
  dials: number
  strangers: SiegeCounts
  /** How much more memory the broker took at most, bytes. */
  grownBytes: number
}

const code = new URL('../security/strangers-worker.js', import.meta.url)

/** So many handshakes at least: of fewer the hundredth part is none. */
const handshakesMin = 110

/** Besieges for `forMs`, or until enough was measured, a broker that runs in `child`. */
export async function besiege(
  child: Child,
  { sockets, hosts, againMs }: Omit<Siege, 'port'>,
  forMs: number,
): Promise<SiegeOutcome> {
  const { endpoints } = await child.ask('broker', {
    identity: 'hub',
    store: 'memory:',
    listen: 'tcp://127.0.0.1:0',
    secret: siegeSecret,
  })
  const endpoint = endpoints[0]!
  const { residentBytes } = await child.ask('memory')
  const worker = new Worker(code, {
    workerData: { port: Number(new URL(endpoint).port), sockets, hosts, againMs } satisfies Siege,
  })
  try {
    // All have come once before the first member does.
    await until(async () => (await counts(worker)).made >= sockets)
    const env = realEnv()
    const untilMs = performance.now() + forMs
    const latenciesMs: number[] = []
    let dials = 0
    let peakBytes = residentBytes
    while (performance.now() < untilMs || latenciesMs.length < handshakesMin) {
      const began = performance.now()
      while (!(await comesIn(env, endpoint))) {
        dials++
        await pause(50 + 100 * Math.random())
      }
      dials++
      latenciesMs.push(performance.now() - began)
      if (latenciesMs.length % 20 === 0) peakBytes = Math.max(peakBytes, (await child.ask('memory')).residentBytes)
      await pause(10)
    }
    const firstMs = latenciesMs[0]!
    latenciesMs.sort((a, b) => a - b)
    return { latenciesMs, firstMs, dials, strangers: await counts(worker), grownBytes: peakBytes - residentBytes }
  } finally {
    worker.postMessage('end')
    await once(worker, 'exit')
  }
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}

async function counts(worker: Worker): Promise<SiegeCounts> {
  worker.postMessage('counts')
  const [answer] = (await once(worker, 'message')) as [SiegeCounts]
  return answer
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await pause(20)
}

function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

/** Whether one handshake of somebody who has the secret ends well. */
function comesIn(env: Env, endpoint: string): Promise<boolean> {
  return new Promise(resolve => {
    const handler: LinkHandler = {
      opened: link => {
        resolve(true)
        link.close('local')
      },
      frame() {},
      batch() {},
      closed: () => resolve(false),
    }
    const introduce = () => ({ identity: 'member', incarnation: '1', role: 'probe' as const, capabilities: [] })
    const secrets = [Buffer.from(siegeSecret)]
    Link.dial(env, { options: linkDefaults, cluster: 'homing', secrets, tls: undefined, introduce }, endpoint, undefined, handler)
  })
}
