/** By which bounds a history is judged. */
import { HomingError } from '../../errors.ts'
import { channelDefaults } from '../../mesh/channel.ts'

export interface CheckOptions {
  /** When the world ended, ms; default: at the last event. What was due before, and has no answer, has been forgotten. */
  endMs?: number
  /** How long after its deadline a call may settle, ms. */
  slackMs?: number
  /** Of the peers: see `SessionOptions`. */
  leaseMs?: number
  renewEveryMs?: number
  guardMs?: number
  operationTimeoutMs?: number
  stallMs?: number
  whenStoreIsDown?: 'serve' | 'stop'
  /**
   * The datastore has compare-and-set (`Datastore.promises`), and is one for all: only then it is known which claim is the newest, and what was
   * down (`storeDown`) was down as a whole. Default: false.
   */
  atomicPut?: boolean
  /** How long a new owner waits for what the former one hands over, ms. */
  handOverMs?: number
  /**
   * How long two may own one address, ms; default: one renewal and guard. More for datastores that find out later: see promise 4 in
   * docs/guarantees.md.
   */
  overlapMsMax?: number
  /** How long after a death everybody must have judged it, ms; default: one renewal, one lease and 2 s. */
  deathMsMax?: number
  /** How long a cut may go unnoticed, and what follows its heal take, ms. */
  noticeMs?: number
  /** What a peer may have written to another one and not know to have come: see `ChannelOptions`. */
  windowBytes?: number
  /**
   * How exact a history of real processes is, ms; 0 (default) in a simulation. The last lines of a process that was killed may be missing, and
   * whoever killed it wrote down the time a little before or after.
   */
  blurMs?: number
  /** How long, and for how many ids of one type, a service remembers what was done. */
  workRememberedMs?: number
  workRememberedMax?: number
}

export type Bounds = Readonly<Required<CheckOptions>>

/** FAULTS.md, section 2. */
const defaults = {
  slackMs: 100,
  leaseMs: 10_000,
  renewEveryMs: 3_000,
  guardMs: 2_000,
  operationTimeoutMs: 1_000,
  stallMs: 60_000,
  whenStoreIsDown: 'serve',
  atomicPut: false,
  handOverMs: 1_000,
  noticeMs: 6_000,
  windowBytes: channelDefaults.windowBytes,
  blurMs: 0,
  workRememberedMs: 600_000,
  workRememberedMax: 100_000,
} as const

const notNumbers = new Set<string>(['whenStoreIsDown', 'atomicPut'])

/** Defaults filled in. Throws `BAD_OPTION`. */
export function boundsOf(given: CheckOptions, lastMs: number): Bounds {
  for (const [name, value] of Object.entries(given)) {
    if (!notNumbers.has(name) && !(typeof value === 'number' && value >= 0)) {
      throw new HomingError('BAD_OPTION', `${name} is a number of at least 0, not ${String(value)}`)
    }
  }
  const options = { ...defaults, ...given }
  const { leaseMs, renewEveryMs, guardMs } = options
  return {
    endMs: lastMs,
    overlapMsMax: renewEveryMs + guardMs,
    deathMsMax: renewEveryMs + leaseMs + 2_000,
    ...options,
  }
}
