/** Redis pub/sub: a channel for each address, nothing acknowledged to the end; ioredis pipelines what one turn publishes. */
import type { EventEmitter } from 'node:events'
import { Packr } from 'msgpackr'
import { startRedisServer } from '../../test/support/redis-server.ts'
import { Window } from '../kit/load.ts'
import { loadPeer } from '../kit/peers.ts'
import type { Part, Role } from '../kit/role.ts'
import { addresses, Arrivals, bodyOf, Routes, type Envelope } from '../kit/traffic.ts'
import { cpuUsOf } from './other-process.ts'

/** As much of the library as is used here. */
interface Client extends EventEmitter {
  subscribe(...channels: string[]): Promise<unknown>
  publish(channel: string, data: Uint8Array): Promise<number>
  disconnect(): void
}
interface IoRedis {
  readonly Redis: new (url: string, options: object) => Client
}

/** The answer to a publish is the server's, and is waited for so that its memory is bounded. */
const outstanding = 4_096

const packr = new Packr({ useRecords: false })

async function server(): Promise<Role> {
  const server = await startRedisServer()
  const kill = (): void => void process.kill(server.pid, 'SIGKILL')
  process.on('exit', kill)
  const close = async (): Promise<void> => {
    process.off('exit', kill)
    await server[Symbol.asyncDispose]()
  }
  return { reach: server.url, count: () => 0, cpuUs: () => cpuUsOf(server.pid), close }
}

function connect({ reach }: Part): Client {
  const { Redis } = loadPeer('ioredis') as IoRedis
  return new Redis(reach['broker'] as string, { enableAutoPipelining: true })
}

async function receiver(part: Part): Promise<Role> {
  const arrivals = new Arrivals()
  const client = connect(part)
  client.on('messageBuffer', (_channel: Buffer, data: Buffer) => {
    const { to, body } = packr.unpack(data) as Envelope
    arrivals.at(to)(body.n)
  })
  await client.subscribe(...addresses)
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: async () => client.disconnect(),
  }
}

async function sender(part: Part): Promise<Role> {
  const client = connect(part)
  const routes = new Routes()
  let sent = 0
  let unheard = 0
  const publish = (): Promise<number> => {
    const route = routes.next()
    const { from, to } = route
    return client.publish(to, packr.pack({ from, to, body: bodyOf(route.next++) }))
  }
  const window = new Window(outstanding, publish, subscribers => {
    sent++
    if (subscribers !== 1) unheard++
  })
  return {
    count: () => sent,
    faults: () => ({ 'not to one subscriber': unheard }),
    start: () => window.start(),
    stop: () => window.stop(),
    close: async () => client.disconnect(),
  }
}

export const roles = { server, receiver, sender }
