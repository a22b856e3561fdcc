/** How fast messages go one way, by address, from one process to another. */
import type { Contestant, Question } from './kit/contestant.ts'
import type { PeerName } from './kit/peers.ts'

const bare = 'bare, plain maps'
const nats = 'NATS core'

function homing(name: string, folder: string, level: 'sent' | 'delivered', outstanding: number): Contestant {
  return {
    name,
    parts: [
      { name: 'receiver', program: 'homing', plays: 'receiver', setup: { store: folder } },
      { name: 'sender', program: 'homing', plays: 'sender', setup: { store: folder, level, outstanding } },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
  }
}

/** Those that acknowledge nothing. `server` is started before the two that talk. */
function unacknowledging(name: string, program: string, needs: readonly PeerName[] = [], server = false): Contestant {
  return {
    name,
    parts: [
      ...(server ? [{ name: 'broker', program, plays: 'server' }] : []),
      { name: 'receiver', program, plays: 'receiver' },
      { name: 'sender', program, plays: 'sender' },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
    needs,
  }
}

const others = [
  unacknowledging('ws, corked', 'ws', ['ws']),
  unacknowledging('Redis pub/sub, pipelined', 'redis', ['ioredis', 'redis-server'], true),
  unacknowledging('zeromq', 'zeromq', ['zeromq']),
]

export const oneWay: Question = {
  name: 'one-way',
  title: '140 bytes by address, one sender, one receiver, 16 addresses',
  unit: 'messages',
  contestants: folder => [
    unacknowledging(bare, 'bare-one-way'),
    homing('homing, sent', folder, 'sent', 4_096),
    homing('homing, receipts, 4096 outstanding', folder, 'delivered', 4_096),
    homing('homing, receipts, 256 outstanding', folder, 'delivered', 256),
    unacknowledging(nats, 'nats', ['@nats-io/transport-node', 'nats-server'], true),
    ...others,
  ],
  charts: [
    {
      title: 'one way, 140 bytes',
      figure: 'rate',
      of: [
        bare,
        'homing, sent',
        'homing, receipts, 4096 outstanding',
        'homing, receipts, 256 outstanding',
        nats,
        ...others.map(({ name }) => name),
      ],
    },
  ],
  comparisons: [
    { of: 'homing, sent', to: bare, figure: 'rate', atLeast: 0.75 },
    { of: 'homing, sent', to: nats, figure: 'rate', atLeast: 2.2 },
    { of: 'homing, receipts, 4096 outstanding', to: bare, figure: 'rate', atLeast: 0.6 },
    { of: 'homing, receipts, 4096 outstanding', to: nats, figure: 'rate', atLeast: 1.8 },
    { of: 'homing, receipts, 256 outstanding', to: bare, figure: 'rate', atLeast: 0.5 },
    { of: 'homing, sent', figure: 'loopP99Ms sender', atMost: 20 },
    { of: 'homing, sent', figure: 'loopP99Ms receiver', atMost: 20 },
    { of: 'homing, receipts, 4096 outstanding', figure: 'loopP99Ms sender', atMost: 20 },
    { of: 'homing, receipts, 4096 outstanding', figure: 'loopP99Ms receiver', atMost: 20 },
  ],
}
