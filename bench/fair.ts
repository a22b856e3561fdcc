/** What a flood leaves to a quiet sender whose messages go to the same peer, and how free the loops are meanwhile. */
import type { Contestant, PartSetup, Question } from './kit/contestant.ts'
import type { Way } from './kit/traffic.ts'

const alone = 'homing, alone'
const beside = 'homing, a flood to another address'
const same = 'homing, a flood to the same address'
const bareAlone = 'bare, alone'
const bareBeside = 'bare, a flood to another address'

const flood: Way = { from: 'flooding', to: 'flooded' }
const quiet: Way = { from: 'quiet', to: 'calm' }
const quietToFlooded: Way = { from: 'quiet', to: 'flooded' }

/** As fast as receipts come; the quiet one sends its next message when it has the receipt of the one before. */
const floodOutstanding = 4_096

function homing(name: string, store: string, quietWay: Way, flooded: boolean): Contestant {
  const sender = (part: string, only: Way, outstanding: number): PartSetup => ({
    name: part,
    program: 'homing',
    plays: 'sender',
    setup: { store, level: 'delivered', outstanding, only },
  })
  return {
    name,
    parts: [
      { name: 'receiver', program: 'homing', plays: 'crowdedReceiver', setup: { store, ways: [flood, quietWay] } },
      ...(flooded ? [sender('flood', flood, floodOutstanding)] : []),
      sender('quiet', quietWay, 1),
    ],
    counted: 'receiver',
    sentBy: flooded ? ['flood', 'quiet'] : ['quiet'],
  }
}

/** A reply of three fields for each message takes the place of the receipt. */
function bare(name: string, flooded: boolean): Contestant {
  const asker = (part: string, only: Way, outstanding: number): PartSetup => ({
    name: part,
    program: 'bare-request',
    plays: 'asker',
    setup: { outstanding, only },
  })
  return {
    name,
    parts: [
      { name: 'answerer', program: 'bare-request', plays: 'answerer', setup: { ways: [flood, quiet] } },
      ...(flooded ? [asker('flood', flood, floodOutstanding)] : []),
      asker('quiet', quiet, 1),
    ],
    counted: 'answerer',
    sentBy: flooded ? ['flood', 'quiet'] : ['quiet'],
  }
}

export const fair: Question = {
  name: 'fair',
  title: 'one message at a time from a quiet sender, alone and beside a flood from another process (three processes then)',
  unit: 'messages handled',
  mainFigure: 'p99Us',
  contestants: folder => [
    bare(bareAlone, false),
    bare(bareBeside, true),
    homing(alone, folder, quiet, false),
    homing(beside, folder, quiet, true),
    homing(same, folder, quietToFlooded, true),
  ],
  charts: [
    {
      title: 'receipts of a quiet sender, p99',
      figure: 'p99Us',
      of: [bareAlone, bareBeside, alone, beside, same],
      lessIsBetter: true,
    },
  ],
  comparisons: [
    { of: beside, to: alone, figure: 'p50Us' },
    { of: beside, to: alone, figure: 'p99Us' },
    { of: same, to: alone, figure: 'p50Us' },
    { of: same, to: alone, figure: 'p99Us' },
    { of: bareBeside, to: bareAlone, figure: 'p50Us' },
    { of: bareBeside, to: bareAlone, figure: 'p99Us' },
    { of: beside, figure: 'loopP99Ms receiver', atMost: 20 },
    { of: beside, figure: 'loopP99Ms flood', atMost: 20 },
    { of: same, figure: 'loopP99Ms receiver', atMost: 20 },
  ],
}
