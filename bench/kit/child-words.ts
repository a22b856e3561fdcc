/** What the runner and the processes of a contestant say to each other. */
import type { Faults, Figures } from './role.ts'

/** Which part a process plays: the one argument that it is started with. */
export interface ChildRole {
  readonly program: string
  readonly plays: string
  readonly setup: unknown
  readonly reach: Readonly<Record<string, unknown>>
}

/** `begin` starts the load; `mark` is one end of the measured period; `stop` ends the load. Each is answered by a report of its kind. */
export type Order = 'begin' | 'mark' | 'stop' | 'count' | 'end'

/** How a process stands at one moment, by its own clocks. */
export interface Mark {
  readonly atUs: number
  readonly cpuUs: number
  readonly count: number
  /** Since the mark before; absent where another program does the work. */
  readonly loopP99Ms?: number
  /** Of its own, since the mark before. */
  readonly figures: Figures
}

export type Report =
  | { readonly said: 'ready'; readonly reach: unknown; readonly loads: boolean }
  | { readonly said: 'begin' }
  | { readonly said: 'mark'; readonly mark: Mark }
  | { readonly said: 'stop'; readonly count: number; readonly faults: Faults }
  | { readonly said: 'count'; readonly count: number; readonly faults: Faults }
  | { readonly said: 'failed'; readonly text: string }
