/** Homing as its users have it: default options, the public face, and nothing else. */
import { createBroker, type Message, type Peer, type Receipt } from '../../lib/index.ts'
import { asking } from '../kit/asking.ts'
import { Window } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import {
  addresses,
  Arrivals,
  bodyOf,
  Replies,
  replyTo,
  Routes,
  waysTo,
  type Body,
  type Reply,
  type Route,
  type Way,
} from '../kit/traffic.ts'
import { closeAll, diallingPeer, listeningPeers } from './homing-peers.ts'
import { fillStore } from './many-sessions.ts'

interface ReceiverSetup {
  readonly store?: string
  /** How many addresses are connected, spread over the peers. */
  readonly addresses?: number
  /** How many sessions are in the store besides. */
  readonly otherSessions?: number
}

interface SenderSetup {
  readonly level: 'sent' | 'delivered'
  readonly outstanding: number
  /** To how many addresses is sent, at random if there are more than sixteen. */
  readonly addresses?: number
  /** The only way that is sent along, and the name of the peer: one of several senders. */
  readonly only?: Way
}

async function broker({ setup }: Part): Promise<Role> {
  const { store } = setup as { store: string }
  const broker = await createBroker({ store: `lmdb:${store}`, listen: 'tcp://127.0.0.1:0' })
  return { reach: broker.endpoints[0], count: () => broker.forwardedFrames, close: () => broker.close() }
}

async function receiver(part: Part): Promise<Role> {
  const { store, addresses = 16, otherSessions = 0 } = part.setup as ReceiverSetup
  const { peers, reach } = await listeningPeers(part)
  const names = waysTo(addresses).map(({ to }) => to)
  const arrivals = new Arrivals(names)
  await connectAll(peers, names, (peer, address) => {
    const arrived = arrivals.at(address)
    return peer.connectClient(address, (message: Message) => arrived((message.body as Body).n))
  })
  if (store !== undefined && otherSessions > 0) await fillStore(store, peers[0]!, otherSessions)
  return {
    reach,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => closeAll(peers),
  }
}

/** Connects, or first messages, that are under way at a time. */
const atOnce = 1_000

function* batchesOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let from = 0; from < all.length; from += atOnce) yield all.slice(from, from + atOnce)
}

/** Addresses in turn over the peers. */
async function connectAll(
  peers: readonly Peer[],
  names: readonly string[],
  connect: (peer: Peer, address: string) => Promise<unknown>,
): Promise<void> {
  let at = 0
  for (const some of batchesOf(names)) await Promise.all(some.map(address => connect(peers[at++ % peers.length]!, address)))
}

/** One address, and several who send to it or beside it: the order is kept for each of them. */
async function crowdedReceiver(part: Part): Promise<Role> {
  const { ways } = part.setup as { ways: readonly Way[] }
  const { peers, reach } = await listeningPeers(part)
  const arrivals = new Arrivals(ways.map(({ from }) => from))
  const take = ({ from, body }: Message): void => arrivals.at(from!)((body as Body).n)
  await peers[0]!.connectClients([...new Set(ways.map(({ to }) => to))], take)
  return {
    reach,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => closeAll(peers),
  }
}

/** Peers without clients, which nobody sends to. */
async function members(part: Part): Promise<Role> {
  const { peers } = await listeningPeers(part, 'member')
  return { count: () => 0, close: () => closeAll(peers) }
}

async function sender(part: Part): Promise<Role> {
  const { level, outstanding, addresses = 16, only } = part.setup as SenderSetup
  const peer = await diallingPeer(part, 'receiver', only?.from)
  const routes = new Routes(only ? [only] : waysTo(addresses), addresses > 16 ? 'at random' : 'in turn')
  const failures: Record<string, number> = {}
  let count = 0
  const sendTo = (route: Route, level: SenderSetup['level']): Promise<Receipt> =>
    peer.sendMessage(route.to, bodyOf(route.next++), { from: route.from, level })
  const done = ({ status }: Receipt): void => {
    if (status === 'delivered' || status === level) count++
    else failures[status] = (failures[status] ?? 0) + 1
  }
  // All links are made, and as many locations known as are remembered.
  for (const some of batchesOf(routes.all)) {
    for (const receipt of await Promise.all(some.map(route => sendTo(route, 'delivered')))) done(receipt)
  }
  const window = new Window(outstanding, () => sendTo(routes.next(), level), done)
  return {
    count: () => count,
    faults: () => failures,
    start: () => window.start(),
    stop: () => window.stop(),
    figures: () => window.figures(),
    forget: () => window.forget(),
    close: () => peer.close(),
  }
}

async function answerer(part: Part): Promise<Role> {
  const { peers, reach } = await listeningPeers(part)
  const arrivals = new Arrivals()
  await connectAll(peers, addresses, (peer, address) => {
    const arrived = arrivals.at(address)
    const request = ({ body }: Message): Reply => {
      arrived((body as Body).n)
      return replyTo(body as Body)
    }
    return peer.connectClient(address, { request })
  })
  return {
    reach,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => closeAll(peers),
  }
}

async function asker(part: Part): Promise<Role> {
  const { outstanding } = part.setup as { outstanding: number }
  const peer = await diallingPeer(part, 'answerer')
  const routes = new Routes()
  const replies = new Replies()
  const ask = (): Promise<unknown> => {
    const route = routes.next()
    return peer.request(route.to, bodyOf(replies.asks(route.next++)), { from: route.from })
  }
  return asking({ outstanding, replies, ask, answered: reply => replies.answered(reply as Reply), close: () => peer.close() })
}

export const roles = { broker, receiver, crowdedReceiver, members, sender, answerer, asker }
