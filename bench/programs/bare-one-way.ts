/** Plain maps over bare sockets, one way, straight or through a relay: nothing is acknowledged, kept, or looked up but the handler. */
import type { Socket } from 'node:net'
import { Pour } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { Arrivals, bodyOf, Routes, type Envelope } from '../kit/traffic.ts'
import { FrameReader, FrameWriter, unpack } from './bare-frames.ts'
import { dial, listen, portOf } from './bare-sockets.ts'

/** Listens for a sender. */
async function receiver(): Promise<Role> {
  const arrivals = new Arrivals()
  const server = await listen(socket => serve(socket, arrivals))
  return {
    reach: portOf(server),
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => void server.close(),
  }
}

/** `setup.connections` destinations of a relay, in one process. */
async function destinations({ setup, reach }: Part): Promise<Role> {
  const { connections } = setup as { connections: number }
  const { destinations } = reach['broker'] as { destinations: number }
  const arrivals = new Arrivals()
  const sockets: Socket[] = []
  for (let number = 0; number < connections; number++) {
    const socket = await dial(destinations)
    serve(socket, arrivals)
    sockets.push(socket)
  }
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => sockets.forEach(socket => socket.destroy()),
  }
}

function serve(socket: Socket, arrivals: Arrivals): void {
  const reader = new FrameReader((_tag, chunk, _start, payload, end) => {
    const { to, body } = unpack(chunk, payload, end) as Envelope
    arrivals.at(to)(body.n)
  })
  socket.on('data', chunk => reader.read(chunk))
}

/** The tag says for which of `setup.destinations` a frame is; straight to a receiver it says nothing. */
async function sender({ setup, reach }: Part): Promise<Role> {
  const { destinations = 1 } = setup as { destinations?: number }
  const relay = reach['broker'] as { sources: number } | undefined
  const socket = await dial(relay?.sources ?? (reach['receiver'] as number))
  const writer = new FrameWriter(socket)
  const routes = new Routes()
  let sent = 0
  const pour = new Pour(
    () => {
      const route = routes.next()
      writer.write({ from: route.from, to: route.to, body: bodyOf(route.next++) }, sent++ % destinations)
    },
    () => writer.room(),
  )
  return { count: () => sent, start: () => pour.start(), stop: () => pour.stop(), close: async () => void socket.destroy() }
}

export const roles = { receiver, destinations, sender }
