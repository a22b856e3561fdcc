/** How long a request takes that is alone, and how many are answered when many are outstanding. */
import type { Contestant, Question } from './kit/contestant.ts'
import type { PeerName } from './kit/peers.ts'

interface System {
  readonly name: string
  readonly program: string
  readonly needs?: readonly PeerName[]
  /** Parts that are started before the two that talk. */
  readonly before?: Contestant['parts']
}

const bare = 'bare, framed'
const nats = 'NATS'
const moleculer = 'Moleculer'
const homing = 'homing'

const systems: readonly System[] = [
  { name: bare, program: 'bare-request' },
  { name: homing, program: 'homing' },
  {
    name: nats,
    program: 'nats',
    needs: ['@nats-io/transport-node', 'nats-server'],
    before: [{ name: 'broker', program: 'nats', plays: 'server' }],
  },
  { name: 'ws', program: 'ws', needs: ['ws'] },
  { name: 'zeromq', program: 'zeromq', needs: ['zeromq'] },
  { name: moleculer, program: 'moleculer', needs: ['moleculer'] },
]

function withOutstanding(system: string, outstanding: number): string {
  return `${system}, ${outstanding} outstanding`
}

function contestant({ name, program, needs = [], before = [] }: System, outstanding: number, folder: string): Contestant {
  // Where the sessions are kept; the others do not look at it.
  const setup = { store: folder, outstanding }
  return {
    name: withOutstanding(name, outstanding),
    parts: [
      ...before,
      { name: 'answerer', program, plays: 'answerer', setup },
      { name: 'asker', program, plays: 'asker', setup },
    ],
    counted: 'asker',
    needs,
  }
}

export const request: Question = {
  name: 'request',
  title: 'a request of 140 bytes by address, a reply of three fields',
  unit: 'requests',
  contestants: folder => [1, 256].flatMap(outstanding => systems.map(system => contestant(system, outstanding, folder))),
  charts: [
    { title: 'request and reply, 256 outstanding', figure: 'rate', of: systems.map(({ name }) => withOutstanding(name, 256)) },
    { title: 'one request alone', figure: 'p50Us', of: systems.map(({ name }) => withOutstanding(name, 1)), lessIsBetter: true },
  ],
  comparisons: [
    { of: withOutstanding(homing, 1), to: withOutstanding(bare, 1), figure: 'p50Us', atMost: 1.15 },
    { of: withOutstanding(homing, 256), to: withOutstanding(bare, 256), figure: 'rate', atLeast: 0.8 },
    { of: withOutstanding(homing, 256), to: withOutstanding(nats, 256), figure: 'rate', atLeast: 7 },
    { of: withOutstanding(homing, 256), to: withOutstanding(moleculer, 256), figure: 'rate', atLeast: 5 },
  ],
}
