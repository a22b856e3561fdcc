/** What one simulated world is: drawn from its seed before anything runs, so that it can be printed and is the same each time. */
import type { MemoryNetworkOptions } from '../../env/memory-network.ts'
import { seededRandom } from '../../env/random.ts'
import type { PeerOptions } from '../../options.ts'
import type { Dialect } from '../dialect.ts'
import { Draw } from './draw.ts'
import { faultNames, type FaultName } from './fault-names.ts'
import type { Road } from './remote-engine.ts'

/** How peers reach each other: by dialling, or through brokers. */
export type Mode = 'brokerless' | 'broker'

/** Linearizable; losing its last writes at a fail-over, as Redis; keeping siblings, as Riak. */
export type StoreKind = 'linearizable' | 'amnesic' | 'eventual'

export interface Plan {
  readonly seed: number
  readonly mode: Mode
  readonly peers: readonly string[]
  readonly brokers: readonly string[]
  /** Which brokers each peer tries, in turn; none in brokerless worlds. */
  readonly brokersOf: ReadonlyMap<string, readonly string[]>
  /** Peers share that many machines; 0: each has one of its own. */
  readonly machines: number
  /** Processes that run another version, by their identity. */
  readonly dialects: ReadonlyMap<string, Dialect>
  readonly addresses: readonly string[]
  readonly options: Omit<PeerOptions, 'env' | 'store' | 'openStore' | 'listen' | 'advertise' | 'broker' | 'identity'>
  readonly network: Partial<MemoryNetworkOptions>
  readonly store: { readonly kind: StoreKind; readonly road: Road; readonly spreadMsMax: number }
  /** By process: how fast its clocks run. */
  readonly clockRates: ReadonlyMap<string, number>
  /** Those that may happen in this world. */
  readonly faults: readonly FaultName[]
  /** From one fault to the next, on average, ms. */
  readonly faultEveryMs: number
  /** How long a fault lasts at most, ms. */
  readonly faultMsMax: number
  readonly workMs: number
  readonly workload: Workload
}

/** What the applications of a world do. */
export interface Workload {
  /** From one call to the next, on average, ms. */
  readonly everyMs: number
  /** How many sends one call makes at most. */
  readonly burstMax: number
  /** Bodies are up to that long, bytes. */
  readonly bodyBytesMax: number
  /** How often each kind of call is made, compared with the others. */
  readonly weights: Readonly<Record<CallName, number>>
  /** How clients take what they get. */
  readonly takers: readonly TakerKind[]
}

export type CallName = 'send' | 'request' | 'broadcast' | 'connect' | 'disconnect'
export type TakerKind = 'prompt' | 'slow' | 'reader' | 'throwing'

const peerNames = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
const brokerNames = ['hub', 'hub2', 'hub3']

/** The same plan for the same seed and mode, for ever; as long as this file stays as it is. */
export function drawPlan(seed: number, mode: Mode): Plan {
  const draw = new Draw(seededRandom(`plan ${mode} ${seed}`))
  const peers = peerNames.slice(0, draw.whole(3, 7))
  const brokers = mode === 'broker' ? brokerNames.slice(0, draw.pick([1, 1, 2, 2, 3])) : []
  const addresses = Array.from({ length: draw.pick([3, 3, 6, 6, 12, 40]) }, (_, at) => `u${at}`)
  const scale = draw.pick([1, 0.5, 0.5, 0.25])
  const network = drawNetwork(draw)
  const faults = drawFaults(draw, mode)
  const kind = draw.pick<StoreKind>(['linearizable', 'linearizable', 'amnesic', 'eventual'])
  return {
    seed,
    mode,
    peers,
    brokers,
    brokersOf: new Map(peers.map(peer => [peer, drawBrokers(draw, brokers)])),
    machines: draw.pick([0, 0, 0, 2]),
    addresses,
    options: drawOptions(draw, scale),
    network,
    store: { kind, road: drawRoad(draw), spreadMsMax: draw.pick([2, 20]) },
    clockRates: drawClockRates(draw, [...peers, ...brokers]),
    faults: faults.filter(name => (kind === 'amnesic' || name !== 'failOver') && (kind === 'eventual' || name !== 'storeSplit')),
    faultEveryMs: draw.pick([300, 1_000, 1_000, 3_000]),
    faultMsMax: draw.pick([1_000, 5_000, 5_000, 15_000]),
    workMs: draw.pick([10_000, 15_000, 20_000]),
    workload: drawWorkload(draw, network),
    dialects: drawDialects(draw, [...peers, ...brokers]),
  }
}

/** The next minor version: another version of the protocol, capabilities and keys of which this one has never heard. */
const newer: Dialect = { versions: [1, 2], capabilities: ['zip/1'], unknown: { $later: { of: ['another'] }, hint: 7 } }

/** In some worlds some are upgraded already. */
function drawDialects(draw: Draw, processes: readonly string[]): ReadonlyMap<string, Dialect> {
  if (!draw.chance(0.1)) return new Map()
  return new Map(processes.filter(() => draw.chance(0.5)).map(name => [name, newer]))
}

/** A random part of all faults: what many would drown, few bring to light. */
function drawFaults(draw: Draw, mode: Mode): FaultName[] {
  const share = draw.pick([0.1, 0.3, 0.6])
  return faultNames.filter(name => draw.chance(share) && (mode === 'broker' || !name.startsWith('broker')))
}

function drawBrokers(draw: Draw, brokers: readonly string[]): readonly string[] {
  if (brokers.length === 0) return []
  const shuffled = draw.shuffled(brokers)
  return shuffled.slice(0, draw.chance(0.7) ? shuffled.length : draw.whole(1, shuffled.length))
}

function drawNetwork(draw: Draw): Partial<MemoryNetworkOptions> {
  const narrow = draw.chance(0.2)
  const chunkBytesMax = draw.pick([undefined, undefined, undefined, 1, 7, 300])
  return {
    latencyMs: draw.pick([0.1, 1, 1, 10]),
    jitterMs: draw.pick([0, 0, 2, 20]),
    resumeMsMax: draw.pick([0, 50, 300]),
    ...(narrow && { bytesPerMs: draw.pick([200, 2_000]) }),
    ...(chunkBytesMax !== undefined && { chunkBytesMax }),
    ...(draw.chance(0.2) && { kernelBytesMax: 8_192 }),
  }
}

function drawRoad(draw: Draw): Road {
  const ms = draw.pick([0.1, 0.5, 2, 10])
  return { thereMs: ms, backMs: ms, jitterMs: draw.pick([0, 0, 1, 10]), unanswered: 0, down: false }
}

/** Times of leases and links scaled as a whole; in some worlds everything that may fill is small. */
function drawOptions(draw: Draw, scale: number): Plan['options'] {
  const small = draw.chance(0.35)
  return {
    leaseMs: 10_000 * scale,
    renewEveryMs: 3_000 * scale,
    guardMs: 2_000 * scale,
    pingAfterMs: 1_000 * scale,
    staleAfterMs: 5_000 * scale,
    operationTimeoutMs: 1_000 * scale,
    // A broker or datastore that fails again and again may keep a peer from starting for longer than the usual 30 s.
    startTimeoutMs: 60_000,
    whenStoreIsDown: draw.pick(['serve', 'serve', 'stop']),
    ...(small && draw.chance(0.6) && { inboxBytesMax: draw.pick([2_000, 20_000]) }),
    ...(small && draw.chance(0.6) && { windowBytes: draw.pick([2_000, 30_000]) }),
    ...(small && draw.chance(0.3) && { waitingBytesPerAddressMax: 50_000 }),
    ...(small && draw.chance(0.3) && { waitingBytesMax: 300_000 }),
    ...(small && draw.chance(0.3) && { locationsMax: 4 }),
    ...(small && draw.chance(0.3) && { requestsMax: 2 }),
  }
}

/** Quartz is off by hundredths of a percent; a virtual machine's clock, for a while, by more. */
function drawClockRates(draw: Draw, processes: readonly string[]): ReadonlyMap<string, number> {
  const offMax = draw.pick([0, 0, 0.000_2, 0.02])
  return new Map(offMax === 0 ? [] : processes.map(name => [name, 1 + offMax * (2 * draw.fraction() - 1)]))
}

function drawWorkload(draw: Draw, { chunkBytesMax, bytesPerMs }: Partial<MemoryNetworkOptions>): Workload {
  const heavy = chunkBytesMax === undefined && bytesPerMs === undefined && draw.chance(0.15)
  const bodyBytesMax = chunkBytesMax === 1 ? 40 : heavy ? 200_000 : draw.pick([60, 60, 2_000])
  return {
    everyMs: draw.pick([15, 30, 60]),
    burstMax: heavy ? 2 : draw.pick([1, 5, 30]),
    bodyBytesMax,
    weights: {
      send: draw.pick([60, 80]),
      request: draw.pick([0, 10]),
      broadcast: draw.pick([0, 1]),
      connect: draw.pick([3, 10, 20]),
      disconnect: draw.pick([0, 1, 5]),
    },
    takers: draw.pick<readonly TakerKind[]>([['prompt'], ['prompt', 'slow'], ['prompt', 'slow', 'reader', 'throwing'], ['slow']]),
  }
}
