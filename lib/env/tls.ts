/** TLS as Homing uses it: 1.3 only, certificates always verified, and what a handshake proved. */

import { createRequire } from 'node:module'
import { isIP } from 'node:net'
import type * as Tls from 'node:tls'
import type { SecureContext, SecureContextOptions, Server, TLSSocket } from 'node:tls'
import { HomingError } from '../errors.ts'
import type { Endpoint } from './endpoint.ts'
import type { TlsFacts, TlsOptions } from './env.ts'

/** Loaded when it is used: most clusters do without, and it takes more memory than all the rest of this folder. */
const tls = (): typeof Tls => createRequire(import.meta.url)('node:tls') as typeof Tls

/** How long a caller may take over its handshake, ms: as long as over that of the link, which follows. */
const handshakeTimeoutMs = 2_000

/** Reading PEM texts takes longer than all the rest of a dial. */
const contexts = new WeakMap<TlsOptions, SecureContext>()

/** A TLS server that does not listen yet. Throws `BAD_OPTION`. */
export function tlsServer(options: TlsOptions): Server {
  if (!options.cert || !options.key) throw new HomingError('BAD_OPTION', 'a TLS listener needs cert and key')
  const requestCert = options.requireClientCertificate === true
  // Without it every certificate of the web would be let in.
  if (requestCert && !options.ca) throw new HomingError('BAD_OPTION', 'requireClientCertificate needs ca')
  const server = readingPem(() =>
    tls().createServer({
      ...pemOptions(options),
      requestCert,
      rejectUnauthorized: requestCert,
      handshakeTimeout: handshakeTimeoutMs,
      noDelay: true,
    }),
  )
  // Node tells of a handshake that took too long, and leaves the socket as it is.
  return server.on('tlsClientError', (_error, socket) => socket.destroy())
}

/** Starts to connect; `secureConnect` follows. Throws `BAD_OPTION`. */
export function tlsDial(where: Endpoint, options: TlsOptions): TLSSocket {
  const target = where.at === 'unix' ? { path: where.path } : { host: where.host, port: where.port }
  const expected = options.serverName ?? (where.at === 'unix' ? 'localhost' : where.host)
  return tls().connect({
    ...target,
    secureContext: contextOf(options),
    checkServerIdentity: (_, certificate) => tls().checkServerIdentity(expected, certificate),
    // An address is no server name (RFC 6066, section 3).
    ...(isIP(expected) ? {} : { servername: expected }),
  })
}

/** What was proved about the other end of an agreed connection. */
export function tlsFacts(socket: TLSSocket): TlsFacts {
  const exporter = new Uint8Array(socket.exportKeyingMaterial(32, 'EXPORTER-homing', Buffer.alloc(0)))
  // Of a certificate with several common names (an array) none is *the* name.
  const name: unknown = socket.authorized ? socket.getPeerCertificate().subject?.CN : undefined
  return typeof name === 'string' ? { exporter, peerName: name } : { exporter }
}

function contextOf(options: TlsOptions): SecureContext {
  const known = contexts.get(options)
  if (known) return known
  const context = readingPem(() => tls().createSecureContext(pemOptions(options)))
  contexts.set(options, context)
  return context
}

function pemOptions({ cert, key, ca }: TlsOptions): SecureContextOptions {
  return {
    minVersion: 'TLSv1.3',
    ...(cert && { cert }),
    ...(key && { key }),
    ...(ca && { ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? ca : [...ca] }),
  }
}

function readingPem<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw new HomingError('BAD_OPTION', `TLS options cannot be used: ${String(cause)}`, { cause })
  }
}
