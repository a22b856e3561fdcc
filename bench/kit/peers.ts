/** What Homing is compared with: packages of bench/'s own, and servers of the system. Whatever is not installed is left out. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

/** From dist/bench/kit, where this runs, to the folder that has the packages. */
const folder = new URL('../../../bench/', import.meta.url)
const require = createRequire(new URL('package.json', folder))

const packages = ['@nats-io/transport-node', 'ioredis', 'moleculer', 'ws', 'zeromq'] as const
/** Clients of datastores that Homing itself is developed with. */
const clients = ['basho-riak-client', 'couchbase', 'node-zookeeper-client'] as const
/** Programs, and what makes them say their version. */
const programs = { 'nats-server': '--version', 'redis-server': '--version', openssl: 'version' } as const

export type PackageName = (typeof packages)[number] | (typeof clients)[number]
type ProgramName = keyof typeof programs
export type PeerName = PackageName | ProgramName

/** The package; its own declarations are not used, so that everything compiles without it. */
export function loadPeer(name: PackageName): unknown {
  return require(name) as unknown
}

/** Found once: a program has to be started to say its version. */
const versions = new Map<PeerName, string | undefined>()

/** The version of a peer that is installed; undefined: it is not. */
export function versionOf(name: PeerName): string | undefined {
  if (!versions.has(name)) versions.set(name, isProgram(name) ? programVersion(name) : packageVersion(name))
  return versions.get(name)
}

/** What to run so that the peer takes part. */
export function installText(name: PeerName): string {
  if (isProgram(name)) return `apt-get install ${name}`
  return isClient(name) ? 'npm ci' : 'npm ci --prefix bench'
}

/** Versions of all peers that are installed. */
export function installedPeers(): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of [...packages, ...(Object.keys(programs) as ProgramName[])]) {
    const version = versionOf(name)
    if (version !== undefined) found[name] = version
  }
  return found
}

function isProgram(name: PeerName): name is ProgramName {
  return name in programs
}

function isClient(name: string): boolean {
  return (clients as readonly string[]).includes(name)
}

function packageVersion(name: string): string | undefined {
  const file = fileURLToPath(new URL(`${isClient(name) ? '../' : ''}node_modules/${name}/package.json`, folder))
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version : undefined
}

function programVersion(name: ProgramName): string | undefined {
  const { status, stdout } = spawnSync(name, [programs[name]], { encoding: 'utf8' })
  return status === 0 ? (/\d+(\.\d+)+/.exec(stdout)?.[0] ?? 'unknown') : undefined
}
