/** What may be a key, a value and a lifetime: the same for every driver. */

import { HomingError } from '../errors.ts'
import type { PutOptions } from './datastore.ts'

/**
 * The longest key, in bytes of UTF-8: what Couchbase takes in its default collection, the least of all engines. (LMDB takes 511 at least
 * and 1,978 as its package is built; ZooKeeper bounds a path only by the 1 MiB of a packet; Riak and Redis take far more.) One bound for
 * all, so that an address that can be held on one engine can be held on any other.
 */
export const keyBytesMax = 250

/**
 * The largest value: far above any record that Homing writes, and what all engines but ZooKeeper take. A larger one would hold up what
 * waits behind it on the same connection, or in the same transaction.
 */
export const valueBytesMax = 2 ** 20

/** Throws `BAD_OPTION` unless `key` is UTF-8 text of 1 to 250 bytes. */
export function checkKey(key: string): void {
  // A UTF-16 unit is at most three bytes of UTF-8, so most keys need no counting.
  const fits = key.length * 3 <= keyBytesMax || Buffer.byteLength(key) <= keyBytesMax
  if (key === '' || !fits)
    throw new HomingError('BAD_OPTION', `a key of a datastore has 1 to ${keyBytesMax} bytes: '${key.slice(0, 80)}'`)
  checkText(key)
}

/** Throws `BAD_OPTION` for half a surrogate pair: encoded, different texts of that kind would be one key. */
export function checkText(text: string): void {
  if (/\p{Surrogate}/u.test(text))
    throw new HomingError('BAD_OPTION', 'a key of a datastore is well-formed text, without half surrogate pairs')
}

/** Throws `BAD_OPTION` for a key or a lifetime that no engine could keep, `TOO_LARGE` for a value; a write of a batch has its bytes in itself. */
export function checkPut(key: string, options: PutOptions & { bytes?: Uint8Array }, bytes = options.bytes): void {
  checkKey(key)
  const { ttlMs } = options
  if (ttlMs !== undefined && !(ttlMs > 0 && Number.isFinite(ttlMs)))
    throw new HomingError('BAD_OPTION', `ttlMs (${ttlMs}) must be above 0`)
  if (bytes && bytes.length > valueBytesMax)
    throw new HomingError('TOO_LARGE', `a value of a datastore has at most ${valueBytesMax} bytes, not ${bytes.length}: '${key}'`)
}
