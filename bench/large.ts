/** How many bytes a second go one way when the bodies are large. */
import type { Contestant, Question } from './kit/contestant.ts'
import type { PeerName } from './kit/peers.ts'

interface Size {
  readonly text: string
  readonly bytes: number
  /** In one turn of the loop, for those that are not told when to wait by a promise a message. */
  readonly perTurn: number
  /** Receipts waited for at a time: four MiB, or eight bodies. */
  readonly outstanding: number
}

const sizes: readonly Size[] = [
  { text: '64 KiB', bytes: 64 * 1024, perTurn: 16, outstanding: 64 },
  // What has an envelope around it has to be a little smaller for those that take 1 MiB at most in all.
  { text: '1 MiB', bytes: 1024 * 1024 - 64, perTurn: 1, outstanding: 8 },
]

const bare = 'bare, assembled'
const homing = 'homing, receipts'
const nats = 'NATS core'
const zeromq = 'zeromq'

function of(system: string, { text }: Size): string {
  return `${system}, ${text}`
}

function contestant(system: string, program: string, size: Size, setup: object, needs: readonly PeerName[] = []): Contestant {
  const all = { ...size, ...setup }
  return {
    name: of(system, size),
    parts: [
      ...(program === 'nats' ? [{ name: 'broker', program, plays: 'server' }] : []),
      { name: 'receiver', program, plays: 'largeReceiver', setup: all },
      { name: 'sender', program, plays: 'largeSender', setup: all },
    ],
    counted: 'receiver',
    sentBy: ['sender'],
    bytesEach: size.bytes,
    needs,
  }
}

export const large: Question = {
  name: 'large',
  title: 'bodies of bytes to one address; each arrives as one piece',
  unit: 'messages',
  mainFigure: 'mbPerS',
  contestants: folder =>
    sizes.flatMap(size => [
      contestant(bare, 'bare-large', size, {}),
      contestant(homing, 'homing-large', size, { store: folder }),
      contestant(zeromq, 'zeromq', size, {}, ['zeromq']),
      contestant(nats, 'nats', size, {}, ['@nats-io/transport-node', 'nats-server']),
    ]),
  charts: sizes.map(size => ({
    title: `bodies of ${size.text}`,
    figure: 'mbPerS',
    of: [bare, homing, zeromq, nats].map(system => of(system, size)),
  })),
  comparisons: sizes.flatMap(size => [
    { of: of(homing, size), to: of(bare, size), figure: 'mbPerS', atLeast: 0.85 },
    { of: of(homing, size), to: of(zeromq, size), figure: 'mbPerS', ...(size === sizes[0] && { atLeast: 1 }) },
    { of: of(homing, size), to: of(nats, size), figure: 'mbPerS', atLeast: 4 },
  ]),
}
