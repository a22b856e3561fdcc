/** The URL of a Couchbase datastore, read: which cluster, bucket and collection, how durable writes are, and who we are to it. */

import { hostAndPort } from '../env/endpoint.ts'
import { HomingError } from '../errors.ts'
import { type Bad, hostsOf, userOf, userText } from './url-parts.ts'

/** When a write is acknowledged; see docs/datastores.md. */
export type CouchbaseDurability = 'none' | 'majority' | 'majorityAndPersistToActive' | 'persistToMajority'

const durabilities: readonly CouchbaseDurability[] = ['none', 'majority', 'majorityAndPersistToActive', 'persistToMajority']

export interface CouchbasePlace {
  /** Some of the cluster's nodes, or the one name under which DNS lists them. */
  readonly hosts: readonly { readonly host: string; readonly port: number | undefined }[]
  readonly tls: boolean
  readonly bucket: string
  readonly scope: string
  readonly collection: string
  readonly durability: CouchbaseDurability
  readonly username?: string
  readonly password?: string
}

/** What Couchbase calls the scope and the collection that every bucket has. */
export const ofBucket = '_default'

/** Throws `BAD_OPTION`, without repeating what may hold a password. */
export function readCouchbasePlace(url: string): CouchbasePlace {
  const form = 'couchbase://[user:password@]host[:port][,host]/bucket[?scope=...&collection=...&durability=majority]'
  const bad: Bad = why => new HomingError('BAD_OPTION', `couchbase: ${why}; expected ${form} (couchbases: with TLS)`)
  const match = /^couchbase(s?):\/\/(?:([^/@]*)@)?([^/@?#]+)\/([^/?#]+)\/?(?:\?([^#]*))?$/.exec(url)
  if (!match) throw bad('the URL cannot be read')
  const [, s, user, hosts, bucket, options] = match
  return {
    hosts: hostsOf(hosts!, undefined, bad),
    tls: s === 's',
    bucket: named(bucket!, 'bucket', bad),
    ...optionsOf(new URLSearchParams(options), bad),
    ...userOf(user, bad),
  }
}

/** For people: the URL without the password. */
export function couchbasePlaceText({ tls, hosts, bucket, scope, collection, durability, username }: CouchbasePlace): string {
  const options = new URLSearchParams({
    ...(scope === ofBucket ? {} : { scope }),
    ...(collection === ofBucket ? {} : { collection }),
    ...(durability === 'majority' ? {} : { durability }),
  })
  const names = hosts.map(({ host, port }) => (port === undefined ? hostText(host) : hostAndPort(host, port))).join(',')
  return `couchbase${tls ? 's' : ''}://${userText(username)}${names}/${bucket}${options.size > 0 ? `?${options}` : ''}`
}

export function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function optionsOf(given: URLSearchParams, bad: Bad): Pick<CouchbasePlace, 'scope' | 'collection' | 'durability'> {
  for (const name of given.keys())
    if (!['scope', 'collection', 'durability'].includes(name)) throw bad(`there is no option '${name}'`)
  const durability = given.get('durability') ?? 'majority'
  const known = durabilities.find(each => each === durability)
  if (!known) throw bad(`durability is one of ${durabilities.join(', ')}`)
  return {
    scope: named(given.get('scope') ?? ofBucket, 'scope', bad),
    collection: named(given.get('collection') ?? ofBucket, 'collection', bad),
    durability: known,
  }
}

function named(text: string, what: string, bad: Bad): string {
  if (!/^[\w.%-]{1,251}$/.test(text)) throw bad(`the ${what} cannot be called that`)
  return text
}
