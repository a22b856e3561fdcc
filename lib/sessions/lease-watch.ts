/** Judges other runs' leases by what was seen of their beats, on this peer's own monotonic clock; no timers, no I/O. */

import type { Run } from './directory.ts'

/** `unknown`: nothing can be said, because this observer itself was cut off or late. */
export type Verdict = 'live' | 'lapsed' | 'unknown'

export interface LeaseWatchOptions {
  leaseMs: number
  /** How old the own last success may be, ms, for this observer to judge others. */
  freshMs: number
}

interface Sighting {
  incarnation: string
  beat: number
  /** When the reading that first showed this beat had ended: the beat was written before. */
  firstMs: number
  /** When the last reading that still showed it had begun: it was not written over before. */
  lastMs: number
  /** Judged so once, with full evidence; only a new beat undoes it. */
  lapsed: boolean
}

/**
 * A run has lapsed when its beat stood still for a whole lease by our own monotonic clock, while our own renewals succeeded throughout:
 * if the datastore took our writes and not its, it is the one that is gone. Any failure or lateness of our own starts everybody's lease afresh.
 */
export class LeaseWatch {
  readonly #options: LeaseWatchOptions
  readonly #seen = new Map<string, Sighting>()
  /** Since when our own renewals succeed without a gap; `undefined` while they do not. */
  #trustedSinceMs: number | undefined
  #renewedMs = -Infinity

  constructor(options: LeaseWatchOptions) {
    this.#options = options
  }

  /** Our own lease was renewed, at `nowMs`. */
  renewed(nowMs: number): void {
    // A gap between two successes is a failure that nobody reported.
    if (this.#trustedSinceMs === undefined || nowMs - this.#renewedMs > this.#options.freshMs) this.#trustedSinceMs = nowMs
    this.#renewedMs = Math.max(this.#renewedMs, nowMs)
  }

  /** Our own lease could not be renewed. */
  failed(): void {
    this.#trustedSinceMs = undefined
  }

  /** Our own loop stood still until `nowMs`: what it read meanwhile proves nothing. */
  late(nowMs: number): void {
    if (this.#trustedSinceMs !== undefined) this.#trustedSinceMs = nowMs
  }

  /** A record was read, between `startedMs` and `endedMs`. */
  saw({ identity, incarnation }: Run, beat: number, startedMs: number, endedMs: number): void {
    const seen = this.#seen.get(identity)
    if (seen && seen.incarnation === incarnation && seen.beat === beat) {
      seen.lastMs = Math.max(seen.lastMs, startedMs)
    } else {
      this.#seen.set(identity, { incarnation, beat, firstMs: endedMs, lastMs: endedMs, lapsed: false })
    }
  }

  /** The run is known to have ended: its lease is over as it was last seen. `false`: this run was not. */
  end({ identity, incarnation }: Run): boolean {
    const seen = this.#seen.get(identity)
    if (seen?.incarnation !== incarnation) return false
    seen.lapsed = true
    return true
  }

  forget(identity: string): void {
    this.#seen.delete(identity)
  }

  judge({ identity, incarnation }: Run, nowMs: number): Verdict {
    const seen = this.#seen.get(identity)
    if (!seen || seen.incarnation !== incarnation) return 'unknown'
    if (seen.lapsed) return 'lapsed'
    if (nowMs - seen.firstMs < this.#options.leaseMs) return 'live'
    if (!this.#trusted(nowMs)) return 'unknown'
    seen.lapsed = seen.lastMs - this.#fromMs(seen) >= this.#options.leaseMs
    return seen.lapsed ? 'lapsed' : 'unknown'
  }

  /** When the next run could be judged lapsed, if it is read then and its beat has not moved. */
  dueMs(): number {
    if (this.#trustedSinceMs === undefined) return Infinity
    let dueMs = Infinity
    for (const seen of this.#seen.values()) {
      if (!seen.lapsed) dueMs = Math.min(dueMs, this.#fromMs(seen) + this.#options.leaseMs)
    }
    return dueMs
  }

  /** Who could be judged lapsed at `nowMs` by one more reading. */
  dueAt(nowMs: number): string[] {
    if (!this.#trusted(nowMs)) return []
    return [...this.#seen]
      .filter(([, seen]) => !seen.lapsed && nowMs - this.#fromMs(seen) >= this.#options.leaseMs)
      .map(([identity]) => identity)
  }

  #trusted(nowMs: number): boolean {
    return this.#trustedSinceMs !== undefined && nowMs - this.#renewedMs <= this.#options.freshMs
  }

  /** From when on a still beat counts against its run. */
  #fromMs(seen: Sighting): number {
    return Math.max(seen.firstMs, this.#trustedSinceMs ?? Infinity)
  }
}
