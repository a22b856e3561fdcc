/** Knows at once who joined, who left and whose process has ended, where the datastore's engine can tell. */

import { isLoopback } from '../env/endpoint.ts'
import type { Env, Timer } from '../env/env.ts'
import { homingError, type HomingError } from '../errors.ts'
import type { Member, Probe } from './directory.ts'
import type { LifeSigns } from './life-signs.ts'
import type { Membership } from './membership.ts'
import type { SessionOptions } from './options.ts'

export interface LifeWatchOptions {
  readonly env: Env
  readonly signs: LifeSigns
  readonly membership: Membership
  readonly self: Member
  readonly options: Readonly<SessionOptions>
  /** Asks who answers at a member's endpoints. Does not reject. */
  readonly probe: (member: Member) => Promise<Probe>
  readonly trouble: (error: HomingError) => void
}

/**
 * A sign of life that is gone is no death: a session of the engine ends by a partition, a pause or the engine's own outage as well. So it
 * takes two witnesses. The engine lost sight of the process, and nobody listens where it did: then it has ended. Whoever answers, or cannot be
 * reached, is judged by its lease as everywhere. Looked at whenever the engine says so, and with each renewal, whatever was said.
 */
export class LifeWatch {
  readonly #options: LifeWatchOptions
  /** Incarnations that have shown a sign: of those that never did, its absence says nothing. */
  #seen: ReadonlySet<string> = new Set()
  readonly #examining = new Set<string>()
  readonly #holds: AsyncDisposable[] = []
  #timer: Timer | undefined
  #looking: Promise<void> | undefined
  #again = false
  #stopped = false

  constructor(options: LifeWatchOptions) {
    this.#options = options
  }

  begin(): void {
    const { env, signs, membership, self, options } = this.#options
    if (this.#stopped) return
    this.#holds.push(
      signs.show(self, 'main'),
      signs.watch(() => this.#look()),
      signs.watchPeers(() => membership.changed()),
    )
    this.#timer = env.timers.every(options.renewEveryMs, () => this.#look())
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await Promise.all([this.#looking, ...this.#holds.splice(0).map(hold => hold[Symbol.asyncDispose]())])
  }

  #look(): void {
    this.#again = true
    if (this.#stopped) return
    this.#looking ??= this.#lookAll().finally(() => {
      this.#looking = undefined
    })
  }

  async #lookAll(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false
      try {
        for (const member of await this.#missing()) void this.#examine(member)
      } catch (error) {
        this.#troubled(error)
      }
    }
  }

  /** Live members that showed a sign, and show none any more. */
  async #missing(): Promise<Member[]> {
    const { signs, membership, self } = this.#options
    const shown = await signs.shown()
    // An engine that has lost ours may have lost all.
    if (!shown.has(self.incarnation)) return []
    const members = membership.members().filter(({ incarnation }) => incarnation !== self.incarnation)
    const missing = members.filter(({ incarnation }) => !shown.has(incarnation) && this.#seen.has(incarnation))
    this.#seen = new Set([...shown, ...missing.map(({ incarnation }) => incarnation)])
    return missing
  }

  /** Nobody waits for it: a probe may take seconds. */
  async #examine(member: Member): Promise<void> {
    if (this.#stopped || this.#examining.has(member.incarnation)) return
    this.#examining.add(member.incarnation)
    const { membership, probe } = this.#options
    try {
      // Its last beat may not have been seen yet: one that moves from here on is a sign of life.
      const found = await membership.lookUp(member.identity)
      if (found?.incarnation !== member.incarnation) return
      const answer = await probe(found)
      if (!this.#stopped && this.#hasEnded(found, answer)) await membership.ended(found)
    } catch (error) {
      this.#troubled(error)
    } finally {
      this.#examining.delete(member.incarnation)
    }
  }

  /** A loopback of another machine is ours, and says nothing of it. */
  #hasEnded({ machine, endpoints }: Member, probe: Probe): boolean {
    return probe === 'refused' && (machine === this.#options.self.machine || !endpoints.some(isLoopback))
  }

  #troubled(error: unknown): void {
    if (!this.#stopped) this.#options.trouble(homingError(error, 'DATASTORE', 'signs of life could not be read'))
  }
}
