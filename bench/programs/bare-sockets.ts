/** Listening and dialling on loopback, plain or TLS, for the programs on bare sockets. */
import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { connect as connectTls, createServer as createTlsServer, type TlsOptions } from 'node:tls'

const host = '127.0.0.1'

/** Of the listener: its certificate and its key; of who dials: whom it trusts. */
export type BareTls = Pick<TlsOptions, 'cert' | 'key' | 'ca'>

/** Resolves to the server, which listens on a port of its own. */
export async function listen(connected: (socket: Socket) => void, tls?: BareTls): Promise<Server> {
  const accept = (socket: Socket): void => {
    socket.on('error', gone)
    connected(socket)
  }
  const server = tls
    ? createTlsServer({ ...tls, minVersion: 'TLSv1.3', noDelay: true }, accept)
    : createServer({ noDelay: true }, accept)
  server.listen(0, host)
  await once(server, 'listening')
  return server
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

export async function dial(port: number, tls?: BareTls): Promise<Socket> {
  const socket = tls ? connectTls({ ...tls, port, host }) : createConnection({ port, host })
  socket.setNoDelay(true)
  await once(socket, tls ? 'secureConnect' : 'connect')
  socket.on('error', gone)
  return socket
}

/** At the end, processes go in any order; anything earlier shows in what is counted. */
function gone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error
}
