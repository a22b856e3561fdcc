/** What a batch rejects with when only some of its parts failed, as where the keys are on different servers. */

import { HomingError } from '../errors.ts'

export class PartialFailure<T> extends HomingError {
  /** In the order of the batch: what the call would have resolved to, with an error in place of each part that failed. */
  readonly parts: readonly (T | HomingError)[]

  /** `first` is what is said of the batch as a whole. */
  constructor(first: HomingError, parts: readonly (T | HomingError)[]) {
    super(first.code, first.message, { cause: first.cause, outcome: first.outcome })
    this.parts = parts
  }
}

/** What the call resolves to, or, where only some of it failed, the errors of these in their places. Rejects where all of it failed. */
export async function partsOf<T>(call: Promise<readonly T[]>): Promise<readonly (T | HomingError)[]> {
  try {
    return await call
  } catch (error) {
    if (error instanceof PartialFailure) return (error as PartialFailure<T>).parts
    throw error
  }
}
