/** The directory of a peer that has a datastore of its own. */

import type { Datastore } from '../datastores/datastore.ts'
import type { Env } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import { BatchedReads } from './batched-reads.ts'
import { settledBy } from './deadline.ts'
import type {
  Claimed,
  Directory,
  DirectoryHandler,
  Held,
  LeaseState,
  Located,
  Member,
  Owner,
  Probe,
  Released,
  Run,
  Self,
} from './directory.ts'
import { Health } from './health.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { LifeSigns } from './life-signs.ts'
import { LifeWatch } from './life-watch.ts'
import { Membership } from './membership.ts'
import type { SessionOptions } from './options.ts'
import { PeerRecords } from './peer-records.ts'
import { startPulse } from './pulse.ts'
import { Keys, sameClaim } from './records.ts'
import { SessionStore, type StoredSession } from './session-store.ts'
import { StaleSessions } from './stale-sessions.ts'
import { Turns } from './turns.ts'
import { Waiters } from './waiters.ts'

export interface StoreDirectoryOptions {
  readonly env: Env
  /** Stays open: whoever opened it closes it, after this directory. */
  readonly datastore: Datastore
  /** Where the pulse opens its own connection; absent: the main loop renews. */
  readonly storeUrl?: string
  readonly cluster: string
  readonly self: Self
  readonly options: Readonly<SessionOptions>
  readonly handler: DirectoryHandler
  /** Asks who answers at the endpoints of an incumbent with our identity, or of a member whose sign of life is gone. Does not reject. */
  readonly probe: (member: Member) => Promise<Probe>
  /** A silent incumbent has our identity: it is waited for, one lease long. */
  readonly waiting?: (incumbent: Member, forMs: number) => void
  /** What failed in the background, for the log. */
  readonly trouble?: (error: HomingError) => void
}

/** Guessed records are read beside each batch of look-ups: few, because most batches are small. */
const likelyMax = 16

/** Made by `StoreDirectory.join`. What it costs a peer: one reading of all peers' records an interval, nothing an address. */
export class StoreDirectory implements Directory {
  readonly #env: Env
  readonly #run: Run
  readonly #handler: DirectoryHandler
  readonly #health: Health
  readonly #sessions: SessionStore
  readonly #keeper: LeaseKeeper
  readonly #membership: Membership
  /** Where the engine can tell that a process has ended. */
  readonly #life: LifeWatch | undefined
  readonly #waiters: Waiters
  readonly #stale: StaleSessions
  readonly #finds: BatchedReads<Located>
  readonly #looks: BatchedReads<Located>
  /** Owners of what was looked up last; and those that were also among the ones before: their records are read beside the next sessions. */
  #lastOwners = new Map<string, Owner>()
  #likelyOwners: readonly Owner[] = []
  /** Readings of all members: the one that runs (it does not reject), and the one that begins when it ends. */
  #reading: Promise<void> | undefined
  #readingNext: Promise<void> | undefined
  readonly #turns = new Turns()
  #ended: HomingError | undefined
  #disposed: Promise<void> | undefined

  private constructor(given: StoreDirectoryOptions) {
    const { env, cluster, self, options, handler, trouble = () => undefined } = given
    this.#env = env
    this.#run = { identity: self.identity, incarnation: self.incarnation }
    this.#handler = handler
    this.#health = new Health({
      env,
      datastore: given.datastore,
      key: new Keys(cluster).peer(self.identity),
      down: error => handler.storeDown(error),
      up: () => this.#storeUp(),
    })
    const datastore = this.#health.watched
    const records = new PeerRecords(datastore, cluster, trouble)
    this.#sessions = new SessionStore({ env, datastore, cluster, trouble })
    this.#keeper = this.#newKeeper(given, records, trouble)
    this.#membership = new Membership({
      env,
      records,
      options,
      self: () => this.#keeper.self,
      handler: {
        memberUp: member => handler.memberUp(member),
        memberChanged: member => handler.memberChanged(member),
        memberDown: (run, why) => handler.memberDown(run, why),
        selfSeen: () => void this.#keeper.renewNow(),
        trouble,
      },
    })
    const signs = LifeSigns.of(datastore, cluster)
    this.#life = signs && new LifeWatch({ env, signs, membership: this.#membership, self, options, probe: given.probe, trouble })
    this.#waiters = new Waiters({
      env,
      pollMs: options.waitPollMs,
      find: address => this.#looks.read(address),
      blind: () => this.#health.error !== undefined,
    })
    this.#finds = new BatchedReads(addresses => this.#findMany(addresses))
    this.#looks = new BatchedReads(addresses => this.#locateMany(addresses))
    this.#stale = new StaleSessions({ sessions: this.#sessions, membership: this.#membership, trouble })
    given.datastore.onLoss?.(() => {
      if (!this.#ended) this.#keeper.recheck()
    })
  }

  /**
   * Takes the identity and begins to renew its lease. Rejects with `IDENTITY_IN_USE` (a living rival), `DATASTORE` (it could not be
   * reached for `startTimeoutMs`), `BAD_OPTION` (names that make no key).
   */
  static async join(given: StoreDirectoryOptions): Promise<StoreDirectory> {
    const directory = new StoreDirectory(given)
    try {
      await directory.#keeper.join()
    } catch (error) {
      await directory[Symbol.asyncDispose]()
      throw error
    }
    directory.#health.begin()
    await directory.#membership.begin()
    directory.#life?.begin()
    return directory
  }

  get lease(): LeaseState {
    return this.#ended ? 'unsure' : this.#keeper.lease
  }

  async claim(claims: readonly Held[], untilMs: number): Promise<Claimed[]> {
    const turn = this.#turns.enter(claims.map(({ address }) => address))
    try {
      const claimed = await this.#sessions.claimMany(this.#run, claims, untilMs)
      for (const { address, claim, overtakenBy } of claimed) {
        if (overtakenBy || !this.#waiters.expect(address)) continue
        this.#waiters.appeared(address, { address, owner: { ...this.#run, claim }, moving: false, member: this.#keeper.self })
      }
      // Nearly always nobody held them: 100,000 claims are not worth 100,000 promises.
      const displacing = claimed.some(({ previous }) => previous !== undefined)
      const named = displacing ? await Promise.all(claimed.map(one => this.#withLivingPrevious(one, untilMs))) : claimed
      await turn.come(this.#env, untilMs)
      return named
    } finally {
      turn.leave()
    }
  }

  async release(claims: readonly Held[], untilMs: number): Promise<Released[]> {
    return this.#sessions.releaseMany(this.#run, claims, untilMs)
  }

  async markMoving(claims: readonly Held[], untilMs: number): Promise<void> {
    await this.#sessions.markMoving(this.#run, claims, untilMs)
  }

  /** Not async: a promise each for every layer would be half of what a look-up costs. */
  find(address: string): Promise<Located | undefined> {
    try {
      this.#sessions.check(address)
      const down = this.#health.error
      if (down) throw new HomingError('DATASTORE', `'${address}' cannot be looked up: ${down.message}`, { cause: down })
      return this.#finds.read(address)
    } catch (error) {
      return Promise.reject(error as HomingError)
    }
  }

  async waitFor(address: string, untilMs: number, signal?: AbortSignal): Promise<Located | undefined> {
    this.#sessions.check(address)
    return this.#waiters.wait(address, untilMs, signal)
  }

  async *sessions(): AsyncGenerator<{ address: string; owner: Owner; moving: boolean }> {
    if (this.#ended) throw this.#ended
    await this.#membership.refresh()
    const living = new Map<string, boolean>()
    for await (const { address, owner, moving } of this.#sessions.list()) {
      let lives = living.get(owner.incarnation)
      if (lives === undefined) living.set(owner.incarnation, (lives = (await this.#membership.living(owner)) !== undefined))
      if (lives) yield { address, owner, moving }
    }
  }

  members(): readonly Member[] {
    return this.#membership.members()
  }

  async readMembers(): Promise<readonly Member[]> {
    if (this.#ended) throw this.#ended
    await this.#readAll()
    return this.#membership.members()
  }

  /** Calls of one turn of the loop, and those that come while one is read, share the next reading: each gets what was read after it asked. */
  #readAll(): Promise<void> {
    return (this.#readingNext ??= this.#readNext())
  }

  async #readNext(): Promise<void> {
    await Promise.all([this.#reading, new Promise<void>(resolve => this.#env.timers.soon(resolve))])
    this.#readingNext = undefined
    const reading = this.#membership.readAll()
    this.#reading = settled(reading)
    await reading
  }

  member(identity: string): Member | undefined {
    return this.#membership.member(identity)
  }

  async lookUpMember(identity: string): Promise<Member | undefined> {
    if (this.#ended) throw this.#ended
    return this.#membership.lookUp(identity)
  }

  leaveNote(to: Owner, address: string, by: Owner): Promise<void> {
    return this.#sessions.leaveNote(to, address, by)
  }

  async update(change: Partial<Pick<Self, 'endpoints' | 'state' | 'metadata' | 'via'>>): Promise<void> {
    if (this.#ended) throw this.#ended
    await this.#keeper.update(change)
  }

  async leave(untilMs: number): Promise<void> {
    if (this.#ended) return this[Symbol.asyncDispose]()
    this.#end(closed())
    try {
      await this.#keeper.leave(untilMs)
    } finally {
      const late = (): HomingError =>
        new HomingError('DATASTORE', 'the datastore still works on the last calls', { outcome: 'unknown' })
      await settledBy(this.#env, untilMs, this[Symbol.asyncDispose](), late)
    }
  }

  /** Without `leave` the peer's record stays, and lapses. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#disposed ??= this.#dispose()
    return this.#disposed
  }

  async #dispose(): Promise<void> {
    this.#end(closed())
    await Promise.all([
      this.#keeper[Symbol.asyncDispose](),
      this.#life?.stop(),
      this.#membership.stop(),
      this.#stale.stop(),
      this.#sessions[Symbol.asyncDispose](),
    ])
  }

  /** From now on calls reject with `error`, and nothing is told any more. */
  #end(error: HomingError): void {
    if (this.#ended) return
    this.#ended = error
    this.#keeper.stop()
    this.#health.stop()
    void this.#membership.stop()
    void this.#stale.stop()
    this.#waiters.end(error)
    this.#sessions.end(error)
  }

  #newKeeper(given: StoreDirectoryOptions, records: PeerRecords, trouble: (error: HomingError) => void): LeaseKeeper {
    const { env, storeUrl, cluster, self, options, handler, probe } = given
    return new LeaseKeeper({
      env,
      records,
      sessions: this.#sessions,
      self,
      options,
      probe,
      handler: {
        held: () => handler.held(),
        displaced: (address, claim, by) => handler.displaced(address, claim, by),
        lease: (state, why) => handler.lease(state, why),
        fenced: by => this.#fenced(by),
        renewed: () => this.#membership.ownRenewed(),
        renewalFailed: () => this.#membership.ownFailed(),
        late: () => this.#membership.late(),
        forgot: () => this.#membership.forgetful(),
        waiting: (incumbent, forMs) => given.waiting?.(incumbent, forMs),
        trouble,
      },
      ...(storeUrl === undefined
        ? {}
        : { startPulse: listener => startPulse({ env, storeUrl, cluster, run: this.#run, options, listener }) }),
    })
  }

  #fenced(by: Run | undefined): void {
    if (this.#ended) return
    this.#end(new HomingError('FENCED', `another run of '${this.#run.identity}' has taken over`))
    this.#handler.fenced(by)
  }

  #storeUp(): void {
    this.#handler.storeUp()
    this.#sessions.retryNow()
    void this.#keeper.renewNow()
    void this.#membership.refresh()
    this.#waiters.lookNow()
  }

  async #findMany(addresses: readonly string[]): Promise<(Located | HomingError | undefined | Promise<Located | undefined>)[]> {
    const found = await this.#locateMany(addresses)
    const { completeFromMs } = this.#membership
    if (completeFromMs <= this.#env.clock.monotonicMs()) return found
    // What the datastore has just lost is about to be put back by whoever holds it.
    return found.map((located, index) => located ?? this.#waiters.wait(addresses[index]!, completeFromMs))
  }

  /** The record of an owner is read once for all its sessions that are asked for together. */
  async #locateMany(addresses: readonly string[]): Promise<(Located | HomingError | undefined)[]> {
    const likely = new Map(this.#likelyOwners.map(owner => [owner.incarnation, this.#membership.living(owner).catch(asIfGone)]))
    const sessions = await this.#sessions.readBatch(addresses)
    const owners = new Map<string, Owner>()
    for (const session of sessions) {
      if (session && !(session instanceof HomingError)) owners.set(session.owner.incarnation, session.owner)
    }
    const members = new Map<string, Member | HomingError | undefined>()
    const reading = [...owners.values()].map(async owner => {
      // A guess tells that somebody lives; that somebody does not, only what was read after the session does.
      const member = (await likely.get(owner.incarnation)) ?? (await this.#membership.living(owner).catch(unreadable))
      members.set(owner.incarnation, member)
    })
    this.#guess(owners)
    await Promise.all(reading)
    const ofGone: StoredSession[] = []
    const located = sessions.map(session => {
      if (!session || session instanceof HomingError) return session
      const { address, owner, moving } = session
      const member = members.get(owner.incarnation)
      if (member instanceof HomingError) return member
      if (member) return { address, owner, moving, member }
      this.#stale.offer(session)
      ofGone.push(session)
      return undefined
    })
    if (ofGone.length === 0) return located
    const taken = await this.#takenSince(ofGone)
    return located.map((one, index) => (taken.has(addresses[index]!) ? taken.get(addresses[index]!) : one))
  }

  /** Sessions whose owners were gone a moment after they had been read: somebody may have taken them before that. */
  async #takenSince(sessions: readonly StoredSession[]): Promise<Map<string, Located | HomingError | undefined>> {
    const located = new Map<string, Located | HomingError | undefined>()
    const taken: string[] = []
    const now = await this.#sessions.readBatch(sessions.map(({ address }) => address)).catch(unreadable)
    for (const [index, { address, owner }] of sessions.entries()) {
      const session = now instanceof HomingError ? now : now[index]
      if (session instanceof HomingError) located.set(address, session)
      else if (session && !sameClaim(session.owner, owner)) taken.push(address)
    }
    if (taken.length > 0) for (const [index, one] of (await this.#locateMany(taken)).entries()) located.set(taken[index]!, one)
    return located
  }

  /** Who was an owner twice in a row may well be it again: reading its record beside the sessions saves a round trip. */
  #guess(owners: ReadonlyMap<string, Owner>): void {
    if (owners.size === 0) return
    this.#likelyOwners = [...owners.values()].filter(({ incarnation }) => this.#lastOwners.has(incarnation)).slice(0, likelyMax)
    this.#lastOwners = new Map(owners)
  }

  /** Whether the displaced owner is gone is worth one reading, not a failed claim: in doubt it is named. */
  async #withLivingPrevious(claimed: Claimed, untilMs: number): Promise<Claimed> {
    if (!claimed.previous) return claimed
    try {
      const late = (): HomingError => new HomingError('DATASTORE', 'not known in time')
      const member = await settledBy(this.#env, untilMs, this.#membership.living(claimed.previous), late)
      return member ? claimed : { ...claimed, previous: undefined }
    } catch (error) {
      if (error instanceof HomingError && error.code === 'DATASTORE') return claimed
      throw error
    }
  }
}

/** Of one owner of several: the others' sessions are located. */
function unreadable(error: unknown): HomingError {
  if (error instanceof HomingError) return error
  throw error
}

/** Of a guess: it is read again, if it matters. */
function asIfGone(error: unknown): undefined {
  unreadable(error)
  return undefined
}

async function settled(work: Promise<unknown>): Promise<void> {
  await Promise.allSettled([work])
}

function closed(): HomingError {
  return new HomingError('CLOSED', 'this peer has left')
}
