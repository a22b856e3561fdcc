/** How many look-ups and connects a second a peer has from its datastore, and how many the datastore's own client has. */
import { randomBytes } from 'node:crypto'
import { UsageError } from '../lib/cli/failure.ts'
import type { Comparison, Contestant, Question } from './kit/contestant.ts'
import type { PeerName } from './kit/peers.ts'

/** An engine, and where it is. */
interface Engine {
  readonly name: string
  /** Absent: the server that the bench starts. */
  readonly url?: string
  readonly needs?: readonly PeerName[]
  readonly size: Size
}

interface Size {
  readonly sessions: number
  /** Addresses that are connected in one call, one call at a time. */
  readonly batch: number
}

const large: Size = { sessions: 100_000, batch: 5_000 }
/** For servers that take one operation at a time. */
const small: Size = { sessions: 10_000, batch: 1_000 }
/** Look-ups asked for at a time, one promise each. */
const outstanding = 256

/** By the scheme of the URL: what is needed for the bare client. */
const servers: Readonly<Record<string, PeerName>> = {
  riak: 'basho-riak-client',
  couchbase: 'couchbase',
  zookeeper: 'node-zookeeper-client',
}

const lookUps = 'look-ups'
const connects = 'connects'

/** `url` names one engine to ask; without it, those that need no address are asked. */
function engines(url: string | undefined, folder: string): readonly Engine[] {
  if (url === undefined) {
    return [
      { name: 'memory', url: 'memory:bench', size: large },
      { name: 'lmdb', url: `lmdb:${folder}`, size: large },
      { name: 'redis', needs: ['ioredis', 'redis-server'], size: large },
    ]
  }
  const name = url.split(':', 1)[0]!
  if (name === 'memory') return [{ name, url: 'memory:bench', size: large }]
  // A folder of its own in the one that was named: what is in that one is left alone.
  if (name === 'lmdb') return [{ name, url: url === 'lmdb:' ? `lmdb:${folder}` : `${url}/homing-${newCluster()}`, size: large }]
  if (name === 'redis' || name === 'rediss') return [{ name: 'redis', url, needs: ['ioredis'], size: large }]
  const needed = servers[name]
  if (needed) return [{ name, url, needs: [needed], size: small }]
  const known = Object.keys(servers).map(scheme => `${scheme}://`)
  throw new UsageError(`--store: the bench knows memory:, lmdb:, lmdb:/folder, redis://, rediss://, ${known.join(', ')}`)
}

/** Keys of a run are told from all others by it. */
function newCluster(): string {
  return `bench-${randomBytes(4).toString('hex')}`
}

function bare(work: string, engine: string): string {
  return `bare client, ${engine}, ${work}`
}

/** Where a claim is more than one request, or more than the session alone. */
function sameRequests(engine: string): string {
  return `bare client with the same requests, ${engine}, ${connects}`
}

function homing(work: string, engine: string): string {
  return `homing, ${engine}, ${work}`
}

function contestant(name: string, program: string, plays: string, { url, needs = [], size }: Engine): Contestant {
  const setup = { url, cluster: newCluster(), outstanding, ...size }
  return {
    name,
    parts: [
      ...(url === undefined ? [{ name: 'server', program: 'redis', plays: 'server' }] : []),
      { name: 'client', program, plays, setup },
    ],
    counted: 'client',
    needs,
  }
}

function contestants(engine: Engine): readonly Contestant[] {
  return [
    contestant(bare(lookUps, engine.name), 'bare-store', 'looker', engine),
    contestant(homing(lookUps, engine.name), 'homing-store', 'looker', engine),
    contestant(bare(connects, engine.name), 'bare-store', 'connector', engine),
    ...(engine.name in servers ? [contestant(sameRequests(engine.name), 'bare-store', 'fullConnector', engine)] : []),
    contestant(homing(connects, engine.name), 'homing-store', 'connector', engine),
  ]
}

/** @param url the one engine to ask */
export function datastore(url: string | undefined): Question {
  const some = engines(url, '')
  const asked = some.map(({ name }) => name)
  const { sessions, batch } = some[0]!.size
  return {
    name: 'datastore',
    title: `look-ups in ${sessions.toLocaleString('en-US')} sessions, none of them cached, ${outstanding} at a time; connects, ${batch.toLocaleString('en-US')} a call`,
    unit: 'operations',
    // What does an operation in some microseconds is compiled late: a server that has run for a while is asked about.
    warmUpSeconds: 4,
    contestants: folder => engines(url, folder).flatMap(contestants),
    charts: [lookUps, connects].map(work => ({
      title: `${work} in the datastore`,
      figure: 'rate',
      of: asked.flatMap(engine => [
        bare(work, engine),
        ...(work === connects && engine in servers ? [sameRequests(engine)] : []),
        homing(work, engine),
      ]),
    })),
    comparisons: asked.flatMap(engine => [
      ...[lookUps, connects].map(work => compared(engine, work, bare(work, engine))),
      ...(engine in servers ? [compared(engine, connects, sameRequests(engine))] : []),
    ]),
  }
}

function compared(engine: string, work: string, to: string): Comparison {
  // Beside a Map in the same process every duty of a store is dear: no mark was set for that.
  return { of: homing(work, engine), to, figure: 'rate', ...(engine !== 'memory' && { atLeast: 0.8 }) }
}
