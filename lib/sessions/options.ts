import { checkPositive, shown } from '../env/option.ts'
import { HomingError } from '../errors.ts'

/** Times of leases and of the datastore; scaled down as a whole by tests. */
export interface SessionOptions {
  /** How long a peer is believed after a beat of it was first seen, ms. */
  leaseMs: number
  /** How often a peer renews its lease, ms; at most a third of `leaseMs`. */
  renewEveryMs: number
  /** How long before the end of its lease a peer stops trusting it, ms. */
  guardMs: number
  /** The longest that one operation on the datastore may take, ms. */
  operationTimeoutMs: number
  /** How long a start waits for the datastore, ms; then `DATASTORE`. */
  startTimeoutMs: number
  /** How long the main loop may stand still before the pulse stops renewing for it, ms. */
  stallMs: number
  /** How often an address that is waited for is looked up, ms. */
  waitPollMs: number
  /** After how long a former owner that did not answer is left a note in the datastore, ms. */
  noteAfterMs: number
  /**
   * What an owner does that cannot renew its lease: `serve` goes on (a claim elsewhere may overlap until the datastore is back),
   * `stop` takes nothing for its clients any more one renewal and guard after the last renewal that succeeded.
   */
  whenStoreIsDown: 'serve' | 'stop'
}

export const sessionDefaults: Readonly<SessionOptions> = {
  leaseMs: 10_000,
  renewEveryMs: 3_000,
  guardMs: 2_000,
  operationTimeoutMs: 1_000,
  startTimeoutMs: 30_000,
  stallMs: 60_000,
  waitPollMs: 100,
  noteAfterMs: 500,
  whenStoreIsDown: 'serve',
}

/** Defaults filled in and checked once, at the door. Throws `BAD_OPTION`. */
export function sessionOptions(given: Partial<SessionOptions> = {}): Readonly<SessionOptions> {
  const options = { ...sessionDefaults, ...given }
  const { whenStoreIsDown, ...numbers } = options
  checkPositive(numbers)
  if (options.renewEveryMs * 3 > options.leaseMs) {
    throw new HomingError(
      'BAD_OPTION',
      `renewEveryMs (${options.renewEveryMs}) must be at most a third of leaseMs (${options.leaseMs})`,
    )
  }
  if (options.renewEveryMs + options.guardMs >= options.leaseMs) {
    throw new HomingError(
      'BAD_OPTION',
      `renewEveryMs + guardMs (${options.renewEveryMs} + ${options.guardMs}) must be below leaseMs (${options.leaseMs})`,
    )
  }
  if (whenStoreIsDown !== 'serve' && whenStoreIsDown !== 'stop') {
    throw new HomingError('BAD_OPTION', `whenStoreIsDown is 'serve' or 'stop', not ${shown(whenStoreIsDown)}`)
  }
  return Object.freeze(options)
}

/**
 * How long after its last renewal a peer trusts its lease, ms. Others believe it to the lease's end; but who takes over one of its addresses
 * meanwhile cannot tell it so while it is cut off: where two owners are worse than none, it waits no longer than for the next renewal.
 */
export function trustedMs({ leaseMs, renewEveryMs, guardMs, whenStoreIsDown }: Readonly<SessionOptions>): number {
  return whenStoreIsDown === 'stop' ? renewEveryMs + guardMs : leaseMs - guardMs
}
