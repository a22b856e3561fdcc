/** One frame a socket; the receiver decodes it for each of its clients, as if each had asked for it. */
import { Pour } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { Arrivals, bodyOf, waysTo, type Envelope } from '../kit/traffic.ts'
import { FrameReader, FrameWriter, unpack } from './bare-frames.ts'
import { dial, listen, portOf } from './bare-sockets.ts'

/** So that the sender knows how many deliveries a message is. */
const receivers = 2

async function broadcaster({ setup }: Part): Promise<Role> {
  const { subscribers } = setup as { subscribers: number }
  const writers: FrameWriter[] = []
  const server = await listen(socket => {
    socket.resume()
    writers.push(new FrameWriter(socket))
  })
  let sent = 0
  const send = (): void => {
    const body = bodyOf(sent++)
    for (const writer of writers) writer.write({ from: 'sender-100', to: '', body }, 0)
  }
  const pour = new Pour(send, () => roomOf(writers))
  return {
    reach: portOf(server),
    count: () => sent * subscribers * receivers,
    start: () => pour.start(),
    stop: () => pour.stop(),
    close: async () => void server.close(),
  }
}

function roomOf(writers: readonly FrameWriter[]): Promise<unknown> | undefined {
  const waits = writers.map(writer => writer.room()).filter(wait => wait !== undefined)
  return waits.length > 0 ? Promise.all(waits) : undefined
}

async function subscribers({ setup, reach }: Part): Promise<Role> {
  const { subscribers } = setup as { subscribers: number }
  const names = waysTo(subscribers).map(({ to }) => to)
  const arrivals = new Arrivals(names)
  const handlers = names.map(name => arrivals.at(name))
  const socket = await dial(reach['sender'] as number)
  const reader = new FrameReader((_tag, chunk, _start, payload, end) => {
    for (const handle of handlers) handle((unpack(chunk, payload, end) as Envelope).body.n)
  })
  socket.on('data', chunk => reader.read(chunk))
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => void socket.destroy(),
  }
}

export const roles = { broadcaster, subscribers }
