/** NATS core: a subject for each address, nothing acknowledged; requests as its client makes them. Payloads are packed as plain maps. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { Packr } from 'msgpackr'
import { asking } from '../kit/asking.ts'
import { LargeArrivals, LargeBodies } from '../kit/large-bodies.ts'
import { Pour } from '../kit/load.ts'
import { loadPeer } from '../kit/peers.ts'
import type { Part, Role } from '../kit/role.ts'
import { addresses, Arrivals, bodyOf, Replies, replyTo, Routes, waysTo, type Envelope, type Reply } from '../kit/traffic.ts'
import { cpuUsOf } from './other-process.ts'

/** As much of the client as is used here. */
interface NatsMessage {
  readonly data: Uint8Array
  respond(data: Uint8Array): boolean
}
interface NatsConnection {
  publish(subject: string, data: Uint8Array): void
  subscribe(subject: string, options: { callback: (error: Error | null, message: NatsMessage) => void }): unknown
  request(subject: string, data: Uint8Array, options: { timeout: number }): Promise<NatsMessage>
  flush(): Promise<void>
  close(): Promise<void>
}
interface NatsClient {
  connect(options: { servers: string; noEcho: boolean }): Promise<NatsConnection>
}

/** Messages after which the sender asks whether the server has them: without that it would fill its own memory. */
const flushEvery = 4_096
/** The same where each is delivered a hundred times. */
const broadcastFlushEvery = 64
/** Messages in one turn of the loop at most. */
const perTurn = 256
/** As Homing's, ms. */
const requestTimeoutMs = 10_000

const packr = new Packr({ useRecords: false })

/** Keeps nats-server on a free port; it stores no files. */
async function server(): Promise<Role> {
  const child = spawn('nats-server', ['--addr', '127.0.0.1', '--port', '-1'], { stdio: ['ignore', 'ignore', 'pipe'] })
  process.on('exit', () => child.kill('SIGKILL'))
  const reach = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stderr }).on('line', line => {
      const port = /client connections on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
      if (port !== undefined) resolve(`127.0.0.1:${port}`)
    })
    child.once('error', reject)
    child.once('exit', code => reject(new Error(`nats-server ended with ${code}`)))
  })
  return { reach, count: () => 0, cpuUs: () => cpuUsOf(child.pid!), close: async () => void child.kill() }
}

function connect(reach: Part['reach']): Promise<NatsConnection> {
  const { connect } = loadPeer('@nats-io/transport-node') as NatsClient
  return connect({ servers: reach['broker'] as string, noEcho: true })
}

function subjectOf(address: string): string {
  return `clients.${address}`
}

async function connectAll({ setup, reach }: Part): Promise<NatsConnection[]> {
  const { connections = 1 } = setup as { connections?: number }
  return Promise.all(Array.from({ length: connections }, () => connect(reach)))
}

async function receiver(part: Part): Promise<Role> {
  const arrivals = new Arrivals()
  return listening(part, arrivals, ({ data }) => {
    const { to, body } = packr.unpack(data) as Envelope
    arrivals.at(to)(body.n)
  })
}

async function answerer(part: Part): Promise<Role> {
  const arrivals = new Arrivals()
  return listening(part, arrivals, message => {
    const { to, body } = packr.unpack(message.data) as Envelope
    arrivals.at(to)(body.n)
    message.respond(packr.pack(replyTo(body)))
  })
}

async function listening(part: Part, arrivals: Arrivals, handle: (message: NatsMessage) => void): Promise<Role> {
  const connections = await connectAll(part)
  let failed = 0
  addresses.forEach((address, index) => {
    connections[index % connections.length]!.subscribe(subjectOf(address), {
      callback: (error, message) => (error ? failed++ : handle(message)),
    })
  })
  await Promise.all(connections.map(connection => connection.flush()))
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered, errors: failed }),
    close: async () => void (await Promise.all(connections.map(connection => connection.close()))),
  }
}

/** Publishes as fast as the server takes it; each is delivered so many times. */
function publishing(connection: NatsConnection, publish: () => void, deliveriesEach: number, flushEach: number): Role {
  let sent = 0
  let flushed: Promise<void> | undefined
  const pour = new Pour(
    () => {
      publish()
      sent++
    },
    () => {
      if (sent % flushEach !== 0) return undefined
      // The flush before: so that the server is never without work.
      const before = flushed
      flushed = connection.flush()
      return before
    },
    Math.min(perTurn, flushEach),
  )
  return {
    count: () => sent * deliveriesEach,
    start: () => pour.start(),
    stop: async () => {
      await pour.stop()
      await connection.flush()
    },
    close: () => connection.close(),
  }
}

async function sender({ reach }: Part): Promise<Role> {
  const connection = await connect(reach)
  const subjects = new Map(addresses.map(address => [address, subjectOf(address)]))
  const routes = new Routes()
  const publish = (): void => {
    const route = routes.next()
    const { from, to } = route
    connection.publish(subjects.get(to)!, packr.pack({ from, to, body: bodyOf(route.next++) }))
  }
  return publishing(connection, publish, 1, flushEvery)
}

/** To all: one subject, to which each client subscribes. */
const everyone = 'clients'
const receivers = 2

async function broadcaster({ setup, reach }: Part): Promise<Role> {
  const { subscribers } = setup as { subscribers: number }
  const connection = await connect(reach)
  let next = 0
  const publish = (): void => connection.publish(everyone, packr.pack({ from: 'sender-100', to: '', body: bodyOf(next++) }))
  return publishing(connection, publish, subscribers * receivers, broadcastFlushEvery)
}

async function subscribers({ setup, reach }: Part): Promise<Role> {
  const { subscribers } = setup as { subscribers: number }
  const connection = await connect(reach)
  const names = waysTo(subscribers).map(({ to }) => to)
  const arrivals = new Arrivals(names)
  let failed = 0
  for (const name of names) {
    const arrived = arrivals.at(name)
    connection.subscribe(everyone, {
      callback: (error, { data }) => (error ? failed++ : arrived((packr.unpack(data) as Envelope).body.n)),
    })
  }
  await connection.flush()
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered, errors: failed }),
    close: () => connection.close(),
  }
}

async function largeSender({ setup, reach }: Part): Promise<Role> {
  const { bytes, outstanding } = setup as { bytes: number; outstanding: number }
  const connection = await connect(reach)
  const bodies = new LargeBodies(bytes)
  return publishing(connection, () => connection.publish(everyone, bodies.next()), 1, outstanding)
}

async function largeReceiver({ setup, reach }: Part): Promise<Role> {
  const { bytes } = setup as { bytes: number }
  const connection = await connect(reach)
  const arrivals = new LargeArrivals(bytes)
  let failed = 0
  connection.subscribe(everyone, {
    callback: (error, { data }) => {
      if (error) failed++
      else arrivals.take(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
    },
  })
  await connection.flush()
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered, errors: failed }),
    close: () => connection.close(),
  }
}

async function asker({ setup, reach }: Part): Promise<Role> {
  const { outstanding } = setup as { outstanding: number }
  const connection = await connect(reach)
  const subjects = new Map(addresses.map(address => [address, subjectOf(address)]))
  const routes = new Routes()
  const replies = new Replies()
  const ask = (): Promise<NatsMessage> => {
    const route = routes.next()
    const { from, to } = route
    const packed = packr.pack({ from, to, body: bodyOf(replies.asks(route.next++)) })
    return connection.request(subjects.get(to)!, packed, { timeout: requestTimeoutMs })
  }
  return asking({
    outstanding,
    replies,
    ask,
    answered: ({ data }) => replies.answered(packr.unpack(data) as Reply),
    close: () => connection.close(),
  })
}

export const roles = { server, receiver, answerer, sender, asker, broadcaster, subscribers, largeSender, largeReceiver }
