/** What a program of a contestant does in a process of its own, as the kit sees it. */

/** What went wrong, in words, and how often. */
export type Faults = Readonly<Record<string, number>>

/** What a part measures by itself, by the names of `figure.ts`. */
export type Figures = Readonly<Record<string, number>>

/** One part in a contestant's play. Those with `start` make the load, the others answer it. */
export interface Role {
  /** What the parts that are started later need to find this one. JSON. */
  readonly reach?: unknown
  /** Messages dealt with since the start: sent with success, handled, or answered. */
  count(): number
  /** What should not have happened. */
  faults?(): Faults
  /** Makes load from now on. */
  start?(): void
  /** Makes no more load; resolves when all that was sent has its outcome. */
  stop?(): Promise<void>
  /** Since the last call of `forget`. */
  figures?(): Figures
  /** From here on it is measured. */
  forget?(): void
  /** CPU time that the part used, where it is not this process that does the work, microseconds. */
  cpuUs?(): number
  close(): Promise<void>
}

/** What a part is given: its own settings, and where the parts that were started before it can be found, by their names. */
export interface Part {
  readonly setup: unknown
  readonly reach: Readonly<Record<string, unknown>>
}

/** The parts that a program can play, by name. */
export type Program = Readonly<Record<string, (part: Part) => Promise<Role>>>
