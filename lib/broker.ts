/** A relay: forwards frames between peers by identity, and keeps the sessions for them. Brokers among themselves form a direct mesh. */
import { EventEmitter } from 'node:events'
import type { AllowRule, Authorize } from './access/rules.ts'
import { DirectoryServer } from './broker/directory-server.ts'
import { directoryProtocol, type MemberNews, type News } from './broker/directory-protocol.ts'
import { aliveProtocol, Incumbents } from './broker/incumbents.ts'
import { ServedPeers } from './broker/served-peers.ts'
import type { BrokerEvents } from './broker-events.ts'
import type { Datastore } from './datastores/datastore.ts'
import type { Env } from './env/env.ts'
import { HomingError } from './errors.ts'
import type { Remote } from './link/handshake.ts'
import type { CloseReason, Link, LinkSetup } from './link/link.ts'
import { probeRun } from './link/probe.ts'
import { endpointsOf, selfOf } from './members.ts'
import { DirectMesh, type Relay } from './mesh/direct.ts'
import type { MeshHandler } from './mesh/mesh.ts'
import { FrameRelay, relayDefaults } from './mesh/relay.ts'
import type { Settings } from './options.ts'
import { LibraryRefusal } from './router/remote-failure.ts'
import { Router } from './router/router.ts'
import type { DirectoryHandler, Member, Run } from './sessions/directory.ts'
import { PeerRecords } from './sessions/peer-records.ts'
import { SessionStore } from './sessions/session-store.ts'
import { StoreDirectory } from './sessions/store-directory.ts'
import { bodyDefaults } from './wire/scan.ts'

/** How long a broker waits at its end for what is under way, ms. */
const goodbyeMs = 1_000
/** Peers behind other brokers of which nothing else is known; protects the memory. */
const behindMax = 10_000

export class Broker extends EventEmitter<BrokerEvents> implements AsyncDisposable {
  readonly identity: string
  readonly #env: Env
  readonly #settings: Settings
  readonly #run: Run
  readonly #link: LinkSetup
  readonly #mesh: DirectMesh
  readonly #router: Router
  readonly #relay: FrameRelay
  /** Links of peers and brokers, by identity. */
  readonly #links = new Map<string, Link>()
  /** Peers that spoke through another broker, before their record was read. */
  readonly #behind = new Map<string, { incarnation: string; via: string }>()
  /** Incarnations whose records are gone and who are linked here: they say goodbye, and may still have to be answered. */
  readonly #leaving = new Set<string>()
  #datastore: Datastore | undefined
  #sessions: SessionStore | undefined
  #peers: ServedPeers | undefined
  #directory: StoreDirectory | undefined
  #closing: Promise<void> | undefined
  #clients = 0
  /** Changes of members so far. */
  #told = 0
  /** Incarnations that could not be told of one, and will be told to ask. */
  readonly #untold = new Set<string>()

  private constructor(env: Env, settings: Settings) {
    super()
    this.#env = env
    this.#settings = settings
    this.identity = settings.identity ?? `broker-${Buffer.from(env.random.bytes(4)).toString('hex')}`
    this.#run = { identity: this.identity, incarnation: Buffer.from(env.random.bytes(8)).toString('hex') }
    const { link: options, cluster, secrets, tls } = settings
    this.#link = { options, cluster, secrets, tls, introduce: () => ({ ...this.#run, role: 'broker', capabilities: [] }) }
    this.#router = new Router({
      env,
      self: this.#run,
      options: settings.router,
      limits: { ...bodyDefaults, bodyBytesMax: options.bodyBytesMax },
      answers: () => false,
      answer: () => Promise.reject(new HomingError('REFUSED', 'a broker has no clients')),
      trouble: error => settings.logger?.warn({ error }, 'something failed in the background'),
      handlerFailed: (where, error) => settings.logger?.error({ where, error }, 'a handler failed'),
    })
    this.#relay = new FrameRelay(
      env,
      { ...relayDefaults, outboxesBytesMax: settings.router.waitingBytesMax },
      {
        linkTo: (to, from) => this.#linkTo(to, from),
        // Who dialled us was asked at the door.
        speaksForOthers: ({ remote, dialled }) => remote.role === 'broker' && (!dialled || this.#isBroker(remote)),
        isBehind: (run, broker) => this.#isBehind(run, broker),
      },
    )
    this.#mesh = new DirectMesh({
      env,
      link: this.#link,
      channel: settings.channel,
      handler: this.#meshHandler(),
      self: this.#run,
      endpointsOf: run => endpointsOf(env, this.#directory?.member(run.identity), run),
      isCurrent: run => this.#isCurrent(run),
      relay: this.#relayOf(),
    })
  }

  /** @internal Use `createBroker`. */
  static async start(env: Env, settings: Settings, openStore: () => Promise<Datastore>): Promise<Broker> {
    const broker = new Broker(env, settings)
    try {
      await broker.#start(openStore)
    } catch (error) {
      await broker.close()
      throw error
    }
    return broker
  }

  async #start(openStore: () => Promise<Datastore>): Promise<void> {
    const { cluster, sessions: options, advertise, listen, store, logger } = this.#settings
    const trouble = (error: HomingError): void => logger?.warn({ error }, 'a session operation failed')
    const datastore = (this.#datastore = await openStore())
    this.#router.meets(this.#mesh)
    const sessions = (this.#sessions = new SessionStore({ env: this.#env, datastore, cluster, trouble }))
    const incumbents: Incumbents = new Incumbents({
      identity: this.identity,
      otherBrokers: () => this.#otherBrokers(),
      isBroker: run => this.#isBroker(run),
      ask: run => peers.ask(run),
      dial: incumbent => probeRun(this.#env, this.#link, incumbent, incumbent.endpoints),
      call: (broker, protocol, run, options) => this.#router.call(broker, protocol, run, options),
    })
    const peers = (this.#peers = new ServedPeers({
      env: this.#env,
      records: new PeerRecords(datastore, cluster, trouble),
      sessions,
      options,
      identity: this.identity,
      probe: incumbent => incumbents.probe(incumbent),
      tell: (run, news) => this.#tell(run, news),
      joined: run => void this.emit('peerJoined', { ...run }),
      gone: (run, why) => void this.emit('peerGone', { ...run, why }),
      trouble,
    }))
    datastore.onLoss?.(() => peers.lost())
    const listening = await this.#mesh.listen(listen)
    this.#directory = await StoreDirectory.join({
      env: this.#env,
      datastore,
      ...(this.#settings.openStore ? {} : { storeUrl: store }),
      cluster,
      self: selfOf(this.#env, this.#run, 'broker', [advertise ?? listening]),
      options,
      handler: this.#directoryHandler(),
      probe: incumbent => probeRun(this.#env, this.#link, incumbent, incumbent.endpoints),
      waiting: ({ identity }, forMs) =>
        logger?.warn({ identity, forMs }, 'a silent broker has this identity: its lease is waited for'),
      trouble,
    })
    this.#router.connect(this.#directory)
    const server = new DirectoryServer({
      env: this.#env,
      directory: this.#directory,
      sessions,
      peers,
      access: this.#settings.access,
      connected: (run, address) => {
        this.#clients++
        this.emit('clientConnected', { address, identity: run.identity })
      },
      disconnected: (run, address, owner) => {
        this.#clients--
        this.emit('clientDisconnected', { address, identity: run.identity, owner })
      },
      told: () => this.#told,
    })
    this.#router.serveProtocol(directoryProtocol, {
      call: async (from, body, context) => {
        try {
          return await server.answer(from, body, context)
        } catch (error) {
          throw error instanceof HomingError ? new LibraryRefusal(error) : error
        }
      },
    })
    this.#router.serveProtocol(aliveProtocol, { call: (from, run) => incumbents.answer(from, run) })
    for (const member of this.#directory.members()) this.#dialBroker(member)
  }

  /** Names this run of the broker. */
  get incarnation(): string {
    return this.#run.incarnation
  }

  /** Where peers and other brokers reach it. */
  get endpoints(): readonly string[] {
    return this.#mesh.endpoints
  }

  /** Peers that are joined here. */
  get peerCount(): number {
    return this.#peers?.size ?? 0
  }

  /** Clients that peers connected through this broker, less those they disconnected. */
  get clientCount(): number {
    return Math.max(0, this.#clients)
  }

  /** Frames forwarded since the start. */
  get forwardedFrames(): number {
    return this.#relay.forwarded
  }

  /** Live members of the cluster as known here. */
  members(): readonly Member[] {
    return this.#directory?.members() ?? []
  }

  /**
   * Replaces the allow-list, or the function that stands for it: which peers may connect which addresses. From the return of this call on
   * nothing else is claimed, and nobody is led to who may not hold an address; peers that are linked here end such clients at once.
   * Throws `BAD_OPTION`, and the former one stays.
   */
  setAllow(allow: readonly AllowRule[] | Authorize): void {
    this.#settings.access.replace(allow)
    this.#peers?.recheck()
  }

  // Ways

  /** The link that leads to a run: its own, or that of the broker it is behind. What a broker sent is not sent to a broker again. */
  #linkTo(to: Run, from: Link): Link | undefined {
    const own = this.#links.get(to.identity)
    if (own?.isOpen && own.remote.incarnation === to.incarnation) return own
    if (from.remote.role === 'broker') return undefined
    const via = this.#brokerOf(to)
    if (via === undefined || via === this.identity) return undefined
    const link = this.#links.get(via)
    if (link?.isOpen) return link
    const broker = this.#directory?.member(via)
    if (broker) this.#mesh.channelTo(broker)
    return undefined
  }

  /** For as long as its record has not been read; the oldest make room. */
  #isBehind({ identity, incarnation }: Run, broker: Link): void {
    this.#behind.delete(identity)
    this.#behind.set(identity, { incarnation, via: broker.remote.identity })
    if (this.#behind.size > behindMax) this.#behind.delete(this.#behind.keys().next().value!)
  }

  #isLinkedPeer({ identity, incarnation }: Run): boolean {
    const link = this.#links.get(identity)
    return link !== undefined && link.isOpen && link.remote.role === 'peer' && link.remote.incarnation === incarnation
  }

  #brokerOf(run: Run): string | undefined {
    const member = this.#directory?.member(run.identity)
    if (member?.incarnation === run.incarnation) return member.via
    this.#directory?.lookUpMember(run.identity).catch((error: unknown) => {
      this.#settings.logger?.debug({ error, run }, 'a member could not be looked up; its peer asks again')
    })
    const behind = this.#behind.get(run.identity)
    return behind?.incarnation === run.incarnation ? behind.via : undefined
  }

  /** Brokers link to each other as soon as they know of each other. */
  #dialBroker(member: Member): void {
    if (member.role === 'broker' && member.identity !== this.identity) this.#mesh.channelTo(member)
  }

  #relayOf(): Relay {
    return {
      admit: remote => this.#admit(remote),
      linkUp: link => {
        const { identity, role } = link.remote
        this.#peers?.linkUp(link)
        if (role === 'pulse') return
        this.#links.set(identity, link)
        this.#relay.add(link)
      },
      frame: (link, buffer, start, end) => this.#relay.frame(link, buffer, start, end),
      linkDown: (link, reason) => this.#linkDown(link, reason),
    }
  }

  #linkDown(link: Link, reason: CloseReason): void {
    this.#peers?.linkDown(link, reason)
    this.#relay.remove(link)
    const { identity, incarnation, role } = link.remote
    if (this.#links.get(identity) === link) this.#links.delete(identity)
    if (role !== 'pulse' && this.#leaving.delete(incarnation)) this.#mesh.end({ identity, incarnation }, 'left')
    if (role === 'broker') for (const [behind, { via }] of this.#behind) if (via === identity) this.#behind.delete(behind)
    if (role === 'peer') this.emit('linkDown', { identity, reason, error: undefined })
  }

  async #admit(remote: Remote): Promise<void> {
    if (this.#closing || !this.#directory)
      throw new HomingError('UNREACHABLE', `broker '${this.identity}' is starting or closing: try again`)
    if (remote.identity === this.identity && remote.incarnation !== this.#run.incarnation) {
      throw new HomingError('IDENTITY_IN_USE', `the identity '${remote.identity}' is that of this broker`)
    }
    await this.#admitBroker(remote)
  }

  /**
   * What a broker forwards is believed to come from whom it names: any member could else speak for all others by calling itself a broker. A
   * broker writes its record before it dials.
   */
  async #admitBroker(remote: Remote): Promise<void> {
    if (remote.role !== 'broker' || this.#isBroker(remote)) return
    let record: Member | undefined
    try {
      record = await this.#directory!.lookUpMember(remote.identity)
    } catch (cause) {
      throw new HomingError('UNREACHABLE', `it cannot be looked up whether '${remote.identity}' is a broker: try again`, {
        cause,
      })
    }
    if (record?.incarnation === remote.incarnation && record.role === 'broker') return
    throw new HomingError('REFUSED', `'${remote.identity}' is no broker of this cluster: the datastore does not name it as one`)
  }

  #otherBrokers(): Member[] {
    return this.members().filter(({ role, identity }) => role === 'broker' && identity !== this.identity)
  }

  /** By its record, which only who may write to the datastore can have made. */
  #isBroker({ identity, incarnation }: Run): boolean {
    const member = this.#directory?.member(identity)
    return member?.incarnation === incarnation && member.role === 'broker'
  }

  /** Two runs with one identity: the one that is linked stands, as long as it is. */
  async #isCurrent(run: Run): Promise<boolean> {
    const link = this.#links.get(run.identity)
    if (link?.isOpen && link.remote.incarnation !== run.incarnation) {
      const record = await this.#directory?.lookUpMember(run.identity)
      if (record?.incarnation === run.incarnation) return true
      // A link whose other end died unseen stands for some seconds more: it is asked.
      if ((await this.#peers?.ask(link.remote)) !== 'answers') return true
      throw new HomingError(
        'IDENTITY_IN_USE',
        `another peer with the identity '${run.identity}' is linked to broker '${this.identity}'`,
      )
    }
    return true
  }

  // What the rooms below tell

  #tell(run: Run, news: News): void {
    this.#router.tell(run, directoryProtocol, news).catch((error: unknown) => {
      this.#settings.logger?.debug({ error, run, news: news.op }, 'a peer could not be told')
      if ('told' in news || news.op === 'untold') this.#tellLater(run)
    })
  }

  /** A run that stays linked did not hear of a member: it would take it for what it was, for ever. It is told to ask. */
  #tellLater(run: Run): void {
    if (this.#untold.has(run.incarnation)) return
    this.#untold.add(run.incarnation)
    this.#env.timers.after(this.#settings.sessions.renewEveryMs, () => {
      this.#untold.delete(run.incarnation)
      // Without a link it will join again, and hear of all.
      if (!this.#closing && this.#peers?.serves(run) && this.#isLinkedPeer(run)) this.#tell(run, { op: 'untold' })
    })
  }

  #tellMember(news: MemberNews): void {
    this.#tellAll({ ...news, told: ++this.#told })
  }

  #tellAll(news: News): void {
    for (const run of this.#peers?.runs() ?? []) {
      // Its successor may be linked already, and not have joined: to look for the former run would end that link.
      if (this.#links.get(run.identity)?.remote.incarnation === run.incarnation) this.#tell(run, news)
    }
  }

  #directoryHandler(): DirectoryHandler {
    return {
      held: () => [],
      displaced: () => {},
      memberUp: member => {
        this.#leaving.delete(member.incarnation)
        this.#dialBroker(member)
        this.#tellMember({ op: 'memberUp', member })
        this.emit('memberUp', member)
      },
      memberChanged: member => this.#tellMember({ op: 'memberChanged', member }),
      memberDown: (run, why) => {
        // It hangs up by itself, once its goodbye was answered: cut off before, it would come back.
        if (why === 'left' && this.#isLinkedPeer(run)) this.#leaving.add(run.incarnation)
        else this.#mesh.end(run, why === 'lapsed' ? 'dead' : why)
        if (this.#behind.get(run.identity)?.incarnation === run.incarnation) this.#behind.delete(run.identity)
        this.#tellMember({ op: 'memberDown', run, why })
      },
      storeDown: error => {
        this.#settings.logger?.warn({ error }, 'the datastore cannot be reached')
        this.#tellAll({ op: 'store', up: false, text: error.message })
        this.emit('storeDown', error)
      },
      storeUp: () => {
        this.#tellAll({ op: 'store', up: true, text: '' })
        this.emit('storeUp')
      },
      lease: () => {},
      fenced: () => {
        this.#settings.logger?.error({}, 'another incarnation has this identity: this broker stops')
        this.emit('fenced')
        void this.close()
      },
    }
  }

  #meshHandler(): MeshHandler {
    const router = (): Router => this.#router
    return {
      accept: (channel, kind, reader) => router().accept(channel, kind, reader),
      room: (channel, address) => router().room(channel, address),
      writable: channel => router().writable(channel),
      acknowledged: (channel, sequence) => router().acknowledged(channel, sequence),
      leaving: channel => router().leaving(channel),
      down: () => {},
      ended: channel => router().ended(channel),
      linkUp: (remote, address) => void this.emit('linkUp', { identity: remote.identity, address }),
      linkDown: (identity, reason, error) => this.#settings.logger?.info({ identity, reason, error }, 'a link ended'),
      dialFailed: (identity, error, attempt) => this.#settings.logger?.debug({ identity, error, attempt }, 'a dial failed'),
      linkRefused: (remote, error) => {
        this.#settings.logger?.warn({ remote, error }, 'a connection was refused')
        if (error.code === 'BAD_FRAME') this.emit('badFrame', { remote, error })
      },
    }
  }

  /** Stops accepting, says goodbye, closes the store. Its peers go to another broker, or wait for this one. Idempotent. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close())
  }

  async #close(): Promise<void> {
    const quietly = async (what: string, work: PromiseLike<unknown> | undefined): Promise<void> => {
      try {
        await work
      } catch (error) {
        this.#settings.logger?.warn({ error }, `close: ${what} failed`)
      }
    }
    await quietly('mesh', this.#mesh.close(goodbyeMs))
    await quietly('peers', this.#peers?.end())
    if (this.#otherBrokers().length === 0) await quietly('forget', this.#peers?.forget(this.#env.clock.monotonicMs() + goodbyeMs))
    await quietly('leave', this.#directory?.leave(this.#env.clock.monotonicMs() + goodbyeMs))
    this.#router.close(new HomingError('CLOSED', 'this broker has been closed'))
    await quietly('sessions', this.#sessions?.[Symbol.asyncDispose]())
    await quietly('datastore', this.#datastore?.[Symbol.asyncDispose]())
    this.emit('closed')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
