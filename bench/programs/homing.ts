/** Homing as its users have it: default options, the public face, and nothing else. */
import { createBroker, createPeer, type Message, type Peer, type Receipt } from '../../lib/index.ts'
import { Window } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { addresses, Arrivals, bodyOf, Replies, replyTo, Routes, type Body, type Reply } from '../kit/traffic.ts'

interface BrokerSetup {
  /** An LMDB folder. */
  readonly store: string
}

interface PeersSetup {
  /** An LMDB folder; absent: through the broker that was started before. */
  readonly store?: string
  /** How many peers the addresses are spread over, all in this process. */
  readonly peers?: number
}

interface SenderSetup {
  readonly store?: string
  readonly level: 'sent' | 'delivered'
  readonly outstanding: number
}

async function broker({ setup }: Part): Promise<Role> {
  const { store } = setup as BrokerSetup
  const broker = await createBroker({ store: `lmdb:${store}`, listen: 'tcp://127.0.0.1:0' })
  return { reach: broker.endpoints[0], count: () => broker.forwardedFrames, close: () => broker.close() }
}

/** Where the peers of a part meet. */
function placeOf({ setup, reach }: Part): { store: string } | { broker: string } {
  const { store } = setup as { store?: string }
  return store === undefined ? { broker: reach['broker'] as string } : { store: `lmdb:${store}` }
}

async function startPeers(part: Part, name: string): Promise<Peer[]> {
  const { peers = 1 } = part.setup as PeersSetup
  const started: Peer[] = []
  for (let number = 0; number < peers; number++) {
    started.push(await createPeer({ identity: `${name}-${number}`, ...placeOf(part) }))
  }
  return started
}

async function receiver(part: Part): Promise<Role> {
  const peers = await startPeers(part, 'receiver')
  const arrivals = new Arrivals()
  const handle = (peer: Peer, address: string): Promise<unknown> => {
    const arrived = arrivals.at(address)
    return peer.connectClient(address, (message: Message) => arrived((message.body as Body).n))
  }
  await Promise.all(addresses.map((address, index) => handle(peers[index % peers.length]!, address)))
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => closeAll(peers),
  }
}

async function sender(part: Part): Promise<Role> {
  const { level, outstanding } = part.setup as SenderSetup
  const peers = await startPeers(part, 'sender')
  const peer = peers[0]!
  const routes = new Routes()
  const failures: Record<string, number> = {}
  let count = 0
  const send = (): Promise<Receipt> => {
    const route = routes.next()
    return peer.sendMessage(route.to, bodyOf(route.next++), { from: route.from, level })
  }
  const window = new Window(outstanding, send, ({ status }) => {
    if (status === level) count++
    else failures[status] = (failures[status] ?? 0) + 1
  })
  return {
    count: () => count,
    faults: () => failures,
    start: () => window.start(),
    stop: () => window.stop(),
    close: () => closeAll(peers),
  }
}

async function answerer(part: Part): Promise<Role> {
  const peers = await startPeers(part, 'answerer')
  const arrivals = new Arrivals()
  const handle = (peer: Peer, address: string): Promise<unknown> => {
    const arrived = arrivals.at(address)
    const request = ({ body }: Message): Reply => {
      arrived((body as Body).n)
      return replyTo(body as Body)
    }
    return peer.connectClient(address, { request })
  }
  await Promise.all(addresses.map((address, index) => handle(peers[index % peers.length]!, address)))
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => closeAll(peers),
  }
}

async function asker(part: Part): Promise<Role> {
  const { outstanding } = part.setup as { outstanding: number }
  const peers = await startPeers(part, 'asker')
  const peer = peers[0]!
  const routes = new Routes()
  const replies = new Replies()
  const ask = (): Promise<unknown> => {
    const route = routes.next()
    return peer.request(route.to, bodyOf(replies.asks(route.next++)), { from: route.from })
  }
  const window = new Window(outstanding, ask, reply => replies.answered(reply as Reply))
  return {
    count: () => replies.count,
    faults: () => ({ 'wrong replies': window.idle ? replies.wrong : 0 }),
    start: () => window.start(),
    stop: () => window.stop(),
    figures: () => window.figures(),
    forget: () => window.forget(),
    close: () => closeAll(peers),
  }
}

async function closeAll(peers: readonly Peer[]): Promise<void> {
  await Promise.all(peers.map(peer => peer.close()))
}

export const roles = { broker, receiver, sender, answerer, asker }
