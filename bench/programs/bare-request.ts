/** Requests over bare sockets: numbered frames, a promise a request, nothing else. */
import { Window } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { Arrivals, bodyOf, replyTo, Routes, type Envelope, type Reply } from '../kit/traffic.ts'
import { FrameReader, FrameWriter, unpack } from './bare-frames.ts'
import { dial, listen, portOf } from './bare-sockets.ts'

async function answerer(): Promise<Role> {
  const arrivals = new Arrivals()
  const server = await listen(socket => {
    const writer = new FrameWriter(socket)
    const reader = new FrameReader((tag, chunk, _start, payload, end) => {
      const { to, body } = unpack(chunk, payload, end) as Envelope
      arrivals.at(to)(body.n)
      writer.write(replyTo(body), tag)
    })
    socket.on('data', chunk => reader.read(chunk))
  })
  return {
    reach: portOf(server),
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => void server.close(),
  }
}

async function asker({ setup, reach }: Part): Promise<Role> {
  const { outstanding } = setup as { outstanding: number }
  const socket = await dial(reach['answerer'] as number)
  const writer = new FrameWriter(socket)
  const asked = new Asked(outstanding)
  const reader = new FrameReader((tag, chunk, _start, payload, end) => asked.answered(tag, unpack(chunk, payload, end) as Reply))
  socket.on('data', chunk => reader.read(chunk))
  const routes = new Routes()
  let count = 0
  let wrong = 0
  const window = new Window(outstanding, async () => {
    const route = routes.next()
    const n = route.next++
    const { tag, reply } = asked.open()
    writer.write({ from: route.from, to: route.to, body: bodyOf(n) }, tag)
    if ((await reply).n !== n) wrong++
    count++
  })
  return {
    count: () => count,
    faults: () => ({ 'wrong replies': wrong }),
    start: () => window.start(),
    stop: () => window.stop(),
    resetLatencies: () => window.resetLatencies(),
    latencies: () => window.latencies(),
    close: async () => void socket.destroy(),
  }
}

/** Requests without a reply, in a ring: the answerer answers in order, so that no more than `outstanding` of them are in it. */
class Asked {
  readonly #resolves: ((reply: Reply) => void)[]
  #next = 0
  #tag = 0
  readonly #keep = (resolve: (reply: Reply) => void): void => {
    this.#resolves[this.#tag] = resolve
  }

  constructor(outstanding: number) {
    this.#resolves = Array.from({ length: outstanding }, () => () => {})
  }

  open(): { tag: number; reply: Promise<Reply> } {
    const tag = (this.#tag = this.#next)
    this.#next = tag + 1 === this.#resolves.length ? 0 : tag + 1
    return { tag, reply: new Promise<Reply>(this.#keep) }
  }

  answered(tag: number, reply: Reply): void {
    this.#resolves[tag]!(reply)
  }
}

export const roles = { answerer, asker }
