/** Listening and dialling on loopback, for the programs on bare sockets. */
import { createConnection, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'

const host = '127.0.0.1'

/** Resolves to the server, which listens on a port of its own. */
export async function listen(connected: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ noDelay: true }, socket => {
    socket.on('error', gone)
    connected(socket)
  })
  server.listen(0, host)
  await once(server, 'listening')
  return server
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port
}

export async function dial(port: number): Promise<Socket> {
  const socket = createConnection({ port, host, noDelay: true })
  await once(socket, 'connect')
  socket.on('error', gone)
  return socket
}

/** At the end, processes go in any order; anything earlier shows in what is counted. */
function gone(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') throw error
}
