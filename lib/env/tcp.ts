/** Streams over TCP and Unix sockets, with or without TLS. */

import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { HomingError } from '../errors.ts'
import { endpointText, hostAndPort, parseEndpoint, type Endpoint } from './endpoint.ts'
import type { Accept, Connection, ConnectionHandler, Door, Listener, TlsOptions, Transport, Visit } from './env.ts'
import { codeOf, systemError } from './system-error.ts'
import { TcpConnection } from './tcp-connection.ts'
import { tlsDial, tlsFacts, tlsServer } from './tls.ts'
import { oneAtATime, removeStale } from './unix-socket.ts'

/** What Node's timers can wait. */
const timeoutMsMax = 2 ** 31 - 1

export function tcpTransport(): Transport {
  return {
    async listen(endpoint, tls, accept, door) {
      const where = parseEndpoint(endpoint)
      const listener = new TcpListener(accept, door, tls && tlsServer(tls))
      await listener.open(where)
      return listener
    },
    dial,
  }
}

function dial(endpoint: string, tls: TlsOptions | undefined, timeoutMs: number, handler: ConnectionHandler): Connection {
  const where = parseEndpoint(endpoint)
  if (where.at === 'tcp' && where.port === 0)
    throw new HomingError('BAD_OPTION', `endpoint '${endpoint}': port 0 cannot be dialled`)
  const remote = where.at === 'unix' ? where.path : hostAndPort(where.host, where.port)
  const secure = tls && tlsDial(where, tls)
  const socket = secure ?? connect(where.at === 'unix' ? { path: where.path } : { host: where.host, port: where.port })
  socket.setNoDelay(true)

  const connection = new TcpConnection(socket, remote)
  const timer = setTimeout(
    () => socket.destroy(systemError('ETIMEDOUT', 'connect', `${remote} after ${timeoutMs} ms`)),
    Math.min(timeoutMs, timeoutMsMax),
  )
  socket.once('close', () => clearTimeout(timer))
  socket.once(secure ? 'secureConnect' : 'connect', () => {
    clearTimeout(timer)
    if (secure) connection.proved(tlsFacts(secure))
    handler.opened?.()
  })
  connection.serve(handler)
  return connection
}

class TcpListener implements Listener {
  readonly #server = createServer({ noDelay: true })
  readonly #accept: Accept
  readonly #door: Door | undefined
  /** Agrees on TLS with the connections that it is given; it does not listen itself. */
  readonly #tls: Server | undefined
  /** Of connections on which TLS is being agreed, by their other end. */
  readonly #visits = new Map<string, Visit>()
  #endpoint = ''
  #closed = false

  constructor(accept: Accept, door: Door | undefined, tls: Server | undefined) {
    this.#accept = accept
    this.#door = door
    this.#tls = tls
    this.#server.on('connection', (socket: Socket) => this.#came(socket))
    tls?.on('secureConnection', (socket: TLSSocket) => this.#serve(socket, this.#visits.get(remoteOf(socket)), socket))
  }

  get endpoint(): string {
    return this.#endpoint
  }

  async open(where: Endpoint): Promise<void> {
    if (where.at === 'unix') await oneAtATime(where.path, () => this.#openPath(where))
    else await listening(this.#server, where)
    // A call that could not be accepted (no descriptors left) was dropped by the system; its dialler sees that and comes again.
    this.#server.on('error', () => undefined)
    this.#endpoint = endpointText(where.at === 'unix' ? where : { ...where, port: (this.#server.address() as AddressInfo).port })
  }

  async #openPath(where: Endpoint & { at: 'unix' }): Promise<void> {
    try {
      await listening(this.#server, where)
    } catch (error) {
      if (codeOf(error) !== 'EADDRINUSE' || !(await removeStale(where.path))) throw error
      await listening(this.#server, where)
    }
  }

  /** Resolves at once: Node's own `close` would wait for the end of every accepted connection. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#server.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Nothing has been spent on it yet but its descriptor. */
  #came(socket: Socket): void {
    const visit = this.#door?.enter(hostOf(socket), () => socket.destroy())
    // A reset, so that nothing of it lingers here.
    if (this.#door && !visit) return void socket.resetAndDestroy()
    if (!this.#tls) return this.#serve(socket, visit)
    if (visit) this.#watch(socket, visit)
    this.#tls.emit('connection', socket)
  }

  #watch(socket: Socket, visit: Visit): void {
    const remote = remoteOf(socket)
    this.#visits.set(remote, visit)
    socket.once('close', () => {
      if (this.#visits.get(remote) === visit) this.#visits.delete(remote)
      visit.left()
    })
  }

  #serve(socket: Socket, visit: Visit | undefined, secure?: TLSSocket): void {
    // A TLS handshake may end after the listener did, or after its caller did.
    if (this.#closed || socket.destroyed) {
      visit?.left()
      return void socket.destroy()
    }
    const connection = new TcpConnection(socket, remoteOf(socket), secure && tlsFacts(secure))
    connection.serve(this.#accept(connection, visit))
  }
}

function listening(server: Server, where: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    // `exclusive`: a worker of node:cluster has an endpoint of its own, not a share in that of its siblings.
    server.listen(where.at === 'unix' ? { path: where.path } : { host: where.host, port: where.port, exclusive: true }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function remoteOf(socket: Socket): string {
  if (socket.remoteAddress === undefined) return 'unix'
  return hostAndPort(hostOf(socket), socket.remotePort ?? 0)
}

function hostOf({ remoteAddress = 'unix' }: Socket): string {
  return remoteAddress.replace(/^::ffff:(?=\d+\.)/, '')
}
