/** Moleculer's calls between two of its nodes over its own TCP transporter, as it comes: no discovery by broadcast, no logs. */
import { asking } from '../kit/asking.ts'
import { loadPeer } from '../kit/peers.ts'
import type { Part, Role } from '../kit/role.ts'
import { Arrivals, bodyOf, Replies, replyTo, Routes, type Envelope, type Reply } from '../kit/traffic.ts'

/** As much of the library as is used here. */
interface Broker {
  createService(service: { name: string; actions: Record<string, (context: { params: Envelope }) => unknown> }): unknown
  start(): Promise<void>
  stop(): Promise<void>
  call(action: string, params: Envelope): Promise<unknown>
  waitForServices(names: string[], timeoutMs: number): Promise<unknown>
  readonly transit: { readonly tx: { readonly opts: { readonly port: number } } }
}
interface Moleculer {
  readonly ServiceBroker: new (options: object) => Broker
}

const startMs = 10_000

function brokerAt(nodeID: string, urls: readonly string[]): Broker {
  const { ServiceBroker } = loadPeer('moleculer') as Moleculer
  const options = { udpDiscovery: false, useHostname: false, ...(urls.length > 0 && { urls }) }
  return new ServiceBroker({ nodeID, logger: false, transporter: { type: 'TCP', options } })
}

async function answerer(): Promise<Role> {
  const arrivals = new Arrivals()
  const broker = brokerAt('answerer', [])
  broker.createService({
    name: 'clients',
    actions: {
      ask({ params: { to, body } }) {
        arrivals.at(to)(body.n)
        return replyTo(body)
      },
    },
  })
  await broker.start()
  return {
    reach: broker.transit.tx.opts.port,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => broker.stop(),
  }
}

async function asker({ setup, reach }: Part): Promise<Role> {
  const { outstanding } = setup as { outstanding: number }
  const broker = brokerAt('asker', [`127.0.0.1:${reach['answerer'] as number}/answerer`])
  await broker.start()
  await broker.waitForServices(['clients'], startMs)
  const routes = new Routes()
  const replies = new Replies()
  const ask = (): Promise<unknown> => {
    const route = routes.next()
    const { from, to } = route
    return broker.call('clients.ask', { from, to, body: bodyOf(replies.asks(route.next++)) })
  }
  return asking({ outstanding, replies, ask, answered: reply => replies.answered(reply as Reply), close: () => broker.stop() })
}

export const roles = { answerer, asker }
