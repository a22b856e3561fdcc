/** Who is where, as a peer sees it: asked of a datastore in a direct mesh, of the broker in a relayed one. */

/** Which run of a peer holds an address, and by which act of connecting. */
export interface Owner {
  readonly identity: string
  readonly incarnation: string
  /** Counts the claims of one incarnation, from 1. (incarnation, claim) names one act of connecting. */
  readonly claim: number
}

/** One run of a peer: an identity and which start of it. */
export interface Run {
  readonly identity: string
  readonly incarnation: string
}

/** A peer of the cluster as its own record describes it. */
export interface Member extends Run {
  /** Where it listens; empty for a peer behind a broker. */
  readonly endpoints: readonly string[]
  /** The identity of the broker that it is linked to, for a peer behind one. */
  readonly via?: string
  readonly role: 'peer' | 'broker'
  readonly state: 'up' | 'draining'
  /** Version of the library that it runs. */
  readonly version: string
  /** `Env.machine` of where it runs. */
  readonly machine: string
  /** What layers say of themselves, by layer. JSON values. */
  readonly metadata: Readonly<Record<string, unknown>>
}

/** An address, and who holds it now. */
export interface Located {
  readonly address: string
  readonly owner: Owner
  /** The owner is draining: a new claim of the address is expected within seconds. */
  readonly moving: boolean
  /** The owner's record, live as far as this peer knows. */
  readonly member: Member
}

/** A claim that this peer holds. */
export interface Held {
  readonly address: string
  readonly claim: number
}

/**
 * A claim that was written. `previous` is whom it displaced, if that one was not known to be gone; `overtakenBy` who had displaced it before
 * its writer learnt that it was written.
 */
export interface Claimed extends Held {
  readonly previous: Owner | undefined
  readonly overtakenBy?: Owner | undefined
}

/** What became of a release: our record is gone; another holds the address; nobody held it. */
export type Released = { at: 'released' } | { at: 'elsewhere'; owner: Owner } | { at: 'absent' }

/** Why a member is no longer one. `left`: it said goodbye; `lapsed`: its lease ran out; `replaced`: its identity has a new incarnation. */
export type Departure = 'left' | 'lapsed' | 'replaced'

/**
 * Whether this peer may believe that it owns what it claimed. `sure`: renewed in time. `unsure`: the last renewal is so long ago that
 * others may judge it dead (the datastore is down, or this process stood still).
 */
export type LeaseState = 'sure' | 'unsure'

/**
 * Why a lease is unsure. `store`: the datastore does not take renewals; an owner told to `serve` goes on. `late`: this process stood still or
 * was suspended for so long that others may have judged it; nothing may be delivered before all was revalidated, whatever was chosen.
 */
export type Doubt = 'store' | 'late'

/** What a directory tells its peer. No method may throw. */
export interface DirectoryHandler {
  /** What this peer holds now, for revalidation. */
  held(): Iterable<Held>
  /** `address` under `claim` is not ours any more; `by` is the new owner where it is known (absent: the record is gone for good). */
  displaced(address: string, claim: number, by: Owner | undefined): void
  /** Behind a broker: its allow-list lets this peer hold `address` no more. The record is gone. */
  refused?(address: string, claim: number): void
  memberUp(member: Member): void
  /** Its record changed: endpoints, state or metadata. */
  memberChanged(member: Member): void
  memberDown(run: Run, why: Departure): void
  /** Operations on the datastore fail since now. */
  storeDown(error: Error): void
  storeUp(): void
  /**
   * The lease became certain or uncertain, or the reason of an uncertainty grew from `store` to `late`. When it becomes `sure` again, what
   * was held has been revalidated already. `why` is there while it is unsure.
   */
  lease(state: LeaseState, why: Doubt | undefined): void
  /** Another incarnation holds this identity: stop. Last call. */
  fenced(by: Run | undefined): void
}

/** What a peer says of itself when it joins. */
export type Self = Member

/**
 * Duties: calls of one peer for one address take effect in the order they were made; reads are single-flight per address and batched,
 * at most 64 in flight; nothing is decided by a wall clock; nobody is judged dead while this peer's own renewals fail.
 * Failures are `HomingError`: `DATASTORE` (it cannot be asked now), `CLOSED`, `FENCED`.
 */
export interface Directory extends AsyncDisposable {
  /**
   * Claims addresses for this peer, whoever held them: the newest claim wins. `claims` are fresh counters of this incarnation, one an
   * address. Waits for a datastore that is down until `untilMs` (monotonic clock), then rejects with `DATASTORE`; an ambiguous write
   * is read back by its claim. One write an address where nobody held it. Resolves in the order of `claims`.
   */
  claim(claims: readonly Held[], untilMs: number): Promise<Claimed[]>
  /** Gives claims back; only what still carries our claim is removed. In the order of `claims`. */
  release(claims: readonly Held[], untilMs: number): Promise<Released[]>
  /** Marks claims as moving: see `Located.moving`. Claims that are not ours any more are passed over. */
  markMoving(claims: readonly Held[], untilMs: number): Promise<void>
  /** Who holds `address` now, read afresh; `undefined`: nobody. Rejects with `DATASTORE` at once when it cannot be asked. */
  find(address: string): Promise<Located | undefined>
  /** Resolves as soon as somebody holds `address`, or with `undefined` at `untilMs` (monotonic) or when the signal aborts. Goes on over outages. */
  waitFor(address: string, untilMs: number, signal?: AbortSignal): Promise<Located | undefined>
  /** All live sessions, as good as a listing can be: not a snapshot. */
  sessions(): AsyncIterable<{ address: string; owner: Owner; moving: boolean }>
  /** Live members as known, this peer included. */
  members(): readonly Member[]
  /** Live members, read afresh: who joined before the call is among them. Rejects with `DATASTORE`. */
  readMembers(): Promise<readonly Member[]>
  member(identity: string): Member | undefined
  /** Reads one member's record afresh; `undefined`: there is none. */
  lookUpMember(identity: string): Promise<Member | undefined>
  /** Tells a former owner of `held.address`, through the datastore, that `by` has it now: for owners that could not be told directly. */
  leaveNote(to: Owner, address: string, by: Owner): Promise<void>
  /** Rewrites this peer's own record. */
  update(change: Partial<Pick<Self, 'endpoints' | 'state' | 'metadata' | 'via'>>): Promise<void>
  readonly lease: LeaseState
  /** Ends the lease and says goodbye: the peer's record is removed, so that all it held reads as absent at once. Then disposes. */
  leave(untilMs: number): Promise<void>
}

/** What was learnt by probing the endpoints of an incumbent with our identity. */
export type Probe = 'answers' | 'refused' | 'silent'
