/** A datastore on a Redis server, or anything that speaks its protocol and runs its scripts. */

import { createHash, randomBytes } from 'node:crypto'
import type { ChainableCommander, Redis, RedisOptions } from 'ioredis'
import { HomingError } from '../errors.ts'
import type { Datastore, Entry, PutOptions, Removal, Write } from './datastore.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { closedError, within } from './settling.ts'
import type { RedisPlace } from './url.ts'

export interface RedisDatastoreOptions extends RedisPlace {
  operationTimeoutMs: number
  /** Told in a sentence what is wrong with the server's configuration. */
  warn: (text: string) => void
}

/**
 * Connects, and checks that the server can be written to. Fails with `DATASTORE` within `operationTimeoutMs`; the caller tries again.
 * Later it reconnects by itself, and meanwhile fails each call at once.
 */
export async function redisDatastore(options: RedisDatastoreOptions): Promise<Datastore> {
  const { Redis } = await import('ioredis')
  const client = new Redis(clientOptions(options))
  let lost: Error | undefined
  // What goes wrong with the connection reaches callers as the failure of their calls. Unheard, ioredis would print it.
  client.on('error', error => {
    lost = error
  })
  const { operationTimeoutMs } = options
  try {
    await within(operationTimeoutMs, start(client, options.warn), () => new Error(`no answer within ${operationTimeoutMs} ms`))
    return new RedisDatastore(client, operationTimeoutMs)
  } catch (error) {
    client.disconnect()
    // The promise only says that the connection ended; why, was said by the event.
    throw failure('connecting', error instanceof HomingError ? error : (lost ?? error))
  }
}

function clientOptions({
  host,
  port,
  db,
  tls,
  username,
  password,
  operationTimeoutMs,
}: RedisDatastoreOptions): Omit<RedisOptions, 'replyMapping'> {
  return {
    host,
    port,
    db,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(tls ? { tls: {} } : {}),
    protocol: 2, // all that is used here, and understood by every server
    lazyConnect: true,
    connectTimeout: operationTimeoutMs,
    disconnectTimeout: 100, // how long a connection that is given up may keep the process
    commandTimeout: operationTimeoutMs,
    // A connection that went silent is given up, else each call would wait for a reply that cannot come until the kernel notices.
    socketTimeout: operationTimeoutMs * 2,
    // Nothing is sent twice, and nothing waits for a connection: the caller knows what may be repeated.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: attempt => Math.min(50 * 2 ** Math.min(attempt, 5), 1_000) * (0.5 + Math.random() / 2),
    // After a fail-over, the old connection may lead to what is now a replica.
    reconnectOnError: error => error.message.startsWith('READONLY'),
  }
}

async function start(client: Redis, warn: (text: string) => void): Promise<void> {
  await client.connect()
  const replication = fieldsOf(await client.info('replication'))
  if (replication.get('role') === 'slave')
    throw new HomingError('DATASTORE', 'redis: this server is a replica; sessions are written to its master')
  const memory = fieldsOf(await client.info('memory'))
  const policy = memory.get('maxmemory_policy') ?? 'noeviction'
  if (Number(memory.get('maxmemory') ?? 0) > 0 && policy !== 'noeviction') {
    warn(
      `redis: with maxmemory-policy ${policy} the server may drop sessions of connected clients when it is full; noeviction keeps them`,
    )
  }
}

function fieldsOf(info: string): Map<string, string> {
  return new Map(info.split('\r\n').flatMap(line => (line.includes(':') ? [line.split(':', 2) as [string, string]] : [])))
}

/** Versions are text of this many ASCII characters in front of the bytes. */
const versionBytes = 24

/** A conditional write as the server runs it, in one go. */
class Script {
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
const deleteIf = new Script(`if ${held} then return redis.call('DEL', KEYS[1]) end
return 0`)

type Argument = string | Buffer | number

/** One command to send. `script` ones are sent by their hash, and in full to a server that has not seen them. */
interface Command {
  readonly name: string
  readonly args: readonly Argument[]
  readonly script?: Script
  /** What of the arguments takes space. */
  readonly bytes: number
}

/** What goes out before the answers to it are awaited. */
const chunkCommandsMax = 1_000
const chunkBytesMax = 4 * 2 ** 20

class RedisDatastore implements Datastore {
  readonly promises = { atomicPut: true, durable: false, shared: true }
  readonly #client: Redis
  readonly #timeoutMs: number
  /** Random for each opened datastore: with the count, no version is made twice. */
  readonly #mark = randomBytes(12).toString('base64url')
  #written = 0
  #closing: Promise<void> | undefined

  constructor(client: Redis, timeoutMs: number) {
    this.#client = client
    this.#timeoutMs = timeoutMs
  }

  async get(key: string): Promise<Entry | undefined> {
    checkKey(key)
    return this.#reading(async client => entryOf(await client.getBuffer(key)))
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    for (const key of keys) checkKey(key)
    return this.#reading(async client => {
      const found: (Entry | undefined)[] = []
      for (let i = 0; i < keys.length; i += chunkCommandsMax) {
        found.push(...(await client.mgetBuffer(keys.slice(i, i + chunkCommandsMax))).map(entryOf))
      }
      return found
    })
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    const [version] = await this.putMany([{ ...options, key, bytes }])
    return version
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const write of writes) checkPut(write.key, write)
    const versions = writes.map(() => this.#nextVersion())
    const done = await this.#writing(writes.map((write, i) => putCommand(write, versions[i]!)))
    // OK and 1 are done; null is what SET answers whose NX did not hold, 0 what the script does.
    return done.map((answer, i) => (answer === null || answer === 0 ? undefined : versions[i]))
  }

  async delete(key: string, options: { ifVersion?: string } = {}): Promise<boolean> {
    const [gone] = await this.deleteMany([{ ...options, key }])
    return gone!
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    for (const { key } of removals) checkKey(key)
    const done = await this.#writing(removals.map(deleteCommand))
    return done.map((answer, i) => removals[i]!.ifVersion === undefined || answer === 1)
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    checkText(prefix)
    const match = `${prefix.replace(/[\\*?[\]]/g, '\\$&')}*`
    const seen = new Set<string>() // a scan may return a key more than once
    let cursor = '0'
    do {
      const [next, page] = await this.#reading(client => client.scan(cursor, 'MATCH', match, 'COUNT', 1_000))
      for (const key of page) {
        if (seen.has(key)) continue
        seen.add(key)
        yield key
      }
      cursor = next
    } while (cursor !== '0')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  #nextVersion(): string {
    return this.#mark + (++this.#written).toString(36).padStart(versionBytes - this.#mark.length, '0')
  }

  async #reading<T>(work: (client: Redis) => Promise<T>): Promise<T> {
    if (this.#closing) throw closedError('redis')
    try {
      return await within(this.#timeoutMs, work(this.#client), () => tooLong(this.#timeoutMs))
    } catch (error) {
      throw failure('reading', error)
    }
  }

  /** Sends the commands and gathers their answers, in order. */
  async #writing(commands: readonly Command[]): Promise<unknown[]> {
    if (this.#closing) throw closedError('redis')
    const untilMs = performance.now() + this.#timeoutMs
    try {
      return await within(this.#timeoutMs, this.#send(commands, untilMs), () => tooLong(this.#timeoutMs))
    } catch (error) {
      throw failure('writing', error, commands.length === 1 && neverDone(error) ? 'not-delivered' : 'unknown')
    }
  }

  async #send(commands: readonly Command[], untilMs: number): Promise<unknown[]> {
    const answers: unknown[] = []
    for (const chunk of chunksOf(commands)) {
      if (performance.now() > untilMs) throw tooLong(this.#timeoutMs) // who asked was told so already
      answers.push(...(await this.#sendChunk(chunk)))
    }
    return answers
  }

  async #sendChunk(chunk: readonly Command[]): Promise<unknown[]> {
    // In a chunk, the hash goes alone only after the script did: one command too early or too late would change what later ones find.
    const answers = await this.#pipeline(chunk, chunk.length > 1)
    // A server that does not know the script did not run it, so that command, and only it, may go again.
    const again = chunk.flatMap((_, i) => (isUnseenScript(answers[i]) ? [i] : []))
    if (again.length > 0) {
      const second = await this.#pipeline(
        again.map(i => chunk[i]!),
        true,
      )
      again.forEach((place, i) => (answers[place] = second[i]))
    }
    const failed = answers.find(answer => answer instanceof Error)
    if (failed !== undefined) throw failed
    return answers
  }

  /** One round trip. Answers are values, or errors in their places. */
  async #pipeline(commands: readonly Command[], inFull: boolean): Promise<unknown[]> {
    const pipeline: ChainableCommander = this.#client.pipeline()
    const sent = new Set<Script>()
    for (const { name, args, script } of commands) {
      if (!script) pipeline.call(name, ...args)
      // Once in full is enough: from then on the server knows it by its hash.
      else if (inFull && !sent.has(script)) pipeline.call('EVAL', script.lua, 1, ...args)
      else pipeline.call('EVALSHA', script.sha, 1, ...args)
      if (script) sent.add(script)
    }
    const answers = await pipeline.exec()
    if (!answers) throw new Error('the connection ended')
    return answers.map(([error, answer]) => error ?? answer)
  }

  async #close(): Promise<void> {
    try {
      // Behind all that was sent, so that calls under way get their answers.
      await within(this.#timeoutMs, this.#client.quit(), () => tooLong(this.#timeoutMs))
    } catch {
      // There is no connection to say it on; what follows ends the attempts to make one.
    }
    if (this.#client.status !== 'end') this.#client.disconnect()
  }
}

function putCommand({ key, bytes, ttlMs, ifVersion }: Write, version: string): Command {
  const value = Buffer.allocUnsafe(versionBytes + bytes.length)
  value.write(version, 'latin1')
  value.set(bytes, versionBytes)
  const ttl = ttlMs === undefined ? [] : [Math.ceil(ttlMs)]
  if (typeof ifVersion === 'string') return scriptCommand(putIf, key, ifVersion, [value, ...ttl], value.length)
  const px = ttl.length > 0 ? ['PX', ...ttl] : []
  return { name: 'SET', args: [key, value, ...(ifVersion === null ? ['NX'] : []), ...px], bytes: value.length }
}

function deleteCommand({ key, ifVersion }: Removal): Command {
  return ifVersion === undefined ? { name: 'DEL', args: [key], bytes: 0 } : scriptCommand(deleteIf, key, ifVersion, [], 0)
}

function scriptCommand(script: Script, key: string, ifVersion: string, rest: readonly Argument[], bytes: number): Command {
  // What does not look like a version is the version of nothing: longer than what the script compares it with.
  const version = ifVersion.length === versionBytes ? ifVersion : ' '.repeat(versionBytes + 1)
  return { name: 'EVALSHA', args: [key, version, ...rest], script, bytes }
}

function* chunksOf(commands: readonly Command[]): Generator<Command[]> {
  for (let begin = 0; begin < commands.length;) {
    let end = begin
    let bytes = 0
    while (end < commands.length && end - begin < chunkCommandsMax && bytes < chunkBytesMax) bytes += commands[end++]!.bytes
    yield commands.slice(begin, end)
    begin = end
  }
}

function entryOf(value: Buffer | null): Entry | undefined {
  if (value === null) return undefined
  if (value.length < versionBytes) throw new Error('a key holds what Homing did not write')
  // A copy: the buffer may be a part of what was read from the socket.
  return { version: value.toString('latin1', 0, versionBytes), bytes: new Uint8Array(value.subarray(versionBytes)) }
}

function tooLong(timeoutMs: number): Error {
  return new Error(`no answer within ${timeoutMs} ms`)
}

function isUnseenScript(answer: unknown): boolean {
  return answer instanceof Error && answer.message.startsWith('NOSCRIPT')
}

/** The server refused, or it was never sent. */
function neverDone(error: unknown): boolean {
  return error instanceof Error && (error.name === 'ReplyError' || error.message.includes("isn't writeable"))
}

function failure(what: string, cause: unknown, outcome?: HomingError['outcome']): HomingError {
  if (cause instanceof HomingError) return cause
  // ioredis keeps the command in the error: that of logging in has the password in it, others whole values.
  if (cause instanceof Error && 'command' in cause) delete cause.command
  const because = cause instanceof Error ? cause.message : String(cause)
  return new HomingError('DATASTORE', `redis: ${what} failed: ${because}`, { cause, ...(outcome && { outcome }) })
}
