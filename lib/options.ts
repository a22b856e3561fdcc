/** Everything that can be set of a peer or broker: one flat object, each name once, each unit in its name. */
import { Access } from './access/access.ts'
import type { AllowRule, Authorize } from './access/rules.ts'
import type { Datastore } from './datastores/datastore.ts'
import { isLoopback } from './env/endpoint.ts'
import type { Env, TlsOptions } from './env/env.ts'
import { checkPositive, checkText, shown } from './env/option.ts'
import { HomingError } from './errors.ts'
import { linkDefaults, linkOptions, type LinkOptions } from './link/options.ts'
import { channelDefaults, type ChannelOptions } from './mesh/channel.ts'
import { routerDefaults, routerOptions, type RouterOptions } from './router/options.ts'
import { sessionDefaults, sessionOptions, type SessionOptions } from './sessions/options.ts'
import { nameBytesMax } from './wire/limits.ts'
import { isName } from './wire/name.ts'

/** What the library logs to: pino's shape. */
export interface Logger {
  debug(data: object, text: string): void
  info(data: object, text: string): void
  warn(data: object, text: string): void
  error(data: object, text: string): void
}

/** Options that peers and brokers share. */
export interface CommonOptions
  extends Partial<LinkOptions>, Partial<ChannelOptions>, Partial<SessionOptions>, Partial<RouterOptions> {
  /** The name under which others know this process; unique in the cluster. */
  identity?: string
  /** Who finds whom: peers of another cluster are refused. Default `homing`. */
  cluster?: string
  /** The datastore of the sessions: `lmdb:` (default), `lmdb:/folder`, `memory:`, `redis://host:port`. */
  store?: string
  /**
   * Opens the datastore instead of `store`: a driver of one's own, or one with faults (`homing/testing`). What rejects with `DATASTORE` is
   * tried again. It is closed with the peer. The lease is then renewed by the main loop.
   */
  openStore?: () => Promise<Datastore>
  /** Where to listen: `tcp://host:port`; default a free port on loopback. */
  listen?: string
  /** Under which endpoint others reach it; default: where it listens. */
  advertise?: string
  /** Shared secret of the cluster: the current one, or the current and the previous one. Text or bytes. */
  secret?: string | Uint8Array | readonly (string | Uint8Array)[]
  tls?: TlsOptions
  /**
   * Who may do what: a list of rules. Once it is given, what no rule allows is refused: sends and requests to clients here, by the proved
   * identity of the peer that they come from; clients of this peer; behind a broker, what its peers connect. See docs/security.md.
   */
  allow?: readonly AllowRule[]
  /** The same as a function; excludes `allow`. It is asked once for each identity, action and address, until `setAllow`. */
  authorize?: Authorize
  /** Listens beyond loopback without a secret or mutual TLS. */
  insecure?: boolean
  logger?: Logger
  /** Where it runs; default: this process. For tests: `homing/testing`. */
  env?: Env
}

export interface PeerOptions extends CommonOptions {
  /** Go through brokers instead of dialling other peers: `tcp://host:port`, several by commas or as an array. Excludes `store`. */
  broker?: string | readonly string[]
}

export type BrokerOptions = CommonOptions

/** Options joined with defaults, checked, and grouped by the rooms that use them. */
export interface Settings {
  readonly identity: string | undefined
  readonly cluster: string
  readonly store: string
  readonly openStore: (() => Promise<Datastore>) | undefined
  readonly brokers: readonly string[]
  readonly listen: string
  readonly advertise: string | undefined
  readonly secrets: readonly Uint8Array[]
  readonly tls: TlsOptions | undefined
  readonly access: Access
  readonly logger: Logger | undefined
  readonly env: Env | undefined
  readonly link: Readonly<LinkOptions>
  readonly channel: Readonly<ChannelOptions>
  readonly sessions: Readonly<SessionOptions>
  readonly router: Readonly<RouterOptions>
}

const plain = [
  'identity',
  'cluster',
  'store',
  'openStore',
  'broker',
  'listen',
  'advertise',
  'secret',
  'tls',
  'allow',
  'authorize',
  'insecure',
  'logger',
  'env',
]
const groups = [linkDefaults, channelDefaults, sessionDefaults, routerDefaults]
const known = new Set([...plain, ...groups.flatMap(group => Object.keys(group))])

/** Throws `BAD_OPTION` in words that say what to change. The caller's object is not written to. */
export function readOptions(given: PeerOptions, defaults: { listen: string }): Settings {
  checkNames(given)
  const options = given as PeerOptions & Record<string, unknown>
  const cluster = options.cluster ?? 'homing'
  if (typeof cluster !== 'string' || !/^[A-Za-z0-9._-]{1,32}$/.test(cluster)) {
    throw new HomingError('BAD_OPTION', `cluster is 1 to 32 letters, digits, '.', '_' or '-', not ${shown(cluster)}`)
  }
  for (const name of ['store', 'listen', 'advertise'] as const) checkText(name, options[name])
  for (const name of ['tls', 'logger', 'env'] as const) checkObject(name, options[name])
  if (options.openStore !== undefined && typeof options.openStore !== 'function') {
    throw new HomingError('BAD_OPTION', `openStore is a function, not ${shown(options.openStore)}`)
  }
  if (options.insecure !== undefined && typeof options.insecure !== 'boolean') {
    throw new HomingError('BAD_OPTION', `insecure is true or false, not ${shown(options.insecure)}`)
  }
  if (options.identity !== undefined) checkName('identity', options.identity)
  const brokers = readBrokers(options.broker)
  if (options.store !== undefined && options.openStore !== undefined) {
    throw new HomingError('BAD_OPTION', 'store and openStore exclude each other: both name the datastore')
  }
  if (brokers.length > 0 && (options.store ?? options.openStore) !== undefined) {
    throw new HomingError('BAD_OPTION', 'broker and store exclude each other: behind a broker, the broker keeps the sessions')
  }
  const settings: Settings = {
    identity: options.identity,
    cluster,
    store: options.store ?? 'lmdb:',
    openStore: options.openStore,
    brokers,
    listen: options.listen ?? defaults.listen,
    advertise: options.advertise,
    secrets: readSecrets(options.secret),
    tls: options.tls,
    access: readAccess(options),
    logger: options.logger,
    env: options.env,
    link: linkOptions(pick(options, linkDefaults)),
    channel: channelOptions(pick(options, channelDefaults)),
    sessions: sessionOptions(pick(options, sessionDefaults)),
    router: routerOptions(pick(options, routerDefaults)),
  }
  if (brokers.length === 0) checkExposure(settings, options.insecure === true)
  return settings
}

function checkNames(given: PeerOptions): void {
  if (typeof given !== 'object' || given === null) throw new HomingError('BAD_OPTION', 'options are an object')
  for (const name of Object.keys(given)) {
    if (!known.has(name)) throw new HomingError('BAD_OPTION', `there is no option '${name}'`)
  }
}

function checkObject(name: string, value: unknown): void {
  if (value === undefined || (typeof value === 'object' && value !== null)) return
  throw new HomingError('BAD_OPTION', `${name} is an object, not ${shown(value)}`)
}

function pick<T extends object>(given: Record<string, unknown>, defaults: T): Partial<T> {
  const picked: Partial<Record<keyof T, unknown>> = {}
  for (const name of Object.keys(defaults) as (keyof T & string)[]) if (given[name] !== undefined) picked[name] = given[name]
  return picked as Partial<T>
}

function channelOptions(given: Partial<ChannelOptions>): Readonly<ChannelOptions> {
  const options = { ...channelDefaults, ...given }
  checkPositive({ ...options })
  if (options.windowCapBytes < options.windowBytes) {
    throw new HomingError(
      'BAD_OPTION',
      `windowBytes (${options.windowBytes}) is at most windowCapBytes (${options.windowCapBytes})`,
    )
  }
  return Object.freeze(options)
}

/** An address or identity: text of 1 to 190 bytes that every store and terminal can carry. Throws `BAD_OPTION`. */
export function checkName(what: string, name: unknown): asserts name is string {
  if (typeof name !== 'string' || name === '') throw new HomingError('BAD_OPTION', `${what} is a text, not ${shown(name)}`)
  const bytes = Buffer.byteLength(name)
  if (bytes > nameBytesMax)
    throw new HomingError('BAD_OPTION', `${what} is ${bytes} bytes long; at most ${nameBytesMax} are allowed`)
  if (!isName(name)) {
    const text = JSON.stringify(name)
    throw new HomingError('BAD_OPTION', `${what} ${text} contains control characters, U+FFFD or half a surrogate pair`)
  }
}

function readBrokers(given: PeerOptions['broker']): string[] {
  if (given === undefined) return []
  const list: readonly unknown[] | undefined =
    typeof given === 'string' ? given.split(',') : Array.isArray(given) ? given : undefined
  const brokers = list?.map(url => (typeof url === 'string' ? url.trim() : undefined)).filter(url => url !== '')
  if (!brokers?.every(url => url !== undefined)) {
    throw new HomingError('BAD_OPTION', 'broker is an endpoint, or a list of them; an example is tcp://127.0.0.1:7400')
  }
  if (brokers.length === 0) throw new HomingError('BAD_OPTION', 'broker names no endpoint; an example is tcp://127.0.0.1:7400')
  return brokers
}

function readSecrets(given: CommonOptions['secret']): Uint8Array[] {
  if (given === undefined) return []
  const list: readonly unknown[] = Array.isArray(given) ? given : [given]
  return list.map(secret => {
    const bytes = typeof secret === 'string' ? Buffer.from(secret, 'utf8') : secret
    if (!(bytes instanceof Uint8Array) || bytes.length < 16) {
      throw new HomingError('BAD_OPTION', 'a secret has at least 16 bytes; make one with: openssl rand -hex 32')
    }
    return bytes
  })
}

function readAccess({ allow, authorize, logger }: CommonOptions): Access {
  if (allow !== undefined && authorize !== undefined) {
    throw new HomingError(
      'BAD_OPTION',
      'allow and authorize exclude each other: the one is a list, the other the function for it',
    )
  }
  if (authorize !== undefined && typeof authorize !== 'function') {
    throw new HomingError('BAD_OPTION', 'authorize is a function (identity, action, address) => boolean')
  }
  return new Access(allow ?? authorize, error => logger?.error({ error }, 'authorize threw: what it was asked is denied'))
}

function checkExposure({ listen, secrets, tls, env }: Settings, insecure: boolean): void {
  if (env !== undefined || isLoopback(listen) || secrets.length > 0 || tls?.requireClientCertificate || insecure) return
  throw new HomingError(
    'BAD_OPTION',
    `${listen} can be reached from other machines: give a secret (--secret-file) or mutual TLS, or write insecure: true (--insecure)`,
  )
}
