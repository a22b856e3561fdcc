/** What lmdb says when it fails, in words of ours. */

import { HomingError } from '../errors.ts'

/** What lmdb says when its state in this process is beyond repair: only opening the file anew helps. */
const panic = -30795

export function isPanic(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === panic
}

export function failure(what: string, cause: unknown): HomingError {
  const because = cause instanceof Error ? cause.message : String(cause)
  // A transaction that failed wrote nothing, unless it failed at its last page: that is a panic.
  const outcome = isPanic(cause) ? 'unknown' : 'not-delivered'
  return new HomingError('DATASTORE', `lmdb: ${what} failed: ${because}`, { cause, outcome })
}

/** lmdb hides the cause of a failed commit in a promise beside the error. */
export async function reasonOf(error: unknown): Promise<unknown> {
  try {
    if (error instanceof Error && 'commitError' in error) await error.commitError
    return error
  } catch (cause) {
    return cause
  }
}
