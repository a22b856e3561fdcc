/**
 * Looks once more at claims, where a datastore may have kept another one beside them that was written at the same moment: by then both
 * have met, and whoever lost is told.
 */

import type { Env, Timer } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { Held, Owner, Run } from './directory.ts'
import { sameClaim, sameRun, type SessionRecord } from './records.ts'

/** A claim of a run. */
interface Written extends Held {
  readonly run: Run
}

export interface SecondLookOptions {
  readonly env: Env
  /** In the order of the addresses. */
  readonly read: (addresses: readonly string[]) => Promise<(SessionRecord | 'unreadable' | undefined)[]>
  readonly overtaken: (claim: Owner, address: string, by: Owner) => void
}

/** A claim is looked at after once to twice this time: whoever wrote at the same moment has ended by then. */
const lookEveryMs = 1_000
/** Protects the memory; what is more is found by its owner's own looks. */
const watchedMax = 20_000
const batchMax = 1_000

export class SecondLook {
  readonly #options: SecondLookOptions
  /** Since the last look, and before it. */
  #young: Written[] = []
  #due: Written[] = []
  #timer: Timer | undefined
  #looking: Promise<void> | undefined
  #ended = false

  constructor(options: SecondLookOptions) {
    this.#options = options
  }

  watch({ run, address, claim }: Written): void {
    if (this.#ended || this.#young.length >= watchedMax) return
    this.#young.push({ run, address, claim })
    this.#timer ??= this.#options.env.timers.every(lookEveryMs, () => {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined
      })
    })
  }

  end(): void {
    this.#ended = true
    this.#timer?.cancel()
    this.#young = []
    this.#due = []
  }

  async settled(): Promise<void> {
    await this.#looking
  }

  async #look(): Promise<void> {
    const due = this.#due
    this.#due = this.#young
    this.#young = []
    for (let from = 0; from < due.length && !this.#ended; from += batchMax) {
      const batch = due.slice(from, from + batchMax)
      try {
        const records = await this.#options.read(batch.map(({ address }) => address))
        for (const [index, record] of records.entries()) this.#judge(batch[index]!, record)
      } catch (error) {
        // An outage is told of by the calls that it fails; here it only means to look later.
        if (!(error instanceof HomingError)) throw error
        this.#due = [...due.slice(from), ...this.#due].slice(0, 2 * watchedMax)
        return
      }
    }
    if (this.#young.length > 0 || this.#due.length > 0) return
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #judge({ run, address, claim }: Written, record: SessionRecord | 'unreadable' | undefined): void {
    if (this.#ended || !record || record === 'unreadable' || sameRun(record.owner, run)) return
    const ours: Owner = { identity: run.identity, incarnation: run.incarnation, claim }
    // Whoever came knowingly after us has told us.
    if (record.previous && sameClaim(record.previous, ours)) return
    this.#options.overtaken(ours, address, record.owner)
  }
}
