/** How every call of a driver ends: in time, and with `CLOSED` after disposal. */

import { HomingError } from '../errors.ts'

/** What every call rejects with after disposal. */
export function closedError(engine: string): HomingError {
  return new HomingError('CLOSED', `${engine}: this datastore was closed`)
}

/**
 * The promise's result, or a rejection with what `late` makes after `ms`, whichever is first. The work itself is not stopped.
 */
export async function within<T>(ms: number, work: Promise<T>, late: () => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
