/**
 * Frames to bytes and back: u32 length of what follows, u8 kind, and for frames of a channel u24 label, for numbered ones u32 sequence.
 * All numbers are big-endian. Writers return the position after what they wrote; the caller has made room.
 */
import { HomingError } from '../errors.ts'
import * as kinds from './kinds.ts'
import { nameBytesMax } from './limits.ts'
import { isName } from './name.ts'

/** Bytes of the length prefix. */
export const PREFIX = 4
/** Length, kind, label. */
export const CHANNEL_HEADER = 8
/** Length, kind, label, sequence. */
export const NUMBERED_HEADER = 12

export function badFrame(what: string): HomingError {
  return new HomingError('BAD_FRAME', what)
}

/** The highest label: 24 bits. 0 is the channel between the two ends of the link. */
export const labelMax = 0xff_ffff

export function writeChannelHeader(buffer: Buffer, at: number, kind: number, label: number): number {
  writeUint32(buffer, at + PREFIX, (kind << 24) | label)
  return at + CHANNEL_HEADER
}

export function writeNumberedHeader(buffer: Buffer, at: number, kind: number, label: number, sequence: number): number {
  writeUint32(buffer, at + PREFIX, (kind << 24) | label)
  writeUint32(buffer, at + CHANNEL_HEADER, sequence)
  return at + NUMBERED_HEADER
}

export function writeUint16(buffer: Uint8Array, at: number, value: number): number {
  buffer[at] = value >>> 8
  buffer[at + 1] = value
  return at + 2
}

export function writeUint32(buffer: Uint8Array, at: number, value: number): number {
  buffer[at] = value >>> 24
  buffer[at + 1] = value >>> 16
  buffer[at + 2] = value >>> 8
  buffer[at + 3] = value
  return at + 4
}

export function readUint32(buffer: Uint8Array, at: number): number {
  return ((buffer[at]! << 24) | (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!) >>> 0
}

export function writeUint48(buffer: Uint8Array, at: number, value: number): number {
  return writeUint32(buffer, writeUint16(buffer, at, value / 0x1_0000_0000), value)
}

/** Fills in the length of the frame that begins at `start` and ends at `end`. */
export function closeFrame(buffer: Buffer, start: number, end: number): number {
  writeUint32(buffer, start, end - start - PREFIX)
  return end
}

/** A whole small frame of its own buffer: handshake and link frames. */
export function frameOf(kind: number, payload: Uint8Array): Buffer {
  const buffer = Buffer.allocUnsafe(PREFIX + 1 + payload.length)
  buffer.writeUInt32BE(1 + payload.length, 0)
  buffer[PREFIX] = kind
  buffer.set(payload, PREFIX + 1)
  return buffer
}

/** The label of a frame of a channel whose kind byte is at `at`. */
export function labelAt(buffer: Buffer, at: number): number {
  return (buffer[at + 1]! << 16) | (buffer[at + 2]! << 8) | buffer[at + 3]!
}

export function writeLabel(buffer: Buffer, frameStart: number, label: number): void {
  buffer[frameStart + 5] = label >>> 16
  buffer[frameStart + 6] = label >>> 8
  buffer[frameStart + 7] = label
}

// Addresses. A u16 says how: 0 none; 1..16383 that many bytes of UTF-8 follow; 16384 + n: a u16 number and then n bytes, and the number
// stands for that text on this channel from now on; 32768 + number: the text that was given this number.

const DEFINES = 0x4000
const REFERS = 0x8000
/** Numbers a channel direction may give: 0 to 32,767. */
export const numbersMax = 0x8000

/** The texts that one direction of a channel has numbered, at its sender. */
export class NumbersOut {
  readonly #numbers = new Map<string, number>()

  /** Bytes that `text` will take, at most. `bytes` is its UTF-8 length. */
  static size(bytes: number): number {
    return 4 + bytes
  }

  /** The two bytes that stand for `text` by now; `undefined`: it has no number yet. */
  reference(text: string): number | undefined {
    if (text === '') return 0
    const number = this.#numbers.get(text)
    return number === undefined ? undefined : REFERS | number
  }

  write(buffer: Buffer, at: number, text: string): number {
    if (text === '') {
      buffer.writeUInt16BE(0, at)
      return at + 2
    }
    const number = this.#numbers.get(text)
    if (number !== undefined) {
      buffer.writeUInt16BE(REFERS | number, at)
      return at + 2
    }
    const next = this.#numbers.size
    if (next >= numbersMax) {
      const length = buffer.write(text, at + 2)
      buffer.writeUInt16BE(length, at)
      return at + 2 + length
    }
    this.#numbers.set(text, next)
    const length = buffer.write(text, at + 4)
    buffer.writeUInt16BE(DEFINES | length, at)
    buffer.writeUInt16BE(next, at + 2)
    return at + 4 + length
  }
}

/** Where an address ends that was written at `at`. */
export function addressEnd(buffer: Buffer, at: number): number {
  const head = buffer.readUInt16BE(at)
  if (head & REFERS) return at + 2
  return head & DEFINES ? at + 4 + (head & 0x3fff) : at + 2 + head
}

/** A place in a frame that is being read. Reading past the end is `BAD_FRAME`. */
export class Reader {
  buffer: Buffer = Buffer.alloc(0)
  at = 0
  end = 0

  set(buffer: Buffer, at: number, end: number): this {
    this.buffer = buffer
    this.at = at
    this.end = end
    return this
  }

  #take(bytes: number): number {
    const at = this.at
    if (at + bytes > this.end) throw badFrame('a frame ends within a field')
    this.at = at + bytes
    return at
  }

  u8(): number {
    return this.buffer[this.#take(1)]!
  }
  u16(): number {
    const at = this.#take(2)
    return (this.buffer[at]! << 8) | this.buffer[at + 1]!
  }
  u24(): number {
    return this.buffer.readUIntBE(this.#take(3), 3)
  }
  u32(): number {
    return readUint32(this.buffer, this.#take(4))
  }
  u48(): number {
    const at = this.#take(6)
    return ((this.buffer[at]! << 8) | this.buffer[at + 1]!) * 0x1_0000_0000 + readUint32(this.buffer, at + 2)
  }
  text(bytes: number): string {
    const at = this.#take(bytes)
    return this.buffer.toString('utf8', at, at + bytes)
  }
  /** A text of up to 255 bytes behind its length. */
  shortText(): string {
    return this.text(this.u8())
  }
}

export function writeShortText(buffer: Buffer, at: number, text: string): number {
  const length = buffer.write(text, at + 1)
  buffer[at] = length
  return at + 1 + length
}

/** The texts that the other end has numbered. */
export class NumbersIn {
  readonly #texts: string[] = []

  read(reader: Reader): string {
    const head = reader.u16()
    if (head === 0) return ''
    if (head & REFERS) {
      const text = this.#texts[head & 0x7fff]
      if (text === undefined) throw badFrame(`number ${head & 0x7fff} stands for nothing`)
      return text
    }
    if ((head & DEFINES) === 0) return addressOf(reader, head)
    const number = reader.u16()
    // Numbers are given in turn, or anew; a hole would let the other end claim memory.
    if (number > this.#texts.length || number >= numbersMax) throw badFrame(`number ${number} is out of turn`)
    return (this.#texts[number] = addressOf(reader, head & 0x3fff))
  }
}

/** 32,768 numbers are kept a channel: of any longer texts these would be a claim on our memory. */
function addressOf(reader: Reader, bytes: number): string {
  if (bytes > nameBytesMax) throw badFrame(`an address of ${bytes} bytes`)
  return reader.text(bytes)
}

/** Why a receiver refused one numbered frame. */
export const NOT_HERE = 1
export const FULL = 2
export const BAD_BODY = 3
export const NO_HANDLER = 4
export const NOT_ALLOWED = 5
/** The address is held here no more and is expected elsewhere within seconds. */
export const MOVING = 6
/** Its owner is not sure that it still owns it, and takes nothing until it is. */
export const UNSURE = 7
/** A later send of the same sender was handed over to its client before: its sender has given this one up. */
export const OVERTAKEN = 8

/** Why a way through a broker ended. */
export const ROUTE_GONE = 1
export const ROUTE_FULL = 2
export const ROUTE_DROPPED = 3

export interface Route {
  label: number
  /** Both ends of the way open it with the same number, the first one's choice. */
  pair: number
  from: { identity: string; incarnation: string }
  to: { identity: string; incarnation: string }
}

export function routeFrame({ label, pair, from, to }: Route): Buffer {
  const buffer = Buffer.allocUnsafe(PREFIX + 1 + 3 + 4 + 4 * 256)
  buffer[PREFIX] = kinds.ROUTE
  buffer.writeUIntBE(label, 5, 3)
  buffer.writeUInt32BE(pair, 8)
  let at = 12
  for (const text of [from.identity, from.incarnation, to.identity, to.incarnation]) at = writeShortText(buffer, at, text)
  return buffer.subarray(0, closeFrame(buffer, 0, at))
}

export function readRoute(reader: Reader): Route {
  return {
    label: reader.u24(),
    pair: reader.u32(),
    from: { identity: nameOf(reader), incarnation: nameOf(reader) },
    to: { identity: nameOf(reader), incarnation: nameOf(reader) },
  }
}

/** A broker writes it on: malformed bytes would become others on the way, and more of them. */
function nameOf(reader: Reader): string {
  const text = reader.shortText()
  if (!isName(text)) throw badFrame('a way from or to what is no name')
  return text
}

/** `mine`: the label is of the sender's own giving; else the receiver of this frame gave it. */
export function unrouteFrame(label: number, mine: boolean, reason: number): Buffer {
  const buffer = Buffer.allocUnsafe(10)
  buffer.writeUInt32BE(6, 0)
  buffer[4] = kinds.UNROUTE
  buffer.writeUIntBE(label, 5, 3)
  buffer[8] = mine ? 1 : 0
  buffer[9] = reason
  return buffer
}

export function pingFrame(kind: number, nonce: number): Buffer {
  const buffer = Buffer.allocUnsafe(9)
  buffer.writeUInt32BE(5, 0)
  buffer[4] = kind
  buffer.writeUInt32BE(nonce >>> 0, 5)
  return buffer
}
