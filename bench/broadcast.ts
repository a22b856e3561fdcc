/** How fast one message goes to a hundred clients of two servers. */
import type { Contestant, Question } from './kit/contestant.ts'
import type { PeerName } from './kit/peers.ts'

const each = 50
const homing = 'homing, broadcast, 64 outstanding'
const bare = 'bare, decoded for each'
const nats = 'NATS core'

/** The bare sender listens, so that both receivers find it. */
function contestant(name: string, program: string, setup: object, needs: readonly PeerName[] = []): Contestant {
  const all = { subscribers: each, ...setup }
  const sender = { name: 'sender', program, plays: 'broadcaster', setup: all }
  const receivers = [1, 2].map(number => ({ name: 'receivers', program, plays: 'subscribers', setup: { ...all, number } }))
  return {
    name,
    parts: program === 'nats' ? [{ name: 'broker', program, plays: 'server' }, ...receivers, sender] : [sender, ...receivers],
    counted: 'receivers',
    sentBy: ['sender'],
    needs,
  }
}

export const broadcast: Question = {
  name: 'broadcast',
  title: '140 bytes to 100 clients, 50 in each of two processes',
  unit: 'deliveries',
  contestants: folder => [
    contestant(bare, 'bare-broadcast', {}),
    contestant(homing, 'homing-broadcast', { store: folder, outstanding: 64 }),
    contestant(nats, 'nats', {}, ['@nats-io/transport-node', 'nats-server']),
  ],
  charts: [{ title: 'broadcast to 100 clients, 140 bytes', figure: 'rate', of: [bare, homing, nats] }],
  comparisons: [
    { of: homing, to: nats, figure: 'rate', atLeast: 5 },
    { of: homing, to: bare, figure: 'rate' },
  ],
}
