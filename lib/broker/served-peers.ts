/** The peers that are linked to a broker: it keeps their leases for them, as long as anything of them is linked. */
import type { Env, Timer } from '../env/env.ts'
import { Standstill } from '../env/standstill.ts'
import { HomingError, homingError } from '../errors.ts'
import type { CloseReason, Link } from '../link/link.ts'
import type { Departure, Member, Probe, Run } from '../sessions/directory.ts'
import { Joining } from '../sessions/joining.ts'
import type { SessionOptions } from '../sessions/options.ts'
import type { PeerRecords, Renewal } from '../sessions/peer-records.ts'
import type { Note } from '../sessions/records.ts'
import type { SessionStore, Stale } from '../sessions/session-store.ts'
import type { News } from './directory-protocol.ts'

export interface ServedPeersSetup {
  readonly env: Env
  readonly records: PeerRecords
  readonly sessions: SessionStore
  readonly options: Readonly<SessionOptions>
  /** The broker's own identity: what the records of its peers name as the way to them. */
  readonly identity: string
  /** Asks an incumbent, wherever it is. Does not reject. */
  readonly probe: (incumbent: Member) => Promise<Probe>
  tell(run: Run, news: News): void
  joined(run: Run): void
  gone(run: Run, why: Departure): void
  trouble(error: HomingError): void
}

/** How long a run has for a sign of life, ms: within the time of a handshake. */
const askMs = 1_000
/** Within that nobody changes its broker and has connected and lost addresses there, ms. */
const stoodMsMax = 200

/** What a run asks between one joining here and the next. */
export interface Stay {
  /**
   * What it asked before may be done: nothing stood still since the run was last confirmed, it is linked, and not silent. Who is not has died, or
   * asks again as soon as it hears that nothing was done; and what it asked may have waited for the datastore for long. Nor has it joined anew: it
   * may have been elsewhere meanwhile.
   */
  isConfirmed(): boolean
  /** It said goodbye here: it holds nothing any more, anywhere. */
  hasLeft(): boolean
}

/** A peer that has joined here. */
interface Served {
  readonly run: Run
  member: Member
  /** The highest that was written for it here. */
  beat: number
  /** How often the datastore may have lost something by when the last renewal that succeeded began. */
  losses: number
  /** Links of it that are open: its main one, its pulse. */
  readonly links: Set<Link>
  /** When the last of them ended; undefined while one is open. */
  silentSinceMs: number | undefined
  /** It was the other end that closed it: its process has ended, or lets go. */
  hungUp: boolean
  /** It said goodbye: that its record is missing is as it should be. */
  leaving: boolean
  /** Its record is being put back, or taken back from a former run. */
  restoring: Promise<void> | undefined
  /** How often this broker had stood still when the record was last known to name it. */
  standstills: number
  /** It is being asked for that again. */
  confirming: Promise<void> | undefined
}

export class ServedPeers {
  readonly #setup: ServedPeersSetup
  readonly #served = new Map<string, Served>()
  /** Open links of runs, joined or not, by incarnation. */
  readonly #links = new Map<string, Set<Link>>()
  /** Joins under way, by incarnation. */
  readonly #joining = new Map<string, Joining>()
  #timer: Timer | undefined
  readonly #standstill: Standstill
  readonly #looking: Timer
  /** How often this broker has stood still by now. */
  #standstills = 0
  #renewing: Promise<void> | undefined
  /** How often the datastore may have lost something. */
  #losses = 0
  #ended = false

  constructor(setup: ServedPeersSetup) {
    this.#setup = setup
    this.#timer = setup.env.timers.every(setup.options.renewEveryMs, () => void this.#renew())
    this.#standstill = new Standstill(setup.env.clock)
    this.#looking = setup.env.timers.every(stoodMsMax / 2, () => void this.#countStandstills())
  }

  get size(): number {
    return this.#served.size
  }

  runs(): Run[] {
    return [...this.#served.values()].map(({ run }) => run)
  }

  serves(run: Run): boolean {
    return this.#served.get(run.identity)?.run.incarnation === run.incarnation
  }

  /** Asks a run over its links: it may be gone without their having noticed. `refused`: it was here, and hung up. */
  async ask(run: Run): Promise<Probe> {
    const links = [...(this.#links.get(run.incarnation) ?? [])]
    const heard = await Promise.all(links.map(link => link.answers(askMs)))
    if (heard.includes(true)) return 'answers'
    // Links that do not answer would go on renewing its lease for some seconds, and keep a successor out.
    for (const link of links) link.close('stale', new HomingError('UNREACHABLE', `no answer within ${askMs} ms`))
    const served = this.#served.get(run.identity)
    return served?.run.incarnation === run.incarnation && served.links.size === 0 && served.hungUp ? 'refused' : 'silent'
  }

  linkUp(link: Link): void {
    const { identity, incarnation } = link.remote
    let links = this.#links.get(incarnation)
    if (!links) this.#links.set(incarnation, (links = new Set()))
    links.add(link)
    const served = this.#served.get(identity)
    if (served?.run.incarnation !== incarnation) return
    served.links.add(link)
    served.silentSinceMs = undefined
  }

  linkDown(link: Link, reason: CloseReason): void {
    const { identity, incarnation } = link.remote
    const links = this.#links.get(incarnation)
    links?.delete(link)
    if (links?.size === 0) {
      this.#links.delete(incarnation)
      this.#joining.get(incarnation)?.stop()
    }
    const served = this.#served.get(identity)
    if (served?.run.incarnation !== incarnation || !served.links.delete(link)) return
    if (served.links.size > 0) return
    served.silentSinceMs = this.#setup.env.clock.monotonicMs()
    served.hungUp = reason === 'remote' || reason === 'leaving'
  }

  /**
   * Writes the peer's record, so that it is a member, reached through this broker; resolves to what it says. Rejects with `IDENTITY_IN_USE`, `DATASTORE`.
   * A former run of the identity that is dead on this machine, or silent for a lease, is taken over from.
   */
  async join(run: Run, given: Member): Promise<Member> {
    const { env, records, options, identity, probe } = this.#setup
    const standstills = this.#countStandstills()
    const losses = this.#losses
    const member = this.#described(run, given)
    const joining = new Joining({ env, records, options, probe, waiting: () => {} })
    // A run that is gone again must not go on writing: its beats would look like life.
    this.#joining.set(run.incarnation, joining)
    let beat: number
    try {
      if (!this.#links.has(run.incarnation)) joining.stop()
      beat = (await joining.join(member)).beat
    } finally {
      if (this.#joining.get(run.incarnation) === joining) this.#joining.delete(run.incarnation)
    }
    if (this.#ended) throw new HomingError('CLOSED', `the broker '${identity}' is closing`)
    const before = this.#served.get(run.identity)
    if (before && before.run.incarnation !== run.incarnation) this.#drop(before, 'replaced')
    const links = new Set(this.#links.get(run.incarnation))
    this.#served.set(run.identity, {
      run,
      member,
      beat,
      losses,
      links,
      silentSinceMs: links.size > 0 ? undefined : env.clock.monotonicMs(),
      hungUp: false,
      leaving: false,
      restoring: undefined,
      standstills,
      confirming: undefined,
    })
    if (before?.run.incarnation !== run.incarnation) this.#setup.joined(run)
    return member
  }

  #described(run: Run, given: Member): Member {
    return { ...given, ...run, endpoints: [], role: 'peer', via: this.#setup.identity }
  }

  /** Rewrites what a peer says of itself. */
  async update(run: Run, given: Member): Promise<void> {
    const served = this.#mustServe(run)
    served.member = this.#described(run, given)
    const losses = this.#losses
    const [renewal] = await this.#setup.records.renewMany([{ run, member: served.member }])
    this.#judge(served, renewal!, losses)
    if (renewal!.at === 'failed') throw renewal!.error
  }

  /** The peer says goodbye. */
  async leave(run: Run): Promise<void> {
    const served = this.serves(run) ? this.#served.get(run.identity) : undefined
    if (served) served.leaving = true
    try {
      await served?.restoring
      await this.#setup.records.remove(run)
    } catch (error) {
      if (served) served.leaving = false
      throw error
    }
    if (served && this.serves(run)) this.#drop(served, 'left')
  }

  #mustServe(run: Run): Served {
    const served = this.#served.get(run.identity)
    if (served?.run.incarnation !== run.incarnation) {
      throw new HomingError('FENCED', `'${run.identity}' has not joined here under the incarnation ${run.incarnation}`)
    }
    return served
  }

  /** Throws `FENCED` where the run has not joined here. */
  check(run: Run): void {
    this.#mustServe(run)
  }

  /**
   * The run may write. What it asked while this broker stood still, it may have asked again of another one, and lost again there, or it has
   * died since: its claims of then would displace newer ones. So it is asked whether it lives, and its record, which names the broker that
   * it is with. Rejects with `FENCED`, `UNREACHABLE`, `DATASTORE`.
   */
  confirm(run: Run): Promise<void> | undefined {
    const served = this.#mustServe(run)
    const standstills = this.#countStandstills()
    if (served.standstills === standstills) return undefined
    return (served.confirming ??= this.#confirm(served, standstills).finally(() => (served.confirming = undefined)))
  }

  /** The run's stay here, since it last joined. Throws `FENCED` where it has not joined here. */
  stay(run: Run): Stay {
    const served = this.#mustServe(run)
    return {
      isConfirmed: () => {
        if (this.#served.get(run.identity) !== served || ![...served.links].some(link => link.isHeard)) return false
        return served.standstills === this.#countStandstills()
      },
      hasLeft: () => served.leaving,
    }
  }

  async #confirm(served: Served, standstills: number): Promise<void> {
    const { records, identity } = this.#setup
    const { run } = served
    const heard = await Promise.all([...served.links].map(link => link.answers(askMs)))
    if (!heard.includes(true))
      throw new HomingError('UNREACHABLE', `'${run.identity}' does not answer since this broker stood still`)
    const member = (await records.get(run.identity))?.member
    if (member?.incarnation !== run.incarnation || member.via !== identity) {
      throw new HomingError('FENCED', `'${run.identity}' has gone to another broker while this one stood still`)
    }
    this.#mustServe(run)
    served.standstills = standstills
  }

  #countStandstills(): number {
    if (this.#standstill.look() > stoodMsMax) this.#standstills++
    return this.#standstills
  }

  #drop(served: Served, why: Departure): void {
    if (this.#served.get(served.run.identity) === served) this.#served.delete(served.run.identity)
    this.#setup.gone(served.run, why)
  }

  // Leases

  #renew(): Promise<void> {
    this.#renewing ??= this.#renewAll().finally(() => {
      this.#renewing = undefined
    })
    return this.#renewing
  }

  async #renewAll(): Promise<void> {
    const { env, records, options, trouble } = this.#setup
    const nowMs = env.clock.monotonicMs()
    for (const served of this.#served.values()) {
      // Its lease has run out by now, or is about to: whoever comes back joins again.
      if (served.silentSinceMs !== undefined && nowMs - served.silentSinceMs > options.leaseMs) this.#drop(served, 'lapsed')
    }
    const living = [...this.#served.values()].filter(served => served.silentSinceMs === undefined)
    const losses = this.#losses
    try {
      const renewals = await records.renewMany(living.map(({ run }) => ({ run })))
      for (const [at, renewal] of renewals.entries()) if (!this.#ended) this.#judge(living[at]!, renewal, losses)
    } catch (error) {
      if (!this.#ended) trouble(homingError(error, 'DATASTORE', 'the leases of the linked peers could not be renewed'))
    }
  }

  #judge(served: Served, renewal: Renewal, losses: number): void {
    const { identity, trouble } = this.#setup
    if (!this.serves(served.run)) return
    if (renewal.at === 'failed') return trouble(renewal.error)
    if (renewal.at === 'missing') return this.#restore(served)
    if (renewal.at === 'fenced') {
      // Whoever takes an identity over writes a beat above: the datastore went back to a former run. Where it has just lost something, perhaps
      // to one whose record had been removed before this one's, which began at 1.
      const asItWas = renewal.beat < served.beat || served.losses < this.#losses
      return asItWas ? this.#takeBack(served, renewal.by) : this.#fenced(served, renewal.by)
    }
    served.beat = renewal.beat
    served.losses = Math.max(served.losses, losses)
    if (renewal.member.via !== identity) return this.#isElsewhere(served)
    if (renewal.noted) void this.#readNotes(served)
  }

  /**
   * Its record names another broker. It has gone there, and that one keeps its lease now; or it has come back from there before its
   * joining there was written: then it is linked here, and the record is put right.
   */
  #isElsewhere(served: Served): void {
    const linked = [...served.links].some(link => link.remote.role === 'peer')
    if (!linked) return this.#drop(served, 'left')
    this.update(served.run, served.member).catch((error: unknown) =>
      this.#setup.trouble(homingError(error, 'DATASTORE', `the record of '${served.run.identity}' could not be put right`)),
    )
  }

  /** The datastore has forgotten the record, or somebody thought the peer gone: it is put back, and what it holds is checked. */
  #restore(served: Served): void {
    if (served.leaving) return
    served.restoring ??= this.#putBack(served).finally(() => (served.restoring = undefined))
  }

  async #putBack(served: Served): Promise<void> {
    try {
      await this.#setup.records.put({ member: served.member, beat: ++served.beat }, null)
      this.#setup.tell(served.run, { op: 'revalidate' })
    } catch (error) {
      this.#setup.trouble(homingError(error, 'DATASTORE', `the record of '${served.run.identity}' could not be put back`))
    }
  }

  #fenced(served: Served, by: Run): void {
    this.#setup.tell(served.run, { op: 'fenced', by })
    this.#drop(served, 'replaced')
  }

  /** Who stays is found out as when it joined. */
  #takeBack(served: Served, by: Run): void {
    if (served.leaving || served.links.size === 0) return
    served.restoring ??= this.#joinAgain(served, by).finally(() => (served.restoring = undefined))
  }

  async #joinAgain(served: Served, by: Run): Promise<void> {
    const { tell, trouble } = this.#setup
    const { run } = served
    try {
      await this.join(run, served.member)
      tell(run, { op: 'revalidate' })
    } catch (error) {
      if (!this.serves(run)) return
      if (error instanceof HomingError && error.code === 'IDENTITY_IN_USE')
        return this.#fenced(this.#served.get(run.identity)!, by)
      trouble(homingError(error, 'DATASTORE', `the record of '${run.identity}' could not be taken back`))
    }
  }

  /** The datastore may have lost some of what was written: all is looked at, at once. */
  lost(): void {
    this.#losses++
    this.recheck()
  }

  /** Leases are renewed at once, and peers check what they hold. */
  recheck(): void {
    if (this.#ended) return
    void this.#renew()
    for (const { run } of this.#served.values()) this.#setup.tell(run, { op: 'revalidate' })
  }

  async #readNotes({ run }: Served): Promise<void> {
    const { sessions, tell, trouble } = this.#setup
    try {
      const stored = await sessions.readNotes(run.identity)
      if (!stored) return
      if (stored.overflow) tell(run, { op: 'revalidate' })
      await this.#act(
        run,
        stored.notes.filter(({ incarnation }) => incarnation === run.incarnation),
      )
      await sessions.dropNotes(run.identity, stored)
    } catch (error) {
      trouble(homingError(error, 'DATASTORE', `the notes for '${run.identity}' could not be read`))
    }
  }

  /**
   * As `HeldAudit` does for a peer with a datastore of its own: a note is a hint, and the session's own record says who holds it. A missing one
   * means that the newer owner has come and gone, or, where that claim was withdrawn, that the address is the peer's still.
   */
  async #act(run: Run, notes: readonly Note[]): Promise<void> {
    const { sessions, tell } = this.#setup
    let orphaned = false
    const found = await sessions.readMany(notes.map(({ address }) => address))
    for (const [at, { address, claim, by, withdrawn }] of notes.entries()) {
      const owner = found[at]?.owner
      if (owner?.incarnation === run.incarnation) continue
      if (!owner && withdrawn) orphaned = true
      else tell(run, { op: 'displaced', address, claim, by: owner ?? by })
    }
    if (orphaned) tell(run, { op: 'revalidate' })
  }

  /**
   * The last broker of a cluster goes, and its peers cannot be reached any more: their records are removed, and the sessions of those, as
   * far as there is time. Who lives puts back what it holds as soon as it finds a broker again. Rejects with `DATASTORE`.
   */
  async forget(untilMs: number): Promise<void> {
    const { env, records, sessions, identity } = this.#setup
    const entries = await records.getMany(this.runs().map(run => run.identity))
    const gone = new Set<string>()
    for (const { run } of this.#served.values()) {
      const entry = entries.get(run.identity)
      if (!entry || entry === 'unreadable' || entry.member.via !== identity || !this.serves(entry.member)) continue
      if (await records.removeIf(run, entry.version)) gone.add(run.incarnation)
    }
    const stale: Stale[] = []
    for await (const session of sessions.list()) {
      if (gone.has(session.owner.incarnation)) stale.push(session)
      if (env.clock.monotonicMs() > untilMs) break
    }
    await sessions.removeIf(stale)
  }

  async end(): Promise<void> {
    this.#ended = true
    this.#timer?.cancel()
    this.#looking.cancel()
    await this.#renewing
  }
}
