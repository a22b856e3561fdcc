/** How long it takes to start: a peer on LMDB, and the command line. */
import type { Contestant, Question } from './kit/contestant.ts'

const bare = 'bare Node, nothing loaded'
const peer = 'homing, createPeer on LMDB'
const help = 'homing --help'

function contestant(name: string, what: string, folder: string): Contestant {
  return { name, parts: [{ name: 'starter', program: 'start', plays: 'starter', setup: { what, folder } }] }
}

export const start: Question = {
  name: 'start',
  title: 'processes started one after the other until they are ready (a peer: registered; --help: ended)',
  unit: 'starts',
  mainFigure: 'wholeMs',
  contestants: folder => [contestant(bare, 'node', folder), contestant(peer, 'peer', folder), contestant(help, 'help', folder)],
  charts: [{ title: 'starting', figure: 'wholeMs', of: [bare, peer, help], lessIsBetter: true }],
  comparisons: [
    { of: peer, figure: 'callMs', atMost: 100 },
    { of: help, figure: 'wholeMs', atMost: 300 },
  ],
}
