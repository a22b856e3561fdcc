/** Answers the questions of the peers that are linked to a broker. */
import type { Access } from '../access/access.ts'
import type { Env } from '../env/env.ts'
import type { Claimed, Directory, Held, Located, Owner, Run } from '../sessions/directory.ts'
import { sameMember } from '../sessions/records.ts'
import type { SessionStore } from '../sessions/session-store.ts'
import { HomingError } from '../errors.ts'
import type { RequestContext } from '../router/serving.ts'
import { readQuestion, type Answers, type Question } from './directory-protocol.ts'
import type { ServedPeers } from './served-peers.ts'

export interface DirectoryServerSetup {
  readonly env: Env
  /** The broker's own. */
  readonly directory: Directory
  readonly sessions: SessionStore
  readonly peers: ServedPeers
  /** Whose peers may connect which addresses. */
  readonly access: Access
  connected(run: Run, address: string): void
  disconnected(run: Run, address: string, owner: Owner | undefined): void
  /** Number of the last change of members that peers were told. */
  told(): number
}

/** Sessions in one answer to a listing. */
const pageMax = 1_000
/** Listings under way; the oldest is given up for a newer one. */
const listingsMax = 64

const writing: ReadonlySet<Question['op']> = new Set(['claim', 'release', 'reassert', 'moving', 'note', 'update'])

type Listing = AsyncIterator<{ address: string; owner: Owner; moving: boolean }>

export class DirectoryServer {
  readonly #setup: DirectoryServerSetup
  readonly #listings = new Map<number, Listing>()
  #lastListing = 0

  constructor(setup: DirectoryServerSetup) {
    this.#setup = setup
  }

  /** Answers one question of `from`. Rejects with a `HomingError` whose code the asker sees. */
  async answer(from: Run, body: unknown, { signal }: RequestContext): Promise<Answers[keyof Answers]> {
    const question = readQuestion(body)
    const { directory, peers } = this.#setup
    if (question.op === 'join') return this.#join(from, question)
    if (writing.has(question.op)) await peers.confirm(from)
    else peers.check(from)
    switch (question.op) {
      case 'claim':
        return this.#claim(from, question, signal)
      case 'release':
        return this.#release(from, question)
      case 'reassert':
        return this.#reassert(from, question)
      case 'moving':
        await this.#setup.sessions.markMoving(from, question.claims, this.#until(question))
        return null
      case 'find': {
        const located = await Promise.all(question.addresses.map(address => directory.find(address)))
        return { located: located.map(one => this.#rightful(one)) }
      }
      case 'wait':
        return { located: this.#rightful(await directory.waitFor(question.address, this.#until(question), signal)) }
      case 'sessions':
        return this.#sessions(question.cursor)
      case 'member':
        // Not what the record says: it outlives its run.
        await directory.lookUpMember(question.identity)
        return { member: directory.member(question.identity) ?? null }
      case 'members':
        await directory.readMembers()
        return this.#members()
      case 'note':
        await this.#note(from, question)
        return null
      case 'update':
        await peers.update(from, question.member)
        return null
      case 'leave':
        await peers.leave(from)
        return null
    }
  }

  #until({ ms }: { ms: number }): number {
    return this.#setup.env.clock.monotonicMs() + ms
  }

  /** Nobody is sent to who may not hold the address: not to one whose right was withdrawn and who stays, nor to whom another broker let in. */
  #rightful(located: Located | undefined): Located | null {
    return located && this.#setup.access.may(located.owner.identity, 'connect', located.address) ? located : null
  }

  #check(from: Run, claims: readonly Held[]): void {
    const refused = claims.find(({ address }) => !this.#setup.access.may(from.identity, 'connect', address))
    if (!refused) return
    throw new HomingError('REFUSED', `the broker's allow-list does not let '${from.identity}' connect '${refused.address}'`)
  }

  /** A note ends the client of whom it is for: only who took the address may leave it, and only to whom the datastore names no more. */
  async #note(from: Run, { to, address, by }: Question & { op: 'note' }): Promise<void> {
    const { directory, access } = this.#setup
    const own = by.identity === from.identity && by.incarnation === from.incarnation
    if (!own || !access.may(from.identity, 'connect', address))
      throw new HomingError('REFUSED', `'${from.identity}' may not say that '${by.identity}' has '${address}'`)
    const owner = (await directory.find(address))?.owner
    if (owner?.incarnation === to.incarnation && owner.claim === to.claim)
      throw new HomingError('REFUSED', `'${address}' is held by '${to.identity}'`)
    await directory.leaveNote(to, address, by)
  }

  async #join(from: Run, { member }: Question & { op: 'join' }): Promise<Answers['join']> {
    const { directory, peers } = this.#setup
    const joined = await peers.join(from, member)
    const known = directory.member(from.identity)
    // So that it is known here, and told to the others, at once; of a thousand who only link again nothing is new.
    if (!known || !sameMember(known, joined)) await directory.lookUpMember(from.identity)
    return this.#members()
  }

  #members(): Answers['members'] {
    const { directory, told } = this.#setup
    return { members: [...directory.members()], told: told() }
  }

  /**
   * A claim that its asker has given up is not written any more: while this broker stood still, that one's time has passed, not ours. It would go over
   * whoever holds the address, for a client that is not there. Nor is it removed where its asker may have been to another broker: that one may have
   * given him the very same claim. What he did not get he releases himself (`WithdrawnClaims`).
   */
  async #claim(from: Run, question: Question & { op: 'claim' }, signal: AbortSignal): Promise<Answers['claim']> {
    this.#check(from, question.claims)
    const { peers, sessions } = this.#setup
    const stay = peers.stay(from)
    const claimed = await sessions.claimMany(from, question.claims, this.#until(question), {
      isWanted: () => !signal.aborted && stay.isConfirmed(),
      mayRevoke: () => stay.isConfirmed() || stay.hasLeft(),
      again: question.again === true,
    })
    const previous = await this.#living(from, claimed)
    for (const { address, overtakenBy } of claimed) if (!overtakenBy) this.#setup.connected(from, address)
    const overtaken = claimed.flatMap(({ overtakenBy }, at) => (overtakenBy ? [{ at, owner: overtakenBy }] : []))
    return overtaken.length > 0 ? { previous, overtaken } : { previous }
  }

  /** The former owners, but those that are gone: they have nothing to hand over. */
  #living(from: Run, claimed: readonly Claimed[]): Promise<(Owner | null)[]> {
    const asked = new Map<string, Promise<boolean>>()
    const mayLive = (owner: Owner): Promise<boolean> => {
      const answer = asked.get(owner.incarnation) ?? this.#mayLive(from, owner)
      asked.set(owner.incarnation, answer)
      return answer
    }
    return Promise.all(claimed.map(async ({ previous }) => (previous && (await mayLive(previous)) ? previous : null)))
  }

  async #mayLive(from: Run, { identity, incarnation }: Run): Promise<boolean> {
    if (identity === from.identity) return incarnation === from.incarnation
    const { directory } = this.#setup
    try {
      let member = directory.member(identity)
      // Who is known may be its former run: that it has started again may not have been heard of yet.
      if (member?.incarnation !== incarnation) member = await directory.lookUpMember(identity)
      if (member?.incarnation !== incarnation) return false
      const { via } = member
      if (via === undefined || directory.member(via)) return true
      // Its broker has started just now; or has gone, and it has not come to another one: if it lives, it learns of its loss when it joins somewhere.
      await directory.lookUpMember(via)
      return directory.member(via) !== undefined
    } catch (error) {
      if (error instanceof HomingError && error.code === 'DATASTORE') return true // in doubt it is told
      throw error
    }
  }

  async #release(from: Run, question: Question & { op: 'release' }): Promise<Answers['release']> {
    const released = await this.#setup.sessions.releaseMany(from, question.claims, this.#until(question))
    if (question.withdrawn === true) return { released } // no client was connected by them: none is disconnected
    for (const [at, { address }] of question.claims.entries()) {
      const result = released[at]!
      this.#setup.disconnected(from, address, result.at === 'elsewhere' ? result.owner : undefined)
    }
    return { released }
  }

  async #reassert(from: Run, question: Question & { op: 'reassert' }): Promise<Answers['reassert']> {
    const { access, sessions } = this.#setup
    const places = [...question.claims.keys()]
    const refused = places.filter(at => !access.may(from.identity, 'connect', question.claims[at]!.address))
    const isRefused = new Set(refused)
    const allowed = refused.length === 0 ? places : places.filter(at => !isRefused.has(at))
    const held = (at: number): Held => question.claims[at]!
    const [owners, released] = await Promise.all([
      sessions.reassertMany(from, allowed.map(held), this.#until(question)),
      sessions.releaseMany(from, refused.map(held), this.#until(question)),
    ])
    const elsewhere: Answers['reassert']['elsewhere'] = []
    for (const [index, owner] of owners.entries()) if (owner) elsewhere.push({ at: allowed[index]!, owner })
    for (const [index, at] of refused.entries())
      if (released[index]!.at === 'released') this.#setup.disconnected(from, held(at).address, undefined)
    return refused.length === 0 ? { elsewhere } : { elsewhere, refused }
  }

  /** A listing goes on where the last answer ended; 0 begins one. */
  async #sessions(cursor: number): Promise<Answers['sessions']> {
    const listing = cursor === 0 ? this.#setup.directory.sessions()[Symbol.asyncIterator]() : this.#listings.get(cursor)
    if (!listing) throw new HomingError('REFUSED', 'this listing has ended or was given up: begin it again')
    this.#listings.delete(cursor)
    const sessions: Answers['sessions']['sessions'] = []
    while (sessions.length < pageMax) {
      const next = await listing.next()
      if (next.done) return { sessions, cursor: 0 }
      sessions.push(next.value)
    }
    const id = cursor === 0 ? ++this.#lastListing : cursor
    this.#listings.set(id, listing)
    if (this.#listings.size > listingsMax) await this.#giveUpOldest()
    return { sessions, cursor: id }
  }

  async #giveUpOldest(): Promise<void> {
    const [id, listing] = this.#listings.entries().next().value!
    this.#listings.delete(id)
    await listing.return?.()
  }
}
