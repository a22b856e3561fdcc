/** The URL of a Redis datastore, read: which servers, by what way, and who we are to them. */

import { HomingError } from '../errors.ts'

export interface RedisHost {
  readonly host: string
  readonly port: number
}

/** `server`: the one host; `sentinel`: ask the hosts for the present master of that name; `cluster`: some of its nodes. */
export interface RedisPlace {
  readonly by: 'server' | 'sentinel' | 'cluster'
  readonly hosts: readonly RedisHost[]
  /** What sentinels call the master; empty without sentinels. */
  readonly master: string
  readonly db: number
  readonly tls: boolean
  readonly username?: string
  readonly password?: string
}

/** The part of a URL's scheme behind `redis` or `rediss`, and what the URL looks like. */
const forms = {
  server: { suffix: '', form: '[user:password@]host:port/db', port: 6379 },
  sentinel: { suffix: '+sentinel', form: '[user:password@]host:port,host:port/master/db', port: 26379 },
  cluster: { suffix: '+cluster', form: '[user:password@]host:port,host:port', port: 6379 },
} as const

/** Whether it is one of ours, and which. */
export function redisWay(scheme: string): { by: RedisPlace['by']; tls: boolean } | undefined {
  const [, s, suffix] = /^redis(s?)(\+\w+)?$/.exec(scheme) ?? []
  if (s === undefined) return undefined
  for (const by of ['server', 'sentinel', 'cluster'] as const)
    if (forms[by].suffix === (suffix ?? '')) return { by, tls: s === 's' }
  return undefined
}

/** Throws `BAD_OPTION`, without repeating what may hold a password. */
export function readRedisPlace(url: string, scheme: string, { by, tls }: { by: RedisPlace['by']; tls: boolean }): RedisPlace {
  const bad = (why: string) => new HomingError('BAD_OPTION', `${scheme}: ${why}; expected ${scheme}://${forms[by].form}`)
  const [, authority, path = ''] = /^:\/\/([^/?#]*)(\/[^?#]*)?$/.exec(url.slice(scheme.length)) ?? []
  if (authority === undefined) throw bad('the URL cannot be read, or has options (none are known)')
  const at = authority.lastIndexOf('@')
  const hosts = authority.slice(at + 1).split(',')
  if (by === 'server' && hosts.length > 1) throw bad('one server has one host')
  return {
    by,
    hosts: hosts.map(text => hostOf(text, forms[by].port, bad)),
    tls,
    ...pathOf(by, path, bad),
    ...(at < 0 ? {} : userOf(authority.slice(0, at), bad)),
  }
}

/** For people: the URL without the password. */
export function redisPlaceText({ by, hosts, master, db, tls, username }: RedisPlace): string {
  const user = username === undefined ? '' : `${encodeURIComponent(username)}@`
  const names = hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')
  const path = { server: `/${db}`, sentinel: `/${encodeURIComponent(master)}/${db}`, cluster: '' }[by]
  return `redis${tls ? 's' : ''}${forms[by].suffix}://${user}${names}${path}`
}

type Bad = (why: string) => HomingError

function hostOf(text: string, defaultPort: number, bad: Bad): RedisHost {
  // The parser's own error keeps the URL, and there may be a password in it.
  if (text === '') throw bad('a host is missing')
  if (/[@\s;]/.test(text) || !URL.canParse(`redis://${text}`)) throw bad('a host cannot be read')
  const { hostname, port } = new URL(`redis://${text}`)
  if (hostname === '') throw bad('a host is missing')
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? defaultPort : Number(port) }
}

function pathOf(by: RedisPlace['by'], path: string, bad: Bad): Pick<RedisPlace, 'master' | 'db'> {
  const [, first = '', second = '', ...more] = path.split('/')
  const db = by === 'sentinel' ? second : first
  if (more.length > 0 || (by !== 'sentinel' && second !== '')) throw bad('the path has too many parts')
  if (by === 'sentinel' && first === '') throw bad('the name that sentinels have for the master is missing')
  if (by === 'cluster' && db !== '') throw bad('a cluster has no databases')
  if (!/^\d{0,5}$/.test(db)) throw bad('the database is a number')
  return { master: by === 'sentinel' ? decoded(first, 'the name of the master has', bad) : '', db: Number(db) }
}

function userOf(text: string, bad: Bad): Pick<RedisPlace, 'username' | 'password'> {
  const colon = text.indexOf(':')
  const [username, password] = colon < 0 ? [text, ''] : [text.slice(0, colon), text.slice(colon + 1)]
  return {
    ...(username === '' ? {} : { username: decoded(username, 'user or password have', bad) }),
    ...(password === '' ? {} : { password: decoded(password, 'user or password have', bad) }),
  }
}

function decoded(text: string, what: string, bad: Bad): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) throw bad(`${what} a % that starts no escape`)
    throw error
  }
}
