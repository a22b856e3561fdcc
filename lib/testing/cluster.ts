/** A whole cluster in one process, on virtual time: real peers and brokers, with a network to cut, a datastore to fail and a clock to turn. */
import { Broker } from '../broker.ts'
import { createBroker, createPeer } from '../create.ts'
import type { Datastore } from '../datastores/datastore.ts'
import { MemoryEngine } from '../datastores/memory.ts'
import type { Env } from '../env/env.ts'
import { MemoryNetwork, type MemoryNetworkOptions } from '../env/memory-network.ts'
import { killProcess, virtualEnv } from '../env/virtual-env.ts'
import { VirtualTime } from '../env/virtual-time.ts'
import { HomingError } from '../errors.ts'
import type { BrokerOptions, PeerOptions } from '../options.ts'
import type { Peer } from '../peer.ts'
import { speaking, writing, type Dialect } from './dialect.ts'
import { FaultyDatastore } from './faulty-datastore.ts'
import type { Fault } from './history-event.ts'
import { History } from './history.ts'
import { recordBroker, recordPeer } from './recorder.ts'

type StoreFault = Extract<Fault, { fault: 'storeDown' | 'storeUp' | 'storeSlow' | 'storeAmbiguous' }>

/** What the simulation itself gives to a peer may not be given again. */
type Given = 'env' | 'store' | 'openStore' | 'listen' | 'advertise'

export interface SimulatedPeerOptions extends Omit<PeerOptions, Given | 'broker'> {
  /** Brokers by name, tried in turn; default: those of the cluster. An empty list: none. */
  brokers?: readonly string[]
  /** Processes on one machine share loopback: a crashed one is known to be gone. Default: a machine of its own. */
  machine?: string
  /** It speaks as another version of the library does, for tests of rolling upgrades. */
  dialect?: Dialect
}

export interface SimulatedBrokerOptions extends Omit<BrokerOptions, Given> {
  machine?: string
  dialect?: Dialect
}

/** What holds the entries of a simulated cluster. */
export interface Engine {
  /** A connection for one life of a process. */
  connect(process: string, env: Env): Datastore
}

export interface ClusterOptions {
  /** What all chance is drawn from: the same seed and the same steps give the same history. */
  seed: number | string
  /** Brokers that are started with the cluster, and that its peers go through. Default: none, peers dial each other. */
  brokers?: readonly string[]
  /** Options of all peers and brokers, where their own do not say otherwise. */
  options?: Omit<SimulatedPeerOptions, 'identity' | 'brokers' | 'machine' | 'dialect'>
  network?: Partial<MemoryNetworkOptions>
  /**
   * What a question to the datastore takes on its way there, and its answer on its way back, ms; default 0.5 each. And the engine: default
   * one that is linearizable.
   */
  store?: { slowMs?: number; answerMs?: number; engine?: (time: VirtualTime) => Engine }
}

/** A name in the cluster: a process that runs, did run, or runs again. */
interface Place {
  readonly name: string
  readonly start: () => Promise<Peer | Broker>
  readonly faults: { down: boolean; slowMs: number; answerMs: number; ambiguous: boolean }
  store: FaultyDatastore | undefined
  running: Peer | Broker | undefined
}

const port = 7400
/** Virtual time that `settle` gives a promise, ms. */
const settleMs = 120_000

/** Makes a cluster; with `brokers`, these run when this resolves. */
export async function simulateCluster(options: ClusterOptions): Promise<Cluster> {
  const cluster = new Cluster(options)
  for (const name of options.brokers ?? []) await cluster.broker(name)
  return cluster
}

/**
 * Nothing in it happens by itself: time passes only in `run`, `until` and `settle`, and in what starts a process. One of these at a time.
 * A call on a peer (`peer.sendMessage`, ...) is made at once, and answered when the clock is turned: `await cluster.settle(call)`.
 */
export class Cluster implements AsyncDisposable {
  readonly history: History
  readonly time: VirtualTime
  readonly network: MemoryNetwork
  readonly #engine: Engine
  readonly #options: ClusterOptions
  readonly #places = new Map<string, Place>()

  /** @internal Use `simulateCluster`. */
  constructor(options: ClusterOptions) {
    this.#options = options
    this.time = new VirtualTime({ seed: options.seed, clockSpreadMs: 1e9 })
    this.network = new MemoryNetwork(this.time.timers, this.time.random, options.network)
    this.#engine = options.store?.engine?.(this.time) ?? new MemoryEngine(this.time.clock)
    this.history = new History(() => this.time.nowMs)
  }

  /** Virtual time, ms since the start. */
  get nowMs(): number {
    return this.time.nowMs
  }

  // Who takes part

  /** Starts a peer on a host of its own; `name` is its identity too, unless `options` say otherwise. */
  peer(name: string, options: SimulatedPeerOptions = {}): Promise<Peer> {
    return this.settle(this.startPeer(name, options))
  }

  /** Starts a peer without waiting for it: several may start at once. */
  startPeer(name: string, options: SimulatedPeerOptions = {}): Promise<Peer> {
    const { brokers = this.#options.brokers ?? [], machine, dialect, ...own } = options
    const place = this.#place(name, async () => {
      const env = this.#env(name, machine, dialect)
      const common = { ...this.#options.options, identity: name, ...own, env }
      const reaching =
        brokers.length > 0
          ? { broker: brokers.map(endpointOf) }
          : { openStore: () => this.#open(place, env, dialect), listen: endpointOf(name) }
      const peer = await createPeer({ ...common, ...reaching })
      const { deadlineMs } = common
      recordPeer(this.history, peer, { name, ...(deadlineMs !== undefined && { deadlineMs }) })
      return peer
    })
    return this.#start(place) as Promise<Peer>
  }

  /** Starts a broker on a host of its own. */
  broker(name: string, options: SimulatedBrokerOptions = {}): Promise<Broker> {
    const { machine, dialect, ...own } = options
    const place = this.#place(name, async () => {
      const env = this.#env(name, machine, dialect)
      const common = { ...this.#options.options, identity: name, ...own, env }
      const broker = await createBroker({ ...common, openStore: () => this.#open(place, env, dialect), listen: endpointOf(name) })
      recordBroker(this.history, broker, { name })
      return broker
    })
    return this.settle(this.#start(place)) as Promise<Broker>
  }

  /** The broker that runs under this name. */
  brokerOf(name: string): Broker {
    const { running } = this.#at(name)
    if (!(running instanceof Broker)) throw new Error(`no broker runs as '${name}' in this cluster`)
    return running
  }

  #env(name: string, machine: string | undefined, dialect: Dialect | undefined): Env {
    const env = virtualEnv(this.time, this.network, name, machine)
    return dialect ? { ...env, transport: speaking(dialect, env.transport) } : env
  }

  #place(name: string, start: Place['start']): Place {
    if (this.#places.get(name)?.running) throw new Error(`'${name}' runs already: kill it first, or use restart`)
    const { slowMs = 0.5, answerMs = 0.5 } = this.#options.store ?? {}
    const faults = this.#places.get(name)?.faults ?? { down: false, slowMs, answerMs, ambiguous: false }
    const place: Place = { name, start, faults, store: undefined, running: undefined }
    this.#places.set(name, place)
    return place
  }

  async #start(place: Place): Promise<Peer | Broker> {
    const started = await place.start()
    place.running = started
    return started
  }

  /** Each life of a process has a connection of its own to the datastore, with the faults that its name has at that time. */
  async #open(place: Place, env: Env, dialect: Dialect | undefined): Promise<FaultyDatastore> {
    if (place.faults.down) throw new HomingError('DATASTORE', 'the datastore is down')
    const connection = this.#engine.connect(place.name, env)
    const store = new FaultyDatastore(dialect ? writing(dialect, connection) : connection, env.timers)
    Object.assign(store, place.faults)
    place.store = store
    return store
  }

  #at(name: string): Place {
    const place = this.#places.get(name)
    if (!place) throw new Error(`nothing is called '${name}' in this cluster`)
    return place
  }

  /** Names of all that was started, running or not. */
  get names(): string[] {
    return [...this.#places.keys()]
  }

  // Time

  /** Lets `ms` pass. */
  async run(ms: number): Promise<void> {
    await this.time.run(ms)
  }

  /** Lets time pass until `predicate` holds; rejects when it does not within `maxMs`. */
  async until(predicate: () => boolean, maxMs = settleMs): Promise<void> {
    await this.time.until(predicate, maxMs)
  }

  /** Lets time pass until the promise settles, and gives what it settles to; rejects when it does not within `maxMs`. */
  async settle<T>(promise: Promise<T>, maxMs = settleMs): Promise<T> {
    let settled = false
    const done = (): void => {
      settled = true
    }
    promise.then(done, done)
    await this.time.until(() => settled, maxMs)
    return promise
  }

  // Faults of the network

  /** Nothing gets from one to the other any more, and nobody notices by itself (`oneWay`: from `a` to `b` only). */
  cut(a: string, b: string, options: { oneWay?: boolean } = {}): void {
    const { oneWay = false } = options
    this.did(`cut ${a} ${oneWay ? '->' : '-'} ${b}`, { fault: 'cut', from: a, to: b, oneWay })
    this.network.cut(a, b, options)
  }

  heal(a: string, b: string): void {
    this.did(`heal ${a} - ${b}`, { fault: 'heal', from: a, to: b })
    this.network.heal(a, b)
  }

  /** Cuts one off from all others; the datastore is not on this network. */
  isolate(name: string): void {
    for (const other of this.names) if (other !== name) this.cut(name, other)
  }

  rejoin(name: string): void {
    for (const other of this.names) if (other !== name) this.heal(name, other)
  }

  /** Breaks the connections between two, which may dial each other again at once. */
  reset(a: string, b: string): void {
    this.did(`reset ${a} - ${b}`, { fault: 'reset', from: a, to: b })
    this.network.reset(a, b)
  }

  /** From now on everything from `a` to `b` travels that much longer, ms; 0: as usual again. */
  detour(a: string, b: string, ms: number): void {
    this.did(`detour ${a} -> ${b} of ${ms} ms`)
    this.network.detour(a, b, ms)
  }

  // Faults of processes

  /** `kill -9`. */
  kill(name: string): void {
    const place = this.#at(name)
    this.did(`kill ${name}`, { fault: 'kill', name })
    killProcess(this.time, this.network, name)
    place.running = undefined
  }

  /** Its machine loses its power: as `kill`, but the other ends of its connections hear nothing. */
  powerOff(name: string): void {
    this.did(`power off ${name}`)
    this.network.powerOff(name)
    this.kill(name)
  }

  /** Starts it again with the options that it had, after killing it where it runs. Resolves when it is up. */
  restart(name: string): Promise<Peer | Broker> {
    return this.settle(this.startAgain(name))
  }

  /** As `restart`, without waiting for it. */
  startAgain(name: string): Promise<Peer | Broker> {
    if (this.#at(name).running) this.kill(name)
    this.did(`start ${name} again`, { fault: 'start', name })
    return this.#start(this.#at(name))
  }

  /** A blocked main loop, or SIGSTOP: it does nothing for `ms`, its clocks run on. */
  stall(name: string, ms: number): void {
    this.did(`stall ${name} for ${ms} ms`, { fault: 'stall', name, forMs: ms })
    this.time.stall(name, ms)
  }

  /** Its machine sleeps for `ms`. */
  suspend(name: string, ms: number): void {
    this.did(`suspend ${name} for ${ms} ms`, { fault: 'suspend', name, forMs: ms })
    this.time.suspend(name, ms)
  }

  /** Puts a wall clock that far off. */
  setWallOffset(name: string, ms: number): void {
    this.did(`wall clock of ${name} off by ${ms} ms`)
    this.time.setWallOffset(name, ms)
  }

  /** From its next start on the clocks of a process, but for its wall clock, and its timers run so much faster: 1.01 is a hundredth. */
  setClockRate(name: string, rate: number): void {
    this.did(`clocks of ${name} run at ${rate}`)
    this.time.setClockRate(name, rate)
  }

  // Faults of the datastore, for one or for all

  storeDown(name?: string): void {
    this.#storeFault(name, 'datastore down', { fault: 'storeDown' }, { down: true })
  }

  storeUp(name?: string): void {
    this.#storeFault(name, 'datastore up', { fault: 'storeUp' }, { down: false })
  }

  /** Questions get to the datastore that much later, and answers come back that much later. */
  storeSlow(slowMs: number, answerMs = 0, name?: string): void {
    const fault = { fault: 'storeSlow', slowMs: slowMs + answerMs } as const
    this.#storeFault(name, `datastore slow: ${slowMs} + ${answerMs} ms`, fault, { slowMs, answerMs })
  }

  /** Writes happen, and then fail as if the answer had been lost. */
  storeAmbiguous(ambiguous: boolean, name?: string): void {
    const text = `datastore ${ambiguous ? 'ambiguous' : 'clear again'}`
    this.#storeFault(name, text, { fault: 'storeAmbiguous', ambiguous }, { ambiguous })
  }

  /** Calls to the datastore, of the present life of `name`. */
  storeCalls(name: string): number {
    return this.#at(name).store?.calls ?? 0
  }

  /** Those of them that read; many addresses or peers at once are one. */
  storeReads(name: string): number {
    return this.#at(name).store?.reads ?? 0
  }

  #storeFault(name: string | undefined, text: string, fault: StoreFault, change: Partial<Place['faults']>): void {
    this.did(`${text} for ${name ?? 'all'}`, name === undefined ? fault : { ...fault, name })
    for (const place of name === undefined ? this.#places.values() : [this.#at(name)]) {
      Object.assign(place.faults, change)
      if (place.store) Object.assign(place.store, change)
    }
  }

  /** Ends all processes at once. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const { name } of this.#places.values()) killProcess(this.time, this.network, name)
  }

  // The history

  /** Writes into the history what was done to it: by this cluster, or by what it does not know of, as its engine. */
  did(text: string, fault: Fault = { fault: 'other' }): void {
    this.history.add({ what: 'fault', text, ...fault })
  }
}

function endpointOf(name: string): string {
  return `tcp://${name}:${port}`
}
