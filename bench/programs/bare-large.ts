/** Large bodies over bare sockets: a header and the bytes by reference; the receiver puts each together before it looks at it. */
import type { Socket } from 'node:net'
import { LargeArrivals, LargeBodies } from '../kit/large-bodies.ts'
import { Pour } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { dial, listen, portOf } from './bare-sockets.ts'

const headerBytes = 8
/** Bytes that may wait in a socket before whoever fills it is told to wait. */
const waitingBytesMax = 4 << 20

async function largeReceiver({ setup }: Part): Promise<Role> {
  const { bytes } = setup as { bytes: number }
  const arrivals = new LargeArrivals(bytes)
  const server = await listen(socket => {
    const assembly = new Assembly(body => arrivals.take(body))
    socket.on('data', chunk => assembly.read(chunk))
  })
  return {
    reach: portOf(server),
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => void server.close(),
  }
}

/** A body is a buffer of its own, filled as its bytes come. */
class Assembly {
  readonly #take: (body: Buffer) => void
  readonly #header = Buffer.allocUnsafeSlow(headerBytes)
  #headerFilled = 0
  #body = Buffer.alloc(0)
  #filled = 0

  constructor(take: (body: Buffer) => void) {
    this.#take = take
  }

  read(chunk: Buffer): void {
    for (let at = 0; at < chunk.length;) {
      if (this.#headerFilled < headerBytes) at += this.#readHeader(chunk, at)
      else at += this.#readBody(chunk, at)
    }
  }

  #readHeader(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.#header, this.#headerFilled, at)
    this.#headerFilled += taken
    if (this.#headerFilled === headerBytes) {
      this.#body = Buffer.allocUnsafeSlow(this.#header.readUInt32BE(0))
      this.#filled = 0
    }
    return taken
  }

  #readBody(chunk: Buffer, at: number): number {
    const taken = chunk.copy(this.#body, this.#filled, at)
    this.#filled += taken
    if (this.#filled === this.#body.length) {
      this.#headerFilled = 0
      this.#take(this.#body)
    }
    return taken
  }
}

async function largeSender({ setup, reach }: Part): Promise<Role> {
  const { bytes, perTurn } = setup as { bytes: number; perTurn: number }
  const socket = await dial(reach['receiver'] as number)
  const bodies = new LargeBodies(bytes)
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32BE(bytes, 0)
  let sent = 0
  const send = (): void => {
    socket.cork()
    socket.write(header)
    socket.write(bodies.next())
    process.nextTick(uncork, socket)
    sent++
  }
  const pour = new Pour(send, () => roomIn(socket), perTurn)
  return { count: () => sent, start: () => pour.start(), stop: () => pour.stop(), close: async () => void socket.destroy() }
}

function uncork(socket: Socket): void {
  socket.uncork()
}

function roomIn(socket: Socket): Promise<void> | undefined {
  if (socket.writableLength <= waitingBytesMax) return undefined
  return new Promise(resolve => socket.once('drain', () => resolve()))
}

export const roles = { largeReceiver, largeSender }
