/** The text of an endpoint, taken apart. */

import { HomingError } from '../errors.ts'

/** `tcp://host:port`, `tcp://[::1]:port` (`host` without brackets), or `unix:/path`. */
export type Endpoint = { at: 'tcp'; host: string; port: number } | { at: 'unix'; path: string }

const tcp = /^tcp:\/\/(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([\w.-]+)):(\d{1,5})$/
/** What fits into an address of a Unix socket everywhere; Linux has four bytes more. */
const pathBytesMax = 103

/** Throws `BAD_OPTION` for what it cannot read. */
export function parseEndpoint(text: string): Endpoint {
  const match = tcp.exec(text)
  if (match) {
    const port = Number(match[3])
    if (port > 65_535) throw new HomingError('BAD_OPTION', `endpoint '${text}': no port is above 65535`)
    return { at: 'tcp', host: match[1] ?? match[2]!, port }
  }
  if (text.startsWith('unix:/') && !text.includes('\0')) {
    const path = text.slice('unix:'.length)
    if (Buffer.byteLength(path) <= pathBytesMax) return { at: 'unix', path }
    throw new HomingError('BAD_OPTION', `endpoint '${text}': the path of a Unix socket has at most ${pathBytesMax} bytes`)
  }
  throw new HomingError('BAD_OPTION', `endpoint '${text}' is neither tcp://host:port nor unix:/path`)
}

/** The text again. */
export function endpointText(endpoint: Endpoint): string {
  return endpoint.at === 'unix' ? `unix:${endpoint.path}` : `tcp://${hostAndPort(endpoint.host, endpoint.port)}`
}

const loopback = /^tcp:\/\/(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:|$)/

/** Whether only this machine reaches it. */
export function isLoopback(endpoint: string): boolean {
  return loopback.test(endpoint) || endpoint.startsWith('unix:') || endpoint.startsWith('memory:')
}

/** `host:port`, an IPv6 address in brackets. */
export function hostAndPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
