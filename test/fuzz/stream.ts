/** Inputs that are a stream of frames: made, taken apart, put together again. */
import { NUMBERED_HEADER, PREFIX } from '../../lib/wire/frame.ts'
import { FIRST_NUMBERED, VOID } from '../../lib/wire/kinds.ts'

/** Kinds from here on never leave the harness: they say what our own side does between the frames of the other one. */
export const FIRST_OF_ORDERS = 0xf0

/** A whole frame. */
export function frame(kind: number, ...parts: (Uint8Array | readonly number[])[]): Buffer {
  const payload = Buffer.concat(parts.map(part => Uint8Array.from(part)))
  const head = Buffer.alloc(PREFIX + 1)
  head.writeUInt32BE(1 + payload.length)
  head[PREFIX] = kind
  return Buffer.concat([head, payload])
}

export function u16(value: number): Buffer {
  return Buffer.from([value >>> 8, value & 0xff])
}

export function u24(value: number): Buffer {
  return Buffer.from([(value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff])
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

export function u48(value: number): Buffer {
  return Buffer.concat([u16(Math.floor(value / 2 ** 32)), u32(value)])
}

/** A text behind its length, as in ROUTE, TELL and CALL. */
export function shortText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

/** An address written out. */
export function address(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([u16(bytes.length), bytes])
}

/** The frames of a stream; what is left behind the last whole one, or after a length that is none, comes as it is. */
export function cutFrames(stream: Buffer): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at < stream.length;) {
    const rest = stream.length - at
    const whole = rest >= PREFIX ? PREFIX + stream.readUInt32BE(at) : rest
    const end = at + Math.min(whole, rest)
    frames.push(stream.subarray(at, end))
    at = end
  }
  return frames
}

/** Fills in the length that the frame really has. */
export function fixLength(bytes: Buffer): Buffer {
  if (bytes.length > PREFIX) bytes.writeUInt32BE(bytes.length - PREFIX, 0)
  return bytes
}

/** Numbers the numbered frames of each label in turn, as if nothing had been taken out or put in. */
export function renumber(frames: readonly Buffer[]): Buffer[] {
  const next = new Map<number, number>()
  return frames.map(each => {
    const kind = each[PREFIX]
    if (each.length < NUMBERED_HEADER || kind === undefined || kind < FIRST_NUMBERED || kind > VOID) return each
    const label = each.readUIntBE(PREFIX + 1, 3)
    const sequence = next.get(label) ?? 0
    next.set(label, sequence + 1)
    const renumbered = Buffer.from(each)
    renumbered.writeUInt32BE(sequence, NUMBERED_HEADER - 4)
    return renumbered
  })
}
