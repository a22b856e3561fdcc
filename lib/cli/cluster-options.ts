/** The options that all programs share: which cluster, which store, and who this process is in it. */
import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import type { CommonOptions, Logger, PeerOptions } from '../index.ts'
import { readAllowFile } from './allow-file.ts'
import { ProgramError, UsageError } from './failure.ts'
import { logger, logLevels, type LogLevel } from './log.ts'
import { oneOrMore } from './typed-number.ts'

/** What commander makes of them. */
export interface ClusterFlags {
  cluster?: string
  store?: string
  identity?: string
  listen?: string
  advertise?: string
  broker?: string
  secretFile?: string
  tlsCert?: string
  tlsKey?: string
  tlsCa?: string
  mutualTls?: true
  allowFile?: string
  insecure?: true
  leaseMs?: number
  whenStoreIsDown?: 'serve' | 'stop'
  logLevel: LogLevel
  debug?: true
}

export interface ClusterFlagDefaults {
  logLevel: LogLevel
  /** Brokers have none. */
  broker: boolean
}

/** Adds the options to a command, under a heading of their own. */
export function addClusterOptions(command: Command, defaults: ClusterFlagDefaults): Command {
  command
    .optionsGroup('Cluster options:')
    .option('--cluster <name>', 'name of the cluster; processes of other clusters are refused (default: homing)')
    .option(
      '--store <url>',
      'session store: lmdb: | lmdb:/folder | redis://host:port (redis+sentinel:, redis+cluster:) | riak://host:port | couchbase://host/bucket | zookeeper://host:port | memory: (default: $HOMING_STORE, else lmdb:)',
    )
    .option('--identity <name>', 'name of this process in the cluster')
    .option('--listen <endpoint>', 'where to listen: tcp://host:port (port 0: any free one)')
    .option('--advertise <endpoint>', 'where others reach this process, if not where it listens')
  if (defaults.broker) command.option('--broker <url[,url]>', 'go through these brokers instead of a store: tcp://host:port')
  return command
    .option(
      '--secret-file <file>',
      "the cluster's secret: first line the current one, second line the previous one (or $HOMING_SECRET)",
    )
    .option('--tls-cert <file>', 'certificate of this process (PEM); its common name is the identity')
    .option('--tls-key <file>', 'the key of that certificate')
    .option('--tls-ca <file>', 'the authority whose certificates are believed')
    .option('--mutual-tls', 'let in only who has a certificate, and only as whom it names')
    .option('--allow-file <file>', 'who may do what, as JSON; read again when it changes (docs/security.md)')
    .option('--insecure', 'listen beyond this machine without a secret')
    .option('--lease-ms <ms>', 'how long a process that fell silent is believed to live (default: 10000)', oneOrMore)
    .addOption(
      new Option('--when-store-is-down <choice>', 'go on serving clients, or stop (default: serve)').choices(['serve', 'stop']),
    )
    .addOption(new Option('--log-level <level>', 'what to log, to stderr').choices(logLevels).default(defaults.logLevel))
    .option('--debug', 'show the stacks of errors')
}

/** Options of the library for a peer. Throws `UsageError`, `ProgramError` (a file of secrets that cannot be read). */
export async function peerOptions(flags: ClusterFlags): Promise<PeerOptions> {
  const common = await commonOptions(flags)
  if (flags.broker === undefined) return common
  checkEndpoints('--broker', flags.broker.split(','))
  return { ...common, broker: flags.broker }
}

/** Options of the library for a broker. */
export async function commonOptions(flags: ClusterFlags): Promise<CommonOptions> {
  const { cluster, identity, listen, advertise, insecure, leaseMs, whenStoreIsDown } = flags
  if (listen !== undefined) checkEndpoints('--listen', [listen])
  if (advertise !== undefined) checkEndpoints('--advertise', [advertise])
  return present({
    cluster,
    identity,
    listen,
    advertise,
    insecure,
    whenStoreIsDown,
    store: storeOf(flags),
    secret: secretsOf(flags),
    tls: tlsOf(flags),
    allow: flags.allowFile === undefined ? undefined : readAllowFile(flags.allowFile),
    logger: await logger(flags.logLevel),
    ...(leaseMs !== undefined && leaseOf(leaseMs)),
  })
}

/** The store's URL as asked for, from the command line or the environment; undefined behind a broker, which has its own. */
export function storeOf({ store, broker }: ClusterFlags): string | undefined {
  const fromEnvironment = broker === undefined ? process.env['HOMING_STORE'] : undefined
  return store ?? (fromEnvironment === '' ? undefined : fromEnvironment)
}

/** The times of a lease keep their proportions. */
function leaseOf(leaseMs: number): Pick<CommonOptions, 'leaseMs' | 'renewEveryMs' | 'guardMs'> {
  return { leaseMs, renewEveryMs: Math.floor(leaseMs * 0.3), guardMs: Math.floor(leaseMs * 0.2) }
}

function secretsOf({ secretFile }: ClusterFlags): readonly string[] | undefined {
  const text = secretFile === undefined ? process.env['HOMING_SECRET'] : readGiven('--secret-file', secretFile)
  const secrets = (text ?? '').split('\n').map(line => line.trim())
  const given = secrets.filter(line => line !== '')
  if (given.length === 0 && secretFile !== undefined)
    throw new UsageError(`${secretFile} is empty; make a secret with: openssl rand -hex 32`)
  return given.length === 0 ? undefined : given.slice(0, 2)
}

function tlsOf({ tlsCert, tlsKey, tlsCa, mutualTls }: ClusterFlags): CommonOptions['tls'] | undefined {
  if ((tlsCert ?? tlsKey ?? tlsCa ?? mutualTls) === undefined) return undefined
  if ((tlsCert === undefined) !== (tlsKey === undefined)) throw new UsageError('--tls-cert and --tls-key go together')
  if (mutualTls && (tlsCert === undefined || tlsCa === undefined))
    throw new UsageError('--mutual-tls needs --tls-cert, --tls-key and --tls-ca')
  return {
    ...(tlsCert !== undefined && { cert: readGiven('--tls-cert', tlsCert) }),
    ...(tlsKey !== undefined && { key: readGiven('--tls-key', tlsKey) }),
    ...(tlsCa !== undefined && { ca: readGiven('--tls-ca', tlsCa) }),
    ...(mutualTls && { requireClientCertificate: true }),
  }
}

function readGiven(option: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ProgramError(`${option} ${file} cannot be read`, { cause })
  }
}

function checkEndpoints(option: string, endpoints: readonly string[]): void {
  for (const endpoint of endpoints) {
    const port = /^tcp:\/\/(?:[^\s:/]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})$/.exec(endpoint.trim())?.[1]
    const readable = (port !== undefined && Number(port) <= 65_535) || /^unix:./.test(endpoint)
    if (!readable) throw new UsageError(`${option}: '${endpoint}' is no endpoint; it looks like tcp://127.0.0.1:7400`)
  }
}

/** Without what is undefined: the library's options are present or absent. */
function present(
  options: { [K in keyof CommonOptions]: CommonOptions[K] | undefined } & { logger: Logger | undefined },
): CommonOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as CommonOptions
}
