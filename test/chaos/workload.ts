/** What the callers at one peer do: messages of all kinds to all addresses, by a seed. */

import type { Random } from '../../lib/env/env.ts'
import { HomingError, type Peer, type Receipt, type SendOptions, type Status } from '../../lib/index.ts'
import type { Load } from './task.ts'

const everyMs = 20
const burst = 25

export class Workload {
  readonly #peer: Peer
  readonly #random: Random
  readonly #addresses: readonly string[]
  readonly #load: Load
  readonly #underWay = new Set<Promise<unknown>>()
  #timer: NodeJS.Timeout | undefined
  #number = 0
  #owed = 0
  #lastMs = performance.now()
  #counts: { sent: number; settled: Partial<Record<Status, number>> } = { sent: 0, settled: {} }

  constructor(peer: Peer, random: Random, addresses: readonly string[], load: Load) {
    this.#peer = peer
    this.#random = random
    this.#addresses = addresses
    this.#load = load
  }

  begin(): void {
    this.#lastMs = performance.now()
    this.#timer = setInterval(() => this.#turn(), everyMs)
  }

  /** Resolves when all that was asked has been answered. */
  async rest(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#underWay)
  }

  /** What was counted since the last time. */
  takeCounts(): { sent: number; settled: Partial<Record<Status, number>> } {
    const counts = this.#counts
    this.#counts = { sent: 0, settled: {} }
    return counts
  }

  #turn(): void {
    const nowMs = performance.now()
    // After a standstill callers do not make up for what they have not asked.
    this.#owed += (Math.min(nowMs - this.#lastMs, 200) * this.#load.perSecond) / 1_000
    this.#lastMs = nowMs
    for (; this.#owed >= 1; this.#owed--) {
      if (this.#chance(1 / 200)) this.#burst()
      else this.#one()
    }
  }

  #burst(): void {
    const to = this.#address()
    for (let n = 0; n < burst; n++) this.#send(to, this.#body(), {})
    this.#owed -= burst - 1
  }

  #one(): void {
    const to = this.#address()
    const options = this.#options()
    if (this.#chance(0.1)) return this.#request(to, options)
    const large = this.#chance(0.015)
    const given = this.#chance(0.02)
    this.#send(to, large ? this.#largeBody() : this.#body(), {
      ...options,
      ...(this.#chance(0.1) && { level: 'sent' as const }),
      ...(given && { signal: AbortSignal.timeout(Math.floor(this.#random.fraction() * 500)) }),
    })
  }

  #options(): { deadlineMs: number; waitMs: number } {
    const { deadlineMs } = this.#load
    return {
      deadlineMs: this.#pick([50, deadlineMs / 10, deadlineMs / 2, deadlineMs, deadlineMs]),
      waitMs: this.#chance(0.3) ? deadlineMs / 4 : 0,
    }
  }

  #send(to: string, body: unknown, options: SendOptions): void {
    this.#counts.sent++
    this.#watch(this.#peer.sendMessage(to, body, options).then(({ status }: Receipt) => this.#settled(status)))
  }

  #request(to: string, options: { deadlineMs: number; waitMs: number }): void {
    this.#watch(this.#peer.request(to, this.#body(), options).catch(expected))
  }

  #settled(status: Status): void {
    const { settled } = this.#counts
    settled[status] = (settled[status] ?? 0) + 1
  }

  #watch(work: Promise<unknown>): void {
    this.#underWay.add(work)
    void work.finally(() => this.#underWay.delete(work))
  }

  /** No two bodies of a peer are the same. */
  #body(): unknown {
    return { n: ++this.#number, text: 'x'.repeat(this.#random.fraction() * 300) }
  }

  #largeBody(): unknown {
    const bytes = Buffer.alloc(20_000 + Math.floor(this.#random.fraction() * 600_000), ++this.#number)
    bytes.writeUInt32LE(this.#number)
    return this.#chance(0.5) ? bytes : { n: this.#number, bytes }
  }

  #address(): string {
    return this.#pick(this.#addresses)
  }

  #chance(share: number): boolean {
    return this.#random.fraction() < share
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random.fraction() * from.length)]!
  }
}

/** Under faults calls fail: what matters is what the history says. */
export function expected(error: unknown): void {
  if (!(error instanceof HomingError)) throw error
}
