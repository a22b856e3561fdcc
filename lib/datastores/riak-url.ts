/** The URL of a Riak cluster, read: its nodes, and the bucket in it. */

import { HomingError } from '../errors.ts'

export interface RiakNodePlace {
  readonly host: string
  readonly port: number
}

export interface RiakPlace {
  readonly nodes: readonly RiakNodePlace[]
  readonly bucketType: string
  readonly bucket: string
}

const portDefault = 8087
const defaults = { bucketType: 'default', bucket: 'homing' }

/** Throws `BAD_OPTION`, without repeating the URL. */
export function riakPlace(url: string): RiakPlace {
  const bad = (why: string) =>
    new HomingError('BAD_OPTION', `riak: ${why}; expected riak://host:port,host:port?bucketType=name&bucket=name`)
  // Several hosts in one URL are more than the platform's parser takes.
  // Wherever it stands: what is not encoded of a password may look like an option.
  if (url.includes('@')) throw bad('the client does not check whom it tells a password, so none is taken; a @ in a name is %40')
  const parts = /^riak:\/\/([^/?#]*)\/?(?:\?([^#]*))?$/.exec(url)
  if (!parts) throw bad('the URL cannot be read')
  const [, hosts = '', search = ''] = parts
  const nodes = hosts.split(',').map(host => nodePlace(host, bad))
  return { nodes, ...optionsOf(search, bad) }
}

function nodePlace(text: string, bad: (why: string) => HomingError): RiakNodePlace {
  const [, ipv6, name, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = ipv6 ?? name
  if (host === undefined) throw bad(text === '' ? 'a host is missing' : 'a host cannot be read')
  const number = port === undefined ? portDefault : Number(port)
  if (number < 1 || number > 65_535) throw bad('a port is a number from 1 to 65535')
  return { host, port: number }
}

function optionsOf(search: string, bad: (why: string) => HomingError): Omit<RiakPlace, 'nodes'> {
  const options = { ...defaults }
  for (const [name, value] of new URLSearchParams(search)) {
    if (!Object.hasOwn(options, name)) throw bad(`there is no option '${name}'`)
    if (value === '') throw bad(`'${name}' is empty`)
    options[name as keyof typeof options] = value
  }
  return options
}

/** The URL again, with what was left out where it matters to people. */
export function riakText({ nodes, bucketType, bucket }: RiakPlace): string {
  const hosts = nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const options = new URLSearchParams()
  if (bucketType !== defaults.bucketType) options.set('bucketType', bucketType)
  if (bucket !== defaults.bucket) options.set('bucket', bucket)
  return `riak://${hosts.join(',')}${options.size > 0 ? `?${options}` : ''}`
}
