/**
 * What users send: one value as bytes, and back.
 *
 * JSON values, bytes (any Uint8Array; they come out as a Buffer of their own), bigint of any size, and Date.
 * - Numbers keep their value, `-0`, `NaN` and the infinities too. A bigint stays a bigint, a number a number.
 * - As in JSON: a property that is `undefined` is dropped, elsewhere `undefined` is null; holes are null; `toJSON` is used; instances of
 *   classes are their own enumerable properties; boxed primitives are what they hold; keys that are symbols are passed over.
 * - Any string is a key: `__proto__` is an own property at both ends. Prototypes are never touched.
 * - A lone surrogate becomes U+FFFD (as wherever text becomes UTF-8); so do malformed bytes from another sender. Of equal keys in a map
 *   the last one counts.
 * - `UNENCODABLE`: functions, symbols, Map, Set, RegExp, Error, Promise, invalid Date, ArrayBuffer, typed arrays other than
 *   Uint8Array, cycles, what is nested deeper than `depthMax` or has more than `elementsMax` elements. `TOO_LARGE`: more than
 *   `bodyBytesMax` bytes. What a getter or a `toJSON` throws goes through.
 *
 * A value has one encoding, given the order of its keys. @see docs/protocol.md
 */
import { headOfBytes, pack, read, write } from './msgpack.ts'
import { bodyDefaults, type BodyLimits } from './scan.ts'

/** The value as bytes of its own. Throws `UNENCODABLE`, `TOO_LARGE`. */
export function encodeBody(value: unknown, limits: Readonly<BodyLimits> = bodyDefaults): Buffer {
  return pack(value, limits)
}

/**
 * Writes the value into `target` at `position` and returns where it ends, or -1 if it does not fit (up to 9 bytes more are needed than
 * it takes); `target` behind `position` is undefined then, and after a throw. Throws `UNENCODABLE`, `TOO_LARGE`.
 *
 * Getters and `toJSON` of the application run meanwhile. They may encode bodies themselves, but must not find `position` moved: take
 * it before, and set it only afterwards.
 */
export function encodeBodyInto(
  value: unknown,
  target: Buffer,
  position: number,
  limits: Readonly<BodyLimits> = bodyDefaults,
): number {
  return write(value, target, position, limits)
}

/** What stands before bytes that are a body by themselves. Throws `TOO_LARGE`. */
export function bytesHead(length: number, limits: Readonly<BodyLimits> = bodyDefaults): Buffer {
  return headOfBytes(length, limits)
}

/** The value from `start` to `end`, which `scanBody` has passed: little is checked again. Large bytes
 * that are most of the memory behind `buffer` stay in it; nothing else holds on to it. */
export function decodeBody(buffer: Uint8Array, start: number, end: number): unknown {
  return read(Buffer.isBuffer(buffer) ? buffer : Buffer.from(buffer.buffer, buffer.byteOffset, buffer.byteLength), start, end)
}
