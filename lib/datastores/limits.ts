/** What may be a key and a lifetime: the same for every driver. */

import { HomingError } from '../errors.ts'
import type { PutOptions } from './datastore.ts'

/** Keys are file names, index entries and wire fields of one engine or another; all of them take this much. */
const keyBytesMax = 240

/** Throws `BAD_OPTION` unless `key` is UTF-8 text of 1 to 240 bytes. */
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

/** Throws `BAD_OPTION` for a key or a lifetime that no engine could keep. */
export function checkPut(key: string, { ttlMs }: PutOptions): void {
  checkKey(key)
  if (ttlMs !== undefined && !(ttlMs > 0 && Number.isFinite(ttlMs)))
    throw new HomingError('BAD_OPTION', `ttlMs (${ttlMs}) must be above 0`)
}
