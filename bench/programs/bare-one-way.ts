/** Plain maps over bare sockets, one way, straight or through a relay: nothing is acknowledged, kept, or looked up but the handler. */
import type { Socket } from 'node:net'
import { Pour } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { Arrivals, bodyOf, Routes, waysTo, type Envelope } from '../kit/traffic.ts'
import { FrameReader, FrameWriter, unpack } from './bare-frames.ts'
import { dial, listen, portOf, type BareTls } from './bare-sockets.ts'
import { credentialsFor } from './credentials.ts'

interface ReceiverSetup {
  /** An empty folder: it is then TLS, with a certificate that is made there. */
  readonly tlsIn?: string
  /** To how many addresses is sent. */
  readonly addresses?: number
}

interface SenderSetup {
  /** Of a relay: the tag says for which of them a frame is. */
  readonly destinations?: number
  /** To how many addresses is sent, at random if there are more than sixteen. */
  readonly addresses?: number
  /** Over how many sockets straight to the receiver, which stand for so many servers. */
  readonly sockets?: number
}

interface Reach {
  readonly port: number
  readonly tls?: BareTls
}

/** Listens for a sender. */
async function receiver({ setup }: Part): Promise<Role> {
  const { tlsIn, addresses = 16 } = setup as ReceiverSetup
  const tls = tlsIn === undefined ? undefined : (credentialsFor('tls', tlsIn, ['receiver'])[0]!.tls as BareTls)
  const arrivals = new Arrivals(waysTo(addresses).map(({ to }) => to))
  const server = await listen(socket => serve(socket, arrivals), tls)
  return {
    reach: { port: portOf(server), ...(tls && { tls: { ca: tls.ca } }) },
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

async function sender({ setup, reach }: Part): Promise<Role> {
  const { destinations = 1, addresses = 16, sockets = 1 } = setup as SenderSetup
  const relay = reach['broker'] as { sources: number } | undefined
  const { port, tls } = relay ? { port: relay.sources } : (reach['receiver'] as Reach)
  const open = await Promise.all(Array.from({ length: sockets }, () => dial(port, tls)))
  const writers = open.map(socket => new FrameWriter(socket))
  const straight = writers[0]!
  const ways = new Map(waysTo(sockets > 1 ? addresses : 0).map(({ to }, index) => [to, writers[index % sockets]!]))
  const writerTo = sockets > 1 ? (to: string) => ways.get(to)! : () => straight
  const routes = new Routes(waysTo(addresses), addresses > 16 ? 'at random' : 'in turn')
  let sent = 0
  const pour = new Pour(
    () => {
      const route = routes.next()
      const { from, to } = route
      writerTo(to).write({ from, to, body: bodyOf(route.next++) }, sent++ % destinations)
    },
    () => roomOf(writers),
  )
  return {
    count: () => sent,
    start: () => pour.start(),
    stop: () => pour.stop(),
    close: async () => open.forEach(socket => socket.destroy()),
  }
}

function roomOf(writers: readonly FrameWriter[]): Promise<unknown> | undefined {
  const waits = writers.map(writer => writer.room()).filter(wait => wait !== undefined)
  return waits.length > 0 ? Promise.all(waits) : undefined
}

export const roles = { receiver, destinations, sender }
