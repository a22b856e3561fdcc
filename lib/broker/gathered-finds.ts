/** Look-ups of a peer behind a broker: one question at a time for an address; those of one turn of the loop go together. */
import type { Env } from '../env/env.ts'
import type { Located } from '../sessions/directory.ts'
import type { BrokerCalls } from './broker-calls.ts'
import { claimsMax } from './directory-protocol.ts'

interface Asked {
  readonly waiting: { resolve(located: Located | undefined): void; reject(error: unknown): void }[]
}

export interface GatheredFindsSetup {
  readonly env: Env
  /** How long the answer is waited for, ms. */
  readonly withinMs: number
  readonly calls: Pick<BrokerCalls, 'ask' | 'ended'>
  /** What the broker said, as this peer knows it from then on. */
  met(located: Located | null | undefined): Located | undefined
}

export class GatheredFinds {
  readonly #setup: GatheredFindsSetup
  /** Addresses for the next question. */
  #gathering = new Map<string, Asked>()
  #due = false

  constructor(setup: GatheredFindsSetup) {
    this.#setup = setup
  }

  /** Reads afresh. Rejects with `DATASTORE`. */
  find(address: string): Promise<Located | undefined> {
    const { ended } = this.#setup.calls
    if (ended) return Promise.reject(ended)
    return new Promise((resolve, reject) => {
      const asked = this.#gathering.get(address) ?? { waiting: [] }
      asked.waiting.push({ resolve, reject })
      this.#gathering.set(address, asked)
      if (this.#due) return
      this.#due = true
      queueMicrotask(() => void this.#ask())
    })
  }

  async #ask(): Promise<void> {
    this.#due = false
    const { env, withinMs, calls, met } = this.#setup
    const gathered = [...this.#gathering]
    this.#gathering = new Map()
    for (let from = 0; from < gathered.length; from += claimsMax) {
      const chunk = gathered.slice(from, from + claimsMax)
      try {
        const untilMs = env.clock.monotonicMs() + withinMs
        const { located } = await calls.ask(() => ({ op: 'find', addresses: chunk.map(([address]) => address) }), untilMs)
        for (const [at, [, { waiting }]] of chunk.entries()) for (const { resolve } of waiting) resolve(met(located[at]))
      } catch (error) {
        for (const [, { waiting }] of chunk) for (const { reject } of waiting) reject(error)
      }
    }
  }
}
