/** Clients that left a peer which drains, until they have come elsewhere: to their senders they are only late. */
import type { Env } from '../env/env.ts'
import type { Held } from '../sessions/directory.ts'

/** How long senders wait for an address that left a draining peer, ms. */
const movedMs = 5_000

/** What departures need of the clients. */
export interface DeparturesHost {
  /** Clients that are still here. */
  present(): number
  /** It took too long: nobody waits for the address any more. */
  cameNowhere(held: Held): void
}

export class Departures {
  readonly #env: Env
  readonly #host: DeparturesHost
  /** Those that have not been seen elsewhere, and their claims. Their records stay, marked as moving. */
  readonly #moved = new Map<string, number>()
  #drained: (() => void) | undefined

  constructor(env: Env, host: DeparturesHost) {
    this.#env = env
    this.#host = host
  }

  /** A client has left. Returns until when its senders wait. */
  left({ address, claim }: Held): number {
    this.#moved.set(address, claim)
    this.#env.timers.after(movedMs, () => this.#cameNowhere(address, claim))
    return this.#env.clock.monotonicMs() + movedMs
  }

  /** It has connected to another peer, over that claim or an older one. */
  cameElsewhere(address: string, claim: number): void {
    if ((this.#moved.get(address) ?? Infinity) > claim) return
    this.#moved.delete(address)
    this.check()
  }

  #cameNowhere(address: string, claim: number): void {
    if (this.#moved.get(address) !== claim) return
    this.cameElsewhere(address, claim)
    this.#host.cameNowhere({ address, claim })
  }

  /** Resolves when all clients have left, or at the deadline; and when those that left have come elsewhere. */
  all(untilMs: number): Promise<void> {
    return new Promise(resolve => {
      let late = false
      this.#drained = () => {
        if (this.#moved.size > 0 || (this.#host.present() > 0 && !late)) return
        this.#drained = undefined
        timer.cancel()
        resolve()
      }
      const timer = this.#env.timers.after(Math.max(0, untilMs - this.#env.clock.monotonicMs()), () => {
        late = true
        this.check()
      })
      this.check()
    })
  }

  /** A client is here no more. */
  check(): void {
    this.#drained?.()
  }

  /** Nobody is waited for any more. Returns those that have not come elsewhere. */
  end(): Held[] {
    const held = [...this.#moved].map(([address, claim]) => ({ address, claim }))
    this.#moved.clear()
    this.check()
    return held
  }
}
