/** How a peer takes its identity: at once where it is free, from a dead incumbent when that is certain, never from a living one. */

import { HomingError } from '../errors.ts'
import type { Env, Timer } from '../env/env.ts'
import type { Member, Probe, Self } from './directory.ts'
import type { SessionOptions } from './options.ts'
import type { PeerEntry, PeerRecords } from './peer-records.ts'

export interface JoiningOptions {
  readonly env: Env
  readonly records: PeerRecords
  readonly options: Readonly<SessionOptions>
  readonly probe: (incumbent: Member) => Promise<Probe>
  readonly waiting: (incumbent: Member, forMs: number) => void
}

/** The record was written: when its writing began, and with which beat. */
export interface Joined {
  readonly startedMs: number
  readonly beat: number
}

/** What was seen of another run that has our identity. */
interface Incumbent {
  readonly incarnation: string
  beat: number
  /** When the reading had ended that first showed this beat. */
  sinceMs: number
  /** How often its beat moved while we looked. */
  moves: number
  /** What its endpoints said, the last time they were asked. */
  probe: Probe | undefined
}

/** So many tries without a pause of a second between them (FAULTS.md, F4). */
const quickTries = 5
const slowTryMs = 1_000
/** A beat that moves once may be the last of a dying process; twice is a living one. */
const movesOfTheLiving = 2

export class Joining {
  readonly #env: Env
  readonly #records: PeerRecords
  readonly #options: Readonly<SessionOptions>
  readonly #probe: (incumbent: Member) => Promise<Probe>
  readonly #waiting: (incumbent: Member, forMs: number) => void
  #incumbent: Incumbent | undefined
  #stopped = false
  #wait: { timer: Timer; wake: () => void } | undefined

  constructor({ env, records, options, probe, waiting }: JoiningOptions) {
    this.#env = env
    this.#records = records
    this.#options = options
    this.#probe = probe
    this.#waiting = waiting
  }

  /** Rejects with `IDENTITY_IN_USE`, with `DATASTORE` when it fails for `startTimeoutMs`, with `CLOSED` after `stop`. */
  async join(self: Self): Promise<Joined> {
    let giveUpMs = this.#env.clock.monotonicMs() + this.#options.startTimeoutMs
    for (let failed = 0; ;) {
      if (this.#stopped) throw new HomingError('CLOSED', 'this peer was closed while it started')
      const startedMs = this.#env.clock.monotonicMs()
      try {
        const next = await this.#try(self)
        if (typeof next === 'object') return next
        failed = 0
        giveUpMs = this.#env.clock.monotonicMs() + this.#options.startTimeoutMs
        await this.#pause(next)
      } catch (error) {
        if (!(error instanceof HomingError) || error.code !== 'DATASTORE') throw error
        await this.#pauseAfter(error, ++failed, startedMs, giveUpMs)
      }
    }
  }

  stop(): void {
    this.#stopped = true
    this.#wait?.timer.cancel()
    this.#wait?.wake()
  }

  async #pauseAfter(error: HomingError, failed: number, startedMs: number, giveUpMs: number): Promise<void> {
    const nowMs = this.#env.clock.monotonicMs()
    const everyMs = failed < quickTries ? Math.min(slowTryMs, 50 * 2 ** failed) : slowTryMs
    if (Math.max(nowMs, startedMs + everyMs) >= giveUpMs) {
      await this.#pause(giveUpMs - nowMs)
      const sentence = `this peer could not start within ${this.#options.startTimeoutMs} ms`
      throw new HomingError('DATASTORE', `${sentence}: ${error.message}`, { cause: error })
    }
    await this.#pause(startedMs + everyMs - nowMs)
  }

  /** Resolves to what was written, or to how long to wait before the next look. */
  async #try(self: Self): Promise<Joined | number> {
    const lookedMs = this.#env.clock.monotonicMs()
    const entry = await this.#records.get(self.identity)
    if (!entry) return this.#write(self, 1, null)
    // An attempt of ours whose answer was lost.
    if (entry.member.incarnation === self.incarnation) return this.#write(self, entry.beat + 1, entry.version)
    return (await this.#mayTakeOver(entry, self, lookedMs))
      ? this.#write(self, entry.beat + 1, entry.version)
      : this.#lookAgainMs()
  }

  /** Over the very record that was judged: whoever wrote it meanwhile is alive. */
  async #write(self: Self, beat: number, ifVersion: string | null): Promise<Joined | number> {
    // To ask an incumbent takes seconds: a record for nobody would keep a successor out for a lease.
    if (this.#stopped) return 0
    const startedMs = this.#env.clock.monotonicMs()
    const version = await this.#records.put({ member: self, beat }, ifVersion)
    return version === undefined ? 0 : { startedMs, beat }
  }

  async #mayTakeOver({ member, beat }: PeerEntry, self: Self, lookedMs: number): Promise<boolean> {
    const seen = this.#see(member.incarnation, beat)
    if (seen.moves >= movesOfTheLiving) throw inUse(member, 'renews its lease')

    const stoodMs = lookedMs - seen.sinceMs
    const over = stoodMs >= this.#options.leaseMs
    if (seen.probe === undefined || over) seen.probe = await this.#ask(member, self)
    if (seen.probe === 'answers') throw inUse(member, 'answers')
    return over || isGone(member, self, seen.probe)
  }

  #see(incarnation: string, beat: number): Incumbent {
    const nowMs = this.#env.clock.monotonicMs()
    let seen = this.#incumbent
    if (!seen || seen.incarnation !== incarnation) {
      seen = this.#incumbent = { incarnation, beat, sinceMs: nowMs, moves: 0, probe: undefined }
    } else if (seen.beat !== beat) {
      Object.assign(seen, { beat, sinceMs: nowMs, moves: seen.moves + 1, probe: undefined })
    }
    return seen
  }

  async #ask(member: Member, self: Self): Promise<Probe> {
    const first = this.#incumbent?.probe === undefined && this.#incumbent?.moves === 0
    const probe = await this.#probe(member)
    if (first && probe !== 'answers' && !isGone(member, self, probe)) this.#waiting(member, this.#options.leaseMs)
    return probe
  }

  /** The next look: often enough to see a beat, and right when the lease is over. */
  #lookAgainMs(): number {
    const leftMs = this.#incumbent!.sinceMs + this.#options.leaseMs - this.#env.clock.monotonicMs()
    return Math.max(1, Math.min(this.#options.renewEveryMs / 2, leftMs))
  }

  #pause(ms: number): Promise<void> {
    if (this.#stopped || ms <= 0) return Promise.resolve()
    return new Promise(resolve => {
      this.#wait = { timer: this.#env.timers.after(ms, resolve), wake: resolve }
    })
  }
}

/** On the newcomer's machine a refused endpoint proves that its process is gone; elsewhere it may be a matter of the way there. */
function isGone({ machine }: Member, newcomer: Self, probe: Probe): boolean {
  return probe === 'refused' && machine === newcomer.machine
}

function inUse({ identity, endpoints }: Member, because: string): HomingError {
  const where = endpoints.length > 0 ? ` at ${endpoints.join(', ')}` : ''
  return new HomingError('IDENTITY_IN_USE', `another peer with the identity '${identity}' ${because}${where}`)
}
