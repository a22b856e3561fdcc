/** Many messages, sent with a bounded number under way and at a bounded rate, and what became of them. */
import type { Receipt, Status } from '../index.ts'
import type { Ending } from './ending.ts'
import { Latencies } from './latencies.ts'

export interface VolleyPlan {
  count: number
  /** How many may be under way at once. */
  concurrency: number
  /** How many leave in a second; undefined: as fast as it goes. */
  perSecond?: number | undefined
  /** Sends the message of that index, from 0. */
  send(index: number): Promise<Receipt>
}

/** Accounts for each message that was sent. */
export interface VolleyResult {
  sent: number
  byStatus: Partial<Record<Status, number>>
  /** Of those that were delivered (or `sent`, where that was asked for). */
  latencies: Latencies
  tookMs: number
  /** The first receipt of each status that is not one of success. */
  failures: Partial<Record<Status, Receipt>>
}

export class Volley {
  readonly #plan: VolleyPlan
  readonly #ending: Ending
  readonly #startedMs = performance.now()
  readonly #result: VolleyResult
  #next = 0
  #answered = 0

  constructor(plan: VolleyPlan, ending: Ending) {
    this.#plan = plan
    this.#ending = ending
    this.#result = { sent: 0, byStatus: {}, latencies: new Latencies(plan.count), tookMs: 0, failures: {} }
  }

  /** Messages whose receipt has come. */
  get answered(): number {
    return this.#answered
  }

  /** Sends them all, or until the end is asked for; resolves when each that was sent has its receipt. */
  async run(): Promise<VolleyResult> {
    const lanes = Math.min(this.#plan.concurrency, this.#plan.count)
    await Promise.all(Array.from({ length: lanes }, () => this.#lane()))
    this.#result.tookMs = performance.now() - this.#startedMs
    return this.#result
  }

  async #lane(): Promise<void> {
    const { count, perSecond, send } = this.#plan
    while (this.#next < count && !this.#ending.isRequested) {
      const index = this.#next++
      if (perSecond !== undefined) await this.#ending.pause(this.#startedMs + (index * 1_000) / perSecond - performance.now())
      if (this.#ending.isRequested) return
      this.#result.sent++
      const sentMs = performance.now()
      this.#count(await send(index), performance.now() - sentMs)
    }
  }

  #count(receipt: Receipt, tookMs: number): void {
    const { byStatus, latencies, failures } = this.#result
    this.#answered++
    byStatus[receipt.status] = (byStatus[receipt.status] ?? 0) + 1
    if (isSuccess(receipt)) latencies.add(tookMs)
    else failures[receipt.status] ??= receipt
  }
}

export function isSuccess({ status }: Receipt): boolean {
  return status === 'delivered' || status === 'sent'
}
