/** Bodies: the scan and the decoder agree, with each other and with a plain reading of the format. */
import { decodeBody, encodeBody } from '../../../lib/wire/body.ts'
import { bodyDefaults, FINE, scanBody, scanError } from '../../../lib/wire/scan.ts'
import { bodyWords } from '../dictionary.ts'
import { about, claim, pureTarget } from '../target.ts'
import { bodyVectors } from './vectors.ts'

/** Small, so that inputs of a few bytes reach them. */
const limits = { bodyBytesMax: 2_048, depthMax: 8, elementsMax: 200 }

/** Equal to the last bit, `__proto__` a key like any other. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b)
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime()
  if (Buffer.isBuffer(a)) return Buffer.isBuffer(b) && a.equals(b)
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, at) => same(item, b[at]))
  if (Object.getPrototypeOf(a) !== Object.prototype || Object.getPrototypeOf(b) !== Object.prototype) return false
  const keys = Object.keys(a)
  const at = (of: object, key: string): unknown => Object.getOwnPropertyDescriptor(of, key)?.value
  return keys.length === Object.keys(b).length && keys.every(key => Object.hasOwn(b, key) && same(at(a, key), at(b, key)))
}

function shapeOf(value: unknown): string {
  if (value === null || typeof value !== 'object') return typeof value
  if (Array.isArray(value)) return `[${about(value.length)} ${value.length > 0 ? shapeOf(value[0]) : ''}]`
  if (Buffer.isBuffer(value)) return `bytes ${about(value.length)}`
  if (value instanceof Date) return 'date'
  return `{${about(Object.keys(value).length)}}`
}

export const bodyTarget = pureTarget(
  {
    name: 'body',
    about: 'bytes as a body: scanned, decoded, encoded again',
    bytesMax: 4_096,
    dictionary: bodyWords,
    seeds: bodyVectors,
  },
  input => {
    const code = scanBody(input, 0, input.length, limits)
    claim(
      (code === FINE) === isBody(input),
      `the scan says '${code === FINE ? 'fine' : scanError(code)}', a plain reading does not`,
    )
    // Somewhere in a chunk, as bodies lie.
    const chunk = Buffer.concat([Buffer.from([0xc1, 0xdd]), input, Buffer.from([0xff])])
    claim(scanBody(chunk, 2, 2 + input.length, limits) === code, 'the scan says something else in the midst of a chunk')
    if (code !== FINE) return scanError(code)
    const value = decodeBody(input, 0, input.length)
    claim(same(value, decodeBody(chunk, 2, 2 + input.length)), 'it is another value in the midst of a chunk')
    const again = encodeBody(value, { ...bodyDefaults, depthMax: limits.depthMax, elementsMax: limits.elementsMax })
    claim(scanBody(again, 0, again.length) === FINE, 'what was read cannot be written so that it can be read')
    claim(same(value, decodeBody(again, 0, again.length)), 'what was written again is another value')
    claim(encodeBody(decodeBody(again, 0, again.length)).equals(again), 'a value has two encodings')
    return shapeOf(value)
  },
)

/** The format as its specification and docs/protocol.md say it, one value after the other. */
function isBody(bytes: Buffer): boolean {
  const reading = new PlainReading(bytes)
  return bytes.length <= limits.bodyBytesMax && reading.value(0) && reading.isAtEnd
}

const timestampSecondsMax = 8_640_000_000_000n

class PlainReading {
  readonly #bytes: Buffer
  #at = 0
  #elements = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  #number(bytes: number): number {
    if (this.#at + bytes > this.#bytes.length) return NaN
    this.#at += bytes
    return this.#bytes.readUIntBE(this.#at - bytes, bytes)
  }

  #skip(bytes: number): boolean {
    this.#at += bytes
    return this.#at <= this.#bytes.length
  }

  value(depth: number): boolean {
    const head = this.#number(1)
    if (Number.isNaN(head) || head === 0xc1) return false
    if (head <= 0x7f || head >= 0xe0) return true
    if (head <= 0x8f) return this.#items(head & 15, true, depth)
    if (head <= 0x9f) return this.#items(head & 15, false, depth)
    if (head <= 0xbf) return this.#skip(head & 31)
    switch (head) {
      case 0xc0:
      case 0xc2:
      case 0xc3:
        return true
      case 0xc4:
      case 0xd9:
        return this.#skip(this.#number(1))
      case 0xc5:
      case 0xda:
        return this.#skip(this.#number(2))
      case 0xc6:
      case 0xdb:
        return this.#skip(this.#number(4))
      case 0xc7:
        return this.#extension(this.#number(1))
      case 0xc8:
        return this.#extension(this.#number(2))
      case 0xc9:
        return this.#extension(this.#number(4))
      case 0xca:
        return this.#skip(4)
      case 0xcb:
        return this.#skip(8)
      case 0xdc:
        return this.#items(this.#number(2), false, depth)
      case 0xdd:
        return this.#items(this.#number(4), false, depth)
      case 0xde:
        return this.#items(this.#number(2), true, depth)
      case 0xdf:
        return this.#items(this.#number(4), true, depth)
      default:
        return head < 0xd4 ? this.#skip(2 ** (head & 3)) : this.#extension(2 ** (head - 0xd4))
    }
  }

  #items(count: number, isMap: boolean, depth: number): boolean {
    this.#elements += count
    if (depth >= limits.depthMax || !(this.#elements <= limits.elementsMax)) return false
    for (let i = 0; i < count; i++) {
      if (isMap && !this.#isText()) return false
      if (!this.value(depth + 1)) return false
    }
    return true
  }

  #isText(): boolean {
    const head = this.#bytes[this.#at] ?? 0
    return ((head >= 0xa0 && head <= 0xbf) || (head >= 0xd9 && head <= 0xdb)) && this.value(0)
  }

  #extension(length: number): boolean {
    const type = this.#number(1)
    const data = this.#bytes.subarray(this.#at, this.#at + length)
    if (!this.#skip(length)) return false
    if (type === 0x42) return length > 0
    if (type !== 0xff) return false
    if (length === 4) return true
    if (length === 8) return data.readBigUint64BE() >> 34n < 1_000_000_000n
    if (length !== 12) return false
    const [nanoseconds, seconds] = [data.readUInt32BE(), data.readBigInt64BE(4)]
    if (nanoseconds >= 1e9) return false
    const ms = seconds * 1_000n + BigInt(Math.floor(nanoseconds / 1e6))
    return ms >= -timestampSecondsMax * 1_000n && ms <= timestampSecondsMax * 1_000n
  }
}
