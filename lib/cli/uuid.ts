/** Version 1 UUIDs: the time of this machine, and random bytes where a network card's number would be. @see RFC 9562, section 5.1 */
import { randomBytes } from 'node:crypto'

/** 100 ns intervals from 15 October 1582 to 1970. */
const gregorianOffset = 0x01b2_1dd2_1381_4000n

/** `wallMs`: milliseconds since 1970; `random`: 8 bytes, for the clock sequence and the node. */
export function uuidV1(wallMs: number = Date.now(), random: Uint8Array = randomBytes(8)): string {
  const time = BigInt(wallMs) * 10_000n + gregorianOffset
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32BE(Number(time & 0xffff_ffffn), 0)
  bytes.writeUInt16BE(Number((time >> 32n) & 0xffffn), 4)
  bytes.writeUInt16BE(Number((time >> 48n) & 0x0fffn) | 0x1000, 6)
  bytes.set(random.subarray(0, 8), 8)
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  bytes[10] = bytes[10]! | 0x01 // the multicast bit: no network card has such a number
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
