/** A datastore on Redis: one server, the master behind sentinels, or a cluster; and on what speaks its protocol and runs its scripts. */

import { randomBytes } from 'node:crypto'
import type { ChainableCommander, Redis } from 'ioredis'
import { HomingError, type Outcome } from '../errors.ts'
import type { Datastore, Entry, PutOptions, Removal, Write } from './datastore.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { PartialFailure } from './partial-failure.ts'
import { RedisCluster } from './redis-cluster.ts'
import {
  type Argument,
  type Command,
  deleteCommand,
  entryOf,
  isUnseenScript,
  putCommands,
  type Script,
  versionBytes,
  wasPut,
} from './redis-commands.ts'
import {
  checkMaster,
  clientOptions,
  connected,
  disconnected,
  type NewClient,
  OneServer,
  NeverSent,
  type RedisServers,
  ServerRuns,
  watchFailures,
  type ServerOptions,
} from './redis-servers.ts'
import type { RedisHost } from './redis-url.ts'
import { closedError, within } from './settling.ts'

/**
 * Connects, and checks that the server can be written to. Fails with `DATASTORE` within `operationTimeoutMs`; the caller tries again.
 * Later it reconnects by itself, and meanwhile fails each call at once.
 */
export async function redisDatastore(options: ServerOptions): Promise<Datastore> {
  const { operationTimeoutMs } = options
  const { Redis } = await import('ioredis')
  const common = await clientOptions(options)
  const runs = new ServerRuns()
  const newClient = (host?: RedisHost): Redis => {
    const client = new Redis({ ...common, ...(host && { host: host.host, port: host.port }) })
    watchFailures(client)
    runs.watch(client)
    return client
  }
  const opening = new AbortController()
  try {
    const servers = await within(
      operationTimeoutMs,
      options.by === 'cluster'
        ? openCluster(options, newClient, runs, opening.signal)
        : openServer(options, newClient, runs, opening.signal),
      () => tooLong(operationTimeoutMs),
    )
    return new RedisDatastore(servers, operationTimeoutMs)
  } catch (error) {
    opening.abort()
    throw failure('connecting', error)
  }
}

async function openServer(
  options: ServerOptions,
  newClient: NewClient,
  runs: ServerRuns,
  given: AbortSignal,
): Promise<RedisServers> {
  const client = options.by === 'server' ? newClient(options.hosts[0]) : newClient()
  given.addEventListener('abort', () => client.disconnect())
  try {
    await connected(client, options.operationTimeoutMs)
    await checkMaster(client, options.by, options.warn)
    return new OneServer(client, runs)
  } catch (error) {
    await disconnected(client, 0)
    throw error
  }
}

async function openCluster(
  options: ServerOptions,
  newClient: NewClient,
  runs: ServerRuns,
  given: AbortSignal,
): Promise<RedisServers> {
  const { hosts: seeds, operationTimeoutMs: timeoutMs, warn } = options
  const cluster = new RedisCluster({ seeds, newClient, runs, timeoutMs, warn })
  given.addEventListener('abort', () => void cluster.close(0))
  await cluster.begin()
  return cluster
}

/** What goes out before the answers to it are awaited. */
const chunkCommandsMax = 1_000
const chunkBytesMax = 4 * 2 ** 20

/** A key moves from node to node once, or twice while they are rearranged; more is a circle. */
const referralsMax = 5

/** One command on its way: to whom, and how. */
interface Job {
  readonly at: number
  readonly command: Command
  readonly client: Redis
  readonly asking: boolean
  readonly inFull: boolean
}

class RedisDatastore implements Datastore {
  readonly promises = { atomicPut: true, durable: false, shared: true }
  readonly #servers: RedisServers
  readonly #timeoutMs: number
  /** Random for each opened datastore: with the count, no version is made twice. */
  readonly #mark = randomBytes(12).toString('base64url')
  #written = 0
  #closing: Promise<void> | undefined

  constructor(servers: RedisServers, timeoutMs: number) {
    this.#servers = servers
    this.#timeoutMs = timeoutMs
  }

  async get(key: string): Promise<Entry | undefined> {
    const [entry] = await this.getMany([key])
    return entry
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    for (const key of keys) checkKey(key)
    const commands = getCommands(
      keys.map(key => this.#servers.nameOf(key)),
      this.#servers.takesMany,
    )
    const answers = await this.#calling(commands)
    return this.#results(
      'reading',
      answers.flatMap((answer, i) => parted(answer, commands[i]!)),
      entryOf,
    )
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    const [version] = await this.putMany([{ ...options, key, bytes }])
    return version
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const write of writes) checkPut(write.key, write)
    const puts = writes.map(write => ({ ...write, name: this.#servers.nameOf(write.key), version: this.#nextVersion() }))
    const commands = putCommands(puts, this.#servers.takesMany)
    const answers = await this.#calling(commands)
    return this.#results(
      'writing',
      answers.flatMap((answer, i) => parted(answer, commands[i]!)),
      (answer, i) => (wasPut(answer) ? puts[i]!.version : undefined),
    )
  }

  async delete(key: string, options: { ifVersion?: string } = {}): Promise<boolean> {
    const [gone] = await this.deleteMany([{ ...options, key }])
    return gone!
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    for (const { key } of removals) checkKey(key)
    const commands = removals.map(removal => deleteCommand(this.#servers.nameOf(removal.key), removal))
    const answers = await this.#calling(commands)
    return this.#results('writing', answers, (answer, i) => removals[i]!.ifVersion === undefined || answer === 1)
  }

  /** A listing goes from server to server; while keys move between servers, those on their way may be missed. */
  async *keys(prefix: string): AsyncGenerator<string> {
    checkText(prefix)
    const seen = new Set<string>() // a scan may return a key more than once
    for (const client of await this.#asking(() => this.#servers.clients())) {
      for (const pattern of this.#servers.patternsOf(prefix)) {
        let cursor = '0'
        do {
          const [next, page] = await this.#asking(() => client.scan(cursor, 'MATCH', pattern, 'COUNT', 1_000))
          for (const name of page) {
            const key = this.#servers.keyOf(name)
            if (seen.has(key) || !key.startsWith(prefix)) continue
            seen.add(key)
            yield key
          }
          cursor = next
        } while (cursor !== '0')
      }
    }
  }

  onLoss(lost: () => void): void {
    this.#servers.onLoss(() => {
      if (!this.#closing) lost()
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#servers.close(this.#timeoutMs))
  }

  #nextVersion(): string {
    return this.#mark + (++this.#written).toString(36).padStart(versionBytes - this.#mark.length, '0')
  }

  /** One question of a listing. */
  async #asking<T>(work: () => T | Promise<T>): Promise<T> {
    if (this.#closing) throw closedError('redis')
    try {
      return await within(this.#timeoutMs, Promise.resolve(work()), () => tooLong(this.#timeoutMs))
    } catch (error) {
      throw this.#failed('listing', error)
    }
  }

  #failed(what: string, error: unknown, outcome?: Outcome): HomingError {
    this.#servers.suspect()
    return failure(what, error, outcome)
  }

  /** What the answers mean. Where some of them are errors, the others are told all the same. */
  #results<T>(what: 'reading' | 'writing', answers: readonly unknown[], meaning: (answer: unknown, i: number) => T): T[] {
    let failed: HomingError | undefined
    const parts = answers.map((answer, i): T | HomingError => {
      try {
        if (answer instanceof Error) throw answer
        return meaning(answer, i)
      } catch (error) {
        const part = this.#failed(what, error, what === 'reading' || neverDone(error) ? 'not-delivered' : 'unknown')
        if (!failed || failed.outcome !== 'unknown') failed = part
        return part
      }
    })
    if (!failed) return parts as T[]
    throw parts.every(part => part instanceof HomingError) ? failed : new PartialFailure(failed, parts)
  }

  /** Sends the commands; answers are values or errors, in the order of the commands. */
  async #calling(commands: readonly Command[]): Promise<unknown[]> {
    if (this.#closing) throw closedError('redis')
    const answers = new Array<unknown>(commands.length)
    const untilMs = performance.now() + this.#timeoutMs
    for (const [begin, end] of chunksOf(commands)) {
      // In a chunk, the hash goes alone only after the script did: one command too early or too late would change what later ones find.
      const inFull = end - begin > 1
      const jobs: Job[] = []
      for (let at = begin; at < end; at++) {
        const command = commands[at]!
        try {
          if (performance.now() > untilMs)
            throw new NeverSent(`no answers to what was sent before it within ${this.#timeoutMs} ms`)
          jobs.push({ at, command, client: this.#servers.clientOf(command.key), asking: false, inFull })
        } catch (error) {
          answers[at] = error
        }
      }
      await this.#sendChunk(jobs, answers, untilMs)
    }
    return answers
  }

  /** Commands that a server says it did not run, for it has not seen the script or does not hold the key, and only these, go again. */
  async #sendChunk(jobs: readonly Job[], answers: unknown[], untilMs: number): Promise<void> {
    let left = jobs
    for (let round = 0; left.length > 0; round++) {
      await Promise.all(groups(left).map(group => this.#sendGroup(group, answers, untilMs)))
      const again: (Job | Promise<Job>)[] = []
      for (const job of left) {
        const answer = answers[job.at]
        if (!(answer instanceof Error) || round === referralsMax) continue
        const referral = this.#servers.referral(answer, untilMs - performance.now())
        if (referral) again.push(referral.then(to => ({ ...job, ...to })))
        else if (isUnseenScript(answer) && !job.inFull) again.push({ ...job, inFull: true })
      }
      // Where nobody can be reached it stays with the answer that it has.
      const reached = await Promise.allSettled(again)
      left = reached.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
    }
  }

  /** To one server; one that says nothing holds up no other. */
  async #sendGroup(jobs: readonly Job[], answers: unknown[], untilMs: number): Promise<void> {
    try {
      const leftMs = Math.max(0, untilMs - performance.now())
      await within(leftMs, pipeline(jobs, answers), () => new Error(`no answer within ${this.#timeoutMs} ms`))
    } catch (error) {
      for (const { at } of jobs) if (answers[at] === undefined) answers[at] = error
    }
  }
}

/** What a command for several keys answers, by the key. */
function parted(answer: unknown, { moreKeys, script }: Command): readonly unknown[] {
  if (!moreKeys) return [answer]
  if (Array.isArray(answer)) return answer as unknown[]
  // A script that fails may have done a part of its work.
  const told = script && answer instanceof Error && !(answer instanceof NeverSent) ? new HalfDone(answer) : answer
  return [told, ...moreKeys.map(() => told)]
}

class HalfDone extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause })
  }
}

function getCommands(names: readonly string[], takesMany: boolean): Command[] {
  if (!takesMany || names.length === 1) return names.map(key => ({ name: 'GET', key, args: [], bytes: 0 }))
  const commands: Command[] = []
  for (let i = 0; i < names.length; i += chunkCommandsMax) {
    const [key, ...moreKeys] = names.slice(i, i + chunkCommandsMax)
    commands.push({ name: 'MGET', key: key!, moreKeys, args: [], bytes: 0 })
  }
  return commands
}

/** What goes to one server in one round trip, in order. */
function groups(jobs: readonly Job[]): Job[][] {
  const byClient = new Map<Redis, Job[]>()
  for (const job of jobs) {
    const group = byClient.get(job.client)
    if (group) group.push(job)
    else byClient.set(job.client, [job])
  }
  return [...byClient.values()]
}

/** One round trip. Puts the answers, values or errors, into their places. */
async function pipeline(jobs: readonly Job[], answers: unknown[]): Promise<void> {
  // A pipeline for one costs twice what the command does.
  if (jobs.length === 1 && !jobs[0]!.asking) return single(jobs[0]!, answers)
  const commands: ChainableCommander = jobs[0]!.client.pipeline()
  const sent = new Set<Script>()
  const places: (number | undefined)[] = []
  for (const { at, command, asking, inFull } of jobs) {
    const { script } = command
    if (asking) places.push((commands.call('ASKING'), undefined))
    // Once in full is enough: from then on the server knows it by its hash.
    commands.callBuffer(...wordsOf(command, inFull && script !== undefined && !sent.has(script)))
    if (script) sent.add(script)
    places.push(at)
  }
  const results = await commands.exec()
  if (!results) throw new Error('the connection ended')
  for (const [i, [error, answer]] of results.entries()) {
    const at = places[i]
    if (at !== undefined) answers[at] = error ?? answer
  }
}

async function single({ at, command, client, inFull }: Job, answers: unknown[]): Promise<void> {
  answers[at] = await client.callBuffer(...wordsOf(command, inFull))
}

/** The command as it is sent; a script in full or by its hash. */
function wordsOf({ name, key, moreKeys = [], args, script }: Command, inFull: boolean): [string, ...Argument[]] {
  if (!script) return [name, key, ...moreKeys, ...args]
  const count = 1 + moreKeys.length
  return inFull ? ['EVAL', script.lua, count, key, ...moreKeys, ...args] : [name, script.sha, count, key, ...moreKeys, ...args]
}

/** From where to where. */
function* chunksOf(commands: readonly Command[]): Generator<[number, number]> {
  for (let begin = 0; begin < commands.length;) {
    let end = begin
    let bytes = 0
    while (end < commands.length && end - begin < chunkCommandsMax && bytes < chunkBytesMax) bytes += commands[end++]!.bytes
    yield [begin, end]
    begin = end
  }
}

function tooLong(timeoutMs: number): Error {
  return new Error(`no answer within ${timeoutMs} ms`)
}

/** The server refused, or it was never sent. */
function neverDone(error: unknown): boolean {
  return (
    error instanceof NeverSent ||
    (error instanceof Error && (error.name === 'ReplyError' || error.message.includes("isn't writeable")))
  )
}

function failure(what: string, cause: unknown, outcome?: Outcome): HomingError {
  if (cause instanceof HomingError) return cause
  // ioredis keeps the command in the error: that of logging in has the password in it, others whole values.
  if (cause instanceof Error && 'command' in cause) delete cause.command
  const because = cause instanceof Error ? cause.message : String(cause)
  return new HomingError('DATASTORE', `redis: ${what} failed: ${because}`, { cause, ...(outcome && { outcome }) })
}
