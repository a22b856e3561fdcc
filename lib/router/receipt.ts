/** What a send resolves to. */
import { HomingError, type ErrorCode } from '../errors.ts'
import { messageId } from './message.ts'

/**
 * `delivered`: the current owner accepted it into the client's inbox, once. `sent`: it is in the outbox (only for `level: 'sent'`).
 * `absent`: nobody holds the address. `unreachable`: it never left; the holder or the datastore could not be reached in time.
 * `overloaded`: an inbox, a window or a queue stayed full. `expired`: the deadline passed before it left. `refused`: it may not or
 * cannot be sent. `unknown`: it left and no answer came; it may have been delivered.
 */
export type Status = 'delivered' | 'sent' | 'absent' | 'unreachable' | 'overloaded' | 'expired' | 'refused' | 'unknown'

export interface Receipt {
  readonly status: Status
  /** Why, unless `delivered` or `sent`. */
  readonly code?: ErrorCode
  /** More about why, in words; its `cause` is the error from below. */
  readonly cause?: HomingError
  /** Names this message: the receiver sees the same text. */
  readonly id: string
}

/** Makes its id when it is asked for: most never are, and the text costs as much as the rest. */
export class NumberedReceipt implements Receipt {
  readonly status: Status
  declare readonly code?: ErrorCode
  declare readonly cause?: HomingError
  readonly #origin: string
  readonly #number: number

  constructor(status: Status, cause: HomingError | undefined, origin: string, number: number) {
    this.status = status
    if (cause) {
      this.code = cause.code
      this.cause = cause
    }
    this.#origin = origin
    this.#number = number
  }

  get id(): string {
    return messageId(this.#origin, this.#number)
  }

  toJSON(): Receipt {
    return { ...this, id: this.id }
  }

  /** So that `console.log(receipt)` shows a receipt. */
  [Symbol.for('nodejs.util.inspect.custom')](): Receipt {
    return this.toJSON()
  }
}

/** A failed outcome that has no id yet. */
export interface Failure {
  readonly status: Exclude<Status, 'delivered' | 'sent'>
  readonly cause: HomingError
}

export function failure(status: Failure['status'], code: ErrorCode, text: string, cause?: unknown): Failure {
  const outcome = status === 'unknown' ? 'unknown' : status === 'refused' ? 'rejected' : 'not-delivered'
  return { status, cause: new HomingError(code, text, { outcome, ...(cause !== undefined && { cause }) }) }
}
