/** The servers of a Redis datastore: connections to them, who takes which key, and what is to be said of them before they are used. */

import { readFile } from 'node:fs/promises'
import type { Redis, RedisOptions } from 'ioredis'
import { HomingError } from '../errors.ts'
import type { RedisHost, RedisPlace } from './redis-url.ts'
import { within } from './settling.ts'

/** What one server, several behind sentinels, and a cluster look like to the driver. */
export interface RedisServers {
  /** One command may name several keys: all are on one server. */
  readonly takesMany: boolean
  /** The key as the servers know it. */
  nameOf(key: string): string
  keyOf(name: string): string
  /** What the names of all keys with that prefix match: no others may. */
  patternsOf(prefix: string): readonly string[]
  /** The connection that takes a name now; throws `NeverSent` where there is none. */
  clientOf(name: string): Redis
  /** Those that hold all keys between them; throws where one is missing. */
  clients(): readonly Redis[]
  /** Where the answer says to ask instead; `undefined` for any other answer. */
  referral(answer: unknown, timeoutMs: number): Promise<Referral> | undefined
  /** A call failed: perhaps others have taken over. */
  suspect(): void
  /** See `Datastore.onLoss`. */
  onLoss(lost: () => void): void
  /** Behind all that was sent, so that calls under way get their answers. Never rejects. */
  close(timeoutMs: number): Promise<void>
}

export interface Referral {
  readonly client: Redis
  /** It has to be told that we know that the key is only about to be its own. */
  readonly asking: boolean
}

export interface ServerOptions extends RedisPlace {
  operationTimeoutMs: number
  /** Told in a sentence what is wrong with a server's configuration. */
  warn: (text: string) => void
}

/** What ioredis needs for any connection. Reads the files that the environment names for TLS. */
export async function clientOptions(options: ServerOptions): Promise<Omit<RedisOptions, 'replyMapping'>> {
  const { operationTimeoutMs, db } = options
  const username = options.username ?? process.env['HOMING_STORE_USERNAME']
  const password = options.password ?? process.env['HOMING_STORE_PASSWORD']
  return {
    db,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(options.tls ? { tls: await tlsFiles() } : {}),
    ...sentinelOptions(options, options.tls ? await tlsFiles() : undefined),
    protocol: 2, // all that is used here, and understood by every server
    lazyConnect: true,
    connectTimeout: operationTimeoutMs,
    disconnectTimeout: 100, // how long a connection that is given up may keep the process
    // A connection that went silent is given up, else each call would wait for a reply that cannot come until the kernel notices. What
    // it was asked is rejected then, if not before by whoever waits for it.
    socketTimeout: operationTimeoutMs * 2,
    // Nothing is sent twice, and nothing waits for a connection: the caller knows what may be repeated.
    autoResendUnfulfilledCommands: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: backoffMs,
    // After a fail-over, the old connection may lead to what is now a replica.
    reconnectOnError: error => error.message.startsWith('READONLY'),
  }
}

/** Before the next attempt, ms: at most a second, so that a server that is back is used again within two. */
export function backoffMs(attempt: number): number {
  return Math.min(50 * 2 ** Math.min(attempt, 5), 1_000) * (0.5 + Math.random() / 2)
}

function sentinelOptions({ by, hosts, master, operationTimeoutMs }: ServerOptions, tls: object | undefined): RedisOptions {
  if (by !== 'sentinel') return {}
  const sentinelUsername = process.env['HOMING_SENTINEL_USERNAME']
  const sentinelPassword = process.env['HOMING_SENTINEL_PASSWORD']
  return {
    sentinels: hosts.map(({ host, port }) => ({ host, port })),
    name: master,
    role: 'master',
    ...(sentinelUsername === undefined ? {} : { sentinelUsername }),
    ...(sentinelPassword === undefined ? {} : { sentinelPassword }),
    ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls } : {}),
    sentinelCommandTimeout: operationTimeoutMs,
    // Without a number ioredis would give up for good once no sentinel answered.
    sentinelRetryStrategy: attempt => Math.min(backoffMs(attempt), 250),
  }
}

/** Authorities, and our own certificate for servers that ask for one: files, as PEM. */
async function tlsFiles(): Promise<{ ca?: string; cert?: string; key?: string }> {
  const read = async (name: string): Promise<string | undefined> => {
    const path = process.env[name]
    if (path === undefined || path === '') return undefined
    try {
      return await readFile(path, 'utf8')
    } catch (cause) {
      throw new HomingError('BAD_OPTION', `redis: ${name} names a file that cannot be read: ${path}`, { cause })
    }
  }
  const [ca, cert, key] = await Promise.all(['HOMING_STORE_CA', 'HOMING_STORE_CERT', 'HOMING_STORE_KEY'].map(read))
  return { ...(ca === undefined ? {} : { ca }), ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) }
}

/** Makes a client that stands for one server, or for whoever is the master. */
export type NewClient = (host?: RedisHost) => Redis

/** Why a connection does not stand: what went wrong with it last. */
const failures = new WeakMap<Redis, Error>()

/** What goes wrong with a connection reaches callers as the failure of their calls. Unheard, ioredis would print it. */
export function watchFailures(client: Redis): void {
  client.on('error', error => void failures.set(client, error))
  client.on('ready', () => void failures.delete(client))
}

/** Nothing was sent: there is nowhere to send it. */
export class NeverSent extends Error {}

/** The client if something can be sent on it now; throws `NeverSent` otherwise. */
export function usable(client: Redis): Redis {
  if (client.status === 'ready') return client
  const failure = failures.get(client)
  throw new NeverSent(`not connected${failure ? ` (${failure.message})` : ''}`, { cause: failure })
}

/** Waits for the present attempt to connect; rejects with why it failed. Later ones are made by ioredis itself. */
export async function connected(client: Redis, timeoutMs: number): Promise<void> {
  if (client.status === 'ready') return
  let forget = (): void => {}
  const ready = new Promise<void>((resolve, reject) => {
    const closed = (): void => reject(new Error('the connection was closed before it could be used'))
    client.once('ready', resolve).once('error', reject).once('close', closed)
    forget = () => void client.off('ready', resolve).off('error', reject).off('close', closed)
  })
  // The events say what went wrong, the promise only that it did.
  if (client.status === 'wait') client.connect().catch(() => {})
  try {
    await within(timeoutMs, ready, () => new Error(`no answer within ${timeoutMs} ms`))
  } finally {
    forget()
  }
}

/** Ends a connection behind all that was sent on it. */
export async function disconnected(client: Redis, timeoutMs: number): Promise<void> {
  try {
    if (client.status === 'ready') await within(timeoutMs, client.quit(), () => new Error('late'))
  } catch {
    // There is no connection to say it on; what follows ends the attempts to make one.
  }
  if (client.status !== 'end') client.disconnect()
}

/** One connection that takes everything: a server of its own, or the master that sentinels name. */
export class OneServer implements RedisServers {
  readonly takesMany = true
  readonly #client: Redis
  readonly #runs: ServerRuns

  /** `client` is connected. */
  constructor(client: Redis, runs: ServerRuns) {
    this.#client = client
    this.#runs = runs
  }

  nameOf(key: string): string {
    return key
  }

  keyOf(name: string): string {
    return name
  }

  patternsOf(prefix: string): readonly string[] {
    return [`${escaped(prefix)}*`]
  }

  clientOf(): Redis {
    return usable(this.#client)
  }

  clients(): readonly Redis[] {
    return [usable(this.#client)]
  }

  referral(): undefined {
    return undefined
  }

  suspect(): void {}

  onLoss(lost: () => void): void {
    this.#runs.onChange(lost)
  }

  close(timeoutMs: number): Promise<void> {
    return disconnected(this.#client, timeoutMs)
  }
}

/** Which run of a server each connection led to: another one than before may know less. */
export class ServerRuns {
  readonly #runs = new Map<Redis, string>()
  #changed: (() => void)[] = []

  /** To be called before the client is used: its first question on each connection is who answers. */
  watch(client: Redis): void {
    client.on('ready', () => {
      client.info('server').then(
        info => this.#sees(client, fieldsOf(info).get('run_id') ?? ''),
        // The connection broke again, and the next one will be asked; or we may not ask, and losses are found by the peers' own looking.
        () => {},
      )
    })
    client.on('end', () => this.#runs.delete(client))
  }

  onChange(changed: () => void): void {
    this.#changed.push(changed)
  }

  change(): void {
    for (const changed of this.#changed) changed()
  }

  #sees(client: Redis, run: string): void {
    const before = this.#runs.get(client)
    this.#runs.set(client, run)
    if (before !== undefined && before !== run) this.change()
  }
}

/** A text as a pattern of Redis that only this text matches. */
export function escaped(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&')
}

/**
 * What is known of a master before it is used. A replica is refused with `DATASTORE`, because the next attempt may find the master; a node of
 * a cluster that is not used as one, with `BAD_OPTION`. What will hurt later is warned of.
 */
export async function checkMaster(client: Redis, by: RedisPlace['by'], warn: (text: string) => void): Promise<void> {
  const info = fieldsOf(await client.info())
  if (info.get('role') === 'slave')
    throw new HomingError('DATASTORE', 'redis: this server is a replica; sessions are written to its master')
  if (by !== 'cluster' && info.get('cluster_enabled') === '1')
    throw new HomingError('BAD_OPTION', 'redis: this server is a node of a cluster; its URL begins with redis+cluster:')
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  if (Number(info.get('maxmemory') ?? 0) > 0 && policy !== 'noeviction') {
    warn(
      `redis: with maxmemory-policy ${policy} the server may drop sessions of connected clients when it is full; noeviction keeps them`,
    )
  }
  if (info.get('rdb_last_bgsave_status') === 'err')
    warn('redis: the last snapshot failed; servers that stop-writes-on-bgsave-error refuse claims until one succeeds')
  if (info.get('aof_enabled') === '0' && (await savesNothing(client))) {
    warn(
      'redis: the server keeps nothing on its disk (save and appendonly are off); when it restarts, ' +
        "clients read as absent until their peers' next renewals",
    )
  }
}

/** Whether no snapshots are made. A server that does not let us ask is given the benefit of the doubt. */
async function savesNothing(client: Redis): Promise<boolean> {
  try {
    const [, schedule] = (await client.config('GET', 'save')) as string[]
    return schedule === ''
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return false
    throw error
  }
}

function fieldsOf(info: string): Map<string, string> {
  return new Map(info.split('\r\n').flatMap(line => (line.includes(':') ? [line.split(':', 2) as [string, string]] : [])))
}
