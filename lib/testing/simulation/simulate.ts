/** Runs one simulated world: a swarm of faults drawn from its seed, over a workload, then quiet; and has it judged. */
import { createHash } from 'node:crypto'
import { HomingError } from '../../errors.ts'
import type { VirtualTime } from '../../env/virtual-time.ts'
import { seededRandom } from '../../env/random.ts'
import type { Broker } from '../../broker.ts'
import type { Peer } from '../../peer.ts'
import { mergeRecords } from '../../sessions/merge.ts'
import { MemoryEngine } from '../../datastores/memory.ts'
import { simulateCluster, type Cluster, type Engine } from '../cluster.ts'
import type { History } from '../history.ts'
import { check } from '../checker/check.ts'
import type { CheckOptions } from '../checker/options.ts'
import type { RuleName, Violation } from '../checker/violation.ts'
import { AmnesicEngine } from './amnesic-engine.ts'
import { Calls } from './calls.ts'
import { Draw } from './draw.ts'
import { EventualEngine } from './eventual-engine.ts'
import type { FaultName } from './fault-names.ts'
import { faults, narrow } from './faults.ts'
import { drawPlan, type Mode, type Plan } from './plan.ts'
import { calmDown, closeAll } from './quiet.ts'
import { RemoteEngine } from './remote-engine.ts'
import type { Scene } from './scene.ts'
import { Seats } from './seats.ts'

/** A promise that was broken. */
export interface Finding extends Omit<Violation, 'rule'> {
  /** Of the checker; or `world`: what no history shows. */
  readonly rule: RuleName | 'world'
}

export interface SimulationOptions {
  seed: number
  mode: Mode
}

export interface Simulation {
  readonly plan: Plan
  readonly history: History
  /** What happened besides: calls that are in no event, faults of the datastore. */
  readonly log: readonly LogLine[]
  readonly findings: readonly Finding[]
  /** Of everything that happened: the same seed gives the same. */
  readonly hash: string
  readonly virtualMs: number
  readonly eventsRun: number
  /** Sends that were made. */
  readonly messages: number
  /** How often each fault happened. */
  readonly faults: Readonly<Partial<Record<FaultName, number>>>
}

export interface LogLine {
  readonly atMs: number
  readonly text: string
}

/** Runs the world of a seed to its end. Rejects only where the simulation itself fails. */
export async function simulate(options: SimulationOptions): Promise<Simulation> {
  return new World(options).run()
}

/** How long the world runs before its first fault, ms. */
const startMs = 500
/** A supervisor looks again after that, ms. */
const tryAgainMs = 500
const longestDeadlineMs = 10_000
/** Until an owner looks once more at what it has claimed, ms. */
const siblingsMs = 2_000

class World {
  readonly #plan: Plan
  readonly #draw: Draw
  readonly #log: LogLine[] = []
  readonly #problems: Finding[] = []
  readonly #counts: Partial<Record<FaultName, number>> = {}
  readonly #undoes = new Set<() => void>()
  readonly #brokers = new Map<string, Broker>()
  #engine: Engine | undefined
  #roads: RemoteEngine | undefined

  constructor(options: SimulationOptions) {
    this.#plan = drawPlan(options.seed, options.mode)
    this.#draw = new Draw(seededRandom(`world ${options.mode} ${options.seed}`))
  }

  async run(): Promise<Simulation> {
    const { seed, network, options, clockRates } = this.#plan
    await using cluster = await simulateCluster({
      seed,
      options,
      network,
      store: { slowMs: 0, answerMs: 0, engine: time => this.#remoteEngine(time) },
    })
    for (const [process, rate] of clockRates) cluster.setClockRate(process, rate)
    if (network.bytesPerMs !== undefined) narrow(cluster, network.bytesPerMs)
    const scene = this.#scene(cluster)
    try {
      await this.#live(scene)
    } catch (error) {
      scene.problem(`the world ended before its time: ${error instanceof Error ? error.stack : String(error)}`)
    }
    return this.#outcome(cluster)
  }

  async #live(scene: Scene): Promise<void> {
    const { cluster, seats, plan, draw, calls } = scene
    for (const name of plan.brokers) {
      const dialect = plan.dialects.get(name)
      this.#sit(scene, name, await cluster.broker(name, { ...(dialect && { dialect }) }))
    }
    for (const seat of seats.all) seats.start(seat)
    await cluster.until(() => seats.up.length === plan.peers.length, 30_000)
    for (const address of plan.addresses) calls.connect(address)
    await cluster.run(startMs)
    const endMs = cluster.nowMs + plan.workMs
    let faultAtMs = cluster.nowMs
    while (cluster.nowMs < endMs) {
      calls.make()
      if (cluster.nowMs >= faultAtMs && plan.faults.length > 0) {
        this.#inflict(scene, draw.pick(plan.faults))
        faultAtMs = cluster.nowMs + 2 * draw.fraction() * plan.faultEveryMs
      }
      await cluster.run(2 * draw.fraction() * plan.workload.everyMs)
    }
    this.#endFaults(scene)
    await calmDown(scene)
    await closeAll(scene, [...this.#brokers.values()])
  }

  #inflict(scene: Scene, name: FaultName): void {
    if (faults[name](scene) === false) return
    this.#counts[name] = (this.#counts[name] ?? 0) + 1
  }

  #endFaults({ cluster, seats, log }: Scene): void {
    log('the faults end')
    for (const undo of this.#undoes) undo()
    for (const seat of seats.all) seats.endRival(seat)
    for (const name of cluster.names) cluster.rejoin(name)
  }

  #scene(cluster: Cluster): Scene {
    const plan = this.#plan
    const atMs = (): number => Math.round(cluster.nowMs * 1_000) / 1_000
    const log = (text: string): void => void this.#log.push({ atMs: atMs(), text })
    const problem = (text: string): void => void this.#problems.push({ rule: 'world', atMs: atMs(), text })
    const failed = (text: string, error: unknown): void => {
      log(`${text}: ${String(error)}`)
      // Faults cannot cause that: the world itself is made wrongly.
      if (!(error instanceof HomingError) || error.code === 'BAD_OPTION') problem(`${text}: ${String(error)}`)
    }
    const scene: Scene = {
      cluster,
      plan,
      draw: this.#draw,
      seats: new Seats(cluster, plan.peers, (process, identity) => this.#startPeer(cluster, process, identity), failed),
      roads: this.#roads!,
      amnesic: this.#engine instanceof AmnesicEngine ? this.#engine : undefined,
      eventual: this.#engine instanceof EventualEngine ? this.#engine : undefined,
      brokersUp: new Set(),
      standstills: [],
      startBroker: name => this.#startBroker(scene, name, failed),
      later: undo => this.#later(cluster, undo),
      problem,
      log,
      get calls() {
        return calls
      },
    }
    const calls = new Calls(scene)
    return scene
  }

  #remoteEngine(time: VirtualTime): Engine {
    const { kind, road, spreadMsMax } = this.#plan.store
    switch (kind) {
      case 'linearizable':
        this.#engine = new MemoryEngine(time.clock)
        break
      case 'amnesic':
        this.#engine = new AmnesicEngine(time)
        break
      case 'eventual':
        this.#engine = new EventualEngine(time, { merge: mergeRecords, spreadMsMax })
    }
    this.#roads = new RemoteEngine(this.#engine, time, road, this.#plan.options.operationTimeoutMs ?? 1_000)
    return this.#roads
  }

  #startPeer(cluster: Cluster, process: string, identity: string): Promise<Peer> {
    if (cluster.names.includes(process)) return cluster.startAgain(process) as Promise<Peer>
    const { peers, machines, brokersOf, dialects } = this.#plan
    const dialect = dialects.get(identity)
    return cluster.startPeer(process, {
      identity,
      brokers: brokersOf.get(identity)!,
      ...(dialect && { dialect }),
      ...(machines > 0 && { machine: `machine ${peers.indexOf(identity) % machines}` }),
    })
  }

  /** Starts it again; where that fails, again and again. */
  #startBroker(scene: Scene, name: string, failed: (text: string, error: unknown) => void): void {
    const { cluster } = scene
    cluster.startAgain(name).then(
      broker => this.#sit(scene, name, broker as Broker),
      (error: unknown) => {
        failed(`${name} did not start`, error)
        cluster.time.timers.after(tryAgainMs, () => this.#startBroker(scene, name, failed))
      },
    )
  }

  #sit({ brokersUp }: Scene, name: string, broker: Broker): void {
    brokersUp.add(name)
    this.#brokers.set(name, broker)
  }

  #later({ time }: Cluster, undo: () => void): void {
    const once = (): void => {
      if (this.#undoes.delete(once)) undo()
    }
    this.#undoes.add(once)
    time.timers.after(this.#draw.fraction() * this.#plan.faultMsMax, once)
  }

  #outcome({ history, time, nowMs }: Cluster): Simulation {
    const text = [history.toString(), ...this.#log.map(({ atMs, text }) => `${atMs} ${text}`), time.eventsRun].join('\n')
    return {
      plan: this.#plan,
      history,
      log: this.#log,
      findings: [...check(history.events, boundsOf(this.#plan, nowMs)), ...this.#problems],
      hash: createHash('sha256').update(text).digest('hex').slice(0, 16),
      virtualMs: nowMs,
      eventsRun: time.eventsRun,
      messages: history.of('send').length,
      faults: this.#counts,
    }
  }
}

/** By which a world of this plan is judged: its own options, and what its clocks and its datastore make of them. */
function boundsOf({ options, clockRates, store, faults }: Plan, endMs: number): CheckOptions {
  const { leaseMs = 10_000, renewEveryMs = 3_000, guardMs = 2_000, operationTimeoutMs = 1_000 } = options
  const slowest = Math.min(1, ...clockRates.values())
  return {
    endMs,
    // Deadlines are counted by clocks that may be slow.
    slackMs: 100 + longestDeadlineMs * (1 / slowest - 1),
    leaseMs,
    renewEveryMs,
    guardMs,
    operationTimeoutMs,
    // Promise 4: "one renewal and the time until a note is left", which is two operations to leave it and two to read it and look; and where
    // siblings are kept, the one that loses is told within two seconds and one renewal.
    overlapMsMax:
      renewEveryMs +
      guardMs +
      (faults.includes('storeSlow') ? 4 * operationTimeoutMs : 0) +
      (store.kind === 'eventual' ? siblingsMs : 0),
    atomicPut: store.kind !== 'eventual',
    ...(options.whenStoreIsDown && { whenStoreIsDown: options.whenStoreIsDown }),
    ...(options.windowBytes !== undefined && { windowBytes: options.windowBytes }),
  }
}
