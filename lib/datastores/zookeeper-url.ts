/** The URL of a ZooKeeper datastore, read: which servers, below which node, and who we are to them. */

import { hostAndPort } from '../env/endpoint.ts'
import { HomingError } from '../errors.ts'
import { type Bad, hostsOf, userOf, userText } from './url-parts.ts'

export interface ZooKeeperPlace {
  readonly servers: readonly { readonly host: string; readonly port: number }[]
  /** The node below which everything of ours lies: begins with a slash and does not end with one. */
  readonly root: string
  readonly username?: string
  readonly password?: string
}

/** Throws `BAD_OPTION`, without repeating what may hold a password. */
export function readZooKeeperPlace(url: string): ZooKeeperPlace {
  const bad: Bad = why =>
    new HomingError('BAD_OPTION', `zookeeper: ${why}; expected zookeeper://[user:password@]host:port[,host:port]/path`)
  const [, user, hosts, path = ''] = /^zookeeper:\/\/(?:([^/@]*)@)?([^/@?#]+)(\/[^?#]*)?$/.exec(url) ?? []
  if (hosts === undefined) throw bad('the URL cannot be read')
  return { servers: hostsOf(hosts, 2181, bad), root: rootOf(path.replace(/\/$/, ''), bad), ...userOf(user, bad) }
}

/** For people: the URL without the password. */
export function zooKeeperPlaceText({ servers, root, username }: ZooKeeperPlace): string {
  return `zookeeper://${userText(username)}${servers.map(({ host, port }) => hostAndPort(host, port)).join(',')}${root}`
}

/** Names in it are taken as they are; `/zookeeper` belongs to the ensemble itself. */
function rootOf(path: string, bad: Bad): string {
  if (path === '') return '/homing'
  const names = path.split('/').slice(1)
  const odd = names.some(name => !/^[\w.:@!~+=-]+$/.test(name) || name === '.' || name === '..')
  if (odd || names[0] === 'zookeeper' || path.length > 512) throw bad('the path cannot be that of a node')
  return path
}
