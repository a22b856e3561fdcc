/** A server process in the cluster: the public face. */
import { EventEmitter } from 'node:events'
import type { AllowRule, Authorize, Action } from './access/rules.ts'
import { Client, type ClientEnd, type ClientHandlers, type ClientHost } from './client.ts'
import type { Env } from './env/env.ts'
import { HomingError, homingError } from './errors.ts'
import type { PeerEvents } from './events.ts'
import { HandOver } from './hand-over.ts'
import { Broadcasts, type BroadcastOptions, type BroadcastResult } from './broadcast.ts'
import type { Mesh, MeshHandler, PathFacts } from './mesh/mesh.ts'
import { checkName, type Logger, type Settings } from './options.ts'
import { Inbox } from './router/inbox.ts'
import type { Message } from './router/message.ts'
import type { Receipt } from './router/receipt.ts'
import { LibraryRefusal } from './router/remote-failure.ts'
import { bodyDefaults } from './wire/scan.ts'
import type { ProtocolHandlers } from './router/protocols.ts'
import { Router, type CallOptions, type RequestOptions, type SendOptions } from './router/router.ts'
import type { Directory, DirectoryHandler, Held, Located, Member, Owner, Run } from './sessions/directory.ts'

/** What a disconnect found: our record is gone; another peer holds the address; nobody held it. */
export type Disconnected = { at: 'released' } | { at: 'elsewhere'; owner: Owner } | { at: 'absent' }

/** Where an address is, as read from the session store just now. */
export interface Whereabouts {
  address: string
  identity: string
  incarnation: string
  claim: number
  /** It is a client of the peer that was asked. */
  here: boolean
  moving: boolean
}

/** How a message to an address would go now, and what stands in its way. */
export interface Explanation {
  address: string
  /** In one sentence, for people. */
  summary: string
  owner: Whereabouts | undefined
  path: PathFacts | undefined
  /** Sends of this peer to the address. */
  sends: { state: string; waiting: number; outstanding: number; lastFailure?: string }
  store: 'up' | 'down'
  lease: 'sure' | 'unsure'
}

/** A layer's door to the mesh: sends to an identity and receives from one. */
export interface Protocol {
  readonly name: string
  /** Answers what other peers say in this protocol; one answer a peer. Returns the function that ends it. */
  serve(handlers: ProtocolHandlers): () => void
  /** Resolves when the member has accepted it; in order with what else goes to that member. Rejects with a `HomingError`. */
  tell(identity: string, body: unknown, options?: CallOptions): Promise<void>
  /** Resolves to the member's answer. Rejects with a `HomingError`; `REMOTE` when its handler threw. */
  call(identity: string, body: unknown, options?: CallOptions): Promise<unknown>
  /** Live members, this peer included; `metadata[name]` is what each says of itself in this protocol. */
  members(): readonly Member[]
  /**
   * Whether the peer of this identity may do this here, by the allow-list; true where there is none. Ask with the identity that a handler
   * was given, at each message: a list may be replaced (`allowChanged`).
   */
  may(identity: string, action: Action, address: string): boolean
  /** What this peer says of itself in this protocol; a JSON value that every member sees. */
  announce(metadata: unknown): Promise<void>
}

export interface ConnectOptions {
  /** How long the datastore is waited for, ms. */
  deadlineMs?: number
}

export interface DrainOptions {
  /** How long clients have to connect elsewhere, ms; default 30,000. */
  deadlineMs?: number
}

/** Counts of a peer since its start, and what waits now. */
export interface Stats {
  clients: number
  sent: number
  received: number
  refused: number
  byStatus: Partial<Record<Receipt['status'], number>>
  waiting: { sends: number; bytes: number; requests: number }
}

/** Claims of one call that are written at once: enough to fill a batch, few enough that a call with 100,000 stays small in memory. */
const connectsAtOnce = 500
/** How long the answers to what is under way are waited for at the end, ms. */
const goodbyeMs = 1_000
/** More time for those with many clients, ms a claim: engines remove tens of thousands a second. */
const goodbyeMsPerClaim = 0.1
/** How long senders wait for an address that left a draining peer, ms. */
const movedMs = 5_000

/** What makes a peer a member: a directory and a mesh, direct or through a broker. */
export interface Membership {
  readonly directory: Directory
  readonly mesh: Mesh
  /** Whether a run is certainly dead, whatever its lease says: nobody listens any more where it did, on this very machine. */
  isGone(run: Run): Promise<boolean>
  /** Undoes all that directory and mesh do not undo themselves. */
  dispose(): PromiseLike<void>
}

/** Makes a membership under an identity, and connects the router to it; the handlers hear of everything. Rejects with a `HomingError`. */
export type Join = (run: Run, directoryHandler: DirectoryHandler, meshHandler: MeshHandler, router: Router) => Promise<Membership>

export class Peer extends EventEmitter<PeerEvents> implements AsyncDisposable {
  readonly #env: Env
  readonly #settings: Settings
  readonly #logger: Logger | undefined
  readonly #join: Join
  readonly #incarnation: string
  #identity: string | undefined
  #membership: Membership | undefined
  #router: Router | undefined
  #handOver: HandOver | undefined
  #broadcasts: Broadcasts | undefined
  #lastClaim = 0
  /** Claims that are being written, in rows of consecutive counters; each row resolves with its answer, good or bad. */
  readonly #underWay = new Set<{ from: number; to: number; answer: Promise<void> }>()
  /** Clients that left during a drain and have not been seen elsewhere, and their claims. Their records stay, marked as moving. */
  readonly #moved = new Map<string, number>()
  #storeUp = true
  #state: 'new' | 'joining' | 'up' | 'draining' | 'closing' | 'closed' = 'new'
  #closing: Promise<void> | undefined
  #drained: (() => void) | undefined
  /** @internal Use `createPeer`. */
  constructor(env: Env, settings: Settings, join: Join) {
    super()
    this.#env = env
    this.#settings = settings
    this.#logger = settings.logger
    this.#join = join
    this.#incarnation = Buffer.from(env.random.bytes(8)).toString('hex')
  }

  /** Throws `BAD_OPTION` before `registerIdentity`. */
  get identity(): string {
    if (this.#identity === undefined) throw noIdentity()
    return this.#identity
  }

  /** Names this run of the peer. */
  get incarnation(): string {
    return this.#incarnation
  }

  /** Where others reach this peer; empty behind a broker. */
  get endpoints(): readonly string[] {
    return this.#membership?.mesh.endpoints ?? []
  }

  /**
   * Takes an identity and becomes a member of the cluster; once a peer. Rejects with `BAD_OPTION` when it has one, `IDENTITY_IN_USE` when
   * another live peer has it, `DATASTORE` when the datastore stays out of reach for `startTimeoutMs`, `UNREACHABLE` when no broker is.
   */
  async registerIdentity(identity: string): Promise<void> {
    checkName('identity', identity)
    if (this.#state === 'closing' || this.#state === 'closed') throw closedError()
    if (this.#identity !== undefined) {
      throw new HomingError('BAD_OPTION', `this peer is registered as '${this.#identity}' already; an identity is taken once`)
    }
    this.#identity = identity
    this.#state = 'joining'
    const run = { identity, incarnation: this.#incarnation }
    const router = this.#makeRouter(run)
    try {
      this.#membership = await this.#join(run, this.#directoryHandler(), this.#meshHandler(router), router)
    } catch (error) {
      const why = homingError(error, 'UNREACHABLE', 'could not join the cluster')
      router.close(why)
      this.#identity = undefined
      this.#state = 'new'
      throw why
    }
    this.#router = router
    const { handOverMs } = this.#settings.router
    const { noteAfterMs } = this.#settings.sessions
    const { directory, isGone } = this.#membership
    this.#handOver = new HandOver(this.#env, handOverMs, noteAfterMs, router, directory, isGone, this.#settings.access, error =>
      this.#logger?.warn({ error }, 'a former owner could not be told'),
    )
    this.#handOver.serve(
      (address, claim, by) => this.#giveUp(address, claim, by),
      claim => this.#answerTo(claim),
      (address, claim) => this.#stillOurs(address, claim),
      (held, missing) => this.#leftBehind(held, missing),
    )
    this.#broadcasts = new Broadcasts(run, router, this.#membership.directory, this.#settings.access)
    this.#state = 'up'
    this.emit('registered', identity)
  }

  #makeRouter(run: Run): Router {
    return new Router({
      env: this.#env,
      self: run,
      options: this.#settings.router,
      limits: { ...bodyDefaults, bodyBytesMax: this.#settings.link.bodyBytesMax },
      access: this.#settings.access,
      answers: address => this.client(address)?.answers ?? false,
      answer: (message, context) => {
        const client = this.client(message.to)
        if (!client) throw new LibraryRefusal(new HomingError('LOST', `'${message.to}' went away before it answered`))
        return client.answer(message, context)
      },
      trouble: error => this.#logger?.warn({ error }, 'a stale session could not be removed'),
      handlerFailed: (where, error) => this.#handlerFailed(where, error),
    })
  }

  #up(): { router: Router; directory: Directory; mesh: Mesh } {
    if (!this.#router || !this.#membership) {
      if (this.#state === 'closed' || this.#state === 'closing') throw closedError()
      throw noIdentity()
    }
    return { router: this.#router, directory: this.#membership.directory, mesh: this.#membership.mesh }
  }

  // Clients

  /**
   * Claims the address for a client of this peer, whoever held it: the newest connect wins. Resolves when the claim is written; what was
   * waiting at a former owner is handed over to this client. Without a `message` handler, iterate the client.
   * Rejects with `DATASTORE` (it stayed out of reach until the deadline), `CLOSED`, `FENCED`, `REFUSED` (an allow-list).
   */
  async connectClient(address: string, handlers: ClientHandlers | ((message: Message) => unknown) = {}): Promise<Client> {
    const [client] = await this.connectClients([address], handlers)
    return client!
  }

  /**
   * Connects many clients in one call, in batches of writes. All or none: after a failure those that were connected are disconnected.
   * In the order of `addresses`. Rejects as `connectClient` does.
   */
  async connectClients(
    addresses: readonly string[],
    handlers: ClientHandlers | ((message: Message) => unknown) = {},
    options: ConnectOptions = {},
  ): Promise<Client[]> {
    for (const address of addresses) checkName('address', address)
    if (hasTwins(addresses)) throw new HomingError('BAD_OPTION', 'an address is given twice in one call')
    const { router, directory } = this.#up()
    if (this.#state !== 'up') throw new HomingError('CLOSED', 'this peer is draining or closing: connect the client elsewhere')
    for (const address of addresses) this.#checkConnect(address)
    const untilMs = this.#env.clock.monotonicMs() + (options.deadlineMs ?? this.#settings.router.deadlineMs)
    const host: ClientHost = {
      handlers: typeof handlers === 'function' ? { message: handlers } : handlers,
      handlerFailed: (where, error) => this.#handlerFailed(where, error),
      disconnect: client => this.disconnectClient(client),
    }
    const clients: Client[] = []
    try {
      for (let from = 0; from < addresses.length; from += connectsAtOnce) {
        await this.#connectSome(addresses.slice(from, from + connectsAtOnce), host, untilMs, clients, router, directory)
      }
    } catch (error) {
      await this.#quietly('undo', Promise.all(clients.map(client => this.disconnectClient(client))))
      throw homingError(error, 'DATASTORE', 'the claim could not be written')
    }
    return clients
  }

  #checkConnect(address: string): void {
    if (this.#settings.access.may(this.identity, 'connect', address)) return
    throw new HomingError('REFUSED', `the allow-list does not let '${this.identity}' connect '${address}'`)
  }

  /** The list may have been replaced while the claims were written. */
  #checkStillAllowed(inboxes: readonly Inbox[], directory: Directory, untilMs: number): void {
    try {
      for (const { address } of inboxes) this.#checkConnect(address)
    } catch (error) {
      void this.#quietly('release', directory.release(inboxes, untilMs))
      throw error
    }
  }

  async #connectSome(
    addresses: readonly string[],
    host: ClientHost,
    untilMs: number,
    done: Client[],
    router: Router,
    directory: Directory,
  ): Promise<void> {
    const clients = addresses.map(address => new Client(address, host))
    const inboxes = clients.map(client => this.#inboxFor(client, router))
    router.reception.claiming(inboxes)
    let answered!: () => void
    const answer = new Promise<void>(resolve => (answered = resolve))
    const underWay = { from: inboxes[0]!.claim, to: inboxes.at(-1)!.claim, answer }
    this.#underWay.add(underWay)
    try {
      const claimed = await directory.claim(inboxes, untilMs)
      if (this.#closing) throw closedError()
      this.#checkStillAllowed(inboxes, directory, untilMs)
      for (const [at, { previous }] of claimed.entries()) {
        this.#connected(clients[at]!, inboxes[at]!, previous, router)
        done.push(clients[at]!)
      }
    } catch (error) {
      for (const inbox of inboxes) inbox.close(false)
      throw error
    } finally {
      router.reception.claimsEnded(inboxes)
      this.#underWay.delete(underWay)
      answered()
    }
  }

  /** Resolves when a claim that is being written has its answer; undefined for one that is not. */
  #answerTo(claim: number): Promise<void> | undefined {
    for (const { from, to, answer } of this.#underWay) if (from <= claim && claim <= to) return answer
    return undefined
  }

  #inboxFor(client: Client, router: Router): Inbox {
    const inbox = new Inbox(++this.#lastClaim, router.inboxHost, client)
    client.serve(inbox)
    return inbox
  }

  #connected(client: Client, inbox: Inbox, previous: Owner | undefined, router: Router): void {
    const former = router.reception.claimed(inbox)
    router.claimedHere(inbox.address)
    const left = former?.close(false)
    if (former) {
      clientOf(former)?.finish('displaced')
      this.emit('displaced', { address: client.address, by: this.#ownerOf(inbox) })
    }
    // Both may be: another peer took it from our former client, which has not heard of that yet.
    const elsewhere = previous?.incarnation === this.#incarnation ? undefined : previous
    if (!former && !elsewhere) {
      inbox.claimed('open')
      return
    }
    inbox.claimed('held')
    void this.#handOver!.fill(inbox, this.#ownerOf(inbox), former && { inbox: former, left: left! }, elsewhere).then(missing => {
      if (missing !== 0 && elsewhere) this.emit('handOverIncomplete', { address: inbox.address, from: elsewhere, missing })
    })
  }

  #ownerOf(inbox: Inbox): Owner {
    return { identity: this.identity, incarnation: this.#incarnation, claim: inbox.claim }
  }

  /**
   * Gives an address back; messages that its handler has not begun with end with it. Resolves to what was found: `released`, `elsewhere` with the owner that took it, or `absent`.
   * Only a record that still carries our claim is removed. Rejects with `DATASTORE` when it stayed out of reach (it is then released
   * with the lease, or at the next revalidation).
   */
  async disconnectClient(address: string | Client): Promise<Disconnected> {
    const name = typeof address === 'string' ? address : address.address
    checkName('address', name)
    const { router, directory } = this.#up()
    const client = this.client(name)
    if (typeof address !== 'string' && client !== address) return this.#whoElse(name, directory)
    const inbox = client?.inbox // not that of a newer connect which is being claimed: it stays
    if (!client || !inbox) return this.#whoElse(name, directory)
    this.#remove(client, 'disconnected')
    const untilMs = this.#env.clock.monotonicMs() + this.#settings.router.deadlineMs
    if (this.#state === 'draining') {
      // Its record stays until the end of the drain, marked as moving: senders wait for the next claim.
      router.reception.moved(name, this.#env.clock.monotonicMs() + movedMs)
      this.#moved.set(name, inbox.claim)
      this.#env.timers.after(movedMs, () => this.#cameNowhere(name, inbox.claim))
      return { at: 'released' }
    }
    const [released] = await directory.release([{ address: name, claim: inbox.claim }], untilMs)
    return released!
  }

  async #whoElse(address: string, directory: Directory): Promise<Disconnected> {
    const located = await directory.find(address)
    return located ? { at: 'elsewhere', owner: located.owner } : { at: 'absent' }
  }

  #remove(client: Client, end: ClientEnd): void {
    const { inbox } = client
    if (inbox) {
      this.#router?.reception.remove(inbox)
      // Their askers are told at once; messages for a handler that had not begun with them end with the client.
      for (const message of inbox.close(true)) void message.serve?.(message)
    }
    client.finish(end)
    this.#drained?.()
  }

  /** Another peer has taken the address: end our client and return what it had not taken. */
  #giveUp(address: string, claim: number, by: Owner | undefined): ReturnType<Inbox['close']> {
    this.#cameElsewhere(address, claim)
    const inbox = this.#router?.reception.serving(address)
    const client = this.client(address)
    if (!inbox || !client || inbox.claim !== claim) return []
    this.#router!.reception.remove(inbox)
    const left = inbox.close(false)
    client.finish('displaced')
    this.emit('displaced', { address, by })
    this.#drained?.()
    return left
  }

  /** Whether the datastore names our claim after all; where it cannot be asked, whoever says otherwise is believed. */
  async #stillOurs(address: string, claim: number): Promise<boolean> {
    try {
      const owner = (await this.#up().directory.find(address))?.owner
      return owner?.incarnation === this.#incarnation && owner.claim === claim
    } catch (error) {
      if (error instanceof HomingError) return false
      throw error
    }
  }

  /** A client that left during a drain has connected to another peer. */
  #cameElsewhere(address: string, claim: number): void {
    if (this.#moved.get(address) !== claim) return
    this.#moved.delete(address)
    this.#drained?.()
  }

  /** It took too long: nobody waits for it any more. */
  #cameNowhere(address: string, claim: number): void {
    if (this.#moved.get(address) !== claim || this.#closing) return
    this.#cameElsewhere(address, claim)
    const untilMs = this.#env.clock.monotonicMs() + goodbyeMs
    void this.#quietly('release', this.#up().directory.release([{ address, claim }], untilMs))
  }

  /** The directory says so: perhaps before it answered the claim. */
  async #displaced(address: string, claim: number, by: Owner | undefined): Promise<void> {
    const claiming = this.#answerTo(claim)
    if (claiming) await claiming
    const left = this.#giveUp(address, claim, by)
    if (by) this.#handOver?.keep(address, claim, left)
    else this.#dropped({ address, claim }, left)
  }

  /** Our record is gone, and nobody is known who could take what our client had. */
  #dropped(held: Held, left: ReturnType<Inbox['close']>): void {
    for (const message of left) void message.serve?.(message) // its asker hears that it is lost
    const missing = left.filter(({ serve }) => !serve).length
    if (missing > 0) this.#leftBehind(held, missing)
  }

  /** Our former client had accepted it, and nobody came for it, or is known to have got it. */
  #leftBehind({ address, claim }: Held, missing: number | undefined): void {
    this.emit('handOverIncomplete', {
      address,
      from: { identity: this.identity, incarnation: this.#incarnation, claim },
      missing,
    })
  }

  // Who may do what

  /**
   * Replaces the allow-list, or the function that stands for it. From the return of this call on nothing is taken that it does not allow;
   * clients of this peer that it does not let connect are disconnected (`refused`). Throws `BAD_OPTION`, and the former one stays.
   */
  setAllow(allow: readonly AllowRule[] | Authorize): void {
    const { access } = this.#settings
    access.replace(allow)
    if (this.#identity === undefined || this.#state === 'closed') return
    const refused: Held[] = []
    for (const client of [...this.clients()]) {
      if (access.may(this.#identity, 'connect', client.address) || !client.inbox) continue
      refused.push({ address: client.address, claim: client.inbox.claim })
      this.#refuse(client)
    }
    this.emit('allowChanged')
    if (refused.length === 0 || this.#closing) return
    const untilMs = this.#env.clock.monotonicMs() + this.#settings.router.deadlineMs
    void this.#quietly('release', this.#up().directory.release(refused, untilMs))
  }

  #refuse(client: Client): void {
    this.#logger?.warn({ address: client.address }, 'the allow-list lets this client be connected here no more')
    this.#remove(client, 'refused')
    this.emit('clientRefused', { address: client.address })
  }

  /** The client connected here under the address, if there is one. */
  client(address: string): Client | undefined {
    return clientOf(this.#router?.reception.serving(address))
  }

  get clientCount(): number {
    return this.#router?.reception.size ?? 0
  }

  *clients(): IterableIterator<Client> {
    for (const inbox of this.#router?.reception.inboxes() ?? []) {
      const client = clientOf(inbox)
      if (client) yield client
    }
  }

  // Messages

  /**
   * Sends to whichever client is connected under the address. Resolves to the receipt, by the deadline; never rejects. Messages of this
   * peer to one address arrive in the order of the calls. A body that is bytes, 16 KiB or more, is not copied: it must not change before the
   * receipt. Throws `BAD_OPTION` for malformed arguments and before `registerIdentity`.
   */
  sendMessage(address: string, body: unknown, options: SendOptions = {}): Promise<Receipt> {
    if (!this.#router) return this.#sendTooEarly()
    checkSend(address, options, this.#router)
    return this.#router.send(address, body, options)
  }

  #sendTooEarly(): Promise<Receipt> {
    if (this.#state !== 'closed' && this.#state !== 'closing') throw noIdentity()
    const cause = closedError()
    return Promise.resolve({ status: 'refused', code: cause.code, cause, id: '' })
  }

  /**
   * Asks the client under the address; resolves to what its `request` handler returns. Rejects with a `HomingError`: `ABSENT`,
   * `UNREACHABLE`, `OVERLOADED` (nothing happened), `REFUSED` (no handler), `REMOTE` (the handler threw), `TIMEOUT`, `LOST` (unknown).
   */
  request(address: string, body: unknown, options: RequestOptions = {}): Promise<unknown> {
    if (!this.#router) {
      if (this.#state !== 'closed' && this.#state !== 'closing') throw noIdentity()
      return Promise.reject(closedError())
    }
    checkSend(address, options, this.#router)
    return this.#router.request(address, body, options)
  }

  /**
   * Sends to every client of every peer, once each, one copy a peer. This peer's own clients get it only with `own`. Resolves to what
   * happened at each peer; never rejects. Clients that move meanwhile may get it twice or not at all. The clients of one peer get one and
   * the same body, decoded once: handlers must not change it.
   */
  broadcast(body: unknown, options: BroadcastOptions = {}): Promise<BroadcastResult> {
    this.#up()
    checkTimes(options)
    return this.#broadcasts!.send(body, options)
  }

  // Looking

  /** Who holds the address now, read afresh; undefined: nobody. Rejects with `DATASTORE`. */
  whereIs(address: string): Promise<Whereabouts | undefined> {
    try {
      checkName('address', address)
      return this.#up().directory.find(address).then(this.#whereabouts)
    } catch (error) {
      return Promise.reject(error as HomingError)
    }
  }

  readonly #whereabouts = (located: Located | undefined): Whereabouts | undefined => {
    if (!located) return undefined
    const { address, owner, moving } = located
    const { identity, incarnation, claim } = owner
    return { address, identity, incarnation, claim, here: incarnation === this.#incarnation, moving }
  }

  /** Where the address lives, by which way, and why a send to it fails, if it does. Never rejects for a datastore that is down. */
  async explain(address: string): Promise<Explanation> {
    checkName('address', address)
    const { router, directory, mesh } = this.#up()
    const sends = router.explain(address)
    const rest = { address, sends, store: this.#storeUp ? 'up' : 'down', lease: directory.lease } as const
    let located: Located | undefined
    try {
      located = await directory.find(address)
    } catch (error) {
      const why = homingError(error, 'DATASTORE', 'the session store cannot be asked').message
      return {
        ...rest,
        store: 'down',
        owner: undefined,
        path: undefined,
        summary: `Where '${address}' is cannot be looked up: ${why}`,
      }
    }
    if (!located) return { ...rest, owner: undefined, path: undefined, summary: `Nobody holds '${address}'.` }
    const owner = this.#whereabouts(located)!
    if (owner.here)
      return { ...rest, owner, path: undefined, summary: `'${address}' is a client of this peer, '${this.identity}'.` }
    const path = mesh.explain(located.owner)
    return { ...rest, owner, path, summary: pathSentence(address, owner, path) }
  }

  /** Live members of the cluster as known here, this peer included. */
  members(): readonly Member[] {
    return this.#up().directory.members()
  }

  /** All live sessions; not a snapshot. Rejects with `DATASTORE`. */
  sessions(): AsyncIterable<{ address: string; owner: Owner; moving: boolean }> {
    return this.#up().directory.sessions()
  }

  /** Counts since the start, and what waits now. */
  get stats(): Stats {
    const { router } = this.#up()
    const { received, refused } = router.reception.counts
    return {
      clients: this.clientCount,
      sent: router.counts.sent,
      received,
      refused,
      byStatus: { ...router.counts.byStatus },
      waiting: router.waiting,
    }
  }

  // Layers

  /** The door through which a layer speaks to other peers by identity. */
  protocol(name: string): Protocol {
    if (!/^[a-z][a-z0-9-]{0,40}\/\d{1,4}$/.test(name)) {
      throw new HomingError('BAD_OPTION', `a protocol is called like 'services/1', not ${JSON.stringify(name)}`)
    }
    const { router, directory } = this.#up()
    const runOf = async (identity: string): Promise<Run> => {
      checkName('identity', identity)
      const member = directory.member(identity) ?? (await directory.lookUpMember(identity))
      if (!member) throw new HomingError('ABSENT', `no peer '${identity}' is in the cluster`)
      return member
    }
    return {
      name,
      serve: handlers => router.serveProtocol(name, handlers),
      tell: async (identity, body, options) => router.tell(await runOf(identity), name, body, options),
      call: async (identity, body, options) => router.call(await runOf(identity), name, body, options),
      members: () => directory.members(),
      may: (identity, action, address) => this.#settings.access.may(identity, action, address),
      announce: metadata => directory.update({ metadata: { ...directory.member(this.identity)?.metadata, [name]: metadata } }),
    }
  }

  // The end

  /**
   * Hands the clients over: each gets a `moving` event to connect elsewhere, senders wait for that instead of hearing `absent`. Resolves
   * after all have gone or the deadline passed, those that had left have come elsewhere (up to 5 s), and the peer is closed. Idempotent.
   */
  async drain({ deadlineMs = 30_000 }: DrainOptions = {}): Promise<void> {
    if (this.#closing) return this.#closing
    if (!this.#router || this.#state === 'draining') return this.close()
    this.#state = 'draining'
    const { directory } = this.#up()
    const untilMs = this.#env.clock.monotonicMs() + deadlineMs
    try {
      await directory.update({ state: 'draining' })
      await directory.markMoving([...this.#held()], untilMs)
    } catch (error) {
      // Without the mark senders read `absent` for a moment; draining goes on.
      this.#logger?.warn({ error }, 'drain: the sessions could not be marked as moving')
    }
    for (const { address } of this.clients()) this.emit('moving', { address })
    await this.#drainedOrLate(untilMs)
    await this.close()
  }

  /** Until all clients have left, or the deadline; and until those that left have come elsewhere: to their senders they are only late. */
  #drainedOrLate(untilMs: number): Promise<void> {
    return new Promise(resolve => {
      let late = false
      this.#drained = () => {
        if (this.#moved.size > 0 || (this.clientCount > 0 && !late)) return
        this.#drained = undefined
        timer.cancel()
        resolve()
      }
      const timer = this.#env.timers.after(Math.max(0, untilMs - this.#env.clock.monotonicMs()), () => {
        late = true
        this.#drained?.()
      })
      this.#drained()
    })
  }

  /**
   * Disconnects all clients, says goodbye, and closes. What was under way is answered for up to a second; what waits is `refused` with
   * `CLOSED`. Resolves when nothing of the peer is left. Idempotent.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    const held = [...this.#held(), ...[...this.#moved].map(([address, claim]) => ({ address, claim }))]
    this.#state = 'closing'
    for (const client of [...this.clients()]) this.#remove(client, 'closed')
    if (this.#membership && this.#router) {
      const { directory, mesh } = this.#membership
      const { clock } = this.#env
      const untilMs = clock.monotonicMs() + goodbyeMs + held.length * goodbyeMsPerClaim
      await this.#quietly('release', held.length > 0 ? directory.release(held, untilMs) : Promise.resolve())
      await this.#quietly('leave', directory.leave(clock.monotonicMs() + goodbyeMs))
      await this.#quietly('close', mesh.close(goodbyeMs))
      this.#handOver?.close()
      this.#router.close(closedError())
      await this.#quietly('dispose', this.#membership.dispose())
    }
    this.#state = 'closed'
    this.emit('closed')
  }

  /** The end goes on whatever fails in it: the lease takes care of what is left behind. */
  async #quietly(what: string, work: PromiseLike<unknown>): Promise<void> {
    try {
      await work
    } catch (error) {
      this.#logger?.warn({ error }, `close: ${what} failed`)
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // What the rooms below tell

  #handlerFailed(where: string, error: unknown): void {
    this.#logger?.error({ error, where }, 'a handler failed')
    this.emit('handlerError', { where, error })
  }

  *#held(): Iterable<Held> {
    for (const { address, claim } of this.#router?.reception.inboxes() ?? []) yield { address, claim }
  }

  #directoryHandler(): DirectoryHandler {
    return {
      held: () => this.#held(),
      displaced: (address, claim, by) => void this.#displaced(address, claim, by),
      refused: (address, claim) => {
        const client = this.client(address)
        if (client?.inbox?.claim === claim) this.#refuse(client)
      },
      memberUp: member => {
        this.#logger?.info({ member: member.identity }, 'a member joined')
        this.emit('memberUp', member)
      },
      memberChanged: member => void this.emit('memberChanged', member),
      memberDown: (run, why) => {
        this.#logger?.info({ member: run.identity, why }, 'a member is gone')
        this.#membership?.mesh.end(run, why === 'lapsed' ? 'dead' : why)
        this.emit('memberDown', { identity: run.identity, incarnation: run.incarnation, why })
      },
      storeDown: error => {
        this.#storeUp = false
        this.#logger?.warn({ error }, 'the datastore cannot be reached')
        this.emit('storeDown', error)
      },
      storeUp: () => {
        this.#storeUp = true
        this.#logger?.info({}, 'the datastore can be reached again')
        this.emit('storeUp')
      },
      lease: (state, why) => {
        const serves = this.#settings.sessions.whenStoreIsDown === 'serve' && why === 'store'
        this.#router?.setSure(state === 'sure' || serves)
        this.emit('lease', state)
      },
      fenced: by => {
        this.#logger?.error({ by }, 'another incarnation has this identity: this peer stops')
        this.#router?.setSure(false)
        this.emit('fenced', { by })
        void this.close()
      },
    }
  }

  #meshHandler(router: Router): MeshHandler {
    return {
      accept: (channel, kind, reader) => router.accept(channel, kind, reader),
      room: (channel, address) => router.room(channel, address),
      writable: channel => router.writable(channel),
      acknowledged: (channel, sequence) => router.acknowledged(channel, sequence),
      leaving: channel => router.leaving(channel),
      down: () => {},
      ended: channel => router.ended(channel),
      linkUp: (remote, address) => void this.emit('linkUp', { identity: remote.identity, address }),
      linkDown: (identity, reason, error) => {
        this.#logger?.info({ identity, reason, error }, 'a link ended')
        this.emit('linkDown', { identity, reason, error })
      },
      linkRefused: (remote, error) => {
        this.#logger?.warn({ remote, error }, 'a connection was refused')
        this.emit('linkRefused', { remote, error })
      },
      dialFailed: (identity, error, attempt) => {
        this.#logger?.debug({ identity, error, attempt }, 'a dial failed')
        this.emit('dialFailed', { identity, error, attempt })
      },
    }
  }
}

function noIdentity(): HomingError {
  return new HomingError('BAD_OPTION', 'this peer has no identity yet: call registerIdentity first')
}

function closedError(): HomingError {
  return new HomingError('CLOSED', 'this peer has been closed')
}

/** By sorting: a set of 100,000 would leave more garbage than all that is kept of them. */
function hasTwins(addresses: readonly string[]): boolean {
  return new Set(addresses).size < addresses.length
}

/** All inboxes of this peer are of its clients. */
function clientOf(inbox: Inbox | undefined): Client | undefined {
  return inbox?.consumer instanceof Client ? inbox.consumer : undefined
}

function checkSend(address: string, options: SendOptions, router: Router): void {
  if (!router.knows(address)) checkName('address', address)
  if (options.from !== undefined && options.from !== '' && !wellFormed.has(options.from)) checkFrom(options.from)
  checkTimes(options)
}

/** Names that senders gave as their own: looking at one letter by letter takes as long as sending it. */
const wellFormed = new Set<string>()
const wellFormedMax = 10_000

function checkFrom(from: string): void {
  checkName('from', from)
  if (wellFormed.size >= wellFormedMax) wellFormed.clear()
  wellFormed.add(from)
}

function checkTimes({ deadlineMs, waitMs }: { deadlineMs?: number; waitMs?: number }): void {
  if (deadlineMs !== undefined && !(deadlineMs >= 0))
    throw new HomingError('BAD_OPTION', `deadlineMs is a number of at least 0, not ${deadlineMs}`)
  if (waitMs !== undefined && !(waitMs >= 0))
    throw new HomingError('BAD_OPTION', `waitMs is a number of at least 0, not ${waitMs}`)
}

function pathSentence(address: string, owner: Whereabouts, path: PathFacts): string {
  const way = path.over === undefined ? '' : path.kind === 'broker' ? ` through broker '${path.over}'` : ` over ${path.over}`
  const state = {
    up: 'the way is open',
    resuming: 'the link has just been made',
    dialling: 'it is being dialled',
    waiting: 'it could not be reached and is dialled again soon',
    idle: 'no message has gone there yet',
  }[path.at]
  const why = path.lastError === undefined ? '' : `; last error: ${path.lastError}`
  return `'${address}' is a client of '${owner.identity}'${way}: ${state}${why}.`
}
