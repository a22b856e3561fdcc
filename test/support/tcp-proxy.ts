/** A TCP proxy on loopback that can lose interest in what is connected, and in who comes. */

import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net'

export interface TcpProxy extends AsyncDisposable {
  readonly port: number
  /** How many came so far. */
  readonly connections: number
  /** Forwards nothing any more of what is connected now, without closing it. */
  swallow(): void
  /** Lets nobody through who comes from now on, without closing; `false` goes back to forwarding. */
  mute(muted: boolean): void
  /** Cuts what is connected now. */
  cut(): void
}

export async function startTcpProxy(target: number): Promise<TcpProxy> {
  const open = new Set<Socket>()
  let connections = 0
  let muted = false
  const keep = (socket: Socket): Socket => {
    open.add(socket)
    return socket.on('error', () => socket.destroy()).on('close', () => open.delete(socket))
  }
  const server = createServer(socket => {
    connections++
    keep(socket)
    if (muted) return void socket.resume()
    const onward = keep(createConnection(target, '127.0.0.1'))
    socket.on('close', () => onward.destroy())
    onward.on('close', () => socket.destroy())
    socket.pipe(onward).pipe(socket)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections
    },
    swallow() {
      for (const socket of open) socket.unpipe().removeAllListeners('close').resume()
    },
    mute(on) {
      muted = on
    },
    cut() {
      for (const socket of open) socket.destroy()
    },
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of open) socket.destroy()
      await once(server, 'close')
    },
  }
}
