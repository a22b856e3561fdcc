/** Opens the datastore that a URL names. The only file that knows the drivers. */

import { HomingError, homingError } from '../errors.ts'
import type { Datastore, Merge } from './datastore.ts'
import type { MemoryClock, MemoryEngine } from './memory.ts'
import { type Place, placeText, readPlace } from './url.ts'

export interface DatastoreOptions {
  /** The longest that one call may take, ms. */
  operationTimeoutMs: number
  /** Name of the cluster: where `lmdb:` without a path is. Keys are not touched. */
  cluster: string
  /** What `memory:` counts lifetimes by. Default: this process's own. The other engines have theirs. */
  clock?: MemoryClock
  /** What two values become that an engine kept of one key, where it keeps both (Riak). Default: the one that was written last. */
  merge?: Merge
  /** Told in a sentence what a start-up check found that will hurt later. Default: nobody. */
  warn?: (text: string) => void
}

/**
 * Opens `memory:`, `memory:name`, `lmdb:`, `lmdb:path`, `redis://...`, `rediss://...`, `riak://...`, `couchbase://...`, `couchbases://...`
 * or `zookeeper://...`; see docs/datastores.md. Throws `BAD_OPTION` for another URL, before any I/O. Rejects with `BAD_OPTION` if the
 * package of the driver is not installed, with `DATASTORE` if the engine cannot be reached (try again), with `REFUSED` if the default
 * folder of LMDB belongs to another user.
 */
export function openDatastore(url: string, options: DatastoreOptions): Promise<Datastore> {
  const { operationTimeoutMs } = options
  if (!(operationTimeoutMs > 0)) throw new HomingError('BAD_OPTION', `operationTimeoutMs (${operationTimeoutMs}) must be above 0`)
  return openPlace(readPlace(url, options.cluster), options)
}

/** Where the URL leads, as text for people: a full path for LMDB, else the URL without the password. Throws `BAD_OPTION`. */
export function datastorePlace(url: string, cluster: string): string {
  return placeText(readPlace(url, cluster))
}

async function openPlace(place: Place, options: DatastoreOptions): Promise<Datastore> {
  const { operationTimeoutMs, clock = processClock, warn = () => {} } = options
  if (place.engine === 'memory') return place.name === undefined ? openMemory(clock) : openShared(place.name, clock)
  if (place.engine === 'lmdb') {
    const { lmdbDatastore } = await import('./lmdb.ts')
    return installed('lmdb', lmdbDatastore({ folder: place.folder, base: place.base, operationTimeoutMs }))
  }
  if (place.engine === 'riak') {
    const { riakDatastore } = await import('./riak.ts')
    return installed('basho-riak-client', riakDatastore({ ...place, operationTimeoutMs, warn, merge: options.merge }))
  }
  if (place.engine === 'couchbase') {
    const { couchbaseDatastore } = await import('./couchbase.ts')
    return installed('couchbase', couchbaseDatastore({ ...place, operationTimeoutMs }))
  }
  if (place.engine === 'zookeeper') {
    const { zookeeperDatastore } = await import('./zookeeper.ts')
    return installed('node-zookeeper-client', zookeeperDatastore({ ...place, operationTimeoutMs, warn }))
  }
  const { redisDatastore } = await import('./redis.ts')
  return installed('ioredis', redisDatastore({ ...place, operationTimeoutMs, warn }))
}

const processClock: MemoryClock = { monotonicMs: () => performance.now() }

async function openMemory(clock: MemoryClock): Promise<Datastore> {
  const { memoryDatastore } = await import('./memory.ts')
  return memoryDatastore({ clock })
}

/** The named memory stores of this process; one is forgotten when its last user has closed it. */
const shared = new Map<string, { engine: MemoryEngine; users: number }>()

async function openShared(name: string, clock: MemoryClock): Promise<Datastore> {
  const { MemoryEngine } = await import('./memory.ts')
  const store = shared.get(name) ?? { engine: new MemoryEngine(clock), users: 0 }
  shared.set(name, store)
  store.users++
  const datastore = store.engine.connect()
  let closed = false
  const dispose = datastore[Symbol.asyncDispose].bind(datastore)
  datastore[Symbol.asyncDispose] = async () => {
    if (!closed && --store.users === 0) shared.delete(name)
    closed = true
    await dispose()
  }
  return datastore
}

/** Clients of engines are optional packages: a driver whose package is missing says how to get it. */
async function installed<T>(name: string, opened: Promise<T>): Promise<T> {
  try {
    return await opened
  } catch (error) {
    const missing =
      error instanceof Error && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND' && error.message.includes(`'${name}'`)
    if (missing) throw new HomingError('BAD_OPTION', `install ${name}: npm install ${name}`, { cause: error })
    throw homingError(error, 'DATASTORE', `${name} cannot be used`)
  }
}
