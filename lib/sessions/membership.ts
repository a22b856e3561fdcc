/** Who is a member, as this peer sees it: all records are read with each renewal, and judged by their beats. */

import { isDeepStrictEqual } from 'node:util'
import { HomingError, homingError } from '../errors.ts'
import type { Env, Timer } from '../env/env.ts'
import type { Departure, Member, Run } from './directory.ts'
import { BatchedReads } from './batched-reads.ts'
import { LeaseWatch, type Verdict } from './lease-watch.ts'
import type { SessionOptions } from './options.ts'
import type { PeerEntry, PeerRecords } from './peer-records.ts'
import { sameMember, sameRun } from './records.ts'

/** What a membership tells. No method may throw. */
export interface MembershipHandler {
  memberUp(member: Member): void
  memberChanged(member: Member): void
  memberDown(run: Run, why: Departure): void
  /** The own record, as others read it, is of another incarnation, not there, or not what was last written. */
  selfSeen(by: Run | undefined): void
  trouble(error: HomingError): void
}

export interface MembershipOptions {
  readonly env: Env
  readonly records: PeerRecords
  readonly options: Readonly<SessionOptions>
  readonly self: () => Member
  readonly handler: MembershipHandler
}

interface Known {
  member: Member
  up: boolean
  /** Of the record as it was last read. */
  version: string
  /** Which reading that was: answers may overtake each other. */
  reading: number
}

/** Records of runs that were judged lapsed so many leases ago are garbage. */
const garbageLeases = 3
/** Protects the memory; beyond it the oldest are forgotten, and their sessions stay a little longer. */
const goneMax = 10_000

export class Membership {
  readonly watch: LeaseWatch
  readonly #env: Env
  readonly #records: PeerRecords
  readonly #options: Readonly<SessionOptions>
  readonly #self: () => Member
  readonly #handler: MembershipHandler
  readonly #known = new Map<string, Known>()
  /** When a run was first seen to be gone, by incarnation. */
  readonly #gone = new Map<string, number>()
  /** Which reading last found no record, by identity. */
  readonly #missed = new Map<string, number>()
  readonly #reads: BatchedReads<Member>
  #reading = 0
  #refreshing: Promise<void> | undefined
  #again = false
  #refreshTimer: Timer | undefined
  #dueTimer: Timer | undefined
  /** Until then a missing record does not mean a goodbye: the datastore is known to have lost some. */
  #forgetfulUntilMs = -Infinity
  /** By then whoever lives has put back what the datastore lost. */
  #completeFromMs = -Infinity
  #stopped = false

  constructor({ env, records, options, self, handler }: MembershipOptions) {
    this.#env = env
    this.#records = records
    this.#options = options
    this.#self = self
    this.#handler = handler
    this.#reads = new BatchedReads(identities => this.#readBatch(identities))
    this.watch = new LeaseWatch({ leaseMs: options.leaseMs, freshMs: 2 * options.renewEveryMs + options.operationTimeoutMs })
  }

  /** Reads all, and goes on doing so. The first reading is over when this resolves, well or not. */
  async begin(): Promise<void> {
    this.#refreshTimer = this.#env.timers.every(this.#options.renewEveryMs, () => void this.refresh())
    await this.refresh()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#refreshTimer?.cancel()
    this.#dueTimer?.cancel()
    await this.#refreshing
  }

  /** Live members as known, this peer included. */
  members(): Member[] {
    const members = [this.#self()]
    for (const { member, up } of this.#known.values()) if (up) members.push(member)
    return members
  }

  member(identity: string): Member | undefined {
    const self = this.#self()
    if (identity === self.identity) return self
    const known = this.#known.get(identity)
    return known?.up ? known.member : undefined
  }

  /** Reads one record afresh: what is resolved was read after the call. Rejects with `DATASTORE`, also when it cannot be read. */
  lookUp(identity: string): Promise<Member | undefined> {
    return this.#reads.read(identity)
  }

  async #readBatch(identities: readonly string[]): Promise<(Member | HomingError | undefined)[]> {
    const entries = await this.readAfresh(identities)
    return identities.map(identity => {
      const entry = entries.get(identity)
      return entry === 'unreadable'
        ? new HomingError('DATASTORE', `the record of peer '${identity}' cannot be read`)
        : entry?.member
    })
  }

  /** Reads records afresh, and judges by them. Rejects with `DATASTORE`. */
  async readAfresh(identities: readonly string[]): Promise<Map<string, PeerEntry | 'unreadable'>> {
    const reading = ++this.#reading
    const { monotonicMs: startedMs, bootMs } = this.#now()
    const entries = await this.#records.getMany(identities)
    this.#noticeAge(bootMs)
    if (!this.#stopped) for (const identity of identities) this.#see(identity, entries.get(identity), reading, startedMs)
    return entries
  }

  /**
   * The record of a run if it may be alive: `undefined` only if it has certainly lapsed, left or been replaced. Its record is read for it:
   * a goodbye counts at once. Rejects with `DATASTORE`.
   */
  async living(run: Run): Promise<Member | undefined> {
    const self = this.#self()
    if (run.identity === self.identity) return run.incarnation === self.incarnation ? self : undefined
    const member = await this.lookUp(run.identity)
    if (member?.incarnation === run.incarnation) return this.hasLapsed(run) ? undefined : member
    const known = this.#known.get(run.identity)
    if (!member && known?.up && sameRun(known.member, run)) return known.member // the datastore forgot, see `forgetful`
    this.#noteGone(run)
    return undefined
  }

  /** Whether it is a whole lease ago that `run` was first seen to be gone. */
  isLongGone(run: Run): boolean {
    return this.#goneForMs(run) >= this.#options.leaseMs
  }

  hasLapsed(run: Run): boolean {
    return this.#verdict(run) === 'lapsed'
  }

  #goneForMs({ incarnation }: Run): number {
    const goneMs = this.#gone.get(incarnation)
    return goneMs === undefined ? 0 : this.#env.clock.monotonicMs() - goneMs
  }

  /** The datastore has lost records: for one lease those that are missing are not taken for goodbyes. */
  forgetful(): void {
    const { leaseMs, renewEveryMs, operationTimeoutMs } = this.#options
    const nowMs = this.#env.clock.monotonicMs()
    this.#forgetfulUntilMs = nowMs + leaseMs
    this.#completeFromMs = nowMs + renewEveryMs + 2 * operationTimeoutMs
  }

  /** From when on (monotonic clock) an address without a record is one that nobody holds; in the past while nothing was lost. */
  get completeFromMs(): number {
    return this.#completeFromMs
  }

  /** The own lease was renewed or not, or this loop was late: see `LeaseWatch`. */
  ownRenewed(): void {
    this.watch.renewed(this.#env.clock.monotonicMs())
    this.#scheduleDue()
  }

  ownFailed(): void {
    this.watch.failed()
  }

  late(): void {
    this.watch.late(this.#env.clock.monotonicMs())
  }

  /** Reads all records; one reading at a time. Never rejects: what fails is seen by the datastore's own watch. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined
      if (!this.#again || this.#stopped) return
      this.#again = false
      void this.refresh()
    })
    return this.#refreshing
  }

  /** Records came or went just now. A reading that is under way began before that, and is followed by another. */
  changed(): void {
    if (this.#refreshing) this.#again = true
    else void this.refresh()
  }

  /**
   * The process of a run is known to have ended: it is judged now, as its record was last read. One more reading shows whether its beat has
   * moved since, which undoes it. Rejects with `DATASTORE`.
   */
  async ended(run: Run): Promise<void> {
    if (this.watch.end(run)) await this.readAfresh([run.identity])
  }

  /** Reads all records afresh. Rejects with `DATASTORE`. */
  async readAll(): Promise<void> {
    const reading = ++this.#reading
    const { monotonicMs: startedMs, bootMs } = this.#now()
    const entries = await this.#records.readAll([...this.#known.keys(), this.#self().identity])
    this.#noticeAge(bootMs)
    this.#seeAll(entries, reading, startedMs)
  }

  #now(): { monotonicMs: number; bootMs: number } {
    const { clock } = this.#env
    return { monotonicMs: clock.monotonicMs(), bootMs: clock.bootMs() }
  }

  /**
   * Who was silent when a reading began that was long ago may have come back since: this process, or its machine, stood still meanwhile, and
   * hears of that reading before anything else.
   */
  #noticeAge(startedBootMs: number): void {
    if (this.#env.clock.bootMs() - startedBootMs > this.#options.renewEveryMs) this.late()
  }

  async #refresh(): Promise<void> {
    try {
      await this.readAll()
    } catch (error) {
      if (!this.#stopped) this.#handler.trouble(homingError(error, 'DATASTORE', 'the members could not be read'))
    }
    this.#scheduleDue()
  }

  #seeAll(entries: Map<string, PeerEntry | 'unreadable' | undefined>, reading: number, startedMs: number): void {
    if (this.#stopped) return
    this.#seeSelf(entries.get(this.#self().identity))
    // Not of who became known meanwhile: nobody asked for their records.
    for (const [identity, entry] of entries) this.#see(identity, entry, reading, startedMs)
    for (const [identity, missed] of this.#missed) if (missed < reading) this.#missed.delete(identity)
  }

  /** Without our record among the others, missing ones mean that the datastore forgot. */
  #seeSelf(entry: PeerEntry | 'unreadable' | undefined): void {
    if (entry === 'unreadable' || (entry && this.#isOwn(entry.member))) return
    if (!entry) this.forgetful()
    this.#handler.selfSeen(entry?.member)
  }

  /** Where two renewals at once may both succeed, one of them may have taken back what the other said of this peer. */
  #isOwn(member: Member): boolean {
    const self = this.#self()
    return sameRun(member, self) && (this.#records.atomic || sameMember(member, self))
  }

  #see(identity: string, entry: PeerEntry | 'unreadable' | undefined, reading: number, startedMs: number): void {
    if (identity === this.#self().identity || entry === 'unreadable') return
    const known = this.#known.get(identity)
    const last = known?.reading ?? this.#missed.get(identity) ?? 0
    if (last > reading) return // a later question was answered first
    if (!entry) return this.#missing(known, reading)

    const { member, beat, version } = entry
    this.watch.saw(member, beat, startedMs, this.#env.clock.monotonicMs())
    if (known && known.member.incarnation !== member.incarnation) this.#depart(known, 'replaced')
    const before = this.#known.get(identity)
    const now: Known = { member, up: this.#verdict(member) !== 'lapsed', version, reading }
    this.#known.set(identity, now)
    if (now.up) this.#gone.delete(member.incarnation)
    this.#tell(before, now)
    if (!now.up) this.#collect(now)
  }

  #tell(before: Known | undefined, now: Known): void {
    if (before?.up) {
      if (!now.up) this.#down(now.member, 'lapsed')
      else if (!isDeepStrictEqual(before.member, now.member)) this.#handler.memberChanged(now.member)
    } else if (now.up) {
      this.#handler.memberUp(now.member)
    }
  }

  #missing(known: Known | undefined, reading: number): void {
    if (!known || this.#env.clock.monotonicMs() < this.#forgetfulUntilMs) return
    this.#missed.set(known.member.identity, reading)
    this.watch.forget(known.member.identity)
    this.#depart(known, 'left')
  }

  /** `known` is to be forgotten: its record is gone, or another's. */
  #depart(known: Known, why: 'left' | 'replaced'): void {
    this.#known.delete(known.member.identity)
    this.#noteGone(known.member)
    if (known.up) this.#down(known.member, why)
  }

  #down({ identity, incarnation }: Member, why: Departure): void {
    this.#noteGone({ identity, incarnation })
    this.#handler.memberDown({ identity, incarnation }, why)
  }

  #noteGone({ incarnation }: Run): void {
    if (this.#gone.has(incarnation)) return
    this.#gone.set(incarnation, this.#env.clock.monotonicMs())
    if (this.#gone.size > goneMax) this.#gone.delete(this.#gone.keys().next().value!)
  }

  /** The record of a run that lapsed long ago, as it was read. */
  #collect({ member, version }: Known): void {
    this.#noteGone(member)
    if (this.#goneForMs(member) < garbageLeases * this.#options.leaseMs) return
    this.#records.removeIf(member, version).catch((error: unknown) => {
      if (!this.#stopped)
        this.#handler.trouble(homingError(error, 'DATASTORE', `the record of '${member.identity}' could not be removed`))
    })
  }

  #verdict(run: Run): Verdict {
    return this.watch.judge(run, this.#env.clock.monotonicMs())
  }

  /** One more reading right when a lease runs out, so that nobody is believed an interval longer. */
  #scheduleDue(): void {
    const dueMs = this.watch.dueMs()
    this.#dueTimer?.cancel()
    if (this.#stopped || dueMs === Infinity) return
    const inMs = dueMs - this.#env.clock.monotonicMs()
    // Beyond the next renewal that will schedule it anew.
    if (inMs > this.#options.renewEveryMs) return
    this.#dueTimer = this.#env.timers.after(Math.max(inMs, this.#options.renewEveryMs / 10), () => void this.#readDue())
  }

  async #readDue(): Promise<void> {
    try {
      const due = this.watch.dueAt(this.#env.clock.monotonicMs())
      if (due.length > 0) await this.readAfresh(due)
    } catch (error) {
      if (!this.#stopped) this.#handler.trouble(homingError(error, 'DATASTORE', 'a member could not be read'))
    }
    this.#scheduleDue()
  }
}
