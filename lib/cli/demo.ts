/** The demo: starts the processes of each mode, lets them talk, and sums up what became of every message. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { datastorePlace } from '../datastores/open.ts'
import type { DemoFlags } from './commands/demo.ts'
import { painter } from './colours.ts'
import { DemoChild } from './demo-child.ts'
import type { DemoCounts } from './demo-words.ts'
import type { Ending } from './ending.ts'
import { Latencies } from './latencies.ts'
import { Progress } from './progress.ts'
import { msText } from './text.ts'

interface Totals extends DemoCounts {
  latencies: Latencies
}

/** Prints lines, above the line of progress if there is one. */
interface Screen {
  progress: Progress | undefined
  print(line: string): void
}

export async function runDemo(flags: DemoFlags, ending: Ending): Promise<number> {
  const folder = flags.store === undefined ? await mkdtemp(join(tmpdir(), 'homing-demo-')) : undefined
  const cluster = `demo-${process.pid}`
  const totals: Totals = {
    sent: 0,
    delivered: 0,
    received: 0,
    disordered: 0,
    latencies: new Latencies(2 * flags.processes * flags.burst),
  }
  const screen = newScreen(flags.json === true)
  const storeOf = (mode: string) => flags.store ?? `lmdb:${join(folder!, mode)}`
  const inCluster = (mode: string) => `${cluster}-${mode}`
  try {
    for (const mode of ['brokerless', 'broker'] as const) {
      if (ending.isRequested) break
      const store = storeOf(mode)
      const place = datastorePlace(store, inCluster(mode))
      const words = mode === 'broker' ? 'through a broker' : 'brokerless: each dials the others'
      screen.print(
        `${flags.processes} servers, ${words}. Sessions in ${place}${folder === undefined ? '' : ' (removed at the end)'}`,
      )
      await new DemoMode(mode, flags, inCluster(mode), store, screen, ending).run(totals)
      screen.print('')
    }
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
  }
  return sumUp(totals, flags, ending)
}

function newScreen(json: boolean): Screen {
  const stream = json ? process.stderr : process.stdout
  const screen: Screen = {
    progress: undefined,
    print: line => {
      screen.progress?.clear()
      stream.write(`${line}\n`)
    },
  }
  return screen
}

function sumUp({ latencies, sent, delivered, received, disordered }: Totals, flags: DemoFlags, ending: Ending): number {
  const lost = sent - received
  const timing = latencies.count > 0 ? { medianMs: latencies.quantile(0.5)!, p99Ms: latencies.quantile(0.99)! } : undefined
  const isWhole = lost === 0 && delivered === sent && disordered === 0
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ sent, delivered, lost, disordered, ...timing, interrupted: ending.isRequested })}\n`)
  } else if (ending.isRequested) {
    process.stdout.write('interrupted: the processes have ended\n')
  } else {
    const order = disordered === 0 ? '' : `, out of order ${disordered}`
    process.stdout.write(`sent ${sent}, delivered ${delivered}, lost ${lost}${order}\n`)
    if (timing)
      process.stdout.write(
        `a message took ${msText(timing.medianMs)} (median), ${msText(timing.p99Ms)} (p99), from the call to its receipt\n`,
      )
  }
  return ending.isRequested || isWhole ? 0 : 1
}

/** One mode of the demo: its processes from their start to their end. */
class DemoMode {
  readonly #mode: 'brokerless' | 'broker'
  readonly #flags: DemoFlags
  readonly #cluster: string
  readonly #store: string
  readonly #screen: Screen
  readonly #ending: Ending
  readonly #children: DemoChild[] = []

  constructor(mode: 'brokerless' | 'broker', flags: DemoFlags, cluster: string, store: string, screen: Screen, ending: Ending) {
    this.#mode = mode
    this.#flags = flags
    this.#cluster = cluster
    this.#store = store
    this.#screen = screen
    this.#ending = ending
  }

  /** Rejects with `ProgramError` when a process ends before its time. */
  async run(totals: Totals): Promise<void> {
    try {
      const talkers = await this.#start()
      await this.#unlessEnding(Promise.all(talkers.map(child => child.said('talked'))))
      if (this.#flags.burst > 0) await this.#burst(talkers, totals)
      for (const { counts } of await Promise.all(talkers.map(child => child.endWithCounts()))) {
        totals.sent += counts.sent
        totals.delivered += counts.delivered
        totals.received += counts.received
        totals.disordered += counts.disordered
      }
    } finally {
      await Promise.all(this.#children.map(child => child.end()))
    }
  }

  async #start(): Promise<DemoChild[]> {
    const { processes } = this.#flags
    let at = this.#store
    if (this.#mode === 'broker') {
      const broker = this.#child('broker', { is: 'broker', cluster: this.#cluster, at })
      at = (await broker.said('listening')).endpoint
    }
    const is = this.#mode === 'broker' ? 'server' : 'brokerless'
    return Array.from({ length: processes }, (_, index) => {
      return this.#child(`${is} ${index + 1}`, { is, n: index + 1, total: processes, cluster: this.#cluster, at })
    })
  }

  #child(name: string, role: ConstructorParameters<typeof DemoChild>[0]): DemoChild {
    const paint = painter(role.is === 'broker' ? this.#flags.processes : role.n - 1)
    const child = new DemoChild(role, name, line => this.#screen.print(paint(`${name.padEnd(12)} | ${line}`)))
    this.#children.push(child)
    return child
  }

  async #burst(talkers: readonly DemoChild[], totals: Totals): Promise<void> {
    const count = this.#flags.burst
    const all = count * talkers.length
    using progress = new Progress(() => `${talkers.reduce((sum, { answered }) => sum + answered, 0)} of ${all} messages answered`)
    this.#screen.progress = progress
    for (const child of talkers) child.order({ does: 'burst', count })
    const bursts = await this.#unlessEnding(Promise.all(talkers.map(child => child.said('burst'))))
    this.#screen.progress = undefined
    for (const { latencies } of bursts ?? []) totals.latencies.addAll(latencies)
  }

  /** Undefined when the end is asked for meanwhile. */
  #unlessEnding<T>(work: Promise<T>): Promise<T | undefined> {
    return Promise.race([work, this.#ending.requested.then(() => undefined)])
  }
}
