/** Removes what runs that are gone have left behind: garbage collection, never needed for correctness. */

import { homingError, type HomingError } from '../errors.ts'
import type { Membership } from './membership.ts'
import type { PeerEntry } from './peer-records.ts'
import type { SessionStore, StoredSession } from './session-store.ts'

export interface StaleSessionsOptions {
  readonly sessions: SessionStore
  readonly membership: Membership
  readonly trouble: (error: HomingError) => void
}

/** Protects the memory: what does not fit is found again by whoever looks for it. */
const waitingMax = 10_000
const batchMax = 1_000

/**
 * A record is removed as it was read, and only after its run's own record was read once more: of another incarnation by then (its
 * successor's), or for a lease at least dead or missing. A run that comes back renews first and then looks at what it holds.
 */
export class StaleSessions {
  readonly #options: StaleSessionsOptions
  readonly #waiting = new Map<string, StoredSession>()
  #running: Promise<void> | undefined
  #stopped = false

  constructor(options: StaleSessionsOptions) {
    this.#options = options
  }

  /** `session` was read, and its run was not alive. */
  offer(session: StoredSession): void {
    if (this.#stopped || this.#waiting.size >= waitingMax) return
    this.#waiting.set(session.address, session)
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    await Promise.resolve() // what is offered in the same turn goes together
    while (this.#waiting.size > 0 && !this.#stopped) {
      const batch = [...this.#waiting.values()].slice(0, batchMax)
      for (const { address } of batch) this.#waiting.delete(address)
      try {
        await this.#remove(batch)
      } catch (error) {
        this.#waiting.clear()
        if (!this.#stopped) this.#options.trouble(homingError(error, 'DATASTORE', 'stale sessions could not be removed'))
      }
    }
  }

  async #remove(batch: readonly StoredSession[]): Promise<void> {
    const { membership, sessions } = this.#options
    const records = await membership.readAfresh([...new Set(batch.map(({ owner }) => owner.identity))])
    const garbage = batch.filter(session => this.#isGarbage(session, records.get(session.owner.identity)))
    await Promise.all(garbage.map(session => this.#tellPrevious(session)))
    await sessions.removeIf(garbage)
  }

  /** Whom it had displaced lives, and may not have heard of it: its taker may have died before it said so. */
  async #tellPrevious({ address, owner, previous }: StoredSession): Promise<void> {
    const { membership, sessions } = this.#options
    if (!previous || membership.member(previous.identity)?.incarnation !== previous.incarnation) return
    if (previous.incarnation !== owner.incarnation) await sessions.leaveNote(previous, address, owner)
  }

  #isGarbage({ owner }: StoredSession, record: PeerEntry | 'unreadable' | undefined): boolean {
    const { membership } = this.#options
    if (record === 'unreadable') return false
    if (record && record.member.incarnation !== owner.incarnation) return true
    return membership.isLongGone(owner) && (!record || membership.hasLapsed(owner))
  }
}
