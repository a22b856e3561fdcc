/** A body on its way into the frame that carries it. */
import type { Channel } from '../mesh/channel.ts'
import { encodeBodyInto } from '../wire/body.ts'
import type { BodyLimits } from '../wire/scan.ts'

/** Room that a frame asks for before it is known how long it will be, bytes; what takes more is encoded apart first. */
export const atOnceBytes = 2_048

/** Bytes of a body from which on they are not copied, but left with the caller until they are acknowledged. */
const largeBytes = 16 * 1024

export function isLarge(body: unknown): body is Uint8Array {
  return body instanceof Uint8Array && body.length >= largeBytes
}

/** A body that is encoded already. */
export class Encoded {
  readonly bytes: Buffer
  constructor(bytes: Buffer) {
    this.bytes = bytes
  }
}

/** Encodes a body into the frame that was begun. Where it ends, or -1 where it does not fit. Throws as encoding does. */
export function fillFrame(channel: Channel, at: number, body: unknown, limits: Readonly<BodyLimits>): number {
  const outer = channel.filling
  channel.filling = true
  try {
    return encodeBodyInto(body, channel.buffer, at, limits)
  } finally {
    channel.filling = outer
  }
}
