/** The directory of a peer behind a broker: asks the broker, and hears from it. */
import type { Env, Timer } from '../env/env.ts'
import { Standstill } from '../env/standstill.ts'
import { HomingError } from '../errors.ts'
import type { Router } from '../router/router.ts'
import { passing } from '../sessions/deadline.ts'
import type {
  Claimed,
  Directory,
  DirectoryHandler,
  Doubt,
  Held,
  LeaseState,
  Located,
  Member,
  Owner,
  Released,
  Run,
  Self,
} from '../sessions/directory.ts'
import { someMax } from '../sessions/held-audit.ts'
import { trustedMs, type SessionOptions } from '../sessions/options.ts'
import { Turns } from '../sessions/turns.ts'
import { BrokerCalls, late, retryMs } from './broker-calls.ts'
import { ClaimsAsked, type AskedClaim } from './claims-asked.ts'
import { readNews } from './directory-answers.ts'
import { claimsMax, directoryProtocol, type News } from './directory-protocol.ts'
import { KnownMembers } from './known-members.ts'
import { WithdrawnClaims } from './withdrawn-claims.ts'

export interface DirectoryClientSetup {
  readonly env: Env
  readonly router: Pick<Router, 'call' | 'serveProtocol'>
  readonly self: Self
  readonly options: Readonly<SessionOptions>
  readonly handler: DirectoryHandler
  /** The broker is linked and has forgotten this peer: `brokerUp` is to be called for it again. */
  joinAgain(broker: Run): void
  trouble(error: HomingError): void
}

interface Asked {
  readonly waiting: { resolve(located: Located | undefined): void; reject(error: unknown): void }[]
}

/** How long one question may take before it is asked again of whichever broker there is then, ms. */
const askMs = 5_000

export class DirectoryClient implements Directory {
  readonly #setup: DirectoryClientSetup
  readonly #run: Run
  #self: Self
  readonly #calls: BrokerCalls
  readonly #members: KnownMembers
  /** How often it was asked to join somewhere: an answer to a question from before says nothing of the members here. */
  #joins = 0
  /** Addresses to be asked for in the next question, and those that are being asked for. */
  #gathering = new Map<string, Asked>()
  #gatherDue = false
  #lease: LeaseState = 'unsure'
  #why: Doubt | undefined
  #heardMs: number
  /** Of what is held, where the check of a few at a time has got to, and when the last few were checked. */
  #auditing: Iterator<Held> | undefined
  readonly #turns = new Turns()
  readonly #claimsAsked: ClaimsAsked
  readonly #withdrawn: WithdrawnClaims
  #checkedMs = 0
  /** When the first such check was begun that was not answered, or failed. */
  #uncheckedMs: number | undefined
  readonly #standstill: Standstill
  readonly #ticker: Timer
  #storeUp = true

  constructor(setup: DirectoryClientSetup) {
    this.#setup = setup
    this.#self = setup.self
    this.#run = { identity: setup.self.identity, incarnation: setup.self.incarnation }
    this.#claimsAsked = new ClaimsAsked(this.#run)
    const { env, router, options, handler, trouble } = setup
    this.#calls = new BrokerCalls({ env, router, joinAgain: broker => setup.joinAgain(broker) })
    this.#withdrawn = new WithdrawnClaims({ env, calls: this.#calls, trouble })
    this.#members = new KnownMembers({
      env,
      options,
      handler,
      trouble,
      self: () => this.#self,
      lookUp: identity => this.lookUpMember(identity),
      readAll: () => this.readMembers(),
    })
    const { clock, timers } = env
    this.#heardMs = this.#checkedMs = clock.monotonicMs()
    this.#standstill = new Standstill(clock)
    this.#ticker = timers.every(Math.min(1_000, options.renewEveryMs / 3), () => this.#tick())
    router.serveProtocol(directoryProtocol, { tell: (from, body) => this.#hear(from, readNews(body)) })
  }

  // The broker comes and goes

  /** A link to this broker is up. Joins there; resolves when the peer is a member. Rejects where it may not. */
  async brokerUp(broker: Run): Promise<void> {
    this.#calls.linkUp(broker)
    this.#members.joining()
    const join = ++this.#joins
    const { members, told } = await this.#calls.call(broker, { op: 'join', member: this.#self }, this.#setup.options.leaseMs * 2)
    if (this.#calls.broker !== broker || this.#joins !== join) return
    this.#tick()
    this.#calls.joins()
    this.#members.joined(members, told)
    await this.#revalidate(broker)
    if (this.#calls.broker !== broker) return
    this.#calls.wake()
    this.#tellStore(true, '')
  }

  brokerDown(): void {
    if (this.#calls.joined) this.#heardMs = this.#setup.env.clock.monotonicMs()
    this.#calls.linkDown()
    // The link was silent for about as long as a peer with a datastore of its own would trust its last renewal.
    if (this.#setup.options.whenStoreIsDown === 'stop' && this.#lease === 'sure') this.#becomes('unsure', 'store')
    this.#tellStore(false, 'no broker is linked')
  }

  #tellStore(up: boolean, text: string): void {
    if (this.#storeUp === up) return
    this.#storeUp = up
    if (up) {
      this.#setup.handler.storeUp()
      const broker = this.#calls.joined
      if (broker && this.#lease === 'unsure') void this.#revalidateAgain(broker)
    } else this.#setup.handler.storeDown(new HomingError('DATASTORE', text))
  }

  /** What this peer holds is put back where the datastore or the broker lost it; what others took is given up. */
  async #revalidate(broker: Run): Promise<void> {
    const held = [...this.#setup.handler.held()]
    for (let from = 0; from < held.length; from += claimsMax) await this.#reassert(broker, held.slice(from, from + claimsMax))
    this.#heardMs = this.#setup.env.clock.monotonicMs()
    this.#uncheckedMs = undefined
    this.#becomes('sure', undefined)
  }

  async #reassert(broker: Run, claims: readonly Held[]): Promise<void> {
    const answer = await this.#calls.call(broker, { op: 'reassert', claims: [...claims], ms: askMs }, askMs)
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

  /** As `HeldAudit.checkSome` does for a peer with a datastore of its own. */
  #checkSome(broker: Run): void {
    this.#auditing ??= this.#setup.handler.held()[Symbol.iterator]()
    const claims: Held[] = []
    for (let next = this.#auditing.next(); !next.done; next = this.#auditing.next())
      if (claims.push(next.value) === someMax) break
    if (claims.length < someMax) this.#auditing = undefined
    if (claims.length > 0) void this.#check(broker, claims)
    // What it held when it came into doubt it has given up since.
    else if (this.#lease === 'unsure') void this.#revalidateAgain(broker)
  }

  async #check(broker: Run, claims: readonly Held[]): Promise<void> {
    this.#uncheckedMs ??= this.#setup.env.clock.monotonicMs()
    try {
      await this.#reassert(broker, claims)
      if (this.#calls.broker !== broker) return
      this.#uncheckedMs = undefined
      if (this.#calls.joined && this.#storeUp && this.#lease === 'unsure') await this.#revalidateAgain(broker)
    } catch (error) {
      if (error instanceof HomingError) this.#setup.trouble(error)
      else throw error
    }
  }

  #hear(from: Run, news: News | undefined): void {
    const { broker, ended } = this.#calls
    if (!news || from.identity !== broker?.identity || from.incarnation !== broker.incarnation || ended) return
    const { handler } = this.#setup
    switch (news.op) {
      case 'displaced':
        return handler.displaced(news.address, news.claim, news.by)
      case 'revalidate':
        return void this.#revalidateAgain(broker)
      case 'memberUp':
      case 'memberChanged':
      case 'memberDown':
        this.#tick()
        return this.#members.hear(news)
      case 'untold':
        return this.#members.unheard()
      case 'store':
        return this.#tellStore(news.up, news.text)
      case 'fenced':
        this.#end(new HomingError('FENCED', `'${this.#run.identity}' has a newer incarnation`))
        return handler.fenced(news.by)
    }
  }

  async #revalidateAgain(broker: Run): Promise<void> {
    try {
      await this.#revalidate(broker)
    } catch (error) {
      if (error instanceof HomingError) return this.#setup.trouble(error)
      throw error
    }
  }

  // The lease: the broker renews it as long as it is linked

  get lease(): LeaseState {
    this.#tick()
    return this.#lease
  }

  #becomes(state: LeaseState, why: Doubt | undefined): void {
    if (this.#lease === state && this.#why === why) return
    this.#lease = state
    this.#why = why
    this.#setup.handler.lease(state, why)
  }

  #tick(): void {
    const { env, options } = this.#setup
    const nowMs = env.clock.monotonicMs()
    const stoodMs = this.#standstill.look()
    const { joined } = this.#calls
    // Who was judged gone a renewal ago may have shown since that he lives.
    if (this.#calls.broker && stoodMs > options.renewEveryMs) this.#members.stoodStill()
    if (stoodMs > trustedMs(options)) {
      // Others may have judged it dead meanwhile: nothing is taken before the broker said what is still ours.
      this.#becomes('unsure', 'late')
      if (joined) void this.#revalidateAgain(joined)
      return
    }
    if (joined && this.#storeUp) {
      if (nowMs - this.#checkedMs >= options.renewEveryMs) {
        this.#checkedMs = nowMs
        this.#checkSome(joined)
      }
      if (nowMs - (this.#uncheckedMs ?? nowMs) < trustedMs(options) - options.renewEveryMs) this.#heardMs = nowMs
      else if (this.#lease === 'sure') this.#becomes('unsure', 'store')
      return
    }
    // That its datastore fails, the broker may have noticed as late as its next renewal.
    const lagMs = joined ? options.renewEveryMs + 2 * options.operationTimeoutMs : 0
    if (nowMs - this.#heardMs > trustedMs(options) - lagMs && this.#lease === 'sure') this.#becomes('unsure', 'store')
  }

  // Asking

  async #inChunks<T>(claims: readonly Held[], ask: (chunk: Held[]) => Promise<T[]>): Promise<T[]> {
    const results: T[] = []
    for (let from = 0; from < claims.length; from += claimsMax)
      results.push(...(await ask(claims.slice(from, from + claimsMax).map(plain))))
    return results
  }

  async claim(claims: readonly Held[], untilMs: number): Promise<Claimed[]> {
    const turn = this.#turns.enter(claims.map(({ address }) => address))
    const asked = this.#claimsAsked.enter(claims)
    try {
      for (let from = 0; from < asked.length; from += claimsMax) await this.#claim(asked.slice(from, from + claimsMax), untilMs)
      await turn.come(this.#setup.env, untilMs)
      return asked.map(({ address, claim, previous }) => ({ address, claim, previous }))
    } catch (error) {
      const withdrawn = asked.filter(({ mayBeWritten }) => mayBeWritten)
      this.#withdrawn.add(withdrawn)
      throw withdrawn.length > 0 ? inDoubt(error) : error
    } finally {
      this.#claimsAsked.leave(asked)
      turn.leave()
    }
  }

  async #claim(claims: readonly AskedClaim[], untilMs: number): Promise<void> {
    for (let open = claims; open.length > 0; open = open.filter(({ isAnswered }) => !isAnswered)) {
      const broker = await this.#calls.present(untilMs)
      const going = open.filter(asked => asked.go())
      try {
        if (going.length > 0) {
          const ms = this.#calls.leftMs(untilMs)
          const again = going.some(({ mayBeWritten }) => mayBeWritten)
          const question = { op: 'claim', claims: going.map(plain), ms, ...(again ? { again } : {}) } as const
          const { previous } = await this.#calls.call(broker, question, ms)
          for (const [at, asked] of going.entries()) asked.answer(previous[at] ?? undefined)
        } else for (const asked of open) await asked.newerSettled(this.#setup.env, untilMs, late)
      } catch (error) {
        // No other answer of a broker says that nothing was written.
        if (!(error instanceof HomingError && error.code === 'REFUSED')) for (const asked of going) asked.doubt()
        await this.#calls.untilAgain(error, broker, untilMs)
      }
    }
  }

  release(claims: readonly Held[], untilMs: number): Promise<Released[]> {
    return this.#inChunks(
      claims,
      async chunk => (await this.#calls.ask(ms => ({ op: 'release', claims: chunk, ms }), untilMs)).released,
    )
  }

  async markMoving(claims: readonly Held[], untilMs: number): Promise<void> {
    await this.#inChunks(claims, async chunk => {
      await this.#calls.ask(ms => ({ op: 'moving', claims: chunk, ms }), untilMs)
      return []
    })
  }

  /** One question at a time for an address; those of one turn of the loop go together. */
  find(address: string): Promise<Located | undefined> {
    if (this.#calls.ended) return Promise.reject(this.#calls.ended)
    return new Promise((resolve, reject) => {
      const asked = this.#gathering.get(address) ?? { waiting: [] }
      asked.waiting.push({ resolve, reject })
      this.#gathering.set(address, asked)
      if (this.#gatherDue) return
      this.#gatherDue = true
      queueMicrotask(() => void this.#findGathered())
    })
  }

  async #findGathered(): Promise<void> {
    this.#gatherDue = false
    const gathered = [...this.#gathering]
    this.#gathering = new Map()
    for (let from = 0; from < gathered.length; from += claimsMax) {
      const chunk = gathered.slice(from, from + claimsMax)
      try {
        const untilMs = this.#setup.env.clock.monotonicMs() + this.#setup.options.operationTimeoutMs
        const { located } = await this.#calls.ask(() => ({ op: 'find', addresses: chunk.map(([address]) => address) }), untilMs)
        for (const [at, [, { waiting }]] of chunk.entries()) for (const { resolve } of waiting) resolve(this.#met(located[at]))
      } catch (error) {
        for (const [, { waiting }] of chunk) for (const { reject } of waiting) reject(error)
      }
    }
  }

  #met(located: Located | null | undefined): Located | undefined {
    if (!located) return undefined
    this.#members.met(located.member)
    return located
  }

  async waitFor(address: string, untilMs: number, signal?: AbortSignal): Promise<Located | undefined> {
    const { clock } = this.#setup.env
    while (clock.monotonicMs() < untilMs && !signal?.aborted) {
      try {
        const { located } = await this.#calls.ask(
          ms => ({ op: 'wait', address, ms: Math.max(0, ms - answerMs) }),
          untilMs,
          signal,
        )
        return this.#met(located)
      } catch (error) {
        if (!(error instanceof HomingError)) throw error
        if (this.#calls.ended) throw this.#calls.ended
        if (signal?.aborted || clock.monotonicMs() + retryMs >= untilMs) return undefined
        await passing(this.#setup.env, retryMs)
      }
    }
    return undefined
  }

  async *sessions(): AsyncGenerator<{ address: string; owner: Owner; moving: boolean }> {
    let cursor = 0
    do {
      const untilMs = this.#setup.env.clock.monotonicMs() + askMs
      const page = await this.#calls.ask(() => ({ op: 'sessions', cursor }), untilMs)
      yield* page.sessions
      cursor = page.cursor
    } while (cursor !== 0)
  }

  members(): readonly Member[] {
    return this.#members.members()
  }

  async readMembers(): Promise<readonly Member[]> {
    const untilMs = this.#setup.env.clock.monotonicMs() + this.#setup.options.operationTimeoutMs
    this.#tick()
    const { question } = this.#members
    const { members, told } = await this.#calls.ask(() => ({ op: 'members' }), untilMs)
    this.#tick()
    this.#members.listed(members, told, question)
    return this.members()
  }

  member(identity: string): Member | undefined {
    return this.#members.member(identity)
  }

  async lookUpMember(identity: string): Promise<Member | undefined> {
    const untilMs = this.#setup.env.clock.monotonicMs() + this.#setup.options.operationTimeoutMs
    const { member } = await this.#calls.ask(() => ({ op: 'member', identity }), untilMs)
    if (member) this.#members.met(member)
    return member ?? undefined
  }

  async leaveNote(to: Owner, address: string, by: Owner): Promise<void> {
    const untilMs = this.#setup.env.clock.monotonicMs() + askMs
    await this.#calls.ask(() => ({ op: 'note', to: { ...to }, address, by: { ...by } }), untilMs)
  }

  async update(change: Partial<Pick<Self, 'endpoints' | 'state' | 'metadata' | 'via'>>): Promise<void> {
    this.#self = { ...this.#self, ...change }
    const untilMs = this.#setup.env.clock.monotonicMs() + askMs
    await this.#calls.ask(() => ({ op: 'update', member: this.#self }), untilMs)
  }

  async leave(untilMs: number): Promise<void> {
    try {
      const { joined, ended } = this.#calls
      if (joined && !ended) await this.#calls.call(joined, { op: 'leave' }, this.#calls.leftMs(untilMs))
    } finally {
      await this[Symbol.asyncDispose]()
    }
  }

  #end(error: HomingError): void {
    if (this.#calls.ended) return
    this.#ticker.cancel()
    this.#members.end()
    this.#calls.end(error)
    this.#withdrawn.end()
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#end(new HomingError('CLOSED', 'this peer has been closed'))
    return Promise.resolve()
  }
}

/** What the broker's answer to a wait may take, ms: it comes before our own deadline. */
const answerMs = 50

function plain({ address, claim }: Held): Held {
  return { address, claim }
}

/** It failed for want of a broker, or of its datastore; and one that was asked before may have done it. */
function inDoubt(error: unknown): unknown {
  if (!(error instanceof HomingError) || error.code !== 'DATASTORE' || error.outcome === 'unknown') return error
  return new HomingError(error.code, error.message, { outcome: 'unknown', cause: error })
}
