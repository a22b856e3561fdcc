/** What a node of ZooKeeper holds for a key, and what a version of it is called. */

import { randomBytes } from 'node:crypto'
import type { Stat } from 'node-zookeeper-client'

/** A mark is this many ASCII characters in front of the bytes; the first says whether a lifetime follows. */
const markBytes = 24
const lifetimeBytes = 8
const forEver = 'e'
const forAWhile = 't'

/** Names lives of keys: none is made twice. */
export class Marks {
  /** Random for each opened datastore. */
  readonly #mine = randomBytes(12).toString('base64url')
  #made = 0

  next(ttlMs: number | undefined): string {
    const count = (++this.#made).toString(36)
    return (ttlMs === undefined ? forEver : forAWhile) + this.#mine + count.padStart(markBytes - 1 - this.#mine.length, '0')
  }
}

export function mayLapse(mark: string): boolean {
  return mark.startsWith(forAWhile)
}

/** Whether an entry of this mark may be written over by one of this lifetime under the same mark. */
export function suits(mark: string, ttlMs: number | undefined): boolean {
  return mayLapse(mark) === (ttlMs !== undefined)
}

/**
 * Which writing of a key. ZooKeeper's own `dataVersion` counts from 0 again when a node is made anew, so that a condition on it alone would
 * hold for a later life of the key: the mark names the life.
 */
export interface Version {
  readonly mark: string
  readonly dataVersion: number
}

export function versionText({ mark, dataVersion }: Version): string {
  return `${mark}.${dataVersion}`
}

/** `undefined` for a text that is no version. */
export function readVersion(text: string): Version | undefined {
  const match = /^([et][\w-]{23})\.(0|[1-9]\d{0,9})$/.exec(text)
  return match ? { mark: match[1]!, dataVersion: Number(match[2]) } : undefined
}

export interface StoredEntry extends Version {
  readonly bytes: Uint8Array
  /** When it was written, and how long it lives, by the clock of the ensemble's leader; absent: for ever. */
  readonly lifetime: { readonly fromMs: number; readonly ttlMs: number } | undefined
}

export function encodeEntry(mark: string, bytes: Uint8Array, ttlMs: number | undefined): Buffer {
  const head = markBytes + (ttlMs === undefined ? 0 : lifetimeBytes)
  const data = Buffer.allocUnsafe(head + bytes.length)
  data.write(mark, 'latin1')
  if (ttlMs !== undefined) data.writeDoubleBE(ttlMs, markBytes)
  data.set(bytes, head)
  return data
}

export function decodeEntry(data: Buffer | undefined, stat: Stat): StoredEntry {
  const mark = data?.toString('latin1', 0, markBytes) ?? ''
  const head = markBytes + (mayLapse(mark) ? lifetimeBytes : 0)
  if (!data || data.length < head || !readVersion(`${mark}.0`)) throw new Error('a key holds what Homing did not write')
  const lifetime = mayLapse(mark) ? { fromMs: writtenMs(stat), ttlMs: data.readDoubleBE(markBytes) } : undefined
  // The buffer was made for this answer alone; a view of it would still keep the head.
  return { mark, dataVersion: stat.version, bytes: new Uint8Array(data.subarray(head)), lifetime }
}

/** When the leader wrote it, by its clock. */
export function writtenMs({ mtime }: Stat): number {
  return Number(mtime.readBigInt64BE())
}
