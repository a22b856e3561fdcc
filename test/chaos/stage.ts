/** What faults are done to: the processes and lines of a run, and the book in which each fault is written. */

import type { Random } from '../../lib/env/env.ts'
import type { Fault } from '../../lib/testing/index.ts'
import type { Engine } from './engine.ts'
import type { Place } from './place.ts'
import type { Primed } from './task.ts'

export interface Stage {
  readonly random: Random
  readonly engine: Engine
  readonly peers: readonly Place[]
  readonly brokers: readonly Place[]
  /** Writes a fault into the history: what was done, and to whom. */
  tell(text: string, ...faults: readonly Fault[]): void
  /** A process starts (again); resolves when it is up, or is killed. What goes wrong is a finding of the run. */
  start(place: Place, failpoint?: Primed): Promise<void>
  /** Nobody can expect of this process that it answers; until the function is called that this returns. `*`: of none. */
  excuse(name: string): () => void
  /** Lines and the datastore, by what they are: one fault at a time for each. */
  readonly inTrouble: Set<object>
  /** Something should not have been. */
  found(text: string): void
  /** Times of faults are scaled like those of the peers. */
  readonly scale: number
}

/** A fault that is under way. */
export interface Trouble {
  readonly text: string
  readonly forMs: number
  end(): Promise<void>
}

export interface FaultKind {
  readonly name: string
  /** How often it comes, against the others. */
  readonly weight: number
  /** Undefined: not now. */
  begin(stage: Stage): Promise<Trouble | undefined>
}

export function pick<T>(random: Random, from: readonly T[]): T | undefined {
  return from[Math.floor(random.fraction() * from.length)]
}

export function between(random: Random, low: number, high: number): number {
  return low + random.fraction() * (high - low)
}
