/** Requests over bare sockets: numbered frames, a promise a request, nothing else. */
import { asking } from '../kit/asking.ts'
import type { Part, Role } from '../kit/role.ts'
import { addresses, Arrivals, bodyOf, Replies, replyTo, Routes, type Envelope, type Reply, type Way } from '../kit/traffic.ts'
import { FrameReader, FrameWriter, unpack } from './bare-frames.ts'
import { dial, listen, portOf } from './bare-sockets.ts'

async function answerer({ setup }: Part): Promise<Role> {
  const { ways } = setup as { ways?: readonly Way[] }
  const arrivals = new Arrivals(ways?.map(({ to }) => to) ?? addresses)
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
  const { outstanding, only } = setup as { outstanding: number; only?: Way }
  const socket = await dial(reach['answerer'] as number)
  const writer = new FrameWriter(socket)
  const asked = new Asked(outstanding)
  const reader = new FrameReader((tag, chunk, _start, payload, end) => asked.answered(tag, unpack(chunk, payload, end) as Reply))
  socket.on('data', chunk => reader.read(chunk))
  const routes = new Routes(only && [only])
  const replies = new Replies()
  const ask = (): Promise<Reply> => {
    const route = routes.next()
    const body = bodyOf(replies.asks(route.next++))
    const reply = new Promise<Reply>(asked.keep)
    writer.write({ from: route.from, to: route.to, body }, asked.tag)
    return reply
  }
  return asking({ outstanding, replies, ask, answered: replies.answered, close: async () => void socket.destroy() })
}

/** Requests without a reply, in a ring: the answerer answers in order, so that no more than `outstanding` of them are in it. */
class Asked {
  readonly #resolves: ((reply: Reply) => void)[]
  #tag = -1
  /** Takes the place of the next request. */
  readonly keep = (resolve: (reply: Reply) => void): void => {
    this.#tag = this.#tag + 1 === this.#resolves.length ? 0 : this.#tag + 1
    this.#resolves[this.#tag] = resolve
  }

  constructor(outstanding: number) {
    this.#resolves = Array.from({ length: outstanding }, () => () => {})
  }

  /** Of the request that was kept last. */
  get tag(): number {
    return this.#tag
  }

  answered(tag: number, reply: Reply): void {
    this.#resolves[tag]!(reply)
  }
}

export const roles = { answerer, asker }
