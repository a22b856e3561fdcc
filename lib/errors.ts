/** What a failed call means, in a closed list of codes. */

/** Why an operation failed. Part of the public contract: callers switch on it. */
export type ErrorCode =
  | 'BAD_OPTION'
  | 'CLOSED'
  | 'ABSENT'
  | 'UNREACHABLE'
  | 'OVERLOADED'
  | 'TIMEOUT'
  | 'LOST'
  | 'TOO_LARGE'
  | 'UNENCODABLE'
  | 'REFUSED'
  | 'FENCED'
  | 'IDENTITY_IN_USE'
  | 'DATASTORE'
  | 'REMOTE'
  | 'STORAGE'
  | 'DISK_FULL'
  | 'CORRUPT'
  | 'BAD_FRAME'

/**
 * What is known of the effect. `not-delivered`: nobody has delivered or will deliver it; `rejected`: the other side said no;
 * `unknown`: it left and was not answered, it may have happened.
 */
export type Outcome = 'not-delivered' | 'rejected' | 'unknown'

const outcomes: Readonly<Record<ErrorCode, Outcome>> = {
  BAD_OPTION: 'not-delivered',
  CLOSED: 'not-delivered',
  ABSENT: 'not-delivered',
  UNREACHABLE: 'not-delivered',
  OVERLOADED: 'not-delivered',
  TIMEOUT: 'unknown',
  LOST: 'unknown',
  TOO_LARGE: 'not-delivered',
  UNENCODABLE: 'not-delivered',
  REFUSED: 'rejected',
  FENCED: 'not-delivered',
  IDENTITY_IN_USE: 'not-delivered',
  DATASTORE: 'not-delivered',
  REMOTE: 'rejected',
  STORAGE: 'not-delivered',
  DISK_FULL: 'not-delivered',
  CORRUPT: 'not-delivered',
  BAD_FRAME: 'unknown',
}

const retryable: ReadonlySet<ErrorCode> = new Set(['ABSENT', 'UNREACHABLE', 'OVERLOADED', 'DATASTORE'])

export interface HomingErrorOptions {
  /** The error from below. */
  cause?: unknown
  /** What is known of the effect, where it differs from what the code says by itself. */
  outcome?: Outcome
}

/** Every error that this library throws or rejects with. Switch on `code`; the text is for people. */
export class HomingError extends Error {
  override readonly name = 'HomingError'
  readonly code: ErrorCode
  /** What is known of the effect of the failed call. */
  readonly outcome: Outcome

  constructor(code: ErrorCode, message: string, options: HomingErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.outcome = options.outcome ?? outcomes[code]
  }

  /** Whether the same call may succeed later with nothing changed by the caller. */
  get retryable(): boolean {
    return retryable.has(this.code)
  }
}

/** The error as a `HomingError`: itself if it is one, else wrapped under `code`. */
export function homingError(error: unknown, code: ErrorCode, message: string): HomingError {
  if (error instanceof HomingError) return error
  const because = error instanceof Error ? error.message : String(error)
  return new HomingError(code, `${message}: ${because}`, { cause: error })
}
