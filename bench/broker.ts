/** How fast messages go through a relay: one sender, one process that receives for one or four destinations. */
import type { Contestant, Question } from './kit/contestant.ts'

function to(system: string, destinations: number): string {
  return `${system}, ${destinations} ${destinations === 1 ? 'destination' : 'destinations'}`
}

function bare(destinations: number): Contestant {
  return {
    name: to('bare relay', destinations),
    parts: [
      { name: 'broker', program: 'bare-relay', plays: 'broker' },
      { name: 'receiver', program: 'bare-one-way', plays: 'destinations', setup: { connections: destinations } },
      { name: 'sender', program: 'bare-one-way', plays: 'sender', setup: { destinations } },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
  }
}

function homing(destinations: number, folder: string): Contestant {
  return {
    name: to('homing, receipts', destinations),
    parts: [
      { name: 'broker', program: 'homing', plays: 'broker', setup: { store: folder } },
      { name: 'receiver', program: 'homing', plays: 'receiver', setup: { peers: destinations } },
      { name: 'sender', program: 'homing', plays: 'sender', setup: { level: 'delivered', outstanding: 4_096 } },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
  }
}

function nats(destinations: number): Contestant {
  return {
    name: to('NATS core', destinations),
    parts: [
      { name: 'broker', program: 'nats', plays: 'server' },
      { name: 'receiver', program: 'nats', plays: 'receiver', setup: { connections: destinations } },
      { name: 'sender', program: 'nats', plays: 'sender' },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
    needs: ['@nats-io/transport-node', 'nats-server'],
  }
}

export const broker: Question = {
  name: 'broker',
  title: '140 bytes by address through a relay; receipts end to end, 4096 outstanding, where it has any',
  unit: 'messages',
  contestants: folder => [1, 4].flatMap(destinations => [bare(destinations), homing(destinations, folder), nats(destinations)]),
  charts: [
    {
      title: 'through a relay, 140 bytes',
      figure: 'rate',
      of: [1, 4].flatMap(destinations => ['bare relay', 'homing, receipts', 'NATS core'].map(system => to(system, destinations))),
    },
  ],
  comparisons: [
    { of: to('homing, receipts', 1), to: to('bare relay', 1), figure: 'rate' },
    { of: to('homing, receipts', 4), to: to('bare relay', 4), figure: 'rate', atLeast: 0.45 },
    { of: to('homing, receipts', 4), to: to('NATS core', 4), figure: 'rate', atLeast: 1.4 },
    { of: to('homing, receipts', 4), figure: 'cpuUs broker', atMost: 0.35 },
  ],
}
