/**
 * MessagePack as bodies use it: JSON values, bytes, bigint and Date, to bytes and back.
 *
 * This is our own code although msgpackr is good. Whatever a body may not be (functions, cycles, too many elements, ...) must be found
 * value by value, and writing the bytes in the same pass costs nothing more, so this is as fast with all checks as msgpackr is without
 * any. And msgpackr's packer loses `-0`, writes lone surrogates as malformed UTF-8 and passes over `toJSON` of plain objects; its
 * unpacker renames `__proto__` and drops a leading U+FEFF; and its buffer, position and extensions belong to the whole process, so that
 * an application's `useBuffer()` or `addExtension()` would reach into our frames. Nothing here can be reached from outside.
 *
 * The shortest form is always written, so a value has one encoding, given the order of its keys: integers from -2^31 to 2^32 - 1 as
 * integers, all other numbers as float 64; bigint as int 64, else uint 64, else extension 0x42; Date as timestamp 32, else 64, else 96.
 *
 * @see https://github.com/msgpack/msgpack/blob/master/spec.md
 */
import { types } from 'node:util'
import { HomingError } from '../errors.ts'
import { BIG_INTEGER, DEPTH_CEILING, TIMESTAMP, type BodyLimits } from './scan.ts'

/** A result of `write`: more room is needed. */
export const FULL = -1

/** The longest number or head. Room for so much is asked for before each value, so a target needs up to 9 bytes more than it gets. */
const SLACK_BYTES = 9
/** Up to this many characters a loop in JavaScript is faster than a call of `Buffer.write`. */
const SHORT_TEXT = 24
/** The scratch buffer that is kept between calls. */
const SCRATCH_BYTES = 1 << 16

// The state of the write that runs now. A getter or a toJSON of an application may start another one in the midst of it: `write` and
// `pack` put everything back.
let target: Buffer = Buffer.alloc(0)
let room = 0
let growable = false
let elementsLeft = 0
let depthMax = 0
let bytesMax = 0
let trail: (string | number)[] = []
let writing = false

const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)
/** Thrown where a fixed target ends; never leaves this file. */
const overflow = new Error('overflow')

/**
 * Writes a value into `buffer` at `position`. Returns where it ends, or `FULL`; what lies behind `position` is undefined then.
 * Throws `UNENCODABLE` and `TOO_LARGE`, and what getters and `toJSON` throw.
 */
export function write(value: unknown, buffer: Buffer, position: number, limits: Readonly<BodyLimits>): number {
  const outer = writing ? state() : undefined
  try {
    begin(buffer, false, limits)
    const end = put(value, position, 0)
    if (end - position > limits.bodyBytesMax) throw tooLarge()
    return end
  } catch (error) {
    if (error === overflow) return FULL
    throw error
  } finally {
    restore(outer)
  }
}

/** A value as bytes of its own. Throws `UNENCODABLE` and `TOO_LARGE`, and what getters and `toJSON` throw. */
export function pack(value: unknown, limits: Readonly<BodyLimits>): Buffer {
  const outer = writing ? state() : undefined
  try {
    begin(outer ? Buffer.allocUnsafeSlow(1024) : scratch, true, limits)
    const end = put(value, 0, 0)
    if (end > limits.bodyBytesMax) throw tooLarge()
    const bytes = Buffer.allocUnsafe(end)
    target.copy(bytes, 0, 0, end)
    return bytes
  } finally {
    restore(outer)
  }
}

function begin(buffer: Buffer, mayGrow: boolean, limits: Readonly<BodyLimits>): void {
  target = buffer
  room = buffer.length
  growable = mayGrow
  elementsLeft = limits.elementsMax
  depthMax = Math.min(limits.depthMax, DEPTH_CEILING)
  bytesMax = limits.bodyBytesMax
  writing = true
}

type State = [Buffer, number, boolean, number, number, number, (string | number)[]]

function state(): State {
  const now: State = [target, room, growable, elementsLeft, depthMax, bytesMax, trail]
  trail = []
  return now
}

function restore(outer: State | undefined): void {
  if (outer) [target, room, growable, elementsLeft, depthMax, bytesMax, trail] = outer
  else {
    writing = false
    target = scratch // a large buffer, or a link's, is not held on to
  }
}

function makeRoom(at: number, bytes: number): void {
  if (!growable) throw overflow
  if (at + bytes > bytesMax + SLACK_BYTES) throw tooLarge()
  const larger = Buffer.allocUnsafeSlow(Math.min(bytesMax + SLACK_BYTES, Math.max(2 * target.length, at + bytes)))
  target.copy(larger, 0, 0, at)
  target = larger
  room = larger.length
}

function tooLarge(max = bytesMax): HomingError {
  return new HomingError('TOO_LARGE', `the body is larger than ${max} bytes (bodyBytesMax)`)
}

function unencodable(depth: number, why: string): HomingError {
  const path = trail.slice(0, depth).map(step => (typeof step === 'number' ? `[${step}]` : `.${step}`))
  const where = path.length > 8 ? [...path.slice(0, 8), '...'] : path
  return new HomingError('UNENCODABLE', `body${where.join('').slice(0, 200)}: ${why}`)
}

// All of these take where to write and return where they ended. `depth` counts the containers around.

function put(value: unknown, at: number, depth: number): number {
  if (at + SLACK_BYTES > room) makeRoom(at, SLACK_BYTES)
  switch (typeof value) {
    case 'string':
      return putText(value, at)
    case 'number':
      return putNumber(value, at)
    case 'boolean':
      target[at] = value ? 0xc3 : 0xc2
      return at + 1
    case 'undefined':
      target[at] = 0xc0
      return at + 1
    case 'bigint':
      return putBigint(value, at)
    case 'object':
      if (value === null) {
        target[at] = 0xc0
        return at + 1
      }
      return putObject(value, at, depth)
    case 'function':
      throw unencodable(depth, 'a function')
    case 'symbol':
      throw unencodable(depth, 'a symbol')
  }
}

function putNumber(value: number, at: number): number {
  if (value >>> 0 === value && (value !== 0 || 1 / value > 0)) {
    if (value < 0x80) {
      target[at] = value
      return at + 1
    }
    if (value < 0x100) {
      target[at] = 0xcc
      target[at + 1] = value
      return at + 2
    }
    if (value < 0x10000) {
      target[at] = 0xcd
      return putUint16(value, at + 1)
    }
    target[at] = 0xce
    return putUint32(value, at + 1)
  }
  if (value >> 0 === value && value < 0) {
    if (value >= -0x20) {
      target[at] = value & 0xff
      return at + 1
    }
    if (value >= -0x80) {
      target[at] = 0xd0
      target[at + 1] = value & 0xff
      return at + 2
    }
    if (value >= -0x8000) {
      target[at] = 0xd1
      return putUint16(value, at + 1)
    }
    target[at] = 0xd2
    return putUint32(value, at + 1)
  }
  target[at] = 0xcb
  // NaN has many forms in memory and may keep that of the machine that it came from: a value has one encoding.
  if (Number.isNaN(value)) return putUint32(0, putUint32(0x7ff80000, at + 1))
  return target.writeDoubleBE(value, at + 1)
}

function putUint16(value: number, at: number): number {
  target[at] = value >> 8
  target[at + 1] = value
  return at + 2
}

function putUint32(value: number, at: number): number {
  target[at] = value >> 24
  target[at + 1] = value >> 16
  target[at + 2] = value >> 8
  target[at + 3] = value
  return at + 4
}

/** Bytes that the head of a text of so many bytes takes. */
function textHead(bytes: number): number {
  return bytes < 0x20 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5
}

function putText(text: string, at: number): number {
  const length = text.length
  if (at + 5 + length * 3 > room) {
    const bytes = 5 + Buffer.byteLength(text)
    if (at + bytes > room) makeRoom(at, bytes)
  }
  // The head is written for as many bytes as there are characters; if they take more, and a longer head, the text moves.
  let head = textHead(length)
  const bytes = length <= SHORT_TEXT ? putShortText(text, at + head) : target.write(text, at + head, 'utf8')
  const rightHead = textHead(bytes)
  if (rightHead !== head) {
    target.copyWithin(at + rightHead, at + head, at + head + bytes)
    head = rightHead
  }
  if (head === 1) target[at] = 0xa0 | bytes
  else if (head === 2) {
    target[at] = 0xd9
    target[at + 1] = bytes
  } else if (head === 3) {
    target[at] = 0xda
    putUint16(bytes, at + 1)
  } else {
    target[at] = 0xdb
    putUint32(bytes, at + 1)
  }
  return at + head + bytes
}

/** Returns the bytes written. A surrogate without its other half becomes U+FFFD, as `Buffer.write` and TextEncoder have it. */
function putShortText(text: string, start: number): number {
  const length = text.length
  let at = start
  for (let i = 0; i < length; i++) {
    let code = text.charCodeAt(i)
    if (code < 0x80) {
      target[at++] = code
      continue
    }
    if (code < 0x800) {
      target[at++] = 0xc0 | (code >> 6)
      target[at++] = 0x80 | (code & 0x3f)
      continue
    }
    if (code >= 0xd800 && code <= 0xdfff) {
      const low = code < 0xdc00 ? text.charCodeAt(i + 1) : 0
      if (low >= 0xdc00 && low <= 0xdfff) {
        i++
        const point = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff)
        target[at++] = 0xf0 | (point >> 18)
        target[at++] = 0x80 | ((point >> 12) & 0x3f)
        target[at++] = 0x80 | ((point >> 6) & 0x3f)
        target[at++] = 0x80 | (point & 0x3f)
        continue
      }
      code = 0xfffd
    }
    target[at++] = 0xe0 | (code >> 12)
    target[at++] = 0x80 | ((code >> 6) & 0x3f)
    target[at++] = 0x80 | (code & 0x3f)
  }
  return at - start
}

function putObject(value: object, at: number, depth: number): number {
  if (Array.isArray(value)) return putArray(value, at, depth)
  const prototype: unknown = Object.getPrototypeOf(value)
  const plain = prototype === Object.prototype || prototype === null
  if (!plain) {
    if (types.isUint8Array(value)) return putBytes(value, at)
    if (types.isDate(value)) return putDate(value, at, depth)
  }
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return putJson(value, toJSON as ToJSON, at, depth)
  return plain ? putMap(value, at, depth, false) : putInstance(value, at, depth, false)
}

type ToJSON = (this: object, key: string) => unknown

/** What `toJSON` returns stands for the value; as in JSON, it is not asked for a `toJSON` of its own. */
function putJson(value: object, toJSON: ToJSON, at: number, depth: number): number {
  const result: unknown = toJSON.call(value, depth > 0 ? String(trail[depth - 1]) : '')
  if (typeof result !== 'object' || result === null) return put(result, at, depth)
  if (Array.isArray(result)) return putArray(result, at, depth)
  if (types.isUint8Array(result)) return putBytes(result, at)
  if (types.isDate(result)) return putDate(result, at, depth)
  return putInstance(result, at, depth, true)
}

/** An object of some class: its own enumerable properties, as in JSON, unless what it holds is elsewhere. */
function putInstance(value: object, at: number, depth: number, asked: boolean): number {
  if (types.isNumberObject(value)) return putNumber(Number.prototype.valueOf.call(value), at)
  if (types.isStringObject(value)) return putText(String.prototype.valueOf.call(value), at)
  if (types.isBooleanObject(value)) return put(Boolean.prototype.valueOf.call(value), at, depth)
  if (types.isBigIntObject(value)) return putBigint(BigInt.prototype.valueOf.call(value), at)
  const what = opaque(value)
  if (what) throw unencodable(depth, what)
  return putMap(value, at, depth, asked)
}

/** What this is, if its own properties say nothing of what it holds. */
function opaque(value: object): string | undefined {
  if (types.isMap(value)) return 'a Map'
  if (types.isSet(value)) return 'a Set'
  if (types.isRegExp(value)) return 'a RegExp'
  if (types.isNativeError(value) || value instanceof Error) return 'an Error'
  if (types.isPromise(value)) return 'a Promise'
  if (types.isAnyArrayBuffer(value)) return 'an ArrayBuffer'
  if (ArrayBuffer.isView(value)) return 'a typed array other than Uint8Array'
  if (types.isWeakMap(value) || types.isWeakSet(value) || value instanceof WeakRef) return 'a weak reference'
  if (types.isSymbolObject(value)) return 'a symbol'
  return undefined
}

function enter(depth: number): void {
  if (depth >= depthMax) throw unencodable(depth, `nested deeper than ${depthMax}, or a cycle`)
}

function count(elements: number, depth: number): void {
  elementsLeft -= elements
  if (elementsLeft < 0) throw unencodable(depth, 'too many array items and object properties')
}

function putArray(items: readonly unknown[], at: number, depth: number): number {
  const { length } = items
  enter(depth)
  count(length, depth)
  if (at + SLACK_BYTES > room) makeRoom(at, SLACK_BYTES)
  if (length < 0x10) target[at++] = 0x90 | length
  else if (length < 0x10000) {
    target[at] = 0xdc
    at = putUint16(length, at + 1)
  } else {
    target[at] = 0xdd
    at = putUint32(length, at + 1)
  }
  for (let i = 0; i < length; i++) {
    trail[depth] = i
    at = put(items[i], at, depth + 1)
  }
  return at
}

/** Bytes that the head of a map of so many entries takes. */
function mapHead(entries: number): number {
  return entries < 0x10 ? 1 : entries < 0x10000 ? 3 : 5
}

const { hasOwnProperty } = Object.prototype

/** `asked`: this is what a `toJSON` returned; one of its own is neither asked again nor in the way. */
function putMap(value: object, start: number, depth: number, asked: boolean): number {
  enter(depth)
  if (start + SLACK_BYTES > room) makeRoom(start, SLACK_BYTES)
  let entries = 0
  let at = start + 1
  // Not over `Object.keys`: making the list of them takes as long as writing three short entries.
  for (const key in value) {
    if (!hasOwnProperty.call(value, key)) continue
    const item = (value as Record<string, unknown>)[key]
    if (item === undefined || (asked && key === 'toJSON' && typeof item === 'function')) continue
    trail[depth] = key
    count(1, depth)
    entries++
    at = put(item, putText(key, at), depth + 1)
  }
  const head = mapHead(entries)
  if (head === 1) {
    target[start] = 0x80 | entries
    return at
  }
  // The head was taken to be short: most are.
  if (at + head > room) makeRoom(at, head)
  target.copyWithin(start + head, start + 1, at)
  if (head === 3) {
    target[start] = 0xde
    putUint16(entries, start + 1)
  } else {
    target[start] = 0xdf
    putUint32(entries, start + 1)
  }
  return at + head - 1
}

function putBytes(bytes: Uint8Array, at: number): number {
  const length = bytes.byteLength
  if (at + 5 + length > room) makeRoom(at, 5 + length)
  if (length < 0x100) {
    target[at] = 0xc4
    target[at + 1] = length
    at += 2
  } else if (length < 0x10000) {
    target[at] = 0xc5
    at = putUint16(length, at + 1)
  } else {
    target[at] = 0xc6
    at = putUint32(length, at + 1)
  }
  target.set(bytes, at)
  return at + length
}

/** What stands before so many bytes. Throws `TOO_LARGE`. */
export function headOfBytes(length: number, limits: Readonly<BodyLimits>): Buffer {
  const head = length < 0x100 ? [0xc4, length] : length < 0x10000 ? [0xc5, length >> 8, length] : [0xc6, length >> 24, length >> 16, length >> 8, length] // prettier-ignore
  if (head.length + length > limits.bodyBytesMax) throw tooLarge(limits.bodyBytesMax)
  return Buffer.from(head)
}

function putDate(date: Date, at: number, depth: number): number {
  const ms = date.getTime()
  if (Number.isNaN(ms)) throw unencodable(depth, 'an invalid Date')
  if (at + 15 > room) makeRoom(at, 15)
  const seconds = Math.floor(ms / 1000)
  const nanoseconds = (ms - seconds * 1000) * 1e6
  if (seconds >= 0 && seconds < 0x100000000 && nanoseconds === 0) {
    target[at] = 0xd6
    target[at + 1] = TIMESTAMP
    return putUint32(seconds, at + 2)
  }
  if (seconds >= 0 && seconds < 0x400000000) {
    target[at] = 0xd7
    target[at + 1] = TIMESTAMP
    putUint32(nanoseconds * 4 + Math.floor(seconds / 0x100000000), at + 2)
    return putUint32(seconds, at + 6)
  }
  target[at] = 0xc7
  target[at + 1] = 12
  target[at + 2] = TIMESTAMP
  putUint32(nanoseconds, at + 3)
  putUint32(Math.floor(seconds / 0x100000000), at + 7)
  return putUint32(seconds, at + 11)
}

function putBigint(value: bigint, at: number): number {
  if (value >= -0x8000000000000000n && value < 0x8000000000000000n) {
    target[at] = 0xd3
    return target.writeBigInt64BE(value, at + 1)
  }
  if (value > 0n && value < 0x10000000000000000n) {
    target[at] = 0xcf
    return target.writeBigUint64BE(value, at + 1)
  }
  return putExtension(BIG_INTEGER, twosComplement(value), at)
}

/** The fewest bytes, big-endian. */
function twosComplement(value: bigint): Buffer {
  let hex = (value < 0n ? ~value : value).toString(16)
  if (hex.length % 2 === 1) hex = `0${hex}`
  else if (hex.charCodeAt(0) >= 0x38) hex = `00${hex}` // '8' and above: that bit is the sign's
  const bytes = Buffer.from(hex, 'hex')
  if (value < 0n) for (let i = 0; i < bytes.length; i++) bytes[i] = ~bytes[i]!
  return bytes
}

function putExtension(type: number, bytes: Uint8Array, at: number): number {
  const length = bytes.length
  if (at + 6 + length > room) makeRoom(at, 6 + length)
  if (length === 16) target[at++] = 0xd8
  else if (length < 0x100) {
    target[at] = 0xc7
    target[at + 1] = length
    at += 2
  } else if (length < 0x10000) {
    target[at] = 0xc8
    at = putUint16(length, at + 1)
  } else {
    target[at] = 0xc9
    at = putUint32(length, at + 1)
  }
  target[at] = type
  target.set(bytes, at + 1)
  return at + 1 + length
}

// Reading. Nothing of an application runs in the midst of it, so this state is never shared.
let source: Buffer = target
let next = 0

/** Keys that were read lately, up to 32 ASCII characters each: comparing is faster than making them anew, and they are shared. */
const keys: string[] = Array.from({ length: 1024 }, () => '')
const CACHED_KEY_BYTES = 32

/** The value from `start` to `end`, for which `scanBody` has answered: nothing is checked on the way. Bytes are copied. */
export function read(buffer: Buffer, start: number, end: number): unknown {
  source = buffer
  next = start
  const value = take()
  source = scratch // the chunk is not held on to
  if (next !== end) throw new Error('msgpack: read what was not scanned') // a bug of ours, never a fault of the sender
  return value
}

function take(): unknown {
  const token = source[next++]!
  if (token < 0x80) return token
  if (token < 0x90) return takeMap(token & 0x0f)
  if (token < 0xa0) return takeArray(token & 0x0f)
  if (token < 0xc0) return takeText(token & 0x1f)
  if (token >= 0xe0) return token - 0x100
  switch (token) {
    case 0xc2:
      return false
    case 0xc3:
      return true
    case 0xc4:
      return takeBytes(uint8())
    case 0xc5:
      return takeBytes(uint16())
    case 0xc6:
      return takeBytes(uint32())
    case 0xc7:
      return takeExtension(uint8())
    case 0xc8:
      return takeExtension(uint16())
    case 0xc9:
      return takeExtension(uint32())
    case 0xca:
      next += 4
      return source.readFloatBE(next - 4)
    case 0xcb:
      next += 8
      return source.readDoubleBE(next - 8)
    case 0xcc:
      return uint8()
    case 0xcd:
      return uint16()
    case 0xce:
      return uint32()
    case 0xcf:
      next += 8
      return source.readBigUint64BE(next - 8)
    case 0xd0:
      return (uint8() << 24) >> 24
    case 0xd1:
      return (uint16() << 16) >> 16
    case 0xd2:
      return uint32() | 0
    case 0xd3:
      next += 8
      return source.readBigInt64BE(next - 8)
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8:
      return takeExtension(1 << (token - 0xd4))
    case 0xd9:
      return takeText(uint8())
    case 0xda:
      return takeText(uint16())
    case 0xdb:
      return takeText(uint32())
    case 0xdc:
      return takeArray(uint16())
    case 0xdd:
      return takeArray(uint32())
    case 0xde:
      return takeMap(uint16())
    case 0xdf:
      return takeMap(uint32())
    default:
      return null
  }
}

function uint8(): number {
  return source[next++]!
}

function uint16(): number {
  next += 2
  return (source[next - 2]! << 8) | source[next - 1]!
}

function uint32(): number {
  next += 4
  return source[next - 4]! * 0x1000000 + ((source[next - 3]! << 16) | (source[next - 2]! << 8) | source[next - 1]!)
}

function takeText(bytes: number): string {
  const start = next
  next += bytes
  if (bytes < 8) {
    // The call of toString takes as long as eight characters here.
    let text = ''
    let i = start
    for (; i < next; i++) {
      const code = source[i]!
      if (code >= 0x80) break
      text += String.fromCharCode(code)
    }
    if (i === next) return text
  }
  return source.toString('utf8', start, next)
}

function takeArray(count: number): unknown[] {
  const array: unknown[] = []
  for (let i = 0; i < count; i++) array.push(take())
  return array
}

function takeMap(count: number): Record<string, unknown> {
  const map: Record<string, unknown> = {}
  for (let i = 0; i < count; i++) {
    const key = takeKey()
    const value = take()
    // An assignment would set the prototype.
    if (key === '__proto__') Object.defineProperty(map, key, { value, writable: true, enumerable: true, configurable: true })
    else map[key] = value
  }
  return map
}

function takeKey(): string {
  const token = source[next++]!
  const bytes = token < 0xc0 ? token & 0x1f : token === 0xd9 ? uint8() : token === 0xda ? uint16() : uint32()
  if (bytes === 0 || bytes > CACHED_KEY_BYTES) return takeText(bytes)
  const start = next
  const slot = (bytes * 37 + source[start]! * 7 + source[start + (bytes >> 1)]! * 17 + source[start + bytes - 1]! * 131) & 1023
  const known = keys[slot]!
  if (known.length === bytes) {
    let i = 0
    while (i < bytes && known.charCodeAt(i) === source[start + i]) i++
    if (i === bytes) {
      next += bytes
      return known
    }
  }
  const key = takeText(bytes)
  // As many characters as bytes: ASCII (a malformed byte could also be one character, but that is U+FFFD, never equal to a byte).
  if (key.length === bytes) keys[slot] = key
  return key
}

/** Large bytes that fill most of the memory that they came in stay there: it is nobody else's. */
const STAYING_BYTES = 4096

function takeBytes(length: number): Buffer {
  next += length
  if (length >= STAYING_BYTES && length * 2 >= source.buffer.byteLength) return source.subarray(next - length, next)
  const bytes = Buffer.allocUnsafe(length)
  source.copy(bytes, 0, next - length, next)
  return bytes
}

function takeExtension(length: number): bigint | Date {
  const type = source[next++]!
  const start = next
  next += length
  if (type === BIG_INTEGER) return BigInt.asIntN(length * 8, BigInt(`0x${source.toString('hex', start, next)}`))
  const high = source.readUint32BE(start)
  if (length === 4) return new Date(high * 1000)
  if (length === 8) return instant((high & 3) * 0x100000000 + source.readUint32BE(start + 4), high >>> 2)
  return instant(source.readInt32BE(start + 4) * 0x100000000 + source.readUint32BE(start + 8), high)
}

function instant(seconds: number, nanoseconds: number): Date {
  return new Date(seconds * 1000 + Math.floor(nanoseconds / 1e6))
}
