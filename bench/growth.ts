/** Whether a message costs more when there are more peers, or more sessions. */
import type { Contestant, PartSetup, Question } from './kit/contestant.ts'

/** Enough for a hundred peers to have ten each. */
const addresses = 1_000
const peerCounts = [3, 10, 30, 100]
const sessionCounts = [1_000, 100_000, 1_000_000]

/** One peer sends to two, whatever the others do: they are members and idle. */
function ofPeers(peers: number): string {
  return `homing, ${peers} peers, 2 receive`
}

/** One peer sends to all others: of what leaves in one turn, each gets the less the more they are, and each write costs its system call. */
function toAll(system: string, peers: number): string {
  return `${system}, ${peers} peers, ${peers - 1} receive`
}

function withSessions(sessions: number): string {
  return `homing, ${sessions.toLocaleString('en-US')} sessions`
}

interface Sizes {
  readonly receiving: number
  readonly idle?: number
  readonly sessions?: number
}

/** Those that receive are in one process, those that are idle in another, whose CPU time belongs to no message. */
function homing(name: string, store: string, { receiving, idle = 0, sessions = addresses }: Sizes): Contestant {
  const idlers: PartSetup = { name: 'idle', program: 'homing', plays: 'members', setup: { store, peers: idle } }
  return {
    name,
    parts: [
      {
        name: 'receiver',
        program: 'homing',
        plays: 'receiver',
        setup: { store, peers: receiving, addresses, otherSessions: sessions - addresses },
      },
      ...(idle > 0 ? [idlers] : []),
      { name: 'sender', program: 'homing', plays: 'sender', setup: { store, addresses, level: 'delivered', outstanding: 4_096 } },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
    costOf: ['receiver', 'sender'],
  }
}

function bare(peers: number): Contestant {
  const setup = { addresses, sockets: peers - 1 }
  return {
    name: toAll('bare', peers),
    parts: [
      { name: 'receiver', program: 'bare-one-way', plays: 'receiver', setup },
      { name: 'sender', program: 'bare-one-way', plays: 'sender', setup },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
  }
}

export const growth: Question = {
  name: 'growth',
  title:
    '140 bytes to 1,000 addresses at random, receipts, 4096 outstanding: CPU time a message of sender and receivers together',
  unit: 'messages',
  mainFigure: 'cpuSumUs',
  contestants: folder => [
    ...peerCounts.map(peers => homing(ofPeers(peers), folder, { receiving: 2, idle: peers - 3 })),
    ...sessionCounts.map(sessions => homing(withSessions(sessions), folder, { receiving: 2, sessions })),
    homing(toAll('homing', 100), folder, { receiving: 99 }),
    bare(3),
    bare(100),
  ],
  comparisons: [
    { of: ofPeers(10), to: ofPeers(3), figure: 'cpuSumUs' },
    { of: ofPeers(30), to: ofPeers(3), figure: 'cpuSumUs' },
    { of: ofPeers(100), to: ofPeers(3), figure: 'cpuSumUs', atMost: 1.1 },
    { of: withSessions(100_000), to: withSessions(1_000), figure: 'cpuSumUs' },
    { of: withSessions(1_000_000), to: withSessions(1_000), figure: 'cpuSumUs', atMost: 1.1 },
    { of: toAll('homing', 100), to: ofPeers(3), figure: 'cpuSumUs' },
    { of: toAll('bare', 100), to: toAll('bare', 3), figure: 'cpuSumUs' },
  ],
  charts: [
    {
      title: 'a message with more peers, or more sessions',
      figure: 'cpuSumUs',
      of: [...peerCounts.map(ofPeers), ...sessionCounts.map(withSessions)],
      lessIsBetter: true,
    },
  ],
}
