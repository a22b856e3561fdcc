/** What a command of `homing` gets besides its options, and what it leaves: the exit code. */
import type { Command } from 'commander'
import type { Ending } from './ending.ts'

export class Run {
  readonly ending: Ending
  code = 0

  constructor(ending: Ending) {
    this.ending = ending
  }
}

/** Adds a command to the program. */
export type Define = (program: Command, run: Run) => void
