/** The clients of a peer: their addresses are claimed, given back, and given up to whoever takes them. */
import type { EventEmitter } from 'node:events'
import type { Access } from '../access/access.ts'
import { Client, type ClientEnd, type ClientHandlers } from '../client.ts'
import type { Env } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { PeerEvents } from '../events.ts'
import type { Settings } from '../options.ts'
import type { Inbox } from '../router/inbox.ts'
import type { Router } from '../router/router.ts'
import { settledBy } from '../sessions/deadline.ts'
import type { Claimed, Directory, Held, Owner, Run } from '../sessions/directory.ts'
import { Connecting, type Asked } from './connecting.ts'
import { Departures } from './departures.ts'
import { HandOver, type Former, type GivenUp } from './hand-over.ts'

/** What a disconnect found: our record is gone; another peer holds the address; nobody held it. */
export type Disconnected = { at: 'released' } | { at: 'elsewhere'; owner: Owner } | { at: 'absent' }

/** What the clients need of their peer. */
export interface ClientsSetup {
  readonly env: Env
  readonly settings: Settings
  readonly self: Run
  readonly router: Router
  readonly directory: Directory
  /** Whether a run is certainly dead, whatever its lease says. */
  isGone(run: Run): Promise<boolean>
  /** Of the peer: `displaced`, `clientRefused`, `moving` and `handOverIncomplete` are told here. */
  readonly events: EventEmitter<PeerEvents>
  /** A handler threw. */
  handlerFailed(where: string, error: unknown): void
  /** Waits for work that may fail: the lease takes care of what it leaves behind. Never rejects. */
  quietly(what: string, work: PromiseLike<unknown>): Promise<void>
}

/** How long the end waits for the claims to be released, ms. */
const releaseMs = 1_000
/** More time for those with many clients, ms a claim: engines remove tens of thousands a second. */
const releaseMsPerClaim = 0.1

export class Clients {
  readonly #setup: ClientsSetup
  readonly #env: Env
  readonly #access: Access
  readonly #router: Router
  readonly #directory: Directory
  readonly #handOver: HandOver
  readonly #connecting: Connecting
  readonly #departures: Departures
  #draining = false
  #closed: HomingError | undefined

  constructor(setup: ClientsSetup) {
    const { env, settings, router, directory, isGone, handlerFailed, quietly } = setup
    const { access, logger } = settings
    this.#setup = setup
    this.#env = env
    this.#access = access
    this.#router = router
    this.#directory = directory
    const { handOverMs } = settings.router
    const { noteAfterMs } = settings.sessions
    this.#handOver = new HandOver({
      env,
      waitMs: handOverMs,
      noteAfterMs,
      router,
      directory,
      isGone,
      access,
      trouble: error => logger?.warn({ error }, 'a former owner could not be told'),
    })
    this.#handOver.serve(
      (address, claim, by) => this.#giveUp(address, claim, by),
      claim => this.#connecting.answerTo(claim),
      (address, claim) => this.#stillOurs(address, claim),
      (held, missing) => this.#leftBehind(held, missing),
    )
    this.#connecting = new Connecting({
      env,
      router,
      directory,
      checkAllowed: address => this.#checkAllowed(address),
      connected: (client, inbox, claimed, asked) => this.#connected(client, inbox, claimed, asked),
      disconnect: client => this.disconnect(client),
      handlerFailed,
      quietly,
    })
    this.#departures = new Departures(env, {
      present: () => this.size,
      cameNowhere: held => void this.#release([held], releaseMs),
    })
  }

  /** The client connected under the address. */
  at(address: string): Client | undefined {
    return clientOf(this.#router.reception.serving(address))
  }

  get size(): number {
    return this.#router.reception.size
  }

  *[Symbol.iterator](): Generator<Client, undefined> {
    for (const inbox of this.#router.reception.inboxes()) {
      const client = clientOf(inbox)
      if (client) yield client
    }
  }

  /** What this peer holds in the directory. */
  *held(): Iterable<Held> {
    for (const { address, claim } of this.#router.reception.inboxes()) yield { address, claim }
  }

  // Connecting

  /** Claims addresses, each given once, for new clients. All or none; in the order of `addresses`. Rejects with a `HomingError`. */
  connect(addresses: readonly string[], handlers: ClientHandlers, deadlineMs: number): Promise<Client[]> {
    if (this.#draining || this.#closed)
      return Promise.reject(new HomingError('CLOSED', 'this peer is draining or closing: connect the client elsewhere'))
    return this.#connecting.connect(addresses, handlers, deadlineMs)
  }

  #checkAllowed(address: string): void {
    const { identity } = this.#setup.self
    if (this.#access.may(identity, 'connect', address)) return
    throw new HomingError('REFUSED', `the allow-list does not let '${identity}' connect '${address}'`)
  }

  #connected(client: Client, inbox: Inbox, { previous, overtakenBy }: Claimed, asked: Asked): void {
    const { events, self } = this.#setup
    const { reception } = this.#router
    // Both may be: another peer took it from our former client, which has not heard of that yet.
    const elsewhere = previous?.incarnation === self.incarnation ? undefined : previous
    const newer = reception.serving(inbox.address)
    if (newer && newer.claim > inbox.claim) {
      this.#overtaken(client, inbox, this.#ownerOf(newer))
      // What the former owner left is older than what the newer client has taken: it is fetched, so that that one knows, and reported.
      if (elsewhere) this.#fill(inbox, undefined, elsewhere, asked)
      if (newer.state === 'open') this.#handOver.opened(newer)
      return
    }
    if (overtakenBy) {
      const former = newer && { inbox: newer, left: this.#giveUp(inbox.address, newer.claim, overtakenBy).left }
      this.#departures.cameElsewhere(inbox.address, inbox.claim)
      this.#overtaken(client, inbox, overtakenBy)
      // Who has it asks for what this claim left: what the clients before it had.
      if (former || elsewhere) this.#fill(inbox, former, elsewhere, asked)
      this.#handOver.keep(inbox, [], overtakenBy)
      return
    }
    const former = reception.claimed(inbox)
    this.#router.claimedHere(inbox.address)
    const left = former?.close(false)
    if (former) {
      clientOf(former)?.finish('displaced')
      events.emit('displaced', { address: client.address, by: this.#ownerOf(inbox) })
    }
    if (!former && !elsewhere) {
      inbox.claimed('open')
      this.#handOver.opened(inbox)
      return
    }
    inbox.claimed('held')
    this.#fill(inbox, former && { inbox: former, left: left! }, elsewhere, asked)
  }

  /**
   * A newer connect was answered before this one: here, because its deadline came first, and its claim was written over this one's; or
   * elsewhere, while the answer to this one was lost.
   */
  #overtaken(client: Client, inbox: Inbox, by: Owner): void {
    inbox.close(false)
    client.finish('displaced')
    this.#setup.events.emit('displaced', { address: client.address, by })
  }

  #fill(inbox: Inbox, former: Former | undefined, elsewhere: Owner | undefined, asked: Asked): void {
    const revalidate = (withinMs: number): Promise<void> | undefined => this.#revalidate(inbox, asked, withinMs)
    void this.#handOver.fillInbox({ inbox, by: this.#ownerOf(inbox), former, previous: elsewhere, revalidate }).then(missing => {
      if (missing === 0 || !elsewhere) return
      this.#setup.events.emit('handOverIncomplete', { address: inbox.address, from: elsewhere, missing })
    })
  }

  /**
   * A claim that was answered late, or was under way while this peer was unsure of what it holds, may have been overtaken since, by somebody
   * who has stopped waiting for what we are to hand over: what is handed over to us is older than what that one has given out. It waits from
   * its own claim on, whether we know of ours by then or not. Undefined: there was no time for that.
   */
  #revalidate({ address, claim }: Held, asked: Asked, withinMs: number): Promise<void> | undefined {
    const { self, settings } = this.#setup
    const nowMs = this.#env.clock.monotonicMs()
    if (nowMs - asked.atMs < settings.router.handOverMs / 4 && this.#router.doubts === asked.doubts) return undefined
    const late = (): HomingError => new HomingError('DATASTORE', `it is not known in time who holds '${address}'`)
    return settledBy(this.#env, nowMs + withinMs, this.#directory.find(address), late).then(
      located => {
        const by = located?.owner
        return by && by.incarnation !== self.incarnation ? this.displaced(address, claim, by) : undefined
      },
      (error: unknown) => settings.logger?.warn({ error }, 'a claim that may have been overtaken could not be looked at again'),
    )
  }

  #ownerOf({ claim }: Pick<Held, 'claim'>): Owner {
    const { identity, incarnation } = this.#setup.self
    return { identity, incarnation, claim }
  }

  // Disconnecting

  /** Gives an address back. Rejects with `DATASTORE`. */
  async disconnect(which: string | Client): Promise<Disconnected> {
    const address = typeof which === 'string' ? which : which.address
    const client = this.at(address)
    if (typeof which !== 'string' && client !== which) return this.#whoElse(address)
    const inbox = client?.inbox // not that of a newer connect which is being claimed: it stays
    if (!client || !inbox) return this.#whoElse(address)
    if (this.#draining) {
      // Its record stays until the end of the drain, marked as moving: senders wait for the next claim. Said before it ends: it may be the
      // last one, and the drain would be over.
      const waitedUntilMs = this.#departures.left({ address, claim: inbox.claim })
      this.#end(client, 'disconnected')
      this.#router.reception.moved(address, waitedUntilMs)
      return { at: 'released' }
    }
    this.#end(client, 'disconnected')
    const untilMs = this.#env.clock.monotonicMs() + this.#setup.settings.router.deadlineMs
    const held = { address, claim: inbox.claim }
    const [released] = await this.#directory.release([held], untilMs)
    if (released!.at === 'released') this.#handOver.released(held)
    return released!
  }

  async #whoElse(address: string): Promise<Disconnected> {
    const located = await this.#directory.find(address)
    return located ? { at: 'elsewhere', owner: located.owner } : { at: 'absent' }
  }

  #end(client: Client, end: ClientEnd): void {
    const { inbox } = client
    if (inbox) {
      this.#router.reception.remove(inbox)
      // Their askers are told at once; messages for a handler that had not begun with them end with the client.
      for (const message of inbox.close(true)) void message.serve?.(message)
    }
    client.finish(end)
    this.#departures.check()
  }

  #release(held: readonly Held[], withinMs: number): Promise<void> {
    return this.#setup.quietly('release', this.#directory.release(held, this.#env.clock.monotonicMs() + withinMs))
  }

  /** Ends the clients that the allow-list does not let be here any more; their claims are to be released. */
  endDisallowed(): Held[] {
    const held: Held[] = []
    for (const client of [...this]) {
      if (this.#access.may(this.#setup.self.identity, 'connect', client.address) || !client.inbox) continue
      held.push({ address: client.address, claim: client.inbox.claim })
      this.#refuse(client)
    }
    return held
  }

  /** Releases the claims of clients that have ended, in the background. */
  releaseLater(held: readonly Held[]): void {
    if (held.length > 0 && !this.#closed) void this.#release(held, this.#setup.settings.router.deadlineMs)
  }

  /** The directory does not let us hold this claim any more. */
  refused(address: string, claim: number): void {
    const client = this.at(address)
    if (client?.inbox?.claim === claim) this.#refuse(client)
  }

  #refuse(client: Client): void {
    const { settings, events } = this.#setup
    settings.logger?.warn({ address: client.address }, 'the allow-list lets this client be connected here no more')
    this.#end(client, 'refused')
    events.emit('clientRefused', { address: client.address })
  }

  // Taken by others

  /** Another peer has taken the address, or our record is gone, says the directory: perhaps before it answered the claim. */
  async displaced(address: string, claim: number, by: Owner | undefined): Promise<void> {
    const claiming = this.#connecting.answerTo(claim)
    if (claiming) await claiming
    const { left } = this.#giveUp(address, claim, by)
    if (by) this.#handOver.keep({ address, claim }, left, by)
    else this.#dropped({ address, claim }, left)
  }

  /** Another peer has taken the address: end our client and return what it had not taken. */
  #giveUp(address: string, claim: number, by: Owner | undefined): GivenUp {
    this.#departures.cameElsewhere(address, claim)
    const inbox = this.#router.reception.serving(address)
    const client = clientOf(inbox)
    if (!inbox || !client || inbox.claim !== claim) return { left: [], opened: false }
    this.#router.reception.remove(inbox)
    const opened = inbox.state === 'open'
    const left = inbox.close(false)
    client.finish('displaced')
    this.#setup.events.emit('displaced', { address, by })
    this.#departures.check()
    return { left, opened }
  }

  /** Whether the datastore names our claim after all; where it cannot be asked, whoever says otherwise is believed. */
  async #stillOurs(address: string, claim: number): Promise<boolean> {
    try {
      const owner = (await this.#directory.find(address))?.owner
      return owner?.incarnation === this.#setup.self.incarnation && owner.claim === claim
    } catch (error) {
      if (error instanceof HomingError) return false
      throw error
    }
  }

  /** Our record is gone, and nobody is known who could take what our client had. */
  #dropped(held: Held, left: ReturnType<Inbox['close']>): void {
    for (const message of left) void message.serve?.(message) // its asker hears that it is lost
    const missing = left.filter(({ serve }) => !serve).length
    if (missing > 0) this.#leftBehind(held, missing)
  }

  /** Our former client had accepted it, and nobody came for it, or is known to have got it. */
  #leftBehind({ address, claim }: Held, missing: number | undefined): void {
    this.#setup.events.emit('handOverIncomplete', { address, from: this.#ownerOf({ claim }), missing })
  }

  // The end

  /** Tells all clients to connect elsewhere. Resolves when they have, or at the deadline. Connects none from now on. */
  async drain(untilMs: number): Promise<void> {
    this.#draining = true
    try {
      await this.#directory.update({ state: 'draining' })
      await this.#directory.markMoving([...this.held()], untilMs)
    } catch (error) {
      // Without the mark senders read `absent` for a moment; draining goes on.
      this.#setup.settings.logger?.warn({ error }, 'drain: the sessions could not be marked as moving')
    }
    for (const { address } of this) this.#setup.events.emit('moving', { address })
    await this.#departures.all(untilMs)
  }

  /** Disconnects all, and connects none from now on. */
  async close(why: HomingError): Promise<void> {
    const held = [...this.held(), ...this.#departures.end()]
    this.#closed = why
    this.#connecting.end(why)
    for (const client of [...this]) this.#end(client, 'closed')
    if (held.length > 0) await this.#release(held, releaseMs + held.length * releaseMsPerClaim)
  }

  /** After the mesh: nobody can come any more for what displaced clients left. */
  endHandOver(): void {
    this.#handOver.close()
  }
}

/** All inboxes of a peer are of its clients. */
function clientOf(inbox: Inbox | undefined): Client | undefined {
  return inbox?.consumer instanceof Client ? inbox.consumer : undefined
}
