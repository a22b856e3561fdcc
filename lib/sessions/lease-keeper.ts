/** Keeps the own peer's record alive, and knows at any moment whether others may still believe it. */

import { HomingError, homingError } from '../errors.ts'
import type { Env, Timer } from '../env/env.ts'
import type { Doubt, Held, LeaseState, Member, Owner, Probe, Run, Self } from './directory.ts'
import { passing, settledBy } from './deadline.ts'
import { HeldAudit } from './held-audit.ts'
import { Joining } from './joining.ts'
import { trustedMs, type SessionOptions } from './options.ts'
import type { PeerRecords, Renewal } from './peer-records.ts'
import type { Pulse, PulseListener } from './pulse.ts'
import type { SessionStore } from './session-store.ts'

/** What a keeper tells. No method may throw. */
export interface LeaseKeeperHandler {
  held(): Iterable<Held>
  displaced(address: string, claim: number, by: Owner | undefined): void
  lease(state: LeaseState, why: Doubt | undefined): void
  /** Last call. */
  fenced(by: Run | undefined): void
  /** The own lease was renewed, or could not be: what an observer of others has to know. */
  renewed(): void
  renewalFailed(error: HomingError): void
  /** This loop stood still. */
  late(): void
  /** The own record was missing or older than it was: the datastore forgot, or others thought this peer gone. */
  forgot(): void
  /** An incumbent of the identity is silent: its lease is waited for. */
  waiting(incumbent: Member, forMs: number): void
  trouble(error: HomingError): void
}

export interface LeaseKeeperOptions {
  readonly env: Env
  readonly records: PeerRecords
  readonly sessions: SessionStore
  readonly self: Self
  readonly options: Readonly<SessionOptions>
  readonly handler: LeaseKeeperHandler
  /** Asks who answers at the endpoints of an incumbent with our identity. */
  readonly probe: (incumbent: Member) => Promise<Probe>
  /** Starts renewing from outside the main loop; absent where there is nothing to do it. */
  readonly startPulse?: (listener: PulseListener) => Pulse | undefined
}

/** How often the loop shows that it moves, ms; less where leases are short. */
const tickMsMax = 1_000
/** After a failed renewal the next is tried this soon, ms; less where leases are short. */
const retryMsMax = 1_000

/**
 * `join` first; then it renews until `leave`, disposal or `fenced`. The lease is `sure` until a guard before its end, counted from the
 * beginning of the last successful renewal on the monotonic clock, a suspend included. After a doubt it is `sure` again once a renewal
 * succeeded and everything held was checked.
 */
export class LeaseKeeper implements AsyncDisposable {
  readonly #env: Env
  readonly #records: PeerRecords
  readonly #options: Readonly<SessionOptions>
  readonly #handler: LeaseKeeperHandler
  readonly #newJoining: () => Joining
  #joining: Joining
  readonly #startPulse: ((listener: PulseListener) => Pulse | undefined) | undefined
  readonly #audit: HeldAudit
  readonly #tickMs: number
  #self: Self
  #at: 'new' | 'joined' | 'ended' = 'new'

  #state: LeaseState = 'unsure'
  #why: Doubt | undefined
  /** Beginning of the last renewal that succeeded, by any thread. */
  #renewedMs = -Infinity
  /** Boot time less monotonic time at that moment; it grows by what the machine was suspended since. */
  #driftMs = 0
  /** Only renewals that began after the last suspend count. */
  #validFromMs = -Infinity
  /** A renewal was begun since the last that succeeded. */
  #tried = false
  /** The record does not say yet what `self` says. */
  #selfDue = false
  #beat = 0
  /** Everything held has to be checked after the next renewal. */
  #doubtful = false
  /** How often the datastore may have lost something, and how often by when the last renewal on this connection that succeeded began. */
  #losses = 0
  #lossesSettled = 0

  #renewal: Promise<HomingError | undefined> | undefined
  /** The next one was due while this one was under way: this loop stood still, or the datastore is slow. Nothing else would begin it. */
  #overdue = false
  #renewTimer: Timer | undefined
  #tick: Timer | undefined
  #secondLook: Timer | undefined
  #tickedMs = 0
  #lookedMs = -Infinity
  #lookedThisTurn = false
  #pulse: Pulse | undefined
  #pulsing = false

  constructor({ env, records, sessions, self, options, handler, probe, startPulse }: LeaseKeeperOptions) {
    this.#env = env
    this.#records = records
    this.#self = self
    this.#options = options
    this.#handler = handler
    this.#startPulse = startPulse
    this.#tickMs = Math.min(tickMsMax, options.renewEveryMs / 3)
    const waiting = (incumbent: Member, forMs: number): void => handler.waiting(incumbent, forMs)
    this.#newJoining = () => new Joining({ env, records, options, probe, waiting })
    this.#joining = this.#newJoining()
    this.#audit = new HeldAudit({
      env,
      sessions,
      run: { identity: self.identity, incarnation: self.incarnation },
      batchTimeoutMs: 3 * options.operationTimeoutMs,
      held: () => handler.held(),
      displaced: (address, claim, by) => handler.displaced(address, claim, by),
      done: () => this.#becomeSure(),
      failed: error => handler.trouble(homingError(error, 'DATASTORE', 'what this peer holds could not be checked')),
    })
  }

  get self(): Self {
    return this.#self
  }

  /**
   * Whether this peer may believe that it owns what it claimed, by the clocks of this moment: ask before delivering what may have queued
   * while the process stood still.
   */
  get lease(): LeaseState {
    // Reading boot time costs some microseconds: once a turn of the loop is enough, for nothing can be suspended within one unnoticed.
    const nowMs = this.#env.clock.monotonicMs()
    if (this.#lookedThisTurn && nowMs - this.#lookedMs < this.#tickMs) return this.#state
    this.#lookedThisTurn = true
    this.#env.timers.soon(() => (this.#lookedThisTurn = false))
    this.#look(nowMs)
    return this.#state
  }

  /** Why the lease is unsure, while it is. */
  get doubt(): Doubt | undefined {
    return this.#why
  }

  /**
   * Puts the own record into the datastore. Waits `startTimeoutMs` for one that is down, then `DATASTORE`. A living rival with this identity:
   * `IDENTITY_IN_USE`; a silent one is waited for (`waiting`), one lease long.
   */
  async join(): Promise<void> {
    const losses = this.#losses
    const { startedMs, beat } = await this.#joining.join(this.#self)
    if (this.#at !== 'new') throw closed()
    this.#at = 'joined'
    this.#lossesSettled = losses
    this.#beat = beat
    this.#state = 'sure'
    this.#took(startedMs)
    this.#tickedMs = this.#env.clock.monotonicMs()
    this.#tick = this.#env.timers.every(this.#tickMs, () => this.#ticked())
    this.#scheduleRenewal(this.#lossSettled ? this.#options.renewEveryMs : 0)
    this.#pulse = this.#startPulse?.(this.#pulseListener())
    this.#handler.renewed()
  }

  /** The datastore may have lost some of what was written: all is looked at, at once. */
  recheck(): void {
    this.#losses++
    if (this.#renewal) this.#overdue = true
    if (this.#at !== 'joined') return
    this.#forgot()
    this.#lookAgainLater()
    void this.renewNow()
  }

  /** Rewrites the own record: at once, and with each renewal until it succeeded. Rejects with `DATASTORE`. */
  async update(change: Partial<Self>): Promise<void> {
    this.#self = { ...this.#self, ...change }
    this.#selfDue = true
    while (this.#renewal) await this.#renewal
    const error = await this.renewNow()
    if (error) throw error
  }

  /** Renews without waiting for the next time; one at a time. Resolves to why it failed. */
  renewNow(): Promise<HomingError | undefined> {
    if (this.#at !== 'joined') return Promise.resolve(closed())
    this.#renewal ??= this.#renew().finally(() => {
      this.#renewal = undefined
      if (this.#overdue) this.#scheduleRenewal(0)
    })
    return this.#renewal
  }

  /** Says goodbye: stops renewing and removes the record. Rejects with `DATASTORE` when that did not succeed until `untilMs`. */
  async leave(untilMs: number): Promise<void> {
    const late = (): HomingError =>
      new HomingError('DATASTORE', 'the record of this peer could not be removed in time', { outcome: 'unknown' })
    await settledBy(this.#env, untilMs, this.#remove(untilMs), late)
  }

  async #remove(untilMs: number): Promise<void> {
    await this[Symbol.asyncDispose]()
    for (let tries = 0; ; tries++) {
      try {
        await this.#records.remove(this.#self)
        return
      } catch (error) {
        const leftMs = untilMs - this.#env.clock.monotonicMs()
        if (leftMs <= 0) throw homingError(error, 'DATASTORE', 'the record of this peer could not be removed')
        await passing(this.#env, Math.min(leftMs, 500, 50 * 2 ** Math.min(tries, 10)))
      }
    }
  }

  /** Ends it at once, as far as others see: nothing is told any more, nothing more is renewed. The record stays and lapses. */
  stop(): void {
    this.#at = 'ended'
    this.#joining.stop()
    for (const timer of [this.#tick, this.#renewTimer, this.#secondLook]) timer?.cancel()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop()
    await Promise.all([this.#pulse?.stop(), this.#renewal, this.#audit.stop()])
  }

  /** Our own record was seen since the datastore lost something, if it ever did: whoever has our identity from then on came after us. */
  get #lossSettled(): boolean {
    return this.#lossesSettled === this.#losses
  }

  /** After the next renewal everything held is checked; others hear of it before what is missing is taken for a goodbye. */
  #forgot(): void {
    this.#doubtful = true
    this.#handler.forgot()
  }

  // Looking at the clocks.

  #ticked(): void {
    const nowMs = this.#env.clock.monotonicMs()
    this.#look(nowMs)
    this.#tickedMs = nowMs
    this.#pulse?.moved(nowMs)
  }

  #look(nowMs: number): void {
    if (this.#at !== 'joined') return
    this.#lookedMs = nowMs
    const stoodMs = nowMs - this.#tickedMs - this.#tickMs
    if (stoodMs > this.#options.renewEveryMs / 2) this.#handler.late()
    if (this.#noticeSuspend(nowMs)) return
    this.#mergePulse()
    const trusted = trustedMs(this.#options)
    if (this.#stillMs(nowMs) < trusted) {
      // It answers renewals, and not what is held: who took an address meanwhile can neither be seen nor say so.
      if (this.#audit.unansweredMs(nowMs) >= trusted - this.#options.renewEveryMs) this.#doubted('store')
      return
    }
    // The datastore is to blame only if it was asked, and this loop was there to ask it.
    this.#doubted(this.#tried && stoodMs < trusted / 2 ? 'store' : 'late')
  }

  /** How long ago the last renewal began, a short suspend since included. */
  #stillMs(nowMs: number): number {
    return nowMs - this.#renewedMs + Math.max(0, this.#bootDriftMs() - this.#driftMs)
  }

  /** After a sleep of the machine what was renewed before counts for nothing. Shorter ones are covered by the guard. */
  #noticeSuspend(nowMs: number): boolean {
    if (this.#bootDriftMs() - this.#driftMs <= this.#options.guardMs / 2) return false
    this.#driftMs = this.#bootDriftMs()
    this.#renewedMs = -Infinity
    this.#validFromMs = nowMs
    this.#handler.late()
    this.#doubted('late')
    return true
  }

  #doubted(why: Doubt): void {
    this.#doubtful = true
    if (this.#state === 'unsure' && (this.#why === 'late' || why === this.#why)) return
    this.#state = 'unsure'
    this.#why = why
    this.#handler.lease('unsure', why)
    if (why === 'late') void this.renewNow()
  }

  #becomeSure(): void {
    if (this.#at !== 'joined' || this.#state === 'sure') return
    this.#look(this.#env.clock.monotonicMs())
    const fresh = this.#stillMs(this.#env.clock.monotonicMs()) < trustedMs(this.#options)
    if (!fresh || this.#doubtful || !this.#audit.idle) return
    this.#state = 'sure'
    this.#why = undefined
    this.#handler.lease('sure', undefined)
  }

  #bootDriftMs(): number {
    return this.#env.clock.bootMs() - this.#env.clock.monotonicMs()
  }

  // Renewing.

  #scheduleRenewal(delayMs: number): void {
    this.#renewTimer?.cancel()
    if (this.#at !== 'joined') return
    this.#renewTimer = this.#env.timers.after(delayMs, () => this.#renewalDue())
  }

  #renewalDue(): void {
    this.#mergePulse()
    const { renewEveryMs } = this.#options
    // While the pulse renews, this loop only stands by: it takes over when the pulse is half an interval late.
    const standbyMs = this.#renewedMs + 1.5 * renewEveryMs - this.#env.clock.monotonicMs()
    if (this.#pulsing && standbyMs > 0 && !this.#selfDue && this.#lossSettled) this.#scheduleRenewal(standbyMs)
    else if (this.#renewal) this.#overdue = true
    else void this.renewNow()
  }

  async #renew(): Promise<HomingError | undefined> {
    const startedMs = this.#env.clock.monotonicMs()
    const self = this.#self
    const beat = this.#beat
    const losses = this.#losses
    this.#tried = true
    this.#overdue = false
    this.#scheduleRenewal(this.#options.renewEveryMs)
    try {
      const [renewal] = await this.#records.renewMany([{ run: self, member: self }])
      if (this.#at !== 'joined') return closed()
      // A beat that does not grow is one that the datastore forgot: so it may have forgotten more.
      if (renewal!.at === 'renewed' && renewal!.beat <= beat) this.#forgot()
      const error = await this.#learn(renewal!, startedMs)
      if (!error) this.#lossesSettled = losses
      if (!error && self === this.#self) this.#selfDue = false
      return error
    } catch (cause) {
      return this.#failed(homingError(cause, 'DATASTORE', 'the lease could not be renewed'))
    }
  }

  async #learn(renewal: Renewal, startedMs: number): Promise<HomingError | undefined> {
    switch (renewal.at) {
      case 'renewed':
        this.#beat = Math.max(this.#beat, renewal.beat)
        this.#renewed(startedMs, renewal.noted)
        return undefined
      case 'missing':
        return this.#restore()
      case 'fenced':
        return renewal.beat < this.#beat || !this.#lossSettled ? this.#joinAgain(renewal.by) : this.#fenced(renewal.by)
      case 'failed':
        return this.#failed(renewal.error)
    }
  }

  /**
   * Whoever takes an identity over writes a beat above ours. This one is below: the datastore went back to before we took it, from a run that is
   * dead now, or forgot us before another one came. Or it has just lost something, and then a beat says nothing: that run's record may have been
   * removed before ours, which began at 1, was written. Who stays is found out as at the start.
   */
  async #joinAgain(by: Run): Promise<HomingError | undefined> {
    try {
      this.#joining = this.#newJoining()
      const { startedMs, beat } = await this.#joining.join(this.#self)
      if (this.#at !== 'joined') return closed()
      this.#beat = beat
      this.#forgot()
      this.#lookAgainLater()
      this.#renewed(startedMs, false)
      return undefined
    } catch (error) {
      if (this.#at !== 'joined') return closed()
      if (error instanceof HomingError && error.code === 'IDENTITY_IN_USE') return this.#fenced(by)
      throw error
    }
  }

  /** Nobody has our record: it is put back, and so is what others may have cleaned up after us. */
  async #restore(): Promise<HomingError | undefined> {
    const startedMs = this.#env.clock.monotonicMs()
    const version = await this.#records.put({ member: this.#self, beat: ++this.#beat }, null)
    if (this.#at !== 'joined') return closed()
    // Somebody was faster: a rival, or an attempt of ours whose answer was lost. The next renewal sees which.
    if (version === undefined)
      return this.#failed(new HomingError('DATASTORE', 'the record of this peer was missing, and then it was not'))
    this.#forgot()
    this.#lookAgainLater()
    this.#renewed(startedMs, false)
    return undefined
  }

  #renewed(startedMs: number, noted: boolean): void {
    this.#noticeSuspend(this.#env.clock.monotonicMs())
    if (startedMs < this.#validFromMs) return this.#scheduleRenewal(0)
    // Others may have judged us meanwhile, even if this loop did not notice.
    if (startedMs - this.#renewedMs > this.#options.leaseMs) {
      this.#doubtful = true
      this.#lookAgainLater()
    }
    this.#took(startedMs)
    this.#handler.renewed()
    if (noted) this.#audit.checkNoted()
    if (this.#doubtful) {
      this.#doubtful = false
      this.#audit.checkAll()
    } else {
      if (this.#audit.idle) this.#becomeSure()
      this.#audit.checkSome()
    }
  }

  #took(startedMs: number): void {
    if (startedMs <= this.#renewedMs) return
    this.#renewedMs = startedMs
    this.#driftMs = this.#bootDriftMs()
    this.#tried = false
  }

  /**
   * Whoever judged us dead may be removing our sessions at this very moment, with a verdict from before our return. It has at most two
   * operations of its time left: then everything is looked at once more.
   */
  #lookAgainLater(): void {
    this.#secondLook?.cancel()
    this.#secondLook = this.#env.timers.after(3 * this.#options.operationTimeoutMs, () => this.#audit.checkAll())
  }

  #failed(error: HomingError): HomingError {
    if (this.#at !== 'joined') return error
    this.#handler.renewalFailed(error)
    this.#scheduleRenewal(Math.min(retryMsMax, this.#options.renewEveryMs / 3))
    return error
  }

  #fenced(by: Run): HomingError {
    this.stop()
    this.#state = 'unsure'
    this.#why = 'late'
    this.#handler.fenced(by)
    return new HomingError('FENCED', `'${by.identity}' is held by incarnation ${by.incarnation}`)
  }

  // The pulse.

  #pulseListener(): PulseListener {
    return {
      begun: () => {
        this.#pulsing = true
      },
      renewed: ({ startedMs, beat, noted, forgot }) => {
        if (this.#at !== 'joined') return
        this.#beat = Math.max(this.#beat, beat)
        if (forgot) this.#forgot()
        this.#renewed(startedMs, noted)
      },
      // Another connection may do better; and only what this one meets says whether others may be judged.
      failed: () => void this.renewNow(),
      lost: () => void this.renewNow(),
      ended: error => {
        this.#pulsing = false
        this.#handler.trouble(homingError(error, 'STORAGE', 'the pulse ended, the main loop renews'))
        void this.renewNow()
      },
    }
  }

  /** What the pulse did while this loop stood still, before its messages are heard. */
  #mergePulse(): void {
    if (!this.#pulse) return
    if (this.#pulse.renewedMs >= this.#validFromMs) this.#took(this.#pulse.renewedMs)
    if (this.#pulse.doubtful()) this.#doubted('late')
  }
}

function closed(): HomingError {
  return new HomingError('CLOSED', 'this peer has left')
}
