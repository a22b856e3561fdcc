/** Claims, releases and finds sessions on a datastore, for any run: a peer uses it for itself, a broker for its peers. */

import { HomingError } from '../errors.ts'
import type { Datastore, Entry, Removal, Write } from '../datastores/datastore.ts'
import { PartialFailure, partsOf } from '../datastores/partial-failure.ts'
import type { Env, Timer } from '../env/env.ts'
import { BatchedReads } from './batched-reads.ts'
import type { Claimed, Held, Owner, Released, Run } from './directory.ts'
import { NoteBox, type StoredNotes } from './note-box.ts'
import { decodeSession, encodeSession, isUnreadable, Keys, sameClaim, sameRun, type SessionRecord } from './records.ts'
import { SecondLook } from './second-look.ts'
import { nextStep, type Moved, type MoveKind, type Step } from './session-moves.ts'

/** A session record as it was read. */
export class StoredSession implements SessionRecord {
  readonly address: string
  readonly owner: Owner
  readonly previous: Owner | undefined
  readonly moving: boolean
  readonly #entry: Entry

  constructor(address: string, { owner, previous, moving }: SessionRecord, entry: Entry) {
    this.address = address
    this.owner = owner
    this.previous = previous
    this.moving = moving
    this.#entry = entry
  }

  /** To be written or removed over. */
  get version(): string {
    return this.#entry.version
  }
}

export interface SessionStoreOptions {
  readonly env: Env
  readonly datastore: Datastore
  readonly cluster: string
  /** What failed in the background, where no caller waits: unreadable records, garbage that could not be removed. */
  readonly trouble?: (error: HomingError) => void
}

/** A record that nobody needs any more, as it was read. */
export type Stale = Pick<StoredSession, 'address' | 'version'>

/** Protects a round trip from becoming longer than an operation may take. */
const batchMax = 1_000
/** While the datastore fails, little is tried at a time: what was tried and not answered has to be cleaned up after. */
const batchWhileFailingMax = 32
const batchesInFlightMax = 8
/** From this many lost races on, an operation pauses before it reads again; after the maximum it fails. */
const racesAtOnce = 3
const racesMax = 50
const pauseMsMin = 50
/** With an operation's own second it keeps the recovery after an outage within two (FAULTS.md, F5). */
const pauseMsMax = 500
/** Protects the memory during an outage: what nobody waits for any more, and is to be removed when the datastore is back. */
const orphansMax = 20_000

interface Op extends Held {
  kind: MoveKind
  readonly run: Run
  readonly key: string
  /** Nobody is known to hold the address: a claim is tried without reading. */
  blind: boolean
  wrote: boolean
  /** Over whom a write of a claim went that may have taken effect without us knowing: nobody else can tell them. */
  readonly suspects: Owner[]
  races: number
  flying: boolean
  result: Moved | undefined
  /** Absent: nobody waits for it any more. */
  call: Call | undefined
  /** A release that goes on for its own sake, without a call. */
  orphan: boolean
  pause: Timer | undefined
  /** It waits for a batch to take it along. */
  ready: boolean
  /** Next in line for the same address. */
  behind: Op | undefined
}

interface Call {
  readonly what: string
  readonly isWanted: (() => boolean) | undefined
  readonly ops: readonly Op[]
  left: number
  resolve(results: Moved[]): void
  reject(error: HomingError): void
  timer: Timer | undefined
}

/**
 * Operations on one address take effect in the order of the calls; those on different addresses share round trips. Each settles by its
 * `untilMs` (monotonic clock) at the latest and outlasts failures of the datastore until then; afterwards `DATASTORE`. A call that
 * rejects holds nothing: what had been claimed by it is revoked in the background, as soon as the datastore allows, and whoever may have
 * been displaced by it is told by a note to look again.
 */
export class SessionStore implements AsyncDisposable {
  readonly #env: Env
  readonly #datastore: Datastore
  readonly #keys: Keys
  readonly #reads: BatchedReads<StoredSession>
  readonly #notes: NoteBox
  readonly #trouble: (error: HomingError) => void
  /** Only where two claims may have been kept at once. */
  readonly #secondLook: SecondLook | undefined

  /** What is to be done with an address: the first of each line; only it is ready or flying. */
  #lines = new Map<string, Op>()
  /** In order; those that are not `ready` any more are passed over. */
  #ready: Op[] = []
  /** Those before this place were taken. */
  #readyFrom = 0
  #readyCount = 0
  readonly #flights = new Set<Promise<void>>()
  #scheduled = false
  #orphans = 0
  #failures = 0
  #lastError: unknown
  #pause: Timer | undefined
  #ended: HomingError | undefined

  constructor({ env, datastore, cluster, trouble = () => undefined }: SessionStoreOptions) {
    this.#env = env
    this.#datastore = datastore
    this.#keys = new Keys(cluster)
    this.#reads = new BatchedReads(addresses => this.readBatch(addresses))
    this.#notes = new NoteBox({ env, datastore, keys: this.#keys })
    this.#trouble = trouble
    if (datastore.promises.atomicPut) return
    this.#secondLook = new SecondLook({
      env,
      read: async addresses => {
        const entries = await datastore.getMany(addresses.map(address => this.#keys.session(address)))
        return entries.map((entry, index) => entry && this.#decode(this.#keys.session(addresses[index]!), entry.bytes))
      },
      overtaken: (claim, address, by) => this.#notes.insist(claim, address, by, false, trouble),
    })
  }

  /**
   * Claims addresses for `run`, whoever held them. In the order of `claims`; `previous` is whoever was displaced elsewhere. `isWanted` is asked
   * before each write of a claim that is made for somebody else: where it says no, the call rejects with `LOST`.
   */
  async claimMany(run: Run, claims: readonly Held[], untilMs: number, isWanted?: () => boolean): Promise<Claimed[]> {
    const moved = await this.#call('claim', run, claims, untilMs, isWanted)
    return moved.map((result, index) => {
      const previous = result.kind === 'claim' ? result.previous : undefined
      // An earlier claim of this run is known to its peer; an earlier run of this identity is gone.
      const { address, claim } = claims[index]!
      return { address, claim, previous: previous?.identity === run.identity ? undefined : previous }
    })
  }

  /** Puts claims back that are missing. In the order of `claims`: who holds the address instead, or `undefined` where it is ours. */
  async reassertMany(run: Run, claims: readonly Held[], untilMs: number): Promise<(Owner | undefined)[]> {
    const moved = await this.#call('reassert', run, claims, untilMs)
    return moved.map(result => (result.kind === 'reassert' ? result.by : undefined))
  }

  /** Removes what still carries these claims. In the order of `claims`. */
  async releaseMany(run: Run, claims: readonly Held[], untilMs: number): Promise<Released[]> {
    const moved = await this.#call('release', run, claims, untilMs)
    return moved.map(result => (result.kind === 'release' ? result.released : { at: 'absent' }))
  }

  /** Marks what still carries these claims as moving. */
  async markMoving(run: Run, claims: readonly Held[], untilMs: number): Promise<void> {
    await this.#call('moving', run, claims, untilMs)
  }

  /** Reads afresh: what is resolved was read after the call. Rejects with `DATASTORE`, also when the record cannot be read. */
  async read(address: string): Promise<StoredSession | undefined> {
    this.check(address)
    return this.#reads.read(address)
  }

  /** Throws for an address that nobody can hold, before it is gathered with others; and when this has ended. */
  check(address: string): void {
    this.#keys.session(address)
    if (this.#ended) throw this.#ended
  }

  readMany(addresses: readonly string[]): Promise<(StoredSession | undefined)[]> {
    return Promise.all(addresses.map(address => this.read(address)))
  }

  /** Reads addresses that were checked; an error stands for what cannot be read. Rejects with `DATASTORE`. */
  async readBatch(addresses: readonly string[]): Promise<(StoredSession | HomingError | undefined)[]> {
    const keys = addresses.map(address => this.#keys.session(address))
    const entries = await partsOf(this.#datastore.getMany(keys))
    return entries.map((entry, index) => {
      if (!entry || entry instanceof HomingError) return entry
      try {
        return new StoredSession(addresses[index]!, decodeSession(keys[index]!, entry.bytes), entry)
      } catch (error) {
        if (isUnreadable(error)) return error
        throw error
      }
    })
  }

  /** All sessions, live or not; not a snapshot. Unreadable ones are left out. */
  async *list(): AsyncGenerator<StoredSession> {
    let chunk: string[] = []
    for await (const key of this.#datastore.keys(this.#keys.sessions)) {
      chunk.push(key)
      if (chunk.length < batchMax) continue
      yield* await this.#listed(chunk)
      chunk = []
    }
    if (chunk.length > 0) yield* await this.#listed(chunk)
  }

  async #listed(keys: readonly string[]): Promise<StoredSession[]> {
    const entries = await this.#datastore.getMany(keys)
    const sessions: StoredSession[] = []
    for (const [index, entry] of entries.entries()) {
      const key = keys[index]!
      const record = entry && this.#decode(key, entry.bytes)
      if (!record || record === 'unreadable') continue
      sessions.push(new StoredSession(key.slice(this.#keys.sessions.length), record, entry!))
    }
    return sessions
  }

  /** Removes records as they were read; what was written since stays. Resolves to how many went. Rejects with `DATASTORE`. */
  async removeIf(stale: readonly Stale[]): Promise<number> {
    let removed = 0
    for (let from = 0; from < stale.length; from += batchMax) {
      const chunk = stale.slice(from, from + batchMax)
      const went = await this.#datastore.deleteMany(
        chunk.map(({ address, version }) => ({ key: this.#keys.session(address), ifVersion: version })),
      )
      removed += went.filter(Boolean).length
    }
    return removed
  }

  /** Tells a former owner that `by` has the address now. Rejects with `DATASTORE`. */
  leaveNote(to: Owner, address: string, by: Owner): Promise<void> {
    return this.#ended ? Promise.reject(this.#ended) : this.#notes.leave(to, address, by)
  }

  readNotes(identity: string): Promise<StoredNotes | undefined> {
    return this.#notes.read(identity)
  }

  /** Removes notes that were acted upon, unless more came meanwhile. */
  dropNotes(identity: string, read: StoredNotes): Promise<boolean> {
    return this.#notes.drop(identity, read)
  }

  /** The datastore is said to be back: tries again at once. */
  retryNow(): void {
    this.#pause?.cancel()
    this.#pause = undefined
    this.#schedule()
  }

  /** Ends it: what waits and what is called from now on rejects with `error`. */
  end(error: HomingError): void {
    if (this.#ended) return
    this.#ended = error
    this.#pause?.cancel()
    this.#ready = []
    this.#readyFrom = 0
    this.#readyCount = 0
    for (const address of this.#lines.keys()) {
      for (const op of this.#line(address)) {
        op.pause?.cancel()
        op.call?.timer?.cancel()
        op.call?.reject(error)
        op.call = undefined
      }
    }
    this.#lines.clear()
    this.#notes.end(error)
    this.#secondLook?.end()
  }

  /** Also waits for what is on its way to the datastore, so that it may be closed afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end(new HomingError('CLOSED', 'the session store is closed'))
    await Promise.all(this.#flights)
    await this.#secondLook?.settled()
    await this.#notes.settled()
  }

  // Calls and their operations.

  #call(kind: MoveKind, run: Run, claims: readonly Held[], untilMs: number, isWanted?: () => boolean): Promise<Moved[]> {
    if (this.#ended) return Promise.reject(this.#ended)
    if (claims.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => {
      // Keys first, all of them: a malformed address throws before anything is queued.
      const ops = claims.map(({ address, claim }) => newOp(kind, run, address, claim, this.#keys.session(address)))
      const what = `${kind} of ${naming(claims)}`
      const call: Call = { what, isWanted, ops, left: ops.length, resolve, reject, timer: undefined }
      const leftMs = Math.max(0, untilMs - this.#env.clock.monotonicMs())
      call.timer = this.#env.timers.after(leftMs, () => this.#giveUp(call, this.#late(call)))
      for (const op of ops) {
        op.call = call
        if (kind === 'reassert' && this.#overtaken(op)) this.#report(op, { kind, by: undefined })
        else this.#enqueue(op)
      }
    })
  }

  /** A release or a newer claim of the same run is on its way: the claim is not to be put back. */
  #overtaken(op: Op): boolean {
    for (const other of this.#line(op.address))
      if (sameRun(other.run, op.run) && (other.kind === 'release' || other.claim > op.claim)) return true
    return false
  }

  *#line(address: string): Generator<Op> {
    for (let op = this.#lines.get(address); op; op = op.behind) yield op
  }

  #enqueue(op: Op): void {
    let last = this.#lines.get(op.address)
    if (!last) {
      this.#lines.set(op.address, op)
      this.#makeReady(op)
      return
    }
    while (last.behind) last = last.behind
    last.behind = op
  }

  #makeReady(op: Op): void {
    if (op.ready) return
    op.ready = true
    this.#readyCount++
    this.#ready.push(op)
    this.#schedule()
  }

  /** Takes an operation out of its line; the next one there comes to its turn. */
  #leaveLine(op: Op): void {
    op.pause?.cancel()
    if (op.ready) this.#unready(op)
    const first = this.#lines.get(op.address)
    if (first !== op) {
      for (let before = first; before; before = before.behind) if (before.behind === op) before.behind = op.behind
      return
    }
    if (op.behind) {
      this.#lines.set(op.address, op.behind)
      this.#makeReady(op.behind)
      return
    }
    this.#lines.delete(op.address)
    // A table that a Map has outgrown still points to the one after it: once one of them is old, all that ever went through the Map
    // would stay until the next full collection. After 100,000 claims that is most of the memory that they took.
    if (this.#lines.size === 0) this.#lines = new Map()
  }

  #unready(op: Op): void {
    op.ready = false
    this.#readyCount--
    // During an outage nothing is taken out at the head.
    if (this.#ready.length > batchMax && this.#ready.length > 2 * this.#readyCount) this.#tidyReady()
  }

  #settle(op: Op, found: Moved): void {
    const result = named(op, found)
    op.result = result
    this.#leaveLine(op)
    if (op.orphan) {
      this.#orphans--
      if (op.kind === 'revoke') this.#hint(op, op.suspects, true)
    } else if (op.call) {
      if (result.kind === 'claim') {
        this.#hint(op, others(op, found.kind === 'claim' ? found.previous : undefined), false)
        this.#secondLook?.watch(op)
      }
      this.#report(op, result)
    } else if (op.kind === 'claim') {
      this.#revoke(op) // it succeeded in flight, after its call was given up
    }
  }

  /** Notes for those whom only this operation knows. Without a caller it has to try until it is done. */
  #hint({ run, address, claim }: Op, suspects: readonly Owner[], withdrawn: boolean): void {
    for (const suspect of suspects) this.#notes.insist(suspect, address, { ...run, claim }, withdrawn, this.#trouble)
  }

  #report(op: Op, result: Moved): void {
    const call = op.call!
    op.result = result
    if (--call.left > 0) return
    call.timer?.cancel()
    call.resolve(call.ops.map(({ result }) => result!))
  }

  /** A claim that was written and that nobody wants: `result` says over whom. */
  #revoke({ run, address, claim, key, suspects, result }: Op): void {
    // A peer behind a broker asks again for the very same claim when an answer is late: what that one gets must not be undone.
    for (const other of this.#line(address))
      if (other.call && other.claim === claim && sameRun(other.run, run) && other.kind !== 'release') return
    if (this.#ended || !this.#adoptOrphan(address)) return
    const revoke = { ...newOp('revoke', run, address, claim, key), orphan: true }
    revoke.suspects.push(...suspects)
    if (result?.kind === 'claim' && result.previous) suspect(revoke, result.previous)
    this.#enqueue(revoke)
  }

  #adoptOrphan(address: string): boolean {
    if (this.#orphans < orphansMax) {
      this.#orphans++
      return true
    }
    const what = `'${address}' may stay claimed for nobody: ${orphansMax} releases wait for the datastore already`
    this.#trouble(new HomingError('OVERLOADED', what))
    return false
  }

  #late(call: Call): HomingError {
    const unknown = call.ops.some(op => op.wrote || op.flying || op.result)
    const options = { outcome: unknown ? ('unknown' as const) : ('not-delivered' as const) }
    return new HomingError(
      'DATASTORE',
      `${call.what} was not confirmed in time`,
      this.#lastError === undefined ? options : { ...options, cause: this.#lastError },
    )
  }

  #giveUp(call: Call, error: HomingError): void {
    call.timer?.cancel()
    call.reject(error)
    for (const op of call.ops) {
      op.call = undefined
      if (op.result) {
        if (op.kind === 'claim') this.#revoke(op)
      } else if (!op.flying) {
        this.#abandon(op)
      }
    }
  }

  /** Nobody waits for it any more: what may have taken effect has to be undone or completed, the rest is forgotten. */
  #abandon(op: Op): void {
    const matters = op.kind === 'release' || (op.kind === 'claim' && op.wrote)
    if (!matters || !this.#adoptOrphan(op.address)) return this.#leaveLine(op)
    op.orphan = true
    if (op.kind === 'claim') op.kind = 'revoke'
    op.blind = false
    op.races = 0
    if (this.#lines.get(op.address) === op && !op.pause) this.#makeReady(op)
  }

  // Batches.

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => {
      this.#scheduled = false
      this.#launch()
    })
  }

  #launch(): void {
    const failing = this.#failures > 0
    while (!this.#pause && !this.#ended && this.#flights.size < (failing ? 1 : batchesInFlightMax)) {
      const batch = this.#takeBatch(failing ? batchWhileFailingMax : batchMax)
      if (batch.length === 0) return
      const flight = this.#fly(batch).finally(() => {
        this.#flights.delete(flight)
        this.#schedule()
      })
      this.#flights.add(flight)
    }
  }

  #tidyReady(): void {
    this.#ready = this.#ready.filter(op => op.ready)
    this.#readyFrom = 0
  }

  #takeBatch(max: number): Op[] {
    const batch: Op[] = []
    while (this.#readyFrom < this.#ready.length && batch.length < max) {
      const op = this.#ready[this.#readyFrom++]!
      if (!op.ready) continue
      op.ready = false
      this.#readyCount--
      op.flying = true
      batch.push(op)
    }
    if (this.#readyFrom > this.#ready.length / 2) this.#tidyReady()
    return batch
  }

  async #fly(batch: readonly Op[]): Promise<void> {
    try {
      const blind = batch.filter(op => op.blind)
      if (blind.length > 0) await this.#claimBlindly(blind)
      const open = batch.filter(op => !op.result && (op.call || op.orphan))
      if (open.length > 0) await this.#readAndWrite(open)
      this.#failures = 0
      this.#lastError = undefined
    } catch (error) {
      this.#failed(error)
    }
    for (const op of batch) {
      op.flying = false
      if (!op.result) this.#again(op)
    }
  }

  /** One write an address where nobody holds it. */
  async #claimBlindly(ops: readonly Op[]): Promise<void> {
    for (const op of ops) op.blind = false
    const batch = new Batch()
    for (const op of ops) this.#plan(batch, op, undefined, null)
    await this.#write(batch)
  }

  async #readAndWrite(ops: readonly Op[]): Promise<void> {
    const entries = await partsOf(this.#datastore.getMany(ops.map(op => op.key)))
    const batch = new Batch()
    let failed: HomingError | undefined
    for (const [index, entry] of entries.entries()) {
      const op = ops[index]!
      if (entry instanceof HomingError) failed = entry
      else this.#plan(batch, op, entry && this.#decode(op.key, entry.bytes), entry?.version ?? null)
    }
    await this.#write(batch)
    if (failed) throw failed // the others are done; these go again, after a pause
  }

  #plan(batch: Batch, op: Op, found: SessionRecord | 'unreadable' | undefined, version: string | null): void {
    if (op.call?.isWanted?.() === false) {
      return this.#giveUp(op.call, new HomingError('LOST', `${op.call.what} may not be wanted any more`))
    }
    if (!op.call && !op.orphan) return // given up with the others of its call
    const step = nextStep(op, found, this.#secondLook && this.#env.clock.wallMs())
    if ('done' in step) this.#settle(op, step.done)
    else batch.add(op, step, version)
  }

  /** Writes and removals side by side; each operation whose condition held is settled, the others stay open. */
  async #write({ writes, writers, removals, removers }: Batch): Promise<void> {
    const [written, removed] = await Promise.allSettled([
      writes.length === 0 ? [] : this.#datastore.putMany(writes),
      removals.length === 0 ? [] : this.#datastore.deleteMany(removals),
    ])
    this.#learn(writers, written)
    this.#learn(removers, removed)
    for (const outcome of [written, removed]) if (outcome.status === 'rejected') throw outcome.reason
  }

  #learn(planned: readonly Planned[], outcome: PromiseSettledResult<(string | boolean | undefined)[]>): void {
    const rejected = outcome.status === 'rejected'
    const parts = !rejected ? outcome.value : outcome.reason instanceof PartialFailure ? outcome.reason.parts : undefined
    for (const [index, { op, step }] of planned.entries()) {
      const part: unknown = parts?.[index]
      if (!parts || part instanceof HomingError) doubtful(op, step)
      else if (part) {
        if (op.kind === 'reassert') this.#secondLook?.watch(op)
        this.#settle(op, step.then)
      } else op.races++
    }
  }

  #again(op: Op): void {
    if (this.#ended) return
    if (!op.call && !op.orphan) return this.#abandon(op)
    if (op.races > racesMax) return this.#contended(op)
    if (op.races <= racesAtOnce) return this.#makeReady(op)
    const delayMs = this.#env.random.fraction() * Math.min(50, 2 ** op.races)
    op.pause = this.#env.timers.after(delayMs, () => {
      op.pause = undefined
      this.#makeReady(op)
    })
  }

  #contended(op: Op): void {
    const error = new HomingError('DATASTORE', `'${op.address}' was written by others ${op.races} times in between`)
    if (op.call) return this.#giveUp(op.call, error)
    this.#leaveLine(op)
    this.#orphans--
    this.#trouble(error)
  }

  /** The datastore failed: everybody waits a little, longer each time. */
  #failed(error: unknown): void {
    this.#lastError = error
    const pauseMs =
      Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(this.#failures++, 10)) * (0.5 + this.#env.random.fraction() / 2)
    if (this.#pause || this.#ended) return
    this.#pause = this.#env.timers.after(pauseMs, () => this.retryNow())
  }

  #decode(key: string, bytes: Uint8Array): SessionRecord | 'unreadable' {
    try {
      return decodeSession(key, bytes)
    } catch (error) {
      if (!isUnreadable(error)) throw error
      this.#trouble(error)
      return 'unreadable'
    }
  }
}

type Change = Exclude<Step, { done: Moved }>

interface Planned {
  readonly op: Op
  readonly step: Change
}

/** What goes to the datastore together, and for whom. */
class Batch {
  readonly writes: Write[] = []
  readonly writers: Planned[] = []
  readonly removals: Removal[] = []
  readonly removers: Planned[] = []

  /** `ifVersion` is what was read; `null`: nothing was there, and a removal has nothing to do. */
  add(op: Op, step: Change, ifVersion: string | null): void {
    if ('write' in step) {
      this.writes.push({ key: op.key, bytes: encodeSession(step.write), ifVersion })
      this.writers.push({ op, step })
    } else if (ifVersion !== null) {
      this.removals.push({ key: op.key, ifVersion })
      this.removers.push({ op, step })
    }
  }
}

function newOp(kind: MoveKind, run: Run, address: string, claim: number, key: string): Op {
  return {
    kind,
    run,
    address,
    claim,
    key,
    blind: kind === 'claim',
    wrote: false,
    suspects: [],
    races: 0,
    flying: false,
    result: undefined,
    call: undefined,
    orphan: false,
    pause: undefined,
    ready: false,
    behind: undefined,
  }
}

/** Protects the memory of one operation that fails again and again; the first is the one that may have been displaced longest. */
const suspectsMax = 16

/** A write was neither confirmed nor refused. */
function doubtful(op: Op, step: Change): void {
  op.wrote = true
  if (op.kind === 'claim' && 'write' in step && step.write.previous) suspect(op, step.write.previous)
}

function suspect(op: Op, owner: Owner): void {
  if (op.suspects.length < suspectsMax && !op.suspects.some(other => sameClaim(other, owner))) op.suspects.push(owner)
}

/** Suspects elsewhere, without the one that the caller of a claim is told of. This run's peer knows of its own claims. */
function others(op: Op, told: Owner | undefined): Owner[] {
  return op.suspects.filter(owner => owner.identity !== op.run.identity && !(told && sameClaim(owner, told)))
}

/**
 * A claim that took effect unseen, and was overtaken before its answer came, displaced one of its suspects: the caller is told of the last,
 * to take what that one had at once. By its note alone it would hear of that seconds later, and what it took meanwhile would come late.
 */
function named(op: Op, result: Moved): Moved {
  if (result.kind !== 'claim' || result.previous) return result
  const previous = others(op, undefined).at(-1)
  return previous ? { kind: 'claim', previous } : result
}

function naming(claims: readonly Held[]): string {
  return claims.length === 1 ? `'${claims[0]!.address}'` : `${claims.length} addresses`
}
