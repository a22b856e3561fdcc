/**
 * Claims that this peer asked for and did not get: perhaps they were written, by a broker that could not say so any more, or that cannot know
 * whether another one gave them to this peer after all. So the peer itself asks the broker that it has now to release them.
 */
import { setMaxListeners } from 'node:events'
import type { Env } from '../env/env.ts'
import { homingError, HomingError } from '../errors.ts'
import type { Held } from '../sessions/directory.ts'
import type { BrokerCalls } from './broker-calls.ts'
import { claimsMax } from './directory-protocol.ts'

export interface WithdrawnClaimsSetup {
  readonly env: Env
  readonly calls: Pick<BrokerCalls, 'ask' | 'ended'>
  trouble(error: HomingError): void
}

/** How long a broker, and the datastore behind it, has to take them back, ms. */
const withdrawMs = 60_000
/** Protects the memory while no broker is there. */
const withdrawnMax = 20_000

export class WithdrawnClaims {
  readonly #setup: WithdrawnClaimsSetup
  readonly #ending = new AbortController()
  #count = 0

  constructor(setup: WithdrawnClaimsSetup) {
    this.#setup = setup
    setMaxListeners(0, this.#ending.signal) // one for each release that waits for a broker
  }

  /** Releases them in the background. What others, or newer claims of this peer, were written since then stays. */
  add(claims: readonly Held[]): void {
    if (claims.length === 0 || this.#setup.calls.ended) return
    if (this.#count + claims.length > withdrawnMax) {
      const what = `${naming(claims)} may stay claimed for nobody: ${this.#count} claims that failed wait to be released already`
      return this.#setup.trouble(new HomingError('OVERLOADED', what))
    }
    this.#count += claims.length
    for (let from = 0; from < claims.length; from += claimsMax) void this.#release(claims.slice(from, from + claimsMax))
  }

  async #release(claims: readonly Held[]): Promise<void> {
    const { env, calls, trouble } = this.#setup
    const plain = claims.map(({ address, claim }) => ({ address, claim }))
    const untilMs = env.clock.monotonicMs() + withdrawMs
    try {
      await calls.ask(ms => ({ op: 'release', claims: plain, ms, withdrawn: true }), untilMs, this.#ending.signal)
    } catch (error) {
      if (!calls.ended) trouble(homingError(error, 'DATASTORE', `${naming(claims)} may stay claimed for nobody`))
    } finally {
      this.#count -= claims.length
    }
  }

  /** Nothing is asked any more: what this peer held is its no more. */
  end(): void {
    this.#ending.abort()
  }
}

function naming(claims: readonly Held[]): string {
  return claims.length === 1 ? `'${claims[0]!.address}'` : `${claims.length} addresses`
}
