/** Names that go over the wire, into keys and into logs. */
import { nameBytesMax } from './limits.ts'

/** Of clusters, identities, incarnations and addresses: text of 1 to 190 bytes without control characters. */
export function isName(value: unknown): value is string {
  if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > nameBytesMax) return false
  // U+FFFD is what malformed text decodes to: different bytes would be one name.
  return !/[\p{Cc}\p{Cs}\ufffd]/u.test(value)
}
