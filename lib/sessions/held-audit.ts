/** Checks what this peer believes to hold against the datastore: all of it after a doubt, noted addresses when notes came, a few at any time. */

import type { Env } from '../env/env.ts'
import type { Held, Owner, Run } from './directory.ts'
import type { Note } from './records.ts'
import type { SessionStore } from './session-store.ts'

export interface HeldAuditOptions {
  readonly env: Env
  readonly sessions: SessionStore
  readonly run: Run
  /** How long one batch may wait for the datastore, ms. */
  readonly batchTimeoutMs: number
  readonly held: () => Iterable<Held>
  readonly displaced: (address: string, claim: number, by: Owner | undefined) => void
  /** All that was asked for is done. */
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

const batchMax = 1_000
const lanes = 4
/** Checked with each renewal, whatever happened: one question of bounded size, so that in the end everything is. */
export const someMax = 200

/** One audit at a time, so that no displacement is told twice. What failed stays due until `resume`, but for the few in turns. */
export class HeldAudit {
  readonly #options: HeldAuditOptions
  #allDue = false
  #notesDue = false
  #someDue = false
  #running: Promise<void> | undefined
  /** When the first was asked that has no answer yet, or failed. */
  #askedMs: number | undefined
  #stopped = false
  #turn: Iterator<Held> | undefined

  constructor(options: HeldAuditOptions) {
    this.#options = options
  }

  /** Nothing is due and nothing is under way. */
  get idle(): boolean {
    return !this.#allDue && !this.#notesDue && !this.#running
  }

  /** For how long the datastore has answered nothing that was asked here, ms, whatever else it answers; 0 where nothing is open. */
  unansweredMs(nowMs: number): number {
    return this.#askedMs === undefined ? 0 : nowMs - this.#askedMs
  }

  /** Everything held is to be checked, from a moment after this call on. */
  checkAll(): void {
    this.#allDue = true
    this.resume()
  }

  checkNoted(): void {
    this.#notesDue = true
    this.resume()
  }

  /**
   * Checks a few of what is held, in turns. Whoever takes an address tells its former owner, but may die before it does, and be overtaken:
   * then nobody is left who knows whom to tell.
   */
  checkSome(): void {
    this.#someDue = true // behind what else is due: where notes come with each renewal, it would else never have its turn
    this.resume()
  }

  resume(): void {
    if (this.#running || this.#stopped || !this.#isDue) return
    this.#askedMs ??= this.#options.env.clock.monotonicMs()
    this.#running = this.#run().then(complete => {
      this.#running = undefined
      if (this.#stopped) return
      if (this.idle) this.#options.done()
      else if (complete) this.resume()
    })
  }

  get #isDue(): boolean {
    return this.#allDue || this.#notesDue || this.#someDue
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<boolean> {
    while (this.#isDue && !this.#stopped) {
      const all = this.#allDue
      const noted = this.#notesDue
      const some = this.#someDue
      this.#allDue = this.#notesDue = this.#someDue = false
      try {
        if (noted) await this.#checkNotes()
        if (all) await this.#checkHeld()
        else if (some) await this.#checkTurn()
      } catch (error) {
        this.#allDue ||= all
        this.#notesDue ||= noted
        if (!this.#stopped) this.#options.failed(error)
        return false
      }
    }
    this.#askedMs = undefined
    return true
  }

  async #checkTurn(): Promise<void> {
    this.#turn ??= this.#options.held()[Symbol.iterator]()
    const batch = take(this.#turn, someMax)
    if (batch.length < someMax) this.#turn = undefined
    if (batch.length > 0 && !this.#stopped) await this.#reassert(batch)
  }

  async #checkHeld(): Promise<void> {
    const held = this.#options.held()[Symbol.iterator]()
    await Promise.all(Array.from({ length: lanes }, () => this.#checkLane(held)))
  }

  /** Each batch is taken from what is held at that moment, and queued behind what the peer asked for before, in the same turn. */
  async #checkLane(held: Iterator<Held>): Promise<void> {
    for (let batch = take(held); batch.length > 0 && !this.#stopped; batch = take(held)) await this.#reassert(batch)
  }

  async #reassert(batch: readonly Held[]): Promise<void> {
    const { sessions, run, env, batchTimeoutMs, displaced } = this.#options
    const owners = await sessions.reassertMany(run, batch, env.clock.monotonicMs() + batchTimeoutMs)
    this.#askedMs = env.clock.monotonicMs()
    for (const [index, by] of owners.entries()) {
      if (by && !this.#stopped) displaced(batch[index]!.address, batch[index]!.claim, by)
    }
  }

  /** Notes are removed after they were acted upon: one that is read twice does no harm, one that is lost would. */
  async #checkNotes(): Promise<void> {
    const { sessions, run } = this.#options
    const stored = await sessions.readNotes(run.identity)
    if (!stored) return
    if (stored.overflow) await this.#checkHeld()
    await this.#act(stored.notes.filter(note => note.incarnation === run.incarnation))
    await sessions.dropNotes(run.identity, stored)
  }

  /** A note is a hint: the session's own record says who holds it. A missing one means that the newer owner has come and gone. */
  async #act(notes: readonly Note[]): Promise<void> {
    if (notes.length === 0) return
    const byAddress = new Map(notes.map(note => [note.address, note]))
    const claims: Held[] = []
    for (const { address, claim } of this.#options.held()) {
      const note = byAddress.get(address)
      if (note && note.claim >= claim) claims.push({ address, claim })
    }
    const orphaned: Held[] = []
    const sessions = await this.#options.sessions.readMany(claims.map(({ address }) => address))
    for (const [index, session] of sessions.entries()) {
      const { address, claim } = claims[index]!
      const note = byAddress.get(address)!
      if (session ? session.owner.incarnation === this.#options.run.incarnation : note.withdrawn) orphaned.push(claims[index]!)
      else if (!this.#stopped) this.#options.displaced(address, claim, session?.owner ?? note.by)
    }
    await this.#reassert(orphaned)
  }
}

function take(held: Iterator<Held>, max = batchMax): Held[] {
  const batch: Held[] = []
  for (let next = held.next(); !next.done; next = held.next()) {
    if (batch.push(next.value) === max) break
  }
  return batch
}
