/** What the parts of a running simulated world share. */
import type { Cluster } from '../cluster.ts'
import type { AmnesicEngine } from './amnesic-engine.ts'
import type { Calls } from './calls.ts'
import type { Draw } from './draw.ts'
import type { EventualEngine } from './eventual-engine.ts'
import type { Plan } from './plan.ts'
import type { RemoteEngine } from './remote-engine.ts'
import type { Seats } from './seats.ts'

/** A time in which a process could do nothing. */
export interface Standstill {
  readonly process: string
  readonly fromMs: number
  readonly untilMs: number
}

export interface Scene {
  readonly cluster: Cluster
  readonly plan: Plan
  /** Chance of the workload and the faults. */
  readonly draw: Draw
  readonly seats: Seats
  readonly calls: Calls
  readonly roads: RemoteEngine
  readonly amnesic: AmnesicEngine | undefined
  readonly eventual: EventualEngine | undefined
  /** Brokers that are up; the others are about to be started. */
  readonly brokersUp: Set<string>
  readonly standstills: Standstill[]
  startBroker(name: string): void
  /** The same, later; when the faults are ended, at once. */
  later(undo: () => void): void
  /** What breaks a promise, and no event of the history shows. */
  problem(text: string): void
  /** What is worth a line in the trace, and in no event. */
  log(text: string): void
}
