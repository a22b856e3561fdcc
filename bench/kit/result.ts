/** A whole run: what was asked, where, and the answers. */
import { readFileSync } from 'node:fs'
import { ProgramError } from '../../lib/cli/failure.ts'
import type { Answer } from './answer.ts'
import type { Machine } from './machine.ts'

export interface Result {
  /** What was typed. */
  readonly command: string
  /** `2026-01-31`, as this machine believes. */
  readonly day: string
  readonly machine: Machine
  readonly answers: readonly Answer[]
}

/** What `--json` printed. Throws `ProgramError`. */
export function readResult(file: string): Result {
  let result: Partial<Result>
  try {
    result = JSON.parse(readFileSync(file, 'utf8')) as Partial<Result>
  } catch (error) {
    throw new ProgramError(`${file} cannot be read: ${(error as Error).message}`)
  }
  if (!result.machine || !Array.isArray(result.answers)) throw new ProgramError(`${file} is no result of a bench with --json`)
  return result as Result
}
