/** Claims, releases and marks on their way to the datastore: in order for an address, in batches for many, until done or given up. */
import type { Datastore, Removal, Write } from '../datastores/datastore.ts'
import { PartialFailure, partsOf } from '../datastores/partial-failure.ts'
import type { Env, Timer } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { Held, Owner, Run } from './directory.ts'
import type { NoteBox } from './note-box.ts'
import { doubtful, named, newOp, others, suspect, type Asker, type Call, type Change, type Op } from './operation.ts'
import { OperationLines } from './operation-lines.ts'
import { decodeOrTell, encodeSession, sameRun, type Keys, type SessionRecord } from './records.ts'
import type { SecondLook } from './second-look.ts'
import { nextStep, type Moved, type MoveKind } from './session-moves.ts'

export interface SessionOperationsOptions {
  readonly env: Env
  readonly datastore: Datastore
  readonly keys: Keys
  readonly notes: NoteBox
  /** Only where two claims may have been kept at once. */
  readonly secondLook: SecondLook | undefined
  readonly trouble: (error: HomingError) => void
}

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

export class SessionOperations {
  readonly #env: Env
  readonly #datastore: Datastore
  readonly #keys: Keys
  readonly #notes: NoteBox
  readonly #secondLook: SecondLook | undefined
  readonly #trouble: (error: HomingError) => void
  readonly #lines = new OperationLines(() => this.#schedule())
  readonly #flights = new Set<Promise<void>>()
  #scheduled = false
  #orphans = 0
  #failures = 0
  #lastError: unknown
  #pause: Timer | undefined
  #ended: HomingError | undefined

  constructor({ env, datastore, keys, notes, secondLook, trouble }: SessionOperationsOptions) {
    this.#env = env
    this.#datastore = datastore
    this.#keys = keys
    this.#notes = notes
    this.#secondLook = secondLook
    this.#trouble = trouble
  }

  /** In the order of `claims`. Rejects with a `HomingError` by `untilMs`. */
  call(kind: MoveKind, run: Run, claims: readonly Held[], untilMs: number, asker?: Asker): Promise<Moved[]> {
    if (this.#ended) return Promise.reject(this.#ended)
    if (claims.length === 0) return Promise.resolve([])
    return new Promise((resolve, reject) => {
      // Keys first, all of them: a malformed address throws before anything is queued.
      const ops = claims.map(({ address, claim }) => newOp(kind, run, address, claim, this.#keys.session(address)))
      const what = `${kind} of ${naming(claims)}`
      const call: Call = { what, ops, left: ops.length, resolve, reject, timer: undefined }
      const leftMs = Math.max(0, untilMs - this.#env.clock.monotonicMs())
      call.timer = this.#env.timers.after(leftMs, () => this.#giveUp(call, this.#late(call)))
      for (const op of ops) {
        op.call = call
        op.asker = asker
        if (asker?.again) {
          op.again = true
          op.blind = false
        }
        this.#lines.enqueue(op)
      }
    })
  }

  /** A release or a newer claim of the same run is on its way: the claim is not to be put back. */
  isOvertaken(run: Run, { address, claim }: Held): boolean {
    for (const other of this.#lines.at(address))
      if (sameRun(other.run, run) && (other.kind === 'release' || other.claim > claim)) return true
    return false
  }

  #settle(op: Op, written: Moved): void {
    const found = this.#overWithdrawn(op, written)
    const result = named(op, found)
    op.result = result
    this.#lines.leave(op)
    if (op.orphan) {
      this.#orphans--
      if (op.kind === 'revoke') this.#hint(op, op.suspects, true)
    } else if (op.call) {
      if (result.kind === 'claim') {
        if (op.suspects.length > 0) this.#hint(op, others(op, found.kind === 'claim' ? found.previous : undefined), false)
        this.#secondLook?.watch(op)
      }
      this.#report(op, result)
    } else if (op.kind === 'claim') {
      this.#revoke(op) // it succeeded in flight, after its call was given up
    }
  }

  /**
   * A claim over one of its own run that nobody wants any more, and that is about to be revoked: no client ever had that one. Whom it was written
   * over is whom this one displaced.
   */
  #overWithdrawn(op: Op, found: Moved): Moved {
    const over = op.kind === 'claim' && found.kind === 'claim' ? found.previous : undefined
    if (!over) return found
    for (const other of this.#lines.at(op.address)) {
      if (other.kind !== 'revoke' || other.claim !== over.claim || !sameRun(other.run, over)) continue
      for (const owner of other.suspects.splice(0)) suspect(op, owner)
      return { kind: 'claim', previous: undefined }
    }
    return found
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
  #revoke({ run, address, claim, key, suspects, result, asker }: Op): void {
    // A peer behind a broker asks again for the very same claim when an answer is late: what that one gets must not be undone.
    for (const other of this.#lines.at(address))
      if (other.call && other.claim === claim && sameRun(other.run, run) && other.kind !== 'release') return
    if (this.#ended || !this.#adoptOrphan(address)) return
    const revoke = { ...newOp('revoke', run, address, claim, key), orphan: true, asker }
    revoke.suspects.push(...suspects)
    if (result?.kind === 'claim' && result.previous) suspect(revoke, result.previous)
    this.#lines.enqueue(revoke)
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
    if (!matters || !this.#adoptOrphan(op.address)) return this.#lines.leave(op)
    op.orphan = true
    if (op.kind === 'claim') op.kind = 'revoke'
    op.blind = false
    op.races = 0
    if (this.#lines.isFirst(op) && !op.pause) this.#lines.makeReady(op)
  }

  /**
   * The asker of a claim may have got that very one from another process, and hold it: it is not removed here. He releases what he did not get;
   * whoever may have been displaced by it looks whether he was.
   */
  #forget(op: Op): void {
    this.#orphans--
    op.orphan = false // it leaves its line as it lands
    this.#hint(op, op.suspects, true)
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
      const batch = this.#lines.take(failing ? batchWhileFailingMax : batchMax)
      if (batch.length === 0) return
      const flight = this.#fly(batch).finally(() => {
        this.#flights.delete(flight)
        this.#schedule()
      })
      this.#flights.add(flight)
    }
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
      else this.#plan(batch, op, entry && decodeOrTell(op.key, entry.bytes, this.#trouble), entry?.version ?? null)
    }
    await this.#write(batch)
    if (failed) throw failed // the others are done; these go again, after a pause
  }

  #plan(batch: Batch, op: Op, found: SessionRecord | 'unreadable' | undefined, version: string | null): void {
    if (op.call && op.asker?.isWanted() === false) {
      return this.#giveUp(op.call, new HomingError('LOST', `${op.call.what} may not be wanted any more`))
    }
    if (!op.call && !op.orphan) return // given up with the others of its call
    if (op.kind === 'revoke' && op.asker?.mayRevoke() === false) return this.#forget(op)
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
    planned.forEach(({ op, step }, index) => {
      const part: unknown = parts?.[index]
      if (!parts || part instanceof HomingError) doubtful(op, step)
      else if (part) {
        if (op.kind === 'reassert') this.#secondLook?.watch(op)
        this.#settle(op, step.then)
      } else op.races++
    })
  }

  #again(op: Op): void {
    if (this.#ended) return
    if (!op.call && !op.orphan) return this.#abandon(op)
    if (op.races > racesMax) return this.#contended(op)
    if (op.races <= racesAtOnce) return this.#lines.makeReady(op)
    const delayMs = this.#env.random.fraction() * Math.min(50, 2 ** op.races)
    op.pause = this.#env.timers.after(delayMs, () => {
      op.pause = undefined
      this.#lines.makeReady(op)
    })
  }

  #contended(op: Op): void {
    const error = new HomingError('DATASTORE', `'${op.address}' was written by others ${op.races} times in between`)
    if (op.call) return this.#giveUp(op.call, error)
    this.#lines.leave(op)
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

  /** The datastore is said to be back: tries again at once. */
  retryNow(): void {
    this.#pause?.cancel()
    this.#pause = undefined
    this.#schedule()
  }

  /** What waits and what is called from now on rejects with `error`. */
  end(error: HomingError): void {
    this.#ended = error
    this.#pause?.cancel()
    for (const op of this.#lines) {
      op.pause?.cancel()
      op.call?.timer?.cancel()
      op.call?.reject(error)
      op.call = undefined
    }
    this.#lines.clear()
  }

  /** Resolves when nothing is on its way to the datastore any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#flights)
  }
}

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

function naming(claims: readonly Held[]): string {
  return claims.length === 1 ? `'${claims[0]!.address}'` : `${claims.length} addresses`
}
