/** The URL of a datastore, read: which engine, and where. */

import { tmpdir, userInfo } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { HomingError } from '../errors.ts'
import { type CouchbasePlace, couchbasePlaceText, readCouchbasePlace } from './couchbase-url.ts'
import { readRedisPlace, redisPlaceText, redisWay, type RedisPlace } from './redis-url.ts'
import { riakPlace, riakText, type RiakPlace } from './riak-url.ts'
import { readZooKeeperPlace, type ZooKeeperPlace, zooKeeperPlaceText } from './zookeeper-url.ts'

/** What a URL names. `name` absent: a memory store of its own; `base` present: a default folder, to be checked for its owner. */
export type Place =
  | { readonly engine: 'memory'; readonly name?: string }
  | { readonly engine: 'lmdb'; readonly folder: string; readonly base?: string }
  | ({ readonly engine: 'redis' } & RedisPlace)
  | ({ readonly engine: 'riak' } & RiakPlace)
  | ({ readonly engine: 'couchbase' } & CouchbasePlace)
  | ({ readonly engine: 'zookeeper' } & ZooKeeperPlace)

const known = [
  'memory:, memory:name, lmdb:, lmdb:/folder',
  'redis://host:port/db, redis+sentinel://host:port,host:port/master, redis+cluster://host:port,host:port (rediss: with TLS)',
  'riak://host:port,host:port',
  'couchbase://host/bucket, couchbases://host/bucket, zookeeper://host:port/path',
].join(', ')

/** Reads the URL; nothing is opened or looked at. Throws `BAD_OPTION`, without repeating what may hold a password. */
export function readPlace(url: string, cluster: string): Place {
  const colon = url.indexOf(':')
  if (colon < 1) throw new HomingError('BAD_OPTION', `the URL of a datastore begins with a scheme; known are ${known}`)
  const scheme = url.slice(0, colon)
  const rest = url.slice(colon + 1)
  if (scheme === 'memory') return rest === '' ? { engine: 'memory' } : { engine: 'memory', name: rest }
  if (scheme === 'lmdb') return rest === '' ? defaultFolder(cluster) : { engine: 'lmdb', folder: resolve(plainPath(rest)) }
  const redis = redisWay(scheme)
  if (redis) return { engine: 'redis', ...readRedisPlace(url, scheme, redis) }
  if (scheme === 'riak') return { engine: 'riak', ...riakPlace(url) }
  if (scheme === 'couchbase' || scheme === 'couchbases') return { engine: 'couchbase', ...readCouchbasePlace(url) }
  if (scheme === 'zookeeper') return { engine: 'zookeeper', ...readZooKeeperPlace(url) }
  throw new HomingError('BAD_OPTION', `unknown datastore '${scheme}:'; known are ${known}`)
}

/** The place as text for people: a full path for LMDB, else the URL without the password. */
export function placeText(place: Place): string {
  if (place.engine === 'memory') return place.name === undefined ? 'memory:' : `memory:${place.name}`
  if (place.engine === 'lmdb') return place.folder
  if (place.engine === 'riak') return riakText(place)
  if (place.engine === 'couchbase') return couchbasePlaceText(place)
  if (place.engine === 'zookeeper') return zooKeeperPlaceText(place)
  return redisPlaceText(place)
}

/**
 * Whether its client may be used in a thread that ends before the process does. Couchbase's is native code with threads of its own: ended
 * while one of them calls back, it aborts the process.
 */
export function livesInThreads(url: string): boolean {
  return !/^couchbases?:/.test(url)
}

/** Where all processes of one user on one machine meet. */
function defaultFolder(cluster: string): Place {
  if (cluster === '' || cluster === '.' || cluster === '..')
    throw new HomingError('BAD_OPTION', `'${cluster}' cannot be the name of a cluster`)
  // The runtime folder belongs to all programs of the user, so ours is one below it, not the cluster's name alone.
  const runtime = process.env['XDG_RUNTIME_DIR']
  const base = runtime !== undefined && isAbsolute(runtime) ? join(runtime, 'homing') : join(tmpdir(), `homing-${userInfo().uid}`)
  return { engine: 'lmdb', folder: join(base, encodeURIComponent(cluster)), base }
}

function plainPath(path: string): string {
  if (path.includes('\0')) throw new HomingError('BAD_OPTION', 'lmdb: a path has no zero bytes')
  return path
}
