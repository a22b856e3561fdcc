/** The URL of a datastore, read: which engine, and where. */

import { tmpdir, userInfo } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { hostAndPort } from '../env/endpoint.ts'
import { HomingError } from '../errors.ts'
import { type CouchbasePlace, couchbasePlaceText, readCouchbasePlace } from './couchbase-url.ts'
import { readZooKeeperPlace, type ZooKeeperPlace, zooKeeperPlaceText } from './zookeeper-url.ts'

/** Where a Redis server listens, and who we are to it. */
export interface RedisPlace {
  readonly host: string
  readonly port: number
  readonly db: number
  readonly tls: boolean
  readonly username?: string
  readonly password?: string
}

/** What a URL names. `name` absent: a memory store of its own; `base` present: a default folder, to be checked for its owner. */
export type Place =
  | { readonly engine: 'memory'; readonly name?: string }
  | { readonly engine: 'lmdb'; readonly folder: string; readonly base?: string }
  | ({ readonly engine: 'redis' } & RedisPlace)
  | ({ readonly engine: 'couchbase' } & CouchbasePlace)
  | ({ readonly engine: 'zookeeper' } & ZooKeeperPlace)

const known = [
  'memory:, memory:name, lmdb:, lmdb:/folder, redis://host:port/db, rediss://host:port/db',
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
  if (scheme === 'redis' || scheme === 'rediss') return { engine: 'redis', ...redisPlace(url, scheme) }
  if (scheme === 'couchbase' || scheme === 'couchbases') return { engine: 'couchbase', ...readCouchbasePlace(url) }
  if (scheme === 'zookeeper') return { engine: 'zookeeper', ...readZooKeeperPlace(url) }
  throw new HomingError('BAD_OPTION', `unknown datastore '${scheme}:'; known are ${known}`)
}

/** The place as text for people: a full path for LMDB, else the URL without the password. */
export function placeText(place: Place): string {
  if (place.engine === 'memory') return place.name === undefined ? 'memory:' : `memory:${place.name}`
  if (place.engine === 'lmdb') return place.folder
  if (place.engine === 'couchbase') return couchbasePlaceText(place)
  if (place.engine === 'zookeeper') return zooKeeperPlaceText(place)
  const user = place.username === undefined ? '' : `${encodeURIComponent(place.username)}@`
  return `${place.tls ? 'rediss' : 'redis'}://${user}${hostAndPort(place.host, place.port)}/${place.db}`
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

function redisPlace(url: string, scheme: 'redis' | 'rediss'): RedisPlace {
  // Neither the URL nor the error of its parser (which keeps the URL) may be shown: there may be a password in it.
  const bad = (why: string) =>
    new HomingError('BAD_OPTION', `${scheme}: ${why}; expected ${scheme}://[user:password@]host:port/db`)
  if (!URL.canParse(url) || !url.startsWith(`${scheme}://`)) throw bad('the URL cannot be read')
  const { hostname, port, pathname, search, hash, username, password } = new URL(url)
  if (hostname === '') throw bad('the host is missing')
  if (search !== '' || hash !== '') throw bad('the URL has options, and none are known')
  if (!/^(\/\d{0,5})?$/.test(pathname)) throw bad('the database is a number')
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 6379 : Number(port),
    db: Number(pathname.slice(1)),
    tls: scheme === 'rediss',
    ...(username === '' ? {} : { username: decoded(username, bad) }),
    ...(password === '' ? {} : { password: decoded(password, bad) }),
  }
}

function decoded(text: string, bad: (why: string) => HomingError): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) throw bad('user or password have a % that starts no escape')
    throw error
  }
}
