/** WebSockets: a message a frame, packed as plain maps; the frames of one turn leave together. Nothing is acknowledged or kept. */
import type { Socket } from 'node:net'
import { once, type EventEmitter } from 'node:events'
import { Packr } from 'msgpackr'
import { asking } from '../kit/asking.ts'
import { Pour } from '../kit/load.ts'
import { loadPeer } from '../kit/peers.ts'
import type { Part, Role } from '../kit/role.ts'
import { Arrivals, bodyOf, Replies, replyTo, Routes, type Envelope, type Reply } from '../kit/traffic.ts'

/** As much of the library as is used here. */
interface Connection extends EventEmitter {
  /** Without it every frame would be a write of its own, which halves the rate. */
  readonly _socket: Socket
  readonly bufferedAmount: number
  send(data: Uint8Array, sent?: () => void): void
  terminate(): void
}
interface Server extends EventEmitter {
  address(): { port: number }
  close(): void
}
interface Ws {
  readonly WebSocket: new (url: string, options: object) => Connection
  readonly WebSocketServer: new (options: object) => Server
}

const host = '127.0.0.1'
/** Bytes that may wait in a socket before whoever fills it is told to wait. */
const waitingBytesMax = 1 << 20

const packr = new Packr({ useRecords: false })

interface Request extends Envelope {
  readonly id: number
}

/** Gathers the frames of one turn. */
class Corked {
  readonly #connection: Connection
  #isCorked = false
  readonly #uncork = (): void => {
    this.#isCorked = false
    this.#connection._socket.uncork()
  }

  constructor(connection: Connection) {
    this.#connection = connection
  }

  send(value: unknown): void {
    if (!this.#isCorked) {
      this.#isCorked = true
      this.#connection._socket.cork()
      process.nextTick(this.#uncork)
    }
    this.#connection.send(packr.pack(value))
  }

  /** What to wait for before more is sent. */
  room(): Promise<void> | undefined {
    if (this.#connection.bufferedAmount <= waitingBytesMax) return undefined
    return new Promise(resolve => this.#connection._socket.once('drain', () => resolve()))
  }
}

async function serve(connected: (connection: Connection) => void): Promise<Server> {
  const { WebSocketServer } = loadPeer('ws') as Ws
  const server = new WebSocketServer({ host, port: 0 })
  server.on('connection', (connection: Connection) => connected(connection))
  await once(server, 'listening')
  return server
}

async function connect(port: number): Promise<Connection> {
  const { WebSocket } = loadPeer('ws') as Ws
  const connection = new WebSocket(`ws://${host}:${port}`, { perMessageDeflate: false })
  await once(connection, 'open')
  return connection
}

async function receiver(): Promise<Role> {
  const arrivals = new Arrivals()
  const server = await serve(connection => {
    connection.on('message', (data: Buffer) => {
      const { to, body } = packr.unpack(data) as Envelope
      arrivals.at(to)(body.n)
    })
  })
  return {
    reach: server.address().port,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => server.close(),
  }
}

async function sender({ reach }: Part): Promise<Role> {
  const connection = await connect(reach['receiver'] as number)
  const corked = new Corked(connection)
  const routes = new Routes()
  let sent = 0
  const pour = new Pour(
    () => {
      const route = routes.next()
      corked.send({ from: route.from, to: route.to, body: bodyOf(route.next++) })
      sent++
    },
    () => corked.room(),
  )
  return { count: () => sent, start: () => pour.start(), stop: () => pour.stop(), close: async () => connection.terminate() }
}

async function answerer(): Promise<Role> {
  const arrivals = new Arrivals()
  const server = await serve(connection => {
    const corked = new Corked(connection)
    connection.on('message', (data: Buffer) => {
      const { id, to, body } = packr.unpack(data) as Request
      arrivals.at(to)(body.n)
      corked.send({ id, reply: replyTo(body) })
    })
  })
  return {
    reach: server.address().port,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => server.close(),
  }
}

async function asker({ setup, reach }: Part): Promise<Role> {
  const { outstanding } = setup as { outstanding: number }
  const connection = await connect(reach['answerer'] as number)
  const corked = new Corked(connection)
  const waiting = new Map<number, (reply: Reply) => void>()
  connection.on('message', (data: Buffer) => {
    const { id, reply } = packr.unpack(data) as { id: number; reply: Reply }
    const resolve = waiting.get(id)!
    waiting.delete(id)
    resolve(reply)
  })
  const routes = new Routes()
  const replies = new Replies()
  let id = 0
  const ask = (): Promise<Reply> => {
    const route = routes.next()
    const { from, to } = route
    const body = bodyOf(replies.asks(route.next++))
    return new Promise<Reply>(resolve => {
      waiting.set(++id, resolve)
      corked.send({ id, from, to, body })
    })
  }
  return asking({ outstanding, replies, ask, answered: replies.answered, close: async () => connection.terminate() })
}

export const roles = { receiver, sender, answerer, asker }
