/** The processes of a run, their lines, their datastore and their users. */

import { join } from 'node:path'
import type { Random } from '../../lib/env/env.ts'
import { seededRandom } from '../../lib/env/random.ts'
import type { Status } from '../../lib/index.ts'
import type { Fault, History, Told } from '../../lib/testing/index.ts'
import { freePort } from '../support/free-port.ts'
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.ts'
import { Children } from './children.ts'
import { startEngine, type Engine } from './engine.ts'
import { NotUp, Place, type Line, type PlaceEvents } from './place.ts'
import { peerOptions, type RunOptions } from './run-options.ts'
import type { Stage } from './stage.ts'
import type { News, Primed, Task } from './task.ts'
import { Users } from './users.ts'

export interface ClusterEvents {
  readonly history: History
  readonly random: Random
  found(text: string): void
  excuse(name: string): () => void
  counted(sent: number, settled: Partial<Record<Status, number>>): void
}

/** Addresses a peer. */
const addressesPerPeer = 3

export class Cluster implements AsyncDisposable {
  readonly peers: readonly Place[]
  readonly brokers: readonly Place[]
  readonly users: Users
  readonly stage: Stage
  readonly #events: ClusterEvents
  readonly #resources: AsyncDisposable[]

  private constructor(crew: Crew, engine: Engine, options: RunOptions, events: ClusterEvents, resources: AsyncDisposable[]) {
    this.#events = events
    this.#resources = resources
    const on: PlaceEvents = {
      news: (place, news) => this.#heard(place, news),
      exit: (place, code, signal) => this.#exited(place, code, signal),
    }
    this.brokers = crew.brokers.map(make => make(on))
    this.peers = crew.peers.map(make => make(on))
    this.users = new Users(crew.addresses, this.peers, seededRandom(`users ${options.seed}`), text => events.found(text))
    this.stage = {
      random: events.random,
      engine,
      peers: this.peers,
      brokers: this.brokers,
      tell: (text, ...faults) => this.#tell(text, faults),
      start: (place, failpoint) => this.#start(place, failpoint),
      excuse: name => events.excuse(name),
      inTrouble: new Set(),
      found: text => events.found(text),
      scale: options.scale,
    }
  }

  /** Resolves when all are members and all users connect. */
  static async start(options: RunOptions, originNs: bigint, events: ClusterEvents): Promise<Cluster> {
    const children = new Children()
    const resources: AsyncDisposable[] = [children]
    try {
      const engine = await startEngine(options.store, options.folder, children)
      resources.push(engine)
      const crew = await crewOf(options, originNs, engine, children, resources)
      const cluster = new Cluster(crew, engine, options, events, resources)
      await Promise.all(cluster.brokers.map(place => place.start()))
      await Promise.all(cluster.peers.map(place => place.start()))
      cluster.users.begin()
      return cluster
    } catch (error) {
      await disposeAll(resources)
      throw error
    }
  }

  /** Whoever could not join while others were away too is started again, as a supervisor would: in quiet it must come up. */
  async #start(place: Place, failpoint?: Primed): Promise<void> {
    const { name } = place
    for (;;) {
      this.#tell(`start ${name} again`, [{ fault: 'start', name }])
      try {
        return await place.start(failpoint)
      } catch (error) {
        const mayBe = error instanceof NotUp && (error.code === 'UNREACHABLE' || error.code === 'DATASTORE')
        if (!mayBe) this.#events.found(String(error))
        this.#tell(`kill ${name}: ${String(error)}`, [{ fault: 'kill', name }])
        await place.kill()
        if (!mayBe) return
      }
    }
  }

  /** One line a fault; a text of its own for each would only repeat it. */
  #tell(text: string, faults: readonly Fault[]): void {
    for (const fault of faults) this.#events.history.add({ what: 'fault', text, ...fault } as Told)
  }

  #heard(place: Place, news: News): void {
    if (news.say === 'count') this.#events.counted(news.sent, news.settled)
    else if (news.say === 'moving') this.users.moving(place, news.address)
    else if (news.say === 'ended') this.users.ended(place, news.address, news.turn)
  }

  #exited(place: Place, code: number | null, signal: NodeJS.Signals | null): void {
    const { name, isPrimed } = place
    if (isPrimed && signal === 'SIGKILL') this.#tell(`${name} has killed itself`, [{ fault: 'kill', name }])
    this.#events.history.add({ what: 'exit', name, code, signal })
    if (code !== 0 && code !== null) this.#events.found(`${name} exited with code ${code}: ${place.lastWords}`)
    this.users.gone(place)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.users.end()
    await disposeAll(this.#resources)
  }
}

/** In their order: the processes first. */
async function disposeAll(resources: readonly AsyncDisposable[]): Promise<void> {
  for (const each of resources) await each[Symbol.asyncDispose]()
}

/** Who is to take part. */
interface Crew {
  readonly addresses: readonly string[]
  readonly peers: readonly ((on: PlaceEvents) => Place)[]
  readonly brokers: readonly ((on: PlaceEvents) => Place)[]
}

async function crewOf(
  options: RunOptions,
  originNs: bigint,
  engine: Engine,
  children: Children,
  resources: AsyncDisposable[],
): Promise<Crew> {
  const { folder, load, mode, peers, scale, seed } = options
  const addresses = Array.from({ length: peers * addressesPerPeer }, (_, at) => `user-${at + 1}`)
  const common = { ...peerOptions(scale, load), cluster: 'chaos' }
  const placeOf = (
    name: string,
    role: 'peer' | 'broker',
    own: Task['options'],
    lines: readonly Line[],
    storeLine: TcpProxy | undefined,
    door: TcpProxy | undefined,
  ) => {
    const task = (run: number, failpoint: Primed | undefined): Task => ({
      role,
      name,
      run,
      history: join(folder, `${name}.${run}.jsonl`),
      originNs: String(originNs),
      seed: `${seed} ${name} ${run}`,
      options: { ...common, ...own, identity: name },
      addresses,
      load,
      ...(failpoint && { failpoint }),
    })
    const log = (run: number): string => join(folder, `${name}.${run}.log`)
    return (on: PlaceEvents) => new Place({ name, role, lines, storeLine, door, task, children, log }, on)
  }
  /** It listens at a port of its own, and others reach it through its door. */
  const listener = async (name: string, role: 'peer' | 'broker') => {
    const port = await freePort()
    const door = await startTcpProxy(port, { port: await freePort() })
    resources.push(door)
    await door.refuse(true)
    const { url, line } = await engine.connect()
    const own = { listen: `tcp://127.0.0.1:${port}`, advertise: `tcp://127.0.0.1:${door.port}`, store: url }
    return { port, place: placeOf(name, role, own, [{ to: '*', proxy: door }], line, door) }
  }
  if (mode === 'brokerless') {
    const made = await Promise.all(numbered('peer', peers).map(name => listener(name, 'peer')))
    return { addresses, brokers: [], peers: made.map(({ place }) => place) }
  }
  const brokers = await Promise.all(numbered('broker', options.brokers).map(name => listener(name, 'broker')))
  /** It has a line of its own to each broker. */
  const guest = async (name: string, at: number) => {
    const lines = await Promise.all(
      brokers.map(async ({ port }, to) => ({ to: `broker-${to + 1}`, proxy: await startTcpProxy(port) })),
    )
    resources.push(...lines.map(({ proxy }) => proxy))
    const urls = lines.map(({ proxy }) => `tcp://127.0.0.1:${proxy.port}`)
    // They do not all begin at the same one.
    const broker = urls.map((_, n) => urls[(n + at) % urls.length]!)
    return placeOf(name, 'peer', { broker }, lines, undefined, undefined)
  }
  return { addresses, brokers: brokers.map(({ place }) => place), peers: await Promise.all(numbered('peer', peers).map(guest)) }
}

function numbered(what: string, count: number): string[] {
  return Array.from({ length: count }, (_, at) => `${what}-${at + 1}`)
}
