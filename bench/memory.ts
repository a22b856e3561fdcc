/** How much memory a peer takes: idle, and with a hundred thousand clients. */
import type { Contestant, Question } from './kit/contestant.ts'

const bare = 'bare Node, a listener'
const idle = 'homing, idle peer'
const clients = 'homing, 100,000 clients'

function contestant(name: string, plays: string, store: string): Contestant {
  return { name, parts: [{ name: 'process', program: 'memory', plays, setup: { store } }] }
}

export const memory: Question = {
  name: 'memory',
  title:
    'resident memory of a process (that of the bench in it included): when the call ended, and when it was idle for some seconds',
  unit: 'processes',
  mainFigure: 'restMiB',
  contestants: folder => [
    contestant(bare, 'bare', folder),
    contestant(idle, 'idle', folder),
    contestant(clients, 'clients', folder),
  ],
  charts: [{ title: 'resident memory', figure: 'restMiB', of: [bare, idle, clients], lessIsBetter: true }],
  comparisons: [
    { of: idle, figure: 'restMiB', atMost: 80 },
    { of: clients, figure: 'restMiB', atMost: 150 },
    { of: clients, figure: 'endMiB' },
  ],
}
