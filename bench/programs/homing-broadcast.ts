/** Homing's broadcast: the result says how many clients took each message. */
import { createPeer, type BroadcastResult, type Message } from '../../lib/index.ts'
import { Window } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { Arrivals, bodyOf, waysTo, type Body } from '../kit/traffic.ts'

interface Setup {
  readonly store: string
  /** Of each of the receivers. */
  readonly subscribers: number
  readonly outstanding: number
  /** Which of the receivers. */
  readonly number: number
}

/** So that the sender knows how many deliveries a message is. */
const receivers = 2

async function broadcaster({ setup }: Part): Promise<Role> {
  const { store, subscribers, outstanding } = setup as Setup
  const peer = await createPeer({ identity: 'sender', store: `lmdb:${store}` })
  let next = 0
  let count = 0
  let missed = 0
  const send = (): Promise<BroadcastResult> => peer.broadcast(bodyOf(next++))
  const window = new Window(outstanding, send, ({ reached }) => {
    count += reached
    if (reached !== subscribers * receivers) missed++
  })
  return {
    count: () => count,
    faults: () => ({ 'not to all': missed }),
    start: () => window.start(),
    stop: () => window.stop(),
    close: () => peer.close(),
  }
}

async function subscribers({ setup }: Part): Promise<Role> {
  const { store, subscribers, number } = setup as Setup
  const peer = await createPeer({ identity: `receiver-${number}`, store: `lmdb:${store}` })
  const names = waysTo(subscribers).map(({ to }) => `${to}-${number}`)
  const arrivals = new Arrivals(names)
  const connect = (name: string): Promise<unknown> => {
    const arrived = arrivals.at(name)
    return peer.connectClient(name, (message: Message) => arrived((message.body as Body).n))
  }
  await Promise.all(names.map(connect))
  return {
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => peer.close(),
  }
}

export const roles = { broadcaster, subscribers }
