/** The mesh of a peer behind brokers: one link to one of them, over which it has a channel to the broker itself and to each other peer. */
import type { Env, Timer } from '../env/env.ts'
import { HomingError, homingError } from '../errors.ts'
import { Backoff } from '../link/backoff.ts'
import { Link, type CloseReason, type LinkHandler, type LinkSetup } from '../link/link.ts'
import type { Run } from '../sessions/directory.ts'
import {
  badFrame,
  labelAt,
  labelMax,
  readRoute,
  Reader,
  ROUTE_DROPPED,
  routeFrame,
  unrouteFrame,
  type Route,
} from '../wire/frame.ts'
import { FIRST_OF_CHANNEL, ROUTE, UNROUTE } from '../wire/kinds.ts'
import { Channel, type ChannelEnd, type ChannelOptions } from './channel.ts'
import { DeadEnds } from './dead-ends.ts'
import { formerOf } from './former.ts'
import { LinkPath } from './link-path.ts'
import type { Mesh, MeshHandler, PathFacts } from './mesh.ts'
import { Way } from './way.ts'

/** The longest wait before a way is asked for again, ms: after a restart of the broker the other end is back within seconds, unannounced. */
const wayRetryCapMs = 500

export interface RelayedMeshSetup {
  env: Env
  link: LinkSetup
  channel: ChannelOptions
  handler: MeshHandler
  self: Run
  /** Endpoints of brokers, tried in turn. */
  brokers: readonly string[]
  /** The link to a broker is up, or the broker has forgotten this peer: join there. */
  brokerUp(broker: Run, endpoint: string): void
  brokerDown(broker: Run): void
  /** No broker answered; another attempt follows. */
  brokerFailed(error: HomingError, attempt: number): void
}

/** The channel to another run, and its present way. */
interface Entry {
  readonly run: Run
  readonly channel: Channel
  readonly backoff: Backoff
  /** Incarnations that this one is known to have replaced: who still asks for one of them does not end this channel. */
  readonly former: readonly string[]
  way: Way | undefined
  retry: Wait | undefined
}

interface Wait {
  readonly timer: Timer
  readonly untilMs: number
}

export class RelayedMesh implements Mesh, LinkHandler {
  readonly kind = 'broker'
  readonly endpoints: readonly string[] = []
  readonly #setup: RelayedMeshSetup
  readonly #backoff: Backoff
  readonly #reader = new Reader()
  #link: Link | undefined
  #dialling: Link | undefined
  #redial: Wait | undefined
  #turn = 0
  /** Of the present or the last broker. */
  #endpoint = ''
  #lastError: HomingError | undefined
  /** The channel to the broker of the present or the last link. */
  #broker: { run: Run; channel: Channel; path: LinkPath | undefined } | undefined
  readonly #entries = new Map<string, Entry>()
  readonly #deadEnds = new DeadEnds()
  /** By the label of what comes in on the present link. */
  readonly #incoming = new Map<number, Entry>()
  /** Channels that got something in the present read. */
  readonly #read = new Set<Channel>()
  #lastLabel = 0
  #closing = false

  constructor(setup: RelayedMeshSetup) {
    this.#setup = setup
    this.#backoff = new Backoff(setup.link.options, setup.env.random)
  }

  /** Begins to dial; `brokerUp` follows. Throws `BAD_OPTION` for an endpoint that cannot be read. */
  start(): void {
    this.#dial()
  }

  /** The present broker does not serve this peer: gives it up, and tries the next one. */
  tryNext(broker: Run): void {
    if (this.#isBroker(broker)) this.#link?.close('local')
  }

  get brokerChannel(): Channel | undefined {
    return this.#broker?.channel
  }

  get lastError(): HomingError | undefined {
    return this.#lastError
  }

  channelTo(run: Run): Channel {
    if (this.#isBroker(run)) return this.#broker!.channel
    const entry = this.#entries.get(run.identity)
    if (entry?.run.incarnation === run.incarnation) {
      this.#hurry(entry)
      return entry.channel
    }
    if (entry?.former.includes(run.incarnation)) return this.#deadEnds.to(run, gone => this.#newChannel(gone))
    const added = this.#add(run, entry)
    if (entry) this.#end(entry, 'replaced')
    this.#open(added)
    return added.channel
  }

  /** Somebody wants the way now: a long wait is cut short, a short one is waited out. */
  #hurry(entry: Entry): void {
    const untilMs = this.#setup.env.clock.monotonicMs() + this.#setup.link.options.redialCapMs
    if (!this.#link) {
      if (this.#redial && this.#redial.untilMs > untilMs) this.#dialNext()
    } else if (!entry.way && !(entry.retry && entry.retry.untilMs <= untilMs)) this.#open(entry)
  }

  #isBroker(run: Run): boolean {
    return this.#broker?.run.identity === run.identity && this.#broker.run.incarnation === run.incarnation
  }

  find(run: Run): Channel | undefined {
    if (this.#isBroker(run)) return this.#broker!.channel
    const entry = this.#entries.get(run.identity)
    return entry?.run.incarnation === run.incarnation ? entry.channel : undefined
  }

  *channels(): Iterable<Channel> {
    if (this.#broker) yield this.#broker.channel
    for (const { channel } of this.#entries.values()) yield channel
  }

  end(run: Run, why: ChannelEnd): void {
    const entry = this.#entries.get(run.identity)
    if (entry?.run.incarnation === run.incarnation) this.#end(entry, why)
    this.#deadEnds.end(run, why)
  }

  explain(run: Run): PathFacts {
    const entry = this.#entries.get(run.identity)
    const link = this.#link
    const channel = this.find(run)
    const at = channel?.ready
      ? 'up'
      : !link
        ? this.#dialling
          ? 'dialling'
          : 'waiting'
        : !entry
          ? 'idle'
          : entry.way
            ? 'resuming'
            : 'waiting'
    return {
      at,
      kind: 'broker',
      unacknowledgedBytes: channel?.unacknowledgedBytes ?? 0,
      ...(link && { over: link.remote.identity }),
      ...(link?.roundTripMs !== undefined && { roundTripMs: link.roundTripMs }),
      ...(!link && this.#lastError && { lastError: this.#lastError.message }),
    }
  }

  async close(waitMs: number): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    const { env } = this.#setup
    for (const channel of this.channels()) channel.leave()
    const untilMs = env.clock.monotonicMs() + waitMs
    while (this.#underWay() && env.clock.monotonicMs() < untilMs) {
      await new Promise<void>(resolve => void env.timers.after(5, resolve))
    }
    this.#redial?.timer.cancel()
    this.#dialling?.close('local')
    for (const entry of [...this.#entries.values()]) this.#end(entry, 'closed')
    this.#deadEnds.close()
    const broker = this.#broker
    this.#broker = undefined
    broker?.channel.end('closed')
    this.#link?.close('leaving')
  }

  #underWay(): boolean {
    if (!this.#link) return false
    for (const { channel, way } of this.#entries.values()) {
      if (way && channel.path && (!channel.remoteIsLeaving || channel.unacknowledgedFrames > 0)) return true
    }
    return (this.#broker?.channel.unacknowledgedFrames ?? 0) > 0
  }

  // The link to a broker

  #dial(): void {
    this.#redial?.timer.cancel()
    this.#redial = undefined
    if (this.#closing || this.#link || this.#dialling) return
    const { env, link, brokers } = this.#setup
    this.#endpoint = brokers[this.#turn++ % brokers.length]!
    this.#dialling = Link.dial(env, link, this.#endpoint, undefined, this)
  }

  /** Of several endpoints one may be such as cannot be dialled here. */
  #dialNext(): void {
    try {
      this.#dial()
    } catch (error) {
      this.#lastError = homingError(error, 'UNREACHABLE', `${this.#endpoint} cannot be dialled`)
      const waitMs = this.#backoff.failed(this.#setup.env.clock.monotonicMs())
      this.#setup.brokerFailed(this.#lastError, this.#backoff.failures)
      this.#redialAfter(waitMs)
    }
  }

  #redialAfter(ms: number): void {
    const { env } = this.#setup
    this.#redial?.timer.cancel()
    if (this.#closing) return
    this.#redial = { timer: env.timers.after(ms, () => this.#dialNext()), untilMs: env.clock.monotonicMs() + ms }
  }

  opened(link: Link): void {
    const { remote } = link
    this.#dialling = undefined
    if (remote.role !== 'broker') {
      this.#lastError = new HomingError('REFUSED', `'${remote.identity}' at ${link.address} is a peer, not a broker`)
      link.close('local')
      return
    }
    this.#link = link
    this.#lastLabel = 0
    this.#incoming.clear()
    this.#lastError = undefined
    this.#setup.handler.linkUp(remote, link.address)
    this.#useBroker(link)
    for (const entry of this.#entries.values()) this.#open(entry)
    this.#setup.brokerUp(this.#broker!.run, this.#endpoint)
  }

  #useBroker(link: Link): void {
    const { identity, incarnation } = link.remote
    const path = new LinkPath('broker', link)
    if (!this.#isBroker(link.remote)) {
      const former = this.#broker
      this.#broker = { run: { identity, incarnation }, channel: this.#newChannel({ identity, incarnation }), path }
      // Only now: what waited on the former channel looks for another one at once.
      former?.channel.end('replaced')
    }
    this.#broker!.path = path
    this.#broker!.channel.attach(path)
  }

  closed(link: Link, reason: CloseReason, error?: HomingError): void {
    const { env, handler } = this.#setup
    const nowMs = env.clock.monotonicMs()
    if (link === this.#dialling) {
      this.#dialling = undefined
      this.#lastError = error ?? new HomingError('UNREACHABLE', 'the broker closed the connection')
      const waitMs = this.#backoff.failed(nowMs)
      if (this.#closing) return
      this.#setup.brokerFailed(this.#lastError, this.#backoff.failures)
      return this.#redialAfter(waitMs)
    }
    if (link !== this.#link) {
      if (!this.#link && !this.#closing) this.#redialAfter(this.#backoff.failed(nowMs))
      return
    }
    this.#link = undefined
    this.#incoming.clear()
    handler.linkDown(link.remote.identity, reason, error)
    for (const entry of this.#entries.values()) this.#drop(entry)
    const broker = this.#broker
    if (broker?.path?.link === link) {
      const { path } = broker
      broker.path = undefined
      if (reason === 'bad-frame') {
        this.#broker = undefined
        broker.channel.end('broken')
      } else broker.channel.detach(path)
      this.#setup.brokerDown(broker.run)
    }
    if (!this.#closing) this.#redialAfter(this.#backoff.lost(nowMs, link.ageMs))
  }

  // Channels to other peers

  #newChannel(run: Run): Channel {
    const { env, channel, handler } = this.#setup
    const fresh = new Channel(env, run, channel, handler)
    if (this.#closing) fresh.leave() // one that comes up yet is to say goodbye too
    return fresh
  }

  /**
   * `former` is what it takes the place of. That one must be ended afterwards, not before: whoever hears of the end and asks again at once
   * is to find this one.
   */
  #add({ identity, incarnation }: Run, former?: Entry): Entry {
    const { env, link } = this.#setup
    const run = { identity, incarnation }
    const entry: Entry = {
      run,
      channel: this.#newChannel(run),
      backoff: new Backoff({ ...link.options, redialCapMs: Math.min(link.options.redialCapMs, wayRetryCapMs) }, env.random),
      former: formerOf(run, former),
      way: undefined,
      retry: undefined,
    }
    this.#entries.set(run.identity, entry)
    return entry
  }

  #end(entry: Entry, why: ChannelEnd): void {
    if (this.#entries.get(entry.run.identity) === entry) this.#entries.delete(entry.run.identity)
    entry.retry?.timer.cancel()
    this.#giveBack(entry)
    entry.channel.end(why)
  }

  /** Opens our direction of a way, as the first or as the answer to the other end's. */
  #open(entry: Entry, answer?: Route): void {
    const { env, self } = this.#setup
    entry.retry?.timer.cancel()
    entry.retry = undefined
    if (!this.#link || this.#closing || entry.channel.hasEnded) return
    const pair = answer?.pair ?? Math.floor(env.random.fraction() * 0xffff_ffff) + 1
    const way = new Way(this.#freeLabel(), pair, this.#link, (given, reason) => this.#abandoned(entry, given, reason))
    if (answer) this.#join(entry, way, answer.label)
    entry.way = way
    this.#link.write(routeFrame({ label: way.label, pair, from: self, to: entry.run }))
    entry.channel.attach(way)
    if (!answer) this.#wait(entry, this.#setup.link.options.handshakeTimeoutMs, () => this.#unanswered(entry, way))
  }

  /** The other end should have opened its direction by now. */
  #unanswered(entry: Entry, way: Way): void {
    if (entry.way !== way || way.inLabel !== 0) return
    this.#drop(entry)
    this.#retryLater(entry, way)
  }

  #wait(entry: Entry, ms: number, fn: () => void): void {
    const { env } = this.#setup
    entry.retry?.timer.cancel()
    entry.retry = { timer: env.timers.after(ms, fn), untilMs: env.clock.monotonicMs() + ms }
  }

  #freeLabel(): number {
    this.#lastLabel = (this.#lastLabel % labelMax) + 1
    return this.#lastLabel
  }

  #join(entry: Entry, way: Way, inLabel: number): void {
    if (way.inLabel !== 0) this.#incoming.delete(way.inLabel)
    way.inLabel = inLabel
    way.joinedAtMs = this.#setup.env.clock.monotonicMs()
    this.#incoming.set(inLabel, entry)
  }

  /** The way is of no use any more: both labels are given back, the channel waits for another way. */
  #drop(entry: Entry): void {
    const { way } = entry
    if (!way) return
    this.#giveBack(entry)
    entry.channel.detach(way)
  }

  #giveBack(entry: Entry): void {
    const { way } = entry
    if (!way) return
    entry.way = undefined
    if (this.#incoming.get(way.inLabel) === entry) this.#incoming.delete(way.inLabel)
    if (way.link !== this.#link) return
    this.#link.write(unrouteFrame(way.label, true, ROUTE_DROPPED))
    // Their direction too: the other end would else wait for an answer on it.
    if (way.inLabel !== 0) this.#link.write(unrouteFrame(way.inLabel, false, ROUTE_DROPPED))
  }

  #abandoned(entry: Entry, way: Way, reason: 'bad-frame' | 'replaced' | 'leaving'): void {
    if (entry.way !== way) return
    this.#drop(entry)
    if (reason === 'bad-frame' && !entry.channel.hasEnded) this.#end(entry, 'broken')
  }

  /** `way` is the one that was lost. */
  #retryLater(entry: Entry, way: Way): void {
    const nowMs = this.#setup.env.clock.monotonicMs()
    if (entry.channel.hasEnded || this.#closing) return
    const stoodMs = way.inLabel === 0 ? 0 : nowMs - way.joinedAtMs
    this.#wait(entry, entry.backoff.lost(nowMs, stoodMs), () => this.#open(entry))
  }

  // Frames

  frame(link: Link, buffer: Buffer, start: number, end: number): void {
    if (link !== this.#link) return
    const kind = buffer[start]!
    if (kind === ROUTE) return this.#routed(readRoute(this.#reader.set(buffer, start + 1, end)))
    if (kind === UNROUTE) return this.#unrouted(this.#reader.set(buffer, start + 1, end))
    if (kind < FIRST_OF_CHANNEL || end - start < 4) throw badFrame(`a frame of kind ${kind}`)
    const label = labelAt(buffer, start)
    if (label === 0) return this.#fromBroker(link, buffer, start, end)
    const entry = this.#incoming.get(label)
    if (!entry) return // of a way that was given up while this was under way
    this.#read.add(entry.channel)
    try {
      if (entry.channel.receive(buffer, start, end) === 'forgotten') this.#forgotten(entry, buffer, start, end)
    } catch (error) {
      // The other end broke the protocol, not the broker: only its channel ends.
      this.#lastError = homingError(error, 'BAD_FRAME', `a frame of '${entry.run.identity}' could not be read`)
      this.#end(entry, 'broken')
    }
  }

  #fromBroker(link: Link, buffer: Buffer, start: number, end: number): void {
    const { run, channel } = this.#broker!
    if (channel.receive(buffer, start, end) === 'taken') return
    channel.detach(this.#broker!.path!)
    this.#broker = { run, channel: this.#newChannel(run), path: new LinkPath('broker', link) }
    channel.end('forgotten')
    this.#broker.channel.attach(this.#broker.path!)
    this.#broker.channel.receive(buffer, start, end)
    this.#setup.brokerUp(run, this.#endpoint)
  }

  /** The other end has a new channel to us under the same incarnation: begin anew on the same way. */
  #forgotten(entry: Entry, buffer: Buffer, start: number, end: number): void {
    const way = entry.way!
    entry.way = undefined
    entry.channel.detach(way)
    const fresh = this.#add(entry.run, entry)
    const again = new Way(way.label, way.pair, way.link, (given, reason) => this.#abandoned(fresh, given, reason))
    this.#join(fresh, again, way.inLabel)
    fresh.way = again
    this.#end(entry, 'forgotten')
    fresh.channel.attach(again)
    fresh.channel.receive(buffer, start, end)
  }

  #routed(route: Route): void {
    const { self } = this.#setup
    const { label, from, to } = route
    if (this.#closing || to.identity !== self.identity || to.incarnation !== self.incarnation) {
      this.#link!.write(unrouteFrame(label, false, ROUTE_DROPPED))
      return
    }
    let entry = this.#entries.get(from.identity)
    if (entry && entry.run.incarnation !== from.incarnation) {
      const replaced = entry
      entry = this.#add(from, replaced)
      this.#end(replaced, 'replaced')
    }
    entry ??= this.#add(from)
    this.#meet(entry, route)
    this.#deadEnds.end(from, 'replaced')
  }

  /** The other end opens its direction of the way. */
  #meet(entry: Entry, route: Route): void {
    const { self } = this.#setup
    const { label, pair, from } = route
    const { way } = entry
    if (way?.pair === pair) return this.#join(entry, way, label)
    // Both opened a way at once: that of the smaller identity stands, the other end will answer ours.
    if (way && way.inLabel === 0 && self.identity < from.identity) return
    this.#drop(entry)
    this.#open(entry, route)
  }

  #unrouted(reader: Reader): void {
    const label = reader.u24()
    const theirs = reader.u8() === 1
    for (const entry of this.#entries.values()) {
      const { way } = entry
      if (!way || (theirs ? way.inLabel : way.label) !== label) continue
      this.#drop(entry)
      return this.#retryLater(entry, way)
    }
  }

  batch(link: Link): void {
    if (link !== this.#link) return
    this.#broker?.channel.afterBatch()
    for (const channel of this.#read) channel.afterBatch()
    this.#read.clear()
  }
}
