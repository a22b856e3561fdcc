/**
 * How sure a peer behind a broker is of what it holds. The broker renews the peer's lease as long as it is linked; what the peer holds is put
 * back at each broker it comes to, and checked there, a few at a time.
 */
import type { Env, Timer } from '../env/env.ts'
import { Standstill } from '../env/standstill.ts'
import { HomingError } from '../errors.ts'
import type { DirectoryHandler, Doubt, Held, LeaseState, Run } from '../sessions/directory.ts'
import { someMax } from '../sessions/held-audit.ts'
import { trustedMs, type SessionOptions } from '../sessions/options.ts'
import { askMs, type BrokerCalls } from './broker-calls.ts'
import { claimsMax } from './directory-protocol.ts'

export interface BrokerLeaseSetup {
  readonly env: Env
  readonly options: Readonly<SessionOptions>
  readonly calls: BrokerCalls
  readonly handler: Pick<DirectoryHandler, 'held' | 'displaced' | 'refused' | 'storeDown' | 'storeUp' | 'lease'>
  /** This process stood still for longer than a renewal: who was judged gone may have shown since that he lives. */
  stoodStill(): void
  trouble(error: HomingError): void
}

export class BrokerLease {
  readonly #setup: BrokerLeaseSetup
  #state: LeaseState = 'unsure'
  #why: Doubt | undefined
  #storeUp = true
  /** When the broker was last heard to hold this peer's lease up, with a datastore behind it. */
  #heardMs: number
  /** Of what is held, where the check of a few at a time has got to, and when the last few were checked. */
  #auditing: Iterator<Held> | undefined
  #checkedMs: number
  /** When the first such check was begun that was not answered, or failed. */
  #uncheckedMs: number | undefined
  readonly #standstill: Standstill
  readonly #ticker: Timer

  constructor(setup: BrokerLeaseSetup) {
    this.#setup = setup
    const { clock, timers } = setup.env
    this.#heardMs = this.#checkedMs = clock.monotonicMs()
    this.#standstill = new Standstill(clock)
    this.#ticker = timers.every(Math.min(1_000, setup.options.renewEveryMs / 3), () => this.look())
  }

  get state(): LeaseState {
    this.look()
    return this.#state
  }

  /** The link to the broker is gone. */
  brokerDown(): void {
    if (this.#setup.calls.joined) this.#heardMs = this.#setup.env.clock.monotonicMs()
    this.#setup.calls.linkDown()
    // The link was silent for about as long as a peer with a datastore of its own would trust its last renewal.
    if (this.#setup.options.whenStoreIsDown === 'stop' && this.#state === 'sure') this.#becomes('unsure', 'store')
    this.tellStore(false, 'no broker is linked')
  }

  /** Whether there is a datastore behind a broker: by its news, or because there is a broker. `text`: what ails it. */
  tellStore(up: boolean, text: string): void {
    if (this.#storeUp === up) return
    this.#storeUp = up
    if (up) {
      this.#setup.handler.storeUp()
      const broker = this.#setup.calls.joined
      if (broker && this.#state === 'unsure') void this.revalidateAgain(broker)
    } else this.#setup.handler.storeDown(new HomingError('DATASTORE', text))
  }

  /** As `revalidate`, in the background: what fails is told as trouble, and tried again with the next check. */
  async revalidateAgain(broker: Run): Promise<void> {
    try {
      await this.revalidate(broker)
    } catch (error) {
      if (error instanceof HomingError) return this.#setup.trouble(error)
      throw error
    }
  }

  /**
   * What this peer holds is put back where the datastore or the broker lost it; what others took is given up. Then the lease is sure. Rejects
   * with what the broker said, or `LOST`, `TIMEOUT`.
   */
  async revalidate(broker: Run): Promise<void> {
    const held = [...this.#setup.handler.held()]
    for (let from = 0; from < held.length; from += claimsMax) await this.#reassert(broker, held.slice(from, from + claimsMax))
    this.#heardMs = this.#setup.env.clock.monotonicMs()
    this.#uncheckedMs = undefined
    this.#becomes('sure', undefined)
  }

  async #reassert(broker: Run, claims: readonly Held[]): Promise<void> {
    const answer = await this.#setup.calls.call(broker, { op: 'reassert', claims: [...claims], ms: askMs }, askMs)
    const { elsewhere, refused = [] } = answer
    for (const { at, owner } of elsewhere) {
      const lost = claims[at]
      if (lost) this.#setup.handler.displaced(lost.address, lost.claim, owner)
    }
    for (const at of refused) {
      const lost = claims[at]
      if (lost) this.#setup.handler.refused?.(lost.address, lost.claim)
    }
  }

  // Time passes

  /** Draws conclusions from the time that has passed; to be called before what a broker says is acted upon. */
  look(): void {
    const { env, options } = this.#setup
    const nowMs = env.clock.monotonicMs()
    const stoodMs = this.#standstill.look()
    const { joined } = this.#setup.calls
    // Who was judged gone a renewal ago may have shown since that he lives.
    if (this.#setup.calls.broker && stoodMs > options.renewEveryMs) this.#setup.stoodStill()
    if (stoodMs > trustedMs(options)) {
      // Others may have judged it dead meanwhile: nothing is taken before the broker said what is still ours.
      this.#becomes('unsure', 'late')
      if (joined) void this.revalidateAgain(joined)
      return
    }
    if (joined && this.#storeUp) {
      if (nowMs - this.#checkedMs >= options.renewEveryMs) {
        this.#checkedMs = nowMs
        this.#checkSome(joined)
      }
      if (nowMs - (this.#uncheckedMs ?? nowMs) < trustedMs(options) - options.renewEveryMs) this.#heardMs = nowMs
      else if (this.#state === 'sure') this.#becomes('unsure', 'store')
      return
    }
    // That its datastore fails, the broker may have noticed as late as its next renewal.
    const lagMs = joined ? options.renewEveryMs + 2 * options.operationTimeoutMs : 0
    if (nowMs - this.#heardMs > trustedMs(options) - lagMs && this.#state === 'sure') this.#becomes('unsure', 'store')
  }

  #becomes(state: LeaseState, why: Doubt | undefined): void {
    if (this.#state === state && this.#why === why) return
    this.#state = state
    this.#why = why
    this.#setup.handler.lease(state, why)
  }

  /** As `HeldAudit.checkSome` does for a peer with a datastore of its own. */
  #checkSome(broker: Run): void {
    let claims = this.#nextFew()
    if (claims.length === 0) claims = this.#nextFew() // the last round ended with the last of them
    if (claims.length > 0) void this.#check(broker, claims)
    // What it held when a check failed it has given up since: there is nothing to be in doubt of.
    else void this.revalidateAgain(broker)
  }

  #nextFew(): Held[] {
    this.#auditing ??= this.#setup.handler.held()[Symbol.iterator]()
    const claims: Held[] = []
    for (let next = this.#auditing.next(); !next.done; next = this.#auditing.next())
      if (claims.push(next.value) === someMax) return claims
    this.#auditing = undefined
    return claims
  }

  async #check(broker: Run, claims: readonly Held[]): Promise<void> {
    this.#uncheckedMs ??= this.#setup.env.clock.monotonicMs()
    try {
      await this.#reassert(broker, claims)
      if (this.#setup.calls.broker !== broker) return
      this.#uncheckedMs = undefined
      if (this.#setup.calls.joined && this.#storeUp && this.#state === 'unsure') await this.revalidateAgain(broker)
    } catch (error) {
      if (error instanceof HomingError) this.#setup.trouble(error)
      else throw error
    }
  }

  /** Looks no more. */
  end(): void {
    this.#ticker.cancel()
  }
}
