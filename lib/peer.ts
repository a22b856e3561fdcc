/** A server process in the cluster: the public face. */
import { EventEmitter } from 'node:events'
import type { AllowRule, Authorize } from './access/rules.ts'
import { Broadcasts, type BroadcastOptions, type BroadcastResult } from './broadcast.ts'
import type { Client, ClientHandlers } from './client.ts'
import type { Env } from './env/env.ts'
import { HomingError, homingError } from './errors.ts'
import type { PeerEvents } from './events.ts'
import type { Mesh, MeshHandler } from './mesh/mesh.ts'
import { checkName, type Logger, type Settings } from './options.ts'
import { Clients, type Disconnected } from './peer/clients.ts'
import { explain, whereabouts, type Explanation, type Whereabouts } from './peer/explanation.ts'
import { meshEvents } from './peer/mesh-events.ts'
import { checkProtocol, protocolOf, type Protocol } from './peer/protocol.ts'
import { checkSend, checkTimes } from './peer/send-arguments.ts'
import type { Message } from './router/message.ts'
import type { Receipt } from './router/receipt.ts'
import { LibraryRefusal } from './router/remote-failure.ts'
import { Router } from './router/router.ts'
import type { RequestOptions, SendOptions } from './router/send-options.ts'
import type { Directory, DirectoryHandler, Member, Owner, Run } from './sessions/directory.ts'
import { bodyDefaults } from './wire/scan.ts'

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

/** How long the answers to what is under way are waited for at the end, ms. */
const goodbyeMs = 1_000

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
  #clients: Clients | undefined
  #broadcasts: Broadcasts | undefined
  #storeUp = true
  #state: 'new' | 'joining' | 'up' | 'draining' | 'closing' | 'closed' = 'new'
  #joining: Promise<void> | undefined
  #closing: Promise<void> | undefined

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
   * another live peer has it, `DATASTORE` when the datastore stays out of reach for `startTimeoutMs`, `UNREACHABLE` when no broker is;
   * `CLOSED` when the peer is closed meanwhile.
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
    await (this.#joining = this.#become(run))
    if (this.#closing) throw closedError()
    this.#state = 'up'
    this.emit('registered', identity)
  }

  async #become(run: Run): Promise<void> {
    const router = this.#makeRouter(run)
    try {
      this.#membership = await this.#join(run, this.#directoryHandler(), meshEvents(router, this, this.#logger), router)
    } catch (error) {
      const why = homingError(error, 'UNREACHABLE', 'could not join the cluster')
      router.close(why)
      this.#identity = undefined
      if (!this.#closing) this.#state = 'new'
      throw why
    }
    this.#router = router
    const { directory, isGone } = this.#membership
    this.#clients = new Clients({
      env: this.#env,
      settings: this.#settings,
      self: run,
      router,
      directory,
      isGone,
      events: this,
      handlerFailed: (where, error) => this.#handlerFailed(where, error),
      quietly: (what, work) => this.#quietly(what, work),
    })
    this.#broadcasts = new Broadcasts(run, router, directory, this.#settings.access)
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

  #up(): { self: Run; router: Router; directory: Directory; mesh: Mesh; clients: Clients } {
    if (!this.#router || !this.#membership || !this.#clients) {
      if (this.#state === 'closed' || this.#state === 'closing') throw closedError()
      throw noIdentity()
    }
    const { directory, mesh } = this.#membership
    const self = { identity: this.identity, incarnation: this.#incarnation }
    return { self, router: this.#router, directory, mesh, clients: this.#clients }
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
  connectClients(
    addresses: readonly string[],
    handlers: ClientHandlers | ((message: Message) => unknown) = {},
    options: ConnectOptions = {},
  ): Promise<Client[]> {
    try {
      for (const address of addresses) checkName('address', address)
      if (hasTwins(addresses)) throw new HomingError('BAD_OPTION', 'an address is given twice in one call')
      const { clients } = this.#up()
      const deadlineMs = options.deadlineMs ?? this.#settings.router.deadlineMs
      return clients.connect(addresses, typeof handlers === 'function' ? { message: handlers } : handlers, deadlineMs)
    } catch (error) {
      return Promise.reject(error as HomingError)
    }
  }

  /**
   * Gives an address back; messages that its handler has not begun with end with it. Resolves to what was found: `released`, `elsewhere`
   * with the owner that took it, or `absent`. Only a record that still carries our claim is removed. Rejects with `DATASTORE` when it stayed
   * out of reach (it is then released with the lease, or at the next revalidation).
   */
  disconnectClient(address: string | Client): Promise<Disconnected> {
    try {
      checkName('address', typeof address === 'string' ? address : address.address)
      return this.#up().clients.disconnect(address)
    } catch (error) {
      return Promise.reject(error as HomingError)
    }
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
    const refused = this.#clients?.endDisallowed() ?? []
    this.emit('allowChanged')
    this.#clients?.releaseLater(refused)
  }

  /** The client connected here under the address, if there is one. */
  client(address: string): Client | undefined {
    return this.#clients?.at(address)
  }

  get clientCount(): number {
    return this.#clients?.size ?? 0
  }

  *clients(): IterableIterator<Client> {
    if (this.#clients) yield* this.#clients
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
      const { self, directory } = this.#up()
      return directory.find(address).then(located => whereabouts(located, self))
    } catch (error) {
      return Promise.reject(error as HomingError)
    }
  }

  /** Where the address lives, by which way, and why a send to it fails, if it does. Never rejects for a datastore that is down. */
  async explain(address: string): Promise<Explanation> {
    checkName('address', address)
    const { self, ...rooms } = this.#up()
    return explain(address, self, this.#storeUp ? 'up' : 'down', rooms)
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
    checkProtocol(name)
    const { self, router, directory } = this.#up()
    return protocolOf(name, self, router, directory, this.#settings.access)
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
    await this.#up().clients.drain(this.#env.clock.monotonicMs() + deadlineMs)
    await this.close()
  }

  /**
   * Disconnects all clients, says goodbye, and closes. What was under way is answered for up to a second; what waits is `refused` with
   * `CLOSED`. Resolves when nothing of the peer is left. Idempotent.
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    const joining = this.#state === 'joining'
    this.#state = 'closing'
    if (joining) await this.#quietly('join', this.#joining!) // else it would become a member afterwards
    await this.#clients?.close(closedError())
    if (this.#membership && this.#router) {
      const { directory, mesh } = this.#membership
      await this.#quietly('leave', directory.leave(this.#env.clock.monotonicMs() + goodbyeMs))
      await this.#quietly('close', mesh.close(goodbyeMs))
      this.#clients?.endHandOver()
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

  #directoryHandler(): DirectoryHandler {
    return {
      held: () => this.#clients?.held() ?? [],
      displaced: (address, claim, by) => void this.#clients?.displaced(address, claim, by),
      refused: (address, claim) => this.#clients?.refused(address, claim),
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
}

function noIdentity(): HomingError {
  return new HomingError('BAD_OPTION', 'this peer has no identity yet: call registerIdentity first')
}

function closedError(): HomingError {
  return new HomingError('CLOSED', 'this peer has been closed')
}

function hasTwins(addresses: readonly string[]): boolean {
  return new Set(addresses).size < addresses.length
}
