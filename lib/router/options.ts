import { checkPositive, shown } from '../env/option.ts'
import { HomingError } from '../errors.ts'

/** Bounds of what waits in a peer. */
export interface RouterOptions {
  /** Deadline of a send or request that names none, ms. */
  deadlineMs: number
  /** Bytes that may wait for one client's handler or reader, overhead counted. */
  inboxBytesMax: number
  /** Requests served at once for one client. */
  requestsMax: number
  /** Bytes that may wait in all queues of the peer together. */
  waitingBytesMax: number
  /** Bytes that may wait here for one address. */
  waitingBytesPerAddressMax: number
  /** Locations remembered. */
  locationsMax: number
  /** How long the former owner of an address has for handing over what its client had not taken, ms. */
  handOverMs: number
  /** Sends with a `from` that is not connected at this peer are refused. */
  strictFrom: boolean
}

export const routerDefaults: Readonly<RouterOptions> = {
  deadlineMs: 10_000,
  inboxBytesMax: 4 << 20,
  requestsMax: 256,
  waitingBytesMax: 256 << 20,
  waitingBytesPerAddressMax: 16 << 20,
  locationsMax: 131_072,
  handOverMs: 1_000,
  strictFrom: false,
}

/** Defaults filled in and checked once, at the door. Throws `BAD_OPTION`. */
export function routerOptions(given: Partial<RouterOptions> = {}): Readonly<RouterOptions> {
  const options = { ...routerDefaults, ...given }
  const { strictFrom, ...numbers } = options
  checkPositive(numbers)
  if (typeof strictFrom !== 'boolean')
    throw new HomingError('BAD_OPTION', `strictFrom is true or false, not ${shown(strictFrom)}`)
  return Object.freeze(options)
}
