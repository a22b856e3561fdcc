/** ZeroMQ: a pipeline one way, a dealer and a router for requests. Packed as plain maps; large bodies go as they are. */
import { Packr } from 'msgpackr'
import { asking } from '../kit/asking.ts'
import { loadPeer } from '../kit/peers.ts'
import type { Part, Role } from '../kit/role.ts'
import { LargeArrivals, LargeBodies } from '../kit/large-bodies.ts'
import { Arrivals, bodyOf, Replies, replyTo, Routes, type Envelope, type Reply } from '../kit/traffic.ts'

/** As much of the library as is used here. A socket sends and receives one at a time. */
interface Bound {
  bind(endpoint: string): Promise<void>
  readonly lastEndpoint: string | null
}
interface Common {
  connect(endpoint: string): void
  close(): void
  linger: number
}
interface Readable {
  receive(): Promise<Buffer[]>
}
interface Writable {
  send(frames: Uint8Array | readonly Uint8Array[]): Promise<void>
}
interface ZeroMq {
  readonly Push: new () => Common & Writable
  readonly Pull: new () => Common & Bound & Readable
  readonly Dealer: new () => Common & Writable & Readable
  readonly Router: new () => Common & Bound & Writable & Readable
}

const endpoint = 'tcp://127.0.0.1:*'
const packr = new Packr({ useRecords: false })

function zeromq(): ZeroMq {
  return loadPeer('zeromq') as ZeroMq
}

/** Reads until the socket is closed, which ends a `receive` that waits with EAGAIN. */
async function readAll(socket: Readable, take: (frames: Buffer[]) => void): Promise<void> {
  try {
    for (;;) take(await socket.receive())
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' && (error as NodeJS.ErrnoException).code !== 'EBADF') throw error
  }
}

/** What is sent while a send waits follows it. */
class InTurn {
  readonly #socket: Writable
  readonly #waiting: (readonly Uint8Array[])[] = []
  #sending = false

  constructor(socket: Writable) {
    this.#socket = socket
  }

  send(frames: readonly Uint8Array[]): void {
    this.#waiting.push(frames)
    if (!this.#sending) void this.#sendAll()
  }

  async #sendAll(): Promise<void> {
    this.#sending = true
    for (const frames of this.#waiting) await this.#socket.send(frames)
    this.#waiting.length = 0
    this.#sending = false
  }
}

/** Sends in a loop: the socket says by its promise when there is room. */
class Pipe {
  readonly #socket: Common & Writable
  readonly #next: () => Uint8Array
  #running: Promise<void> | undefined
  #stopped = false
  #sent = 0

  constructor(port: string, next: () => Uint8Array) {
    this.#socket = new (zeromq().Push)()
    this.#socket.linger = 0
    this.#socket.connect(port)
    this.#next = next
  }

  role(): Role {
    return {
      count: () => this.#sent,
      start: () => void (this.#running = this.#run()),
      stop: async () => {
        this.#stopped = true
        await this.#running
      },
      close: async () => this.#socket.close(),
    }
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#socket.send(this.#next())
      this.#sent++
    }
  }
}

async function pulling(take: (frames: Buffer[]) => void, arrivals: { count: number; disordered: number }): Promise<Role> {
  const socket = new (zeromq().Pull)()
  await socket.bind(endpoint)
  void readAll(socket, take)
  return {
    reach: socket.lastEndpoint,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => socket.close(),
  }
}

async function receiver(): Promise<Role> {
  const arrivals = new Arrivals()
  return pulling(([data]) => {
    const { to, body } = packr.unpack(data!) as Envelope
    arrivals.at(to)(body.n)
  }, arrivals)
}

async function sender({ reach }: Part): Promise<Role> {
  const routes = new Routes()
  const next = (): Uint8Array => {
    const route = routes.next()
    return packr.pack({ from: route.from, to: route.to, body: bodyOf(route.next++) })
  }
  return new Pipe(reach['receiver'] as string, next).role()
}

async function largeReceiver({ setup }: Part): Promise<Role> {
  const { bytes } = setup as { bytes: number }
  const arrivals = new LargeArrivals(bytes)
  return pulling(([data]) => arrivals.take(data!), arrivals)
}

async function largeSender({ setup, reach }: Part): Promise<Role> {
  const { bytes } = setup as { bytes: number }
  const bodies = new LargeBodies(bytes)
  return new Pipe(reach['receiver'] as string, () => bodies.next()).role()
}

async function answerer(): Promise<Role> {
  const arrivals = new Arrivals()
  const socket = new (zeromq().Router)()
  await socket.bind(endpoint)
  const inTurn = new InTurn(socket)
  void readAll(socket, ([from, id, data]) => {
    const { to, body } = packr.unpack(data!) as Envelope
    arrivals.at(to)(body.n)
    inTurn.send([from!, id!, packr.pack(replyTo(body))])
  })
  return {
    reach: socket.lastEndpoint,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => socket.close(),
  }
}

async function asker({ setup, reach }: Part): Promise<Role> {
  const { outstanding } = setup as { outstanding: number }
  const socket = new (zeromq().Dealer)()
  socket.linger = 0
  socket.connect(reach['answerer'] as string)
  const inTurn = new InTurn(socket)
  const waiting = new Map<number, (reply: Reply) => void>()
  void readAll(socket, ([id, data]) => {
    const number = id!.readUInt32LE(0)
    const resolve = waiting.get(number)!
    waiting.delete(number)
    resolve(packr.unpack(data!) as Reply)
  })
  const routes = new Routes()
  const replies = new Replies()
  let last = 0
  const ask = (): Promise<Reply> => {
    const route = routes.next()
    const { from, to } = route
    const packed = packr.pack({ from, to, body: bodyOf(replies.asks(route.next++)) })
    last = (last + 1) >>> 0
    const id = Buffer.allocUnsafe(4)
    id.writeUInt32LE(last)
    return new Promise<Reply>(resolve => {
      waiting.set(last, resolve)
      inTurn.send([id, packed])
    })
  }
  return asking({ outstanding, replies, ask, answered: replies.answered, close: async () => socket.close() })
}

export const roles = { receiver, sender, largeReceiver, largeSender, answerer, asker }
