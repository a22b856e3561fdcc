/** Homing with bodies of bytes: what is sent is a Buffer, and so is what arrives. */
import type { Message, Receipt } from '../../lib/index.ts'
import { LargeArrivals, LargeBodies } from '../kit/large-bodies.ts'
import { Window } from '../kit/load.ts'
import type { Part, Role } from '../kit/role.ts'
import { closeAll, diallingPeer, listeningPeers } from './homing-peers.ts'

const address = 'client-large'

async function largeReceiver(part: Part): Promise<Role> {
  const { bytes } = part.setup as { bytes: number }
  const { peers, reach } = await listeningPeers(part)
  const arrivals = new LargeArrivals(bytes)
  await peers[0]!.connectClient(address, (message: Message) => arrivals.take(message.body as Buffer))
  return {
    reach,
    count: () => arrivals.count,
    faults: () => ({ 'out of order': arrivals.disordered }),
    close: () => closeAll(peers),
  }
}

async function largeSender(part: Part): Promise<Role> {
  const { bytes, outstanding } = part.setup as { bytes: number; outstanding: number }
  const peer = await diallingPeer(part, 'receiver')
  const bodies = new LargeBodies(bytes)
  const failures: Record<string, number> = {}
  let count = 0
  const send = (): Promise<Receipt> => peer.sendMessage(address, bodies.next())
  const window = new Window(outstanding, send, ({ status }) => {
    if (status === 'delivered') count++
    else failures[status] = (failures[status] ?? 0) + 1
  })
  return {
    count: () => count,
    faults: () => failures,
    start: () => window.start(),
    stop: () => window.stop(),
    close: () => peer.close(),
  }
}

export const roles = { largeReceiver, largeSender }
