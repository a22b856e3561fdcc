/** How fast messages go one way, by address, from one process to another. */
import type { Contestant, Question } from './kit/contestant.ts'

const unacknowledged = 'bare, plain maps'
const nats = 'NATS core'

function homing(name: string, folder: string, level: 'sent' | 'delivered', outstanding: number): Contestant {
  return {
    name,
    parts: [
      { name: 'receiver', program: 'homing', plays: 'receiver', setup: { store: folder } },
      { name: 'sender', program: 'homing', plays: 'sender', setup: { store: folder, level, outstanding } },
    ],
    counted: 'receiver',
    sentBy: 'sender',
  }
}

export const oneWay: Question = {
  name: 'one-way',
  title: '140 bytes by address, one sender, one receiver, 16 addresses',
  unit: 'messages',
  contestants: folder => [
    {
      name: unacknowledged,
      parts: [
        { name: 'receiver', program: 'bare-one-way', plays: 'receiver' },
        { name: 'sender', program: 'bare-one-way', plays: 'sender' },
      ],
      counted: 'receiver',
      sentBy: 'sender',
    },
    homing('homing, sent', folder, 'sent', 4_096),
    homing('homing, receipts, 4096 outstanding', folder, 'delivered', 4_096),
    homing('homing, receipts, 256 outstanding', folder, 'delivered', 256),
    {
      name: nats,
      parts: [
        { name: 'broker', program: 'nats', plays: 'server' },
        { name: 'receiver', program: 'nats', plays: 'receiver' },
        { name: 'sender', program: 'nats', plays: 'sender' },
      ],
      counted: 'receiver',
      sentBy: 'sender',
      needs: ['@nats-io/transport-node', 'nats-server'],
    },
  ],
  comparisons: [
    { of: 'homing, sent', to: unacknowledged, figure: 'rate', atLeast: 0.75 },
    { of: 'homing, sent', to: nats, figure: 'rate', atLeast: 2.2 },
    { of: 'homing, receipts, 4096 outstanding', to: unacknowledged, figure: 'rate', atLeast: 0.6 },
    { of: 'homing, receipts, 4096 outstanding', to: nats, figure: 'rate', atLeast: 1.8 },
    { of: 'homing, receipts, 256 outstanding', to: unacknowledged, figure: 'rate', atLeast: 0.5 },
    { of: 'homing, sent', figure: 'loopP99Ms sender', atMost: 20 },
    { of: 'homing, sent', figure: 'loopP99Ms receiver', atMost: 20 },
    { of: 'homing, receipts, 4096 outstanding', figure: 'loopP99Ms sender', atMost: 20 },
    { of: 'homing, receipts, 4096 outstanding', figure: 'loopP99Ms receiver', atMost: 20 },
  ],
}
