/** What is said to Redis: an entry as a string, and conditional writes as commands and scripts. */

import { createHash } from 'node:crypto'
import type { Entry, Removal, Write } from './datastore.ts'

/** Versions are text of this many ASCII characters in front of the bytes. */
export const versionBytes = 24

/** A conditional write as the server runs it, in one go. */
export class Script {
  readonly lua: string
  readonly sha: string

  constructor(lua: string) {
    this.lua = lua
    this.sha = createHash('sha1').update(lua).digest('hex')
  }
}

const held = `redis.call('GETRANGE', KEYS[1], 0, ${versionBytes - 1}) == ARGV[1]`
const putIf = new Script(`if ${held} then
  if ARGV[3] then redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) else redis.call('SET', KEYS[1], ARGV[2]) end
  return 1
end
return 0`)
const putAbsent = new Script(`local done = {}
for i, key in ipairs(KEYS) do
  if redis.call('SET', key, ARGV[i], 'NX') then done[i] = 1 else done[i] = 0 end
end
return done`)
const deleteIf = new Script(`if ${held} then return redis.call('DEL', KEYS[1]) end
return 0`)

export type Argument = string | Buffer | number

/** One command to send. `script` ones are sent by their hash, and in full to a server that has not seen them. */
export interface Command {
  readonly name: string
  /** The key, as the server knows it; it says which server. */
  readonly key: string
  /** More keys of a command for several: it answers a list. */
  readonly moreKeys?: readonly string[]
  /** All but the keys. */
  readonly args: readonly Argument[]
  readonly script?: Script
  /** What of the arguments takes space. */
  readonly bytes: number
}

/** A write with its key as the server knows it, and the version that it is to have. */
export interface Put extends Write {
  readonly name: string
  readonly version: string
}

/** What one script may keep a server from everybody else with: well below a millisecond. */
const keysMax = 200
const scriptBytesMax = 256 * 1024

/** In the order of the writes; claims, which are many and only for absent keys, go several in one command. */
export function putCommands(puts: readonly Put[], takesMany: boolean): Command[] {
  const commands: Command[] = []
  let row: Put[] = []
  let bytes = 0
  const endRow = (): void => {
    if (row.length === 1) commands.push(putCommand(row[0]!))
    else if (row.length > 1) commands.push(putAbsentCommand(row, bytes))
    row = []
    bytes = 0
  }
  for (const put of puts) {
    const many = takesMany && put.ifVersion === null && put.ttlMs === undefined
    if (!many || row.length === keysMax || bytes + put.bytes.length > scriptBytesMax) endRow()
    if (many) {
      row.push(put)
      bytes += versionBytes + put.bytes.length
    } else commands.push(putCommand(put))
  }
  endRow()
  return commands
}

function putAbsentCommand(puts: readonly Put[], bytes: number): Command {
  const [key, ...moreKeys] = puts.map(({ name }) => name)
  return { name: 'EVALSHA', key: key!, moreKeys, args: puts.map(valueOf), script: putAbsent, bytes }
}

function valueOf({ bytes, version }: Put): Buffer {
  const value = Buffer.allocUnsafe(versionBytes + bytes.length)
  value.write(version, 'latin1')
  value.set(bytes, versionBytes)
  return value
}

function putCommand(put: Put): Command {
  const { name, ttlMs, ifVersion } = put
  const value = valueOf(put)
  const ttl = ttlMs === undefined ? [] : [Math.ceil(ttlMs)]
  if (typeof ifVersion === 'string') return scriptCommand(putIf, name, ifVersion, [value, ...ttl], value.length)
  const px = ttl.length > 0 ? ['PX', ...ttl] : []
  return { name: 'SET', key: name, args: [value, ...(ifVersion === null ? ['NX'] : []), ...px], bytes: value.length }
}

/** Whether it was written: OK and 1 say so; null is what SET answers whose NX did not hold, 0 what the script does. */
export function wasPut(answer: unknown): boolean {
  return answer !== null && answer !== 0
}

export function deleteCommand(name: string, { ifVersion }: Removal): Command {
  return ifVersion === undefined
    ? { name: 'DEL', key: name, args: [], bytes: 0 }
    : scriptCommand(deleteIf, name, ifVersion, [], 0)
}

function scriptCommand(script: Script, key: string, ifVersion: string, rest: readonly Argument[], bytes: number): Command {
  // What does not look like a version is the version of nothing: longer than what the script compares it with.
  const version = ifVersion.length === versionBytes ? ifVersion : ' '.repeat(versionBytes + 1)
  return { name: 'EVALSHA', key, args: [version, ...rest], script, bytes }
}

export function isUnseenScript(answer: unknown): boolean {
  return answer instanceof Error && answer.message.startsWith('NOSCRIPT')
}

export function entryOf(value: unknown): Entry | undefined {
  if (value === null) return undefined
  if (!Buffer.isBuffer(value) || value.length < versionBytes) throw new Error('a key holds what Homing did not write')
  return new RedisEntry(value)
}

class RedisEntry implements Entry {
  /** Perhaps a part of what was read from the socket, which nobody writes to again. */
  readonly #value: Buffer

  constructor(value: Buffer) {
    this.#value = value
  }

  get bytes(): Uint8Array {
    return this.#value.subarray(versionBytes)
  }

  get version(): string {
    return this.#value.toString('latin1', 0, versionBytes)
  }
}
