/** What is kept of bodies in a history: two bodies have the same hash if they have the same bytes. */
import { createHash } from 'node:crypto'
import { encodeBody } from '../wire/body.ts'
import { bodyDefaults } from '../wire/scan.ts'

/** However large bodies are allowed to be here, their hash is told. */
const limits = { ...bodyDefaults, bodyBytesMax: 64 * 1024 * 1024 }

export function hashOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('base64url').slice(0, 12)
}

/** The hash of the bytes that a body is sent as; undefined for one that cannot be encoded, or whose own code would run once more for it. */
export function bodyHash(body: unknown): string | undefined {
  if (!isPlain(body, limits.depthMax)) return undefined
  try {
    return hashOf(encodeBody(body, limits))
  } catch {
    return undefined // the send says so itself, in its receipt
  }
}

/** No getters, no `toJSON`: nothing in it notices that it is looked at. */
function isPlain(value: unknown, depth: number): boolean {
  if (typeof value === 'function') return false
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array || value instanceof Date) return true
  if (depth === 0) return false
  if (Array.isArray(value)) return value.every(each => isPlain(each, depth - 1))
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return Object.values(Object.getOwnPropertyDescriptors(value)).every(
    ({ get, value: held }) => get === undefined && isPlain(held, depth - 1),
  )
}
