/** Versions of entries in LMDB: each the 64 bits of a double, none used twice. */

import { randomBytes } from 'node:crypto'

/**
 * Counts up from a random start, one counter an opened datastore. The start has 62 random bits, so that two counters do not meet: of a
 * condition on a version that is gone, one in 10^18 could be fulfilled by an unrelated write. All are above 2, hence never zero, NaN
 * or one of the tiny numbers by which lmdb says "any version".
 */
export class LmdbVersions {
  readonly #bits = new DataView(new ArrayBuffer(8))
  #high: number
  #low: number

  constructor(random: Uint8Array = randomBytes(8)) {
    const seed = new DataView(random.buffer, random.byteOffset, 8)
    this.#high = highMin + (seed.getUint32(0) % (highMax - highMin))
    this.#low = seed.getUint32(4)
  }

  next(): number {
    this.#low = (this.#low + 1) >>> 0
    if (this.#low === 0) this.#high = this.#high + 1 === highMax ? highMin : this.#high + 1
    this.#bits.setUint32(0, this.#high)
    this.#bits.setUint32(4, this.#low)
    return this.#bits.getFloat64(0)
  }
}

/** Upper halves of the doubles from 2 to the largest finite ones. */
const highMin = 0x4000_0000
const highMax = 0x7fe0_0000

const double = new DataView(new ArrayBuffer(8))

/** A version as text: its two halves, which is made faster than a double's own decimal notation. */
export function versionText(version: number): string {
  double.setFloat64(0, version)
  return `${double.getUint32(0)}.${double.getUint32(4)}`
}

/** The double that a text stands for; `undefined` for a text that no version has. */
export function readVersion(text: string): number | undefined {
  const [high, low] = text.split('.')
  double.setUint32(0, Number(high))
  double.setUint32(4, Number(low))
  const version = double.getFloat64(0)
  return version >= 2 && versionText(version) === text ? version : undefined
}
