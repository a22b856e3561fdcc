/** Whom a peer behind a broker takes for members: those that its broker lists, and tells of as they come and go. */
import type { Env, Timer } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { DirectoryHandler, Member } from '../sessions/directory.ts'
import type { SessionOptions } from '../sessions/options.ts'
import type { MemberNews } from './directory-protocol.ts'

export interface KnownMembersSetup {
  readonly env: Env
  readonly options: Readonly<SessionOptions>
  readonly self: () => Member
  readonly handler: Pick<DirectoryHandler, 'memberUp' | 'memberChanged' | 'memberDown'>
  /** Asks the present broker for one of them. Rejects with a `HomingError` where it cannot be asked. */
  lookUp(identity: string): Promise<Member | undefined>
  /** Asks the present broker for all; `listed` follows. Rejects with a `HomingError` where it cannot be asked. */
  readAll(): Promise<unknown>
  trouble(error: HomingError): void
}

/** Changes heard before the answer to a join or a reading, which comes within two leases; protects the memory. */
const earlyMax = 10_000

/**
 * News and answers do not come in the order in which they were made: what a broker lists it has read a moment before it answers. So changes
 * are numbered, and a list says up to which one it goes. A broker that does not number them is believed as it comes.
 *
 * What came in while this process stood still was true when it was told, and may have been over for as long as that: who was gone then may
 * be back. So nothing of it counts before the broker has said who is a member now.
 */
export class KnownMembers {
  readonly #setup: KnownMembersSetup
  readonly #others = new Map<string, Member>()
  /** The last change that is known; undefined before the answer to a join, and with a broker that does not number them. */
  #told: number | undefined
  /** A join is under way. */
  #joining = false
  /** This process stood still, and has not heard since who is a member. */
  #stale = false
  /** What is heard meanwhile. */
  #early: MemberNews[] = []
  #questions = 0
  /** Members that the present broker did not name, and when they are looked for. */
  #missing = new Set<Member>()
  #lookTimer: Timer | undefined
  /** Something was not heard: all are asked for, or soon again. */
  #reading = false
  #readTimer: Timer | undefined
  #ended = false

  constructor(setup: KnownMembersSetup) {
    this.#setup = setup
  }

  /** This peer first. */
  members(): readonly Member[] {
    return [this.#setup.self(), ...this.#others.values()]
  }

  member(identity: string): Member | undefined {
    const self = this.#setup.self()
    return identity === self.identity ? self : this.#others.get(identity)
  }

  /** Names the present question: an answer to one from before, of another broker or of before a standstill, says nothing of the members now. */
  get question(): number {
    return this.#questions
  }

  /** A broker is about to be asked to take this peer in: from its answer on its numbers count. */
  joining(): void {
    this.#questions++
    this.#joining = true
    this.#stale = false
    this.#told = undefined
    this.#early = []
  }

  /** What is heard from now on may be old: all are asked for. The answer to a join that is under way may be, too. */
  stoodStill(): void {
    this.#questions++
    this.#stale = true
    if (!this.#joining) this.unheard()
  }

  /** Its answer. Members that are missing may be on their way to this broker, as this peer was a moment ago: they have a lease for it. */
  joined(members: readonly Member[], told: number | undefined): void {
    this.#joining = false
    this.#learnAll(members)
    this.#told = told
    if (this.#stale) this.unheard()
    else this.#hearEarly(members)
  }

  /** All, as answered to `question`. */
  listed(members: readonly Member[], told: number | undefined, question: number): void {
    if (this.#joining || question !== this.#questions) return
    // Older than what was heard since.
    if (!this.#stale && told !== undefined && this.#told !== undefined && told < this.#told) return
    this.#stale = false
    this.#learnAll(members)
    this.#told = told
    this.#hearEarly(members)
  }

  #hearEarly(members: readonly Member[]): void {
    const listed = new Set(members.map(({ identity }) => identity))
    for (const news of this.#early.splice(0)) {
      // Who went, and has not come back: nobody needs to look for him.
      if (news.op === 'memberDown' && !listed.has(news.run.identity)) this.#forget(news)
      this.hear(news)
    }
  }

  /** Somebody was named in an answer. A broker that numbers its news has told of him before, or that he is gone. */
  met(member: Member): void {
    if (this.#told === undefined && this.#others.get(member.identity)?.incarnation !== member.incarnation) this.#learn(member)
  }

  hear(news: MemberNews): void {
    const { told } = news
    if (told !== undefined) {
      if (this.#joining || this.#stale) {
        if (this.#early.push(news) > earlyMax) this.#early.shift()
        return
      }
      const before = this.#told ?? told - 1
      if (told <= before) return
      this.#told = told
      if (told > before + 1) this.unheard()
    }
    if (news.op === 'memberDown') this.#forget(news)
    else this.#learn(news.member)
  }

  /** Something was told that was not heard. */
  unheard(): void {
    if (!this.#reading && !this.#ended) void this.#readAgain()
  }

  async #readAgain(): Promise<void> {
    const { env, options, readAll, trouble } = this.#setup
    this.#reading = true
    try {
      do await readAll()
      while (this.#stale && !this.#joining && !this.#ended)
      this.#reading = false
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      trouble(error)
      if (!this.#ended) this.#readTimer = env.timers.after(options.renewEveryMs, () => void this.#readAgain())
    }
  }

  #learnAll(members: readonly Member[]): void {
    const { env, options } = this.#setup
    const now = new Map(members.map(member => [member.identity, member]))
    const missing: Member[] = []
    for (const [identity, member] of this.#others) {
      const found = now.get(identity)
      if (!found) missing.push(member)
      else if (found.incarnation !== member.incarnation) this.#forget({ run: member, why: 'replaced' })
    }
    for (const member of members) this.#learn(member)
    if (missing.length === 0) return
    this.#lookTimer?.cancel()
    this.#missing = new Set([...this.#missing, ...missing])
    this.#lookTimer = env.timers.after(options.leaseMs, () => void this.#lookForMissing())
  }

  async #lookForMissing(): Promise<void> {
    const missing = this.#missing
    this.#missing = new Set()
    for (const member of missing) {
      const { identity } = member
      try {
        // Heard of since: it is another object.
        if (this.#ended || this.#others.get(identity) !== member) continue
        if ((await this.#setup.lookUp(identity)) || this.#others.get(identity) !== member) continue
        this.#forget({ run: member, why: 'left' })
      } catch (error) {
        if (!(error instanceof HomingError)) throw error
        this.#setup.trouble(error) // without a broker nobody is judged; the next one sends its list
      }
    }
  }

  #learn(member: Member): void {
    const { handler, self } = this.#setup
    const { identity } = member
    if (identity === self().identity) return
    const before = this.#others.get(identity)
    if (before && before.incarnation !== member.incarnation) this.#forget({ run: before, why: 'replaced' })
    this.#others.set(identity, member)
    if (before?.incarnation === member.incarnation) handler.memberChanged(member)
    else handler.memberUp(member)
  }

  #forget({ run: { identity, incarnation }, why }: Pick<MemberNews & { op: 'memberDown' }, 'run' | 'why'>): void {
    if (this.#others.get(identity)?.incarnation !== incarnation) return
    this.#others.delete(identity)
    this.#setup.handler.memberDown({ identity, incarnation }, why)
  }

  end(): void {
    this.#ended = true
    this.#lookTimer?.cancel()
    this.#readTimer?.cancel()
  }
}
