/** What a run is to be like. */

import type { PeerOptions } from '../../lib/index.ts'
import type { Load } from './task.ts'

export type Mode = 'brokerless' | 'broker'

export interface RunOptions {
  readonly seed: string
  readonly mode: Mode
  readonly peers: number
  readonly brokers: number
  /** `lmdb`, `redis`, or a URL. */
  readonly store: string
  /** How long there are faults, ms. */
  readonly faultsMs: number
  /** Between two faults. */
  readonly pauseMs: readonly [low: number, high: number]
  /** Times of the peers and of the faults are the usual ones, times this. */
  readonly scale: number
  readonly load: Load
  /** For histories and logs. It may not be there yet. */
  readonly folder: string
}

export const usual = { leaseMs: 10_000, renewEveryMs: 3_000, guardMs: 2_000, pingAfterMs: 1_000, staleAfterMs: 5_000 }

/** The times of the peers. */
export function peerOptions(scale: number, { deadlineMs }: Load): PeerOptions {
  const scaled = Object.entries(usual).map(([name, ms]) => [name, Math.round(ms * scale)])
  return { ...(Object.fromEntries(scaled) as typeof usual), deadlineMs }
}
