/** What it costs that the addresses are many and lie with many peers, in a store that is full. */
import type { Contestant, Question } from './kit/contestant.ts'

const addresses = 100_000
const peers = 10
const sessions = 1_000_000

const bareFew = 'bare, plain maps, 16 addresses, one socket'
const bareMany = 'bare, plain maps, 100,000 addresses, ten sockets'
const few = 'homing, receipts, 16 addresses, one peer'
const many = 'homing, receipts, 100,000 addresses, ten peers'

function bare(name: string, setup: object): Contestant {
  return {
    name,
    parts: [
      { name: 'receiver', program: 'bare-one-way', plays: 'receiver', setup },
      { name: 'sender', program: 'bare-one-way', plays: 'sender', setup },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
  }
}

function homing(name: string, store: string, setup: object): Contestant {
  const toAll = { store, level: 'delivered', outstanding: 4_096, ...setup }
  return {
    name,
    parts: [
      { name: 'receiver', program: 'homing', plays: 'receiver', setup: toAll },
      { name: 'sender', program: 'homing', plays: 'sender', setup: toAll },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
  }
}

export const manyAddresses: Question = {
  name: 'many-addresses',
  title: '140 bytes to 100,000 addresses at random over ten peers (in one process), a million sessions in the store',
  unit: 'messages',
  contestants: folder => [
    bare(bareFew, {}),
    bare(bareMany, { addresses, sockets: peers }),
    homing(few, folder, {}),
    homing(many, folder, { addresses, peers, otherSessions: sessions - addresses }),
  ],
  charts: [{ title: 'many addresses, 140 bytes', figure: 'rate', of: [bareFew, bareMany, few, many] }],
  comparisons: [
    { of: many, to: few, figure: 'rate', atLeast: 0.7 },
    { of: bareMany, to: bareFew, figure: 'rate' },
    { of: many, to: bareMany, figure: 'rate' },
  ],
}
