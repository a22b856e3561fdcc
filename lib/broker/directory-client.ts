/** The directory of a peer behind a broker: asks the broker, and hears from it. */
import type { Env } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { Router } from '../router/router.ts'
import { passing } from '../sessions/deadline.ts'
import type {
  Claimed,
  Directory,
  DirectoryHandler,
  Held,
  LeaseState,
  Located,
  Member,
  Owner,
  Released,
  Run,
  Self,
} from '../sessions/directory.ts'
import type { SessionOptions } from '../sessions/options.ts'
import { Turns } from '../sessions/turns.ts'
import { askMs, BrokerCalls, late, retryMs } from './broker-calls.ts'
import { BrokerLease } from './broker-lease.ts'
import { ClaimsAsked, type AskedClaim } from './claims-asked.ts'
import { readNews } from './directory-answers.ts'
import { claimsMax, directoryProtocol, type News } from './directory-protocol.ts'
import { GatheredFinds } from './gathered-finds.ts'
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

export class DirectoryClient implements Directory {
  readonly #setup: DirectoryClientSetup
  readonly #run: Run
  #self: Self
  readonly #calls: BrokerCalls
  readonly #members: KnownMembers
  /** How often it was asked to join somewhere: an answer to a question from before says nothing of the members here. */
  #joins = 0
  readonly #finds: GatheredFinds
  readonly #lease: BrokerLease
  readonly #turns = new Turns()
  readonly #claimsAsked: ClaimsAsked
  readonly #withdrawn: WithdrawnClaims

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
    this.#lease = new BrokerLease({
      env,
      options,
      calls: this.#calls,
      handler,
      stoodStill: () => this.#members.stoodStill(),
      trouble,
    })
    this.#finds = new GatheredFinds({
      env,
      withinMs: options.operationTimeoutMs,
      calls: this.#calls,
      met: located => this.#met(located),
    })
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
    this.#lease.look()
    this.#calls.joins()
    this.#members.joined(members, told)
    await this.#lease.revalidate(broker)
    if (this.#calls.broker !== broker) return
    this.#calls.wake()
    this.#lease.tellStore(true, '')
  }

  /** The link to the broker is gone. */
  brokerDown(): void {
    this.#lease.brokerDown()
  }

  get lease(): LeaseState {
    return this.#lease.state
  }

  #hear(from: Run, news: News | undefined): void {
    const { broker, ended } = this.#calls
    if (!news || from.identity !== broker?.identity || from.incarnation !== broker.incarnation || ended) return
    const { handler } = this.#setup
    switch (news.op) {
      case 'displaced':
        return handler.displaced(news.address, news.claim, news.by)
      case 'revalidate':
        return void this.#lease.revalidateAgain(broker)
      case 'memberUp':
      case 'memberChanged':
      case 'memberDown':
        this.#lease.look()
        return this.#members.hear(news)
      case 'untold':
        return this.#members.unheard()
      case 'store':
        return this.#lease.tellStore(news.up, news.text)
      case 'fenced':
        this.#end(new HomingError('FENCED', `'${this.#run.identity}' has a newer incarnation`))
        return handler.fenced(news.by)
    }
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
      for (const one of asked) one.connects()
      return asked.map(({ address, claim, previous, overtakenBy }) => ({ address, claim, previous, overtakenBy }))
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
          const { previous, overtaken = [] } = await this.#calls.call(broker, question, ms)
          const by = new Map(overtaken.map(({ at, owner }) => [at, owner]))
          for (const [at, asked] of going.entries()) asked.answer(previous[at] ?? undefined, by.get(at))
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

  find(address: string): Promise<Located | undefined> {
    return this.#finds.find(address)
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
    this.#lease.look()
    const { question } = this.#members
    const { members, told } = await this.#calls.ask(() => ({ op: 'members' }), untilMs)
    this.#lease.look()
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
    this.#lease.end()
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
