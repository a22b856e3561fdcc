/** The mesh in which peers dial each other: one link and one channel for each other run. */
import type { Connection, Env, Listener, Timer, Visit } from '../env/env.ts'
import { HomingError, homingError } from '../errors.ts'
import { Backoff } from '../link/backoff.ts'
import { Gate } from '../link/gate.ts'
import type { Remote } from '../link/handshake.ts'
import { Link, type CloseReason, type LinkHandler, type LinkSetup } from '../link/link.ts'
import type { Run } from '../sessions/directory.ts'
import { labelAt } from '../wire/frame.ts'
import { FIRST_OF_CHANNEL } from '../wire/kinds.ts'
import { Channel, type ChannelEnd, type ChannelOptions } from './channel.ts'
import { DeadEnds } from './dead-ends.ts'
import { formerOf } from './former.ts'
import { LinkPath } from './link-path.ts'
import type { Mesh, MeshHandler, PathFacts } from './mesh.ts'

export interface DirectMeshSetup {
  env: Env
  link: LinkSetup
  channel: ChannelOptions
  handler: MeshHandler
  self: Run
  /** Where a member can be dialled, as its record says now; empty: not known yet. Throws a `HomingError` where it never can. */
  endpointsOf(run: Run): readonly string[]
  /**
   * Two incarnations claim one identity: which one is current? Rejects (with what to refuse the newcomer with) when it cannot be told.
   */
  isCurrent(run: Run): Promise<boolean>
  /** Frames that are not for the channel between the two ends of a link: the broker's part. Absent: they are refused. */
  relay?: Relay
}

/** What a broker does with the links of its mesh. */
export interface Relay {
  /** Asked after the proof, before a link is let in. Rejects to refuse it. */
  admit(remote: Remote): Promise<void>
  linkUp(link: Link): void
  /** A frame with a label, or ROUTE or UNROUTE. */
  frame(link: Link, buffer: Buffer, start: number, end: number): void
  linkDown(link: Link, reason: CloseReason): void
}

/** Another run, and the state of the way to it. */
interface Entry {
  readonly run: Run
  readonly channel: Channel
  readonly backoff: Backoff
  /** Incarnations that this one is known to have replaced: who still asks for one of them does not end this channel. */
  readonly former: readonly string[]
  path: LinkPath | undefined
  dialling: Link | undefined
  redial: { timer: Timer; atMs: number } | undefined
  /** Since when nobody knows where it can be dialled, and it is not linked, ms. */
  placelessSinceMs: number | undefined
  /** Which of its endpoints to try next. */
  turn: number
  lastError: HomingError | undefined
}

/**
 * After so long without a link and without anybody who knows where it can be dialled, a run is forgotten, ms: whoever proves itself under ever
 * new names and goes again would else fill the memory. Who comes back begins a new channel.
 */
const placelessMs = 60_000
/** Runs that broke the protocol and are remembered for it; the oldest make room. */
const mistrustedMax = 1_000

export class DirectMesh implements Mesh, LinkHandler {
  readonly kind = 'direct'
  readonly #setup: DirectMeshSetup
  /** By identity: one incarnation of each at a time. */
  readonly #entries = new Map<string, Entry>()
  readonly #deadEnds = new DeadEnds()
  /** Of runs that broke the protocol: they are dialled again, but not at once for ever. By incarnation; gone with the run. */
  readonly #mistrusted = new Map<string, Backoff>()
  /** Every link that is not closed: those of channels, those still shaking hands, and those of probes and pulses. */
  readonly #links = new Set<Link>()
  readonly #gate: Gate
  /** Of those links that were accepted and have not proved themselves. */
  readonly #visits = new Map<Link, Visit>()
  /** Those of them that the relay, or the handler, was told to be up. */
  readonly #relayed = new Set<Link>()
  readonly #paths = new Set<Link>()
  readonly #listeners: Listener[] = []
  #closing = false

  constructor(setup: DirectMeshSetup) {
    this.#setup = setup
    this.#gate = new Gate(setup.env.clock, setup.link.options)
  }

  /** Accepts links at this endpoint too. Rejects with `BAD_OPTION`, or the system's error as cause of `UNREACHABLE`. */
  async listen(endpoint: string): Promise<string> {
    const { env, link } = this.#setup
    try {
      const listener = await env.transport.listen(
        endpoint,
        link.tls,
        (connection, visit) => this.#accept(connection, visit),
        this.#gate,
      )
      this.#listeners.push(listener)
      return listener.endpoint
    } catch (error) {
      throw listenError(error, endpoint)
    }
  }

  get endpoints(): readonly string[] {
    return this.#listeners.map(listener => listener.endpoint)
  }

  channelTo(run: Run): Channel {
    const entry = this.#entries.get(run.identity)
    if (entry?.run.incarnation === run.incarnation) {
      this.#hurry(entry)
      return entry.channel
    }
    if (entry?.former.includes(run.incarnation)) return this.#deadEnds.to(run, gone => this.#newChannel(gone))
    const added = this.#add(run, entry)
    if (entry) this.#end(entry, 'replaced')
    const { env } = this.#setup
    if (this.#mistrusted.has(run.incarnation)) this.#redialLater(added, added.backoff.failed(env.clock.monotonicMs()))
    else this.#dial(added)
    return added.channel
  }

  find(run: Run): Channel | undefined {
    const entry = this.#entries.get(run.identity)
    return entry?.run.incarnation === run.incarnation ? entry.channel : undefined
  }

  *channels(): Iterable<Channel> {
    for (const { channel } of this.#entries.values()) yield channel
  }

  end(run: Run, why: ChannelEnd): void {
    this.#mistrusted.delete(run.incarnation)
    const entry = this.#entries.get(run.identity)
    if (entry?.run.incarnation === run.incarnation) this.#end(entry, why)
    this.#deadEnds.end(run, why)
  }

  explain(run: Run): PathFacts {
    const entry = this.#entries.get(run.identity)
    if (entry?.run.incarnation !== run.incarnation) return { at: 'idle', kind: 'direct', unacknowledgedBytes: 0 }
    const { channel, path, dialling, redial, lastError } = entry
    const over = path?.name
    return {
      at: channel.ready ? 'up' : path ? 'resuming' : dialling ? 'dialling' : redial ? 'waiting' : 'idle',
      kind: 'direct',
      unacknowledgedBytes: channel.unacknowledgedBytes,
      ...(over !== undefined && { over }),
      ...(path?.link.roundTripMs !== undefined && { roundTripMs: path.link.roundTripMs }),
      ...(lastError && !channel.ready && { lastError: lastError.message }),
    }
  }

  async close(waitMs: number): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    const { env } = this.#setup
    for (const { channel, redial } of this.#entries.values()) {
      redial?.timer.cancel()
      channel.leave()
    }
    await Promise.all(this.#listeners.splice(0).map(listener => listener.close()))
    const untilMs = env.clock.monotonicMs() + waitMs
    while (this.#underWay() && env.clock.monotonicMs() < untilMs) {
      await new Promise<void>(resolve => void env.timers.after(5, resolve))
    }
    for (const entry of [...this.#entries.values()]) this.#end(entry, 'closed')
    this.#deadEnds.close()
    for (const link of [...this.#links]) link.close('leaving')
  }

  /** Somebody linked here has not answered our goodbye, or waits for an answer of ours. */
  #underWay(): boolean {
    for (const { channel, path } of this.#entries.values()) {
      if (path && (!channel.remoteIsLeaving || channel.unacknowledgedFrames > 0)) return true
    }
    return false
  }

  // Entries

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
      backoff: this.#mistrusted.get(run.incarnation) ?? new Backoff(link.options, env.random),
      former: formerOf(run, former),
      path: undefined,
      dialling: undefined,
      redial: undefined,
      placelessSinceMs: undefined,
      turn: 0,
      lastError: undefined,
    }
    this.#entries.set(run.identity, entry)
    return entry
  }

  #end(entry: Entry, why: ChannelEnd): void {
    if (why === 'replaced') this.#mistrusted.delete(entry.run.incarnation)
    if (this.#entries.get(entry.run.identity) === entry) this.#entries.delete(entry.run.identity)
    entry.redial?.timer.cancel()
    entry.redial = undefined
    entry.dialling?.close('local')
    entry.channel.end(why)
  }

  // Dialling

  #dial(entry: Entry): void {
    entry.redial?.timer.cancel()
    entry.redial = undefined
    if (this.#closing || entry.path || entry.dialling || entry.channel.hasEnded) return
    const { env, link: setup, handler } = this.#setup
    try {
      const endpoints = this.#setup.endpointsOf(entry.run)
      if (endpoints.length === 0) return this.#isPlaceless(entry)
      entry.placelessSinceMs = undefined
      const link = Link.dial(env, setup, endpoints[entry.turn++ % endpoints.length]!, entry.run.identity, this)
      this.#links.add(link)
      entry.dialling = link
    } catch (error) {
      entry.lastError = homingError(error, 'UNREACHABLE', `'${entry.run.identity}' cannot be dialled`)
      handler.dialFailed(entry.run.identity, entry.lastError, entry.backoff.failures)
      this.#redialLater(entry, entry.backoff.failed(env.clock.monotonicMs()))
    }
  }

  #isPlaceless(entry: Entry): void {
    const nowMs = this.#setup.env.clock.monotonicMs()
    entry.placelessSinceMs ??= nowMs
    if (nowMs - entry.placelessSinceMs >= placelessMs) this.#end(entry, 'dead')
    else this.#redialLater(entry, entry.backoff.failed(nowMs))
  }

  #redialLater(entry: Entry, waitMs: number): void {
    if (this.#closing || entry.channel.hasEnded) return
    const { env } = this.#setup
    entry.redial?.timer.cancel()
    entry.redial = { timer: env.timers.after(waitMs, () => this.#dial(entry)), atMs: env.clock.monotonicMs() + waitMs }
  }

  /** Somebody wants the way now: a long wait is cut short, a short one is waited out. */
  #hurry(entry: Entry): void {
    if (entry.path || entry.dialling) return
    const { env, link } = this.#setup
    const leftMs = entry.redial ? entry.redial.atMs - env.clock.monotonicMs() : 0
    if (!entry.redial || leftMs > link.options.redialCapMs) this.#dial(entry)
  }

  // Links: LinkHandler

  #accept(connection: Connection, visit: Visit | undefined): Link {
    const link = Link.accept(this.#setup.env, this.#setup.link, connection, this)
    if (link.isClosed) {
      visit?.left()
      return link
    }
    this.#links.add(link)
    if (!visit) return link
    this.#visits.set(link, visit)
    visit.cut = () => link.close('slow', new HomingError('UNREACHABLE', 'too many connections were shaking hands'))
    return link
  }

  async admit(_link: Link, remote: Remote): Promise<void> {
    if (this.#closing) throw new HomingError('CLOSED', `${this.#setup.self.identity} is closing`)
    if (remote.role === 'probe') return
    await this.#setup.relay?.admit(remote)
    if (remote.role === 'pulse') {
      if (!this.#setup.relay) throw new HomingError('REFUSED', 'only a broker takes a pulse')
      return
    }
    if (remote.identity === this.#setup.self.identity) {
      throw new HomingError('IDENTITY_IN_USE', `the identity '${remote.identity}' is in use here`)
    }
    const known = this.#entries.get(remote.identity)
    if (!known || known.run.incarnation === remote.incarnation) return
    if (!(await this.#setup.isCurrent(remote))) {
      throw new HomingError('FENCED', `'${remote.identity}' has a newer incarnation than ${remote.incarnation}`)
    }
  }

  opened(link: Link): void {
    this.#visits.get(link)?.proved()
    this.#visits.delete(link)
    const { remote } = link
    if (remote.role === 'probe') return link.close('local')
    if (remote.role === 'pulse') return this.#relay(link)
    let entry = this.#entries.get(remote.identity)
    if (entry && entry.run.incarnation !== remote.incarnation) {
      if (link.dialled && entry.dialling !== link) return link.close('replaced')
      this.#forgetDial(entry, link)
      const replaced = entry
      entry = this.#add(remote, replaced)
      entry.dialling = link // nobody dials it meanwhile
      this.#end(replaced, 'replaced')
    }
    entry ??= this.#add(remote)
    this.#forgetDial(entry, link)
    this.#use(entry, link)
    this.#deadEnds.end(remote, 'replaced')
  }

  /** Of two links to one broker only the one that stays may carry what is forwarded. */
  #relay(link: Link): void {
    this.#relayed.add(link)
    this.#setup.relay?.linkUp(link)
  }

  #forgetDial(entry: Entry, link: Link): void {
    if (entry.dialling === link) entry.dialling = undefined
  }

  /** Of two links to one run, both ends keep the same one. */
  #use(entry: Entry, link: Link): void {
    const current = entry.path?.link
    if (current && !this.#replaces(entry, current, link)) return link.close('duplicate')
    entry.redial?.timer.cancel()
    entry.redial = undefined
    entry.lastError = undefined
    entry.placelessSinceMs = undefined
    entry.path = new LinkPath('direct', link)
    this.#relay(link)
    this.#paths.add(link)
    if (current) this.#paths.delete(current)
    this.#setup.handler.linkUp(link.remote, link.address)
    entry.channel.attach(entry.path)
    current?.close('duplicate')
  }

  #replaces(entry: Entry, current: Link, link: Link): boolean {
    if (current.dialled === link.dialled) return true // the other end dialled again: it has lost the former one
    // Dialled at once from both sides, they are about as old as each other. Else the other end dials because it has no link.
    if (current.ageMs > this.#setup.link.options.handshakeTimeoutMs) return true
    const smaller = this.#setup.self.identity < entry.run.identity
    return link.dialled === smaller
  }

  frame(link: Link, buffer: Buffer, start: number, end: number): void {
    const kind = buffer[start]!
    if (kind < FIRST_OF_CHANNEL || end - start < 4 || labelAt(buffer, start) !== 0) {
      const { relay } = this.#setup
      if (!relay) throw new HomingError('BAD_FRAME', `a frame of kind ${kind} that only a broker takes`)
      return relay.frame(link, buffer, start, end)
    }
    const entry = this.#entries.get(link.remote.identity)
    if (entry?.path?.link !== link) return // a duplicate that is about to close
    if (entry.channel.receive(buffer, start, end) === 'forgotten') this.#forgotten(entry, link, buffer, start, end)
  }

  /** The other end has a new channel to us under the same incarnation: it had judged us dead. Begin anew on the same link. */
  #forgotten(entry: Entry, link: Link, buffer: Buffer, start: number, end: number): void {
    entry.channel.detach(entry.path!)
    const fresh = this.#add(entry.run, entry)
    fresh.path = new LinkPath('direct', link)
    this.#end(entry, 'forgotten')
    fresh.channel.attach(fresh.path)
    fresh.channel.receive(buffer, start, end)
  }

  batch(link: Link): void {
    const entry = this.#entries.get(link.remote.identity)
    if (entry?.path?.link === link) entry.channel.afterBatch(link.isWithinFrame)
  }

  closed(link: Link, reason: CloseReason, error?: HomingError): void {
    this.#links.delete(link)
    this.#visits.get(link)?.left()
    this.#visits.delete(link)
    if (link.dialled) this.#dialEnded(link, error)
    if (!link.wasOpen) {
      if (!link.dialled && error) this.#setup.handler.linkRefused(link.address, error)
      return
    }
    const { identity } = link.remote
    if (this.#relayed.delete(link)) this.#setup.relay?.linkDown(link, reason)
    if (this.#paths.delete(link)) this.#setup.handler.linkDown(identity, reason, error)
    if (reason === 'bad-frame' && error) this.#setup.handler.linkRefused(link.address, error)
    const entry = this.#entries.get(identity)
    if (entry?.path?.link !== link) return
    const path = entry.path
    entry.path = undefined
    // Frames that cannot be read would come again with every resume.
    if (reason === 'bad-frame') {
      this.#mistrust(entry)
      return this.#end(entry, 'broken')
    }
    entry.channel.detach(path)
    const { env, link: setup } = this.#setup
    // A duplicate is no failure: the other end keeps another link, which is open here too in a moment.
    const waitMs = reason === 'duplicate' ? setup.options.redialMs : entry.backoff.lost(env.clock.monotonicMs(), link.ageMs)
    // Who dialled dials again; the other end gives it time for that, so that two links at once stay rare.
    this.#redialLater(entry, link.dialled ? waitMs : waitMs + 5 * setup.options.redialMs)
  }

  #mistrust({ run, backoff }: Entry): void {
    this.#mistrusted.delete(run.incarnation)
    this.#mistrusted.set(run.incarnation, backoff)
    if (this.#mistrusted.size > mistrustedMax) this.#mistrusted.delete(this.#mistrusted.keys().next().value!)
  }

  /** A dial that failed, or was closed before the handshake ended. */
  #dialEnded(link: Link, error: HomingError | undefined): void {
    for (const entry of this.#entries.values()) {
      if (entry.dialling !== link) continue
      entry.dialling = undefined
      if (entry.path) return
      entry.lastError = error ?? new HomingError('UNREACHABLE', 'the link was closed')
      this.#setup.handler.dialFailed(entry.run.identity, entry.lastError, entry.backoff.failures + 1)
      this.#redialLater(entry, entry.backoff.failed(this.#setup.env.clock.monotonicMs()))
      return
    }
  }
}

function listenError(error: unknown, endpoint: string): HomingError {
  if (error instanceof HomingError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'EADDRINUSE') {
    return new HomingError('UNREACHABLE', `${endpoint} is in use by another program; choose another port with --listen`, {
      cause: error,
    })
  }
  if (code === 'EACCES') return new HomingError('UNREACHABLE', `no permission to listen on ${endpoint}`, { cause: error })
  return homingError(error, 'UNREACHABLE', `cannot listen on ${endpoint}`)
}
