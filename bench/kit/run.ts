/** One run of one contestant: its processes are started, warmed up, measured and ended. */
import type { Ending } from '../../lib/cli/ending.ts'
import { Child } from './child.ts'
import type { Mark } from './child-words.ts'
import type { Contestant, Outcome } from './contestant.ts'

/** How long what is under way may take to arrive after the load ended, ms. */
const arriveMs = 5_000
const lookEveryMs = 50

interface Running {
  readonly name: string
  readonly child: Child
  readonly loads: boolean
}

export interface Times {
  readonly warmUpMs: number
  readonly measuredMs: number
}

/** Undefined when the end was asked for meanwhile. Rejects with `ProgramError` when a process fails. */
export async function runOnce(contestant: Contestant, times: Times, ending: Ending): Promise<Outcome | undefined> {
  const running: Running[] = []
  try {
    // Whatever is waited for: an end that was asked for does not wait for it.
    return await Promise.race([measure(contestant, times, running, ending), ending.requested.then(() => undefined)])
  } catch (error) {
    // Ctrl-C in a terminal reaches the processes too, and those that are just starting it ends.
    if (ending.isRequested) return undefined
    throw error
  } finally {
    await Promise.all(running.map(({ child }) => (ending.isRequested ? child.cutOff() : child.end())))
  }
}

async function measure(contestant: Contestant, times: Times, running: Running[], ending: Ending): Promise<Outcome | undefined> {
  await startAll(contestant, running, ending)
  const loaders = running.filter(({ loads }) => loads)
  await Promise.all(loaders.map(({ child }) => child.ask('begin')))
  // Where nobody makes load, what is asked was measured before the parts were ready.
  if (loaders.length > 0) await ending.pause(times.warmUpMs)
  const before = await marks(running)
  if (loaders.length > 0) await ending.pause(times.measuredMs)
  const after = await marks(running)
  if (ending.isRequested) return undefined
  const figures = figuresOf(contestant, running, before, after)
  for (const { child } of loaders) await child.ask('stop')
  return { figures, faults: await faultsOf(contestant, running) }
}

async function startAll({ name, parts }: Contestant, running: Running[], ending: Ending): Promise<void> {
  const reach: Record<string, unknown> = {}
  for (const part of parts) {
    if (ending.isRequested) return
    const child = new Child(`${name}: ${part.name}`, { ...part, setup: part.setup ?? {}, reach })
    const started = { name: part.name, child, loads: false }
    running.push(started)
    const ready = await child.ready()
    reach[part.name] = ready.reach
    started.loads = ready.loads
  }
}

function marks(running: readonly Running[]): Promise<Mark[]> {
  return Promise.all(running.map(async ({ child }) => (await child.ask('mark')).mark))
}

/** Each process is measured by its own clocks, between its own marks: how long a mark takes to be heard does not matter. */
function figuresOf(
  { counted, bytesEach, costOf }: Contestant,
  running: readonly Running[],
  before: readonly Mark[],
  after: readonly Mark[],
): Record<string, number> {
  const figures: Record<string, number> = {}
  const add = (key: string, value: number) => (figures[key] = (figures[key] ?? 0) + value)
  const severalLoad = new Set(running.filter(({ loads }) => loads).map(({ name }) => name)).size > 1
  running.forEach(({ name, loads }, index) => {
    const [from, to] = [before[index]!, after[index]!]
    Object.assign(figures, to.figures)
    if (counted === undefined) return
    const tookUs = to.atUs - from.atUs
    const countPerS = ((to.count - from.count) / tookUs) * 1e6
    if (name === counted) add('rate', countPerS)
    if (loads && severalLoad) add(`sentPerS ${name}`, countPerS)
    add(`cpuUs ${name}`, ((to.cpuUs - from.cpuUs) / tookUs) * 1e6)
    if (to.loopP99Ms !== undefined) figures[`loopP99Ms ${name}`] = Math.max(figures[`loopP99Ms ${name}`] ?? 0, to.loopP99Ms)
  })
  if (counted === undefined) return figures
  if (bytesEach !== undefined) figures['mbPerS'] = (figures['rate']! * bytesEach) / 1e6
  // Until here CPU microseconds a second.
  for (const name of new Set(running.map(one => one.name))) {
    const eachUs = (figures[`cpuUs ${name}`]! /= figures['rate']!)
    if (!costOf || costOf.includes(name)) add('cpuSumUs', eachUs)
  }
  return figures
}

async function faultsOf({ counted, sentBy }: Contestant, running: readonly Running[]): Promise<Record<string, number>> {
  const faults: Record<string, number> = {}
  const total = async (names: readonly string[]): Promise<number> => {
    const parts = running.filter(one => names.includes(one.name))
    return (await Promise.all(parts.map(({ child }) => child.ask('count')))).reduce((sum, { count }) => sum + count, 0)
  }
  if (sentBy !== undefined && counted !== undefined) {
    const sent = await total(sentBy)
    let handled = await total([counted])
    for (let waitedMs = 0; handled < sent && waitedMs < arriveMs; waitedMs += lookEveryMs) {
      await new Promise(resolve => setTimeout(resolve, lookEveryMs))
      handled = await total([counted])
    }
    if (handled !== sent) faults[handled < sent ? 'lost' : 'too many'] = Math.abs(sent - handled)
  }
  for (const { child } of running) {
    for (const [what, times] of Object.entries((await child.ask('count')).faults)) {
      if (times > 0) faults[what] = (faults[what] ?? 0) + times
    }
  }
  return faults
}
