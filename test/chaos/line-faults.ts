/** Faults of the lines between processes: cut, one way, half open, slow, dripping, reset. */

import type { Fault } from '../../lib/testing/index.ts'
import type { Way } from '../support/tcp-proxy.ts'
import type { Line, Place } from './place.ts'
import { between, pick, type FaultKind, type Stage, type Trouble } from './stage.ts'

/** A line, and whose it is: of whoever dials over it, or of him whose door it leads to. */
interface Chosen {
  readonly place: Place
  readonly line: Line
}

function linesInPeace(stage: Stage): Chosen[] {
  const places = [...stage.peers, ...stage.brokers]
  const all = places.flatMap(place => place.lines.map(line => ({ place, line })))
  return all.filter(({ line }) => !stage.inTrouble.has(line.proxy))
}

/** Mostly one line; at times all of one process. */
function chosenLines(stage: Stage): Chosen[] {
  const one = pick(stage.random, linesInPeace(stage))
  if (!one) return []
  if (stage.random.fraction() < 0.7) return [one]
  return linesInPeace(stage).filter(({ place }) => place === one.place)
}

function othersThan(stage: Stage, { name }: Place): string[] {
  return [...stage.peers, ...stage.brokers].filter(place => place.name !== name).map(place => place.name)
}

/** A door is everybody's way to its owner. */
function ends(stage: Stage, { place, line }: Chosen): { from: string; to: string }[] {
  if (line.to !== '*') return [{ from: place.name, to: line.to }]
  return othersThan(stage, place).map(from => ({ from, to: place.name }))
}

function describe(chosen: readonly Chosen[]): string {
  return chosen.map(({ place, line }) => (line.to === '*' ? `all to ${place.name}` : `${place.name} to ${line.to}`)).join(', ')
}

function over(stage: Stage, chosen: readonly Chosen[]): () => void {
  const ended = chosen.map(({ place }) => stage.excuse(place.role === 'broker' ? '*' : place.name))
  return () => {
    for (const end of ended) end()
  }
}

/** What the judge is told of it; absent: nothing that would excuse anything. */
type Badly = 'cut' | 'oneWay' | 'drip' | undefined

function faultOf(from: string, to: string, how: Badly): Fault {
  if (how === undefined) return { fault: 'other' }
  return how === 'drip' ? { fault: 'drip', from, to } : { fault: 'cut', from, to, oneWay: how === 'oneWay' }
}

/** For a while the way is bad, and nobody is told. */
function bad(stage: Stage, what: string, way: Way, how?: Badly): Trouble | undefined {
  const chosen = chosenLines(stage)
  if (chosen.length === 0) return undefined
  const text = `${what}: ${describe(chosen)}`
  const all = chosen.flatMap(each => ends(stage, each))
  stage.tell(text, ...all.map(({ from, to }) => faultOf(from, to, how)))
  const excused = over(stage, chosen)
  for (const { line } of chosen) {
    stage.inTrouble.add(line.proxy)
    line.proxy.set(way)
    if (way.shut) line.proxy.cut()
  }
  return {
    text,
    forMs: between(stage.random, 2_000, 12_000) * stage.scale,
    async end() {
      for (const { line } of chosen) {
        line.proxy.set({})
        stage.inTrouble.delete(line.proxy)
      }
      stage.tell(
        `over: ${text}`,
        ...all.map<Fault>(({ from, to }) => (how === undefined ? { fault: 'other' } : { fault: 'heal', from, to })),
      )
      excused()
    },
  }
}

/** At once, and over at once. */
function sudden(stage: Stage, what: string, act: (line: Line) => void): Trouble | undefined {
  const chosen = chosenLines(stage)
  if (chosen.length === 0) return undefined
  const text = `${what}: ${describe(chosen)}`
  stage.tell(text, ...chosen.flatMap(each => ends(stage, each)).map<Fault>(({ from, to }) => ({ fault: 'reset', from, to })))
  for (const { line } of chosen) act(line)
  return { text, forMs: 0, end: () => Promise.resolve() }
}

export const lineFaults: readonly FaultKind[] = [
  {
    name: 'half open',
    weight: 2,
    begin: async stage => bad(stage, 'nothing gets through', { held: 'both' }, 'cut'),
  },
  {
    name: 'one way',
    weight: 2,
    begin: async stage => {
      const held = pick(stage.random, ['there', 'back'] as const)!
      return bad(stage, `nothing gets ${held}`, { held }, 'oneWay')
    },
  },
  { name: 'cut', weight: 2, begin: async stage => bad(stage, 'cut', { shut: true }, 'cut') },
  { name: 'cut for a moment', weight: 1, begin: async stage => sudden(stage, 'cut for a moment', ({ proxy }) => proxy.cut()) },
  { name: 'reset', weight: 2, begin: async stage => sudden(stage, 'reset', ({ proxy }) => proxy.reset()) },
  {
    name: 'forgotten',
    weight: 2,
    begin: async stage => sudden(stage, 'connections are forgotten on the way', ({ proxy }) => proxy.swallow()),
  },
  {
    name: 'delay',
    weight: 1,
    begin: async stage => {
      const delayMs = Math.round(between(stage.random, 20, 300))
      return bad(stage, `${delayMs} ms late`, { delayMs })
    },
  },
  {
    name: 'drip',
    weight: 1,
    begin: async stage => {
      const bytesPerSecond = Math.round(between(stage.random, 2_000, 100_000))
      return bad(stage, `${bytesPerSecond} bytes a second`, { bytesPerSecond }, 'drip')
    },
  },
]
