/**
 * The sends of this peer to one destination, kept in order: across refusals, breaks, and moves of an address. Its route changes only when
 * every send on the old route is answered or given up; what was refused goes again first.
 */
import type { Timer } from '../env/env.ts'
import type { Channel } from '../mesh/channel.ts'
import type { Owner } from '../sessions/directory.ts'
import { BAD_BODY, FULL, MOVING, NO_HANDLER, NOT_ALLOWED, NOT_HERE, OVERTAKEN, UNSURE } from '../wire/frame.ts'
import type { Inbox } from './inbox.ts'
import { Queue } from './queue.ts'
import { failure, type Failure } from './receipt.ts'
import type { Send } from './send.ts'

/** Where a flow's sends go now. */
export type Route = { at: 'none' } | { at: 'local'; inbox: Inbox } | { at: 'channel'; channel: Channel; owner: string }

/**
 * `idle`: no route is known, nothing waits. `finding`: asked who holds it. `open`: sends go out as they come. `settling`: something was
 * refused or lost; waits for the answers to the rest. `paused`: the destination is full. `absent`: nobody holds it; waits for somebody
 * to. `retrying`: asks again soon.
 */
export type FlowState = 'idle' | 'finding' | 'open' | 'settling' | 'paused' | 'absent' | 'retrying'

/** What a flow needs of its router. */
export interface FlowHost {
  nowMs(): number
  after(ms: number, fn: () => void): Timer
  /**
   * Finds the destination, and answers with `foundHere`, `found`, `foundNobody` or `notFound` of the flow. `doubtful`: a client of this peer
   * may have lost it, unheard; then the datastore says.
   */
  find(flow: Flow, doubtful: boolean): void
  /** Finds the destination again, and answers with `recheckedAs`. */
  recheck(flow: Flow): void
  /**
   * Gives a send to a client of this peer: 0, or why not. `FULL`: it is full or being claimed, the inbox's `whenRoom` follows. `UNSURE`: this
   * peer may not own it any more, the flow's `room` follows when it knows.
   */
  deliverHere(flow: Flow, send: Send, inbox: Inbox): 0 | typeof FULL | typeof UNSURE
  /** Writes a send to its channel, which admits it. */
  write(send: Send, channel: Channel): void
  /** Calls the flow's `pump` when the channel has room or came up. */
  whenWritable(flow: Flow, channel: Channel): void
  /** What went wrong last with the path of a channel that is down. */
  whyDown(channel: Channel): string | undefined
  /** It waits again; its bytes count, whatever the budget says: it may not be lost. */
  held(send: Send): void
  /** It waits no more. */
  released(send: Send): void
  /** Ends the wait for an absent address, if one runs. */
  stopWaiting(flow: Flow): void
  /** Waits until the destination appears, and answers as `find`; after `untilMs` with `cameNot`, or with `waitFailed`. */
  waitFor(flow: Flow, untilMs: number): void
}

/** How often in a row an owner may say "not here" while the datastore names it, before nobody is believed to hold the address. */
const redirectsMax = 3
/** Waits before the datastore is read again after "not here", ms; doubles. */
const rereadMs = 20
/** How many sends are on the wire at once after the destination was full, at first, and when the bound is forgotten. */
const allowedMin = 8
const allowedMax = 4_096
/** How long a moving address is waited for, ms. */
export const movingMs = 5_000
const movingPollMs = 50
/** While a channel is down: how often it is looked up whether the address has gone elsewhere, ms. */
const recheckMs = 250
/** How long a channel must be down before what it has not answered is given up for an address that has gone elsewhere, ms. */
const giveUpAfterMs = 500

export class Flow {
  readonly kind: 'address' | 'peer'
  /** An address, or the identity of a peer. */
  readonly destination: string
  readonly #host: FlowHost
  readonly queue = new Queue<Send>()
  queuedBytes = 0
  state: FlowState = 'idle'
  route: Route = { at: 'none' }
  /** Written and not answered. */
  outstanding = 0
  /** Refused, waiting for the others' answers. */
  #refused: Send[] = []
  /** Why the flow settles, worst last. */
  #reason = 0
  /** *room* came while the flow was settling. */
  #roomSeen = false
  /**
   * How many may be on the wire at once. Without a bound until the destination was full; then few, and more with each that is accepted:
   * a long queue would else be sent and refused as a whole each time that there is a little room.
   */
  #allowed = Number.POSITIVE_INFINITY
  #acceptedSinceFull = 0
  /** A client of this peer took the address while the former owner had sends to answer. */
  #claimedMeanwhile = false
  /** The former owner accepted one after that: it may be the owner again, and what follows must not go past it to the client here. */
  #doubtful = false
  /** The owner that said "not here" or "moving" last. */
  #refusedBy = ''
  #rereads = 0
  #movingUntilMs = 0
  #timer: Timer | undefined
  #recheck: Timer | undefined
  #downSinceMs: number | undefined
  /** Sends up to this number were made before the present look-up began. */
  findMark = 0
  /** Why the last look-up failed. */
  lastFailure: Failure | undefined
  /** For the router's clock of rarely used flows. */
  used = true

  constructor(kind: 'address' | 'peer', destination: string, host: FlowHost) {
    this.kind = kind
    this.destination = destination
    this.#host = host
  }

  /** Nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return (
      this.queue.length === 0 &&
      this.outstanding === 0 &&
      this.#refused.length === 0 &&
      (this.state === 'open' || this.state === 'idle')
    )
  }

  /** Where a send may be written at once, because nothing waits before it. */
  get openChannel(): Channel | undefined {
    const { route } = this
    if (this.state !== 'open' || route.at !== 'channel' || this.queue.length > 0 || this.outstanding >= this.#allowed)
      return undefined
    const { channel } = route
    return channel.hasEnded || channel.remoteIsLeaving ? undefined : channel
  }

  /** One was written to its open channel. */
  wroteAtOnce(): void {
    this.used = true
    this.outstanding++
    this.#downSinceMs = undefined
  }

  /** Adds a send and moves on what can be moved. */
  add(send: Send): void {
    this.used = true
    this.queue.push(send)
    this.queuedBytes += send.size
    // While it is open and others wait before this one, something will pump already.
    if (this.state !== 'open' || this.queue.length === 1) this.pump()
  }

  /** Moves sends along as far as the state allows. */
  pump(budget = Number.POSITIVE_INFINITY): void {
    while (this.queue.length > 0) {
      if (this.state === 'idle' || this.state === 'absent') return this.#find()
      if (this.state === 'paused') this.#watchPath()
      if (this.state !== 'open') return
      if (budget-- <= 0) return this.#yield()
      if (!this.#forward(this.queue.peek()!)) return
    }
  }

  #yield(): void {
    if (this.route.at === 'channel') this.#host.whenWritable(this, this.route.channel)
  }

  /** Sends the first one on; false: it cannot go now, and something will call `pump`. */
  #forward(send: Send): boolean {
    const { route } = this
    if (route.at === 'local') {
      if (route.inbox.state === 'closed') return this.#reroute()
      const taken = this.#host.deliverHere(this, send, route.inbox)
      if (taken === 0) {
        this.#shift()
        return true
      }
      this.state = 'paused'
      this.#reason = taken
      route.inbox.whenRoom(() => this.room())
      return false
    }
    if (route.at !== 'channel') return this.#reroute()
    const { channel } = route
    if (channel.hasEnded || channel.remoteIsLeaving) return this.#reroute()
    if (this.outstanding >= this.#allowed) {
      this.#watchPath()
      return false // an answer calls `pump`
    }
    if (!channel.admits(send.bodyBytes + 512)) {
      if (!channel.ready) {
        this.#downSinceMs ??= this.#host.nowMs()
        this.#watchPath()
      }
      this.#host.whenWritable(this, channel)
      return false
    }
    this.#downSinceMs = undefined
    this.#shift()
    this.outstanding++
    this.#host.write(send, channel)
    return true
  }

  #shift(): void {
    const send = this.queue.shift()!
    this.queuedBytes -= send.size
    this.#host.released(send)
  }

  /** The route is of no use any more. Returns true for the loop to go on. */
  #reroute(): boolean {
    this.route = { at: 'none' }
    this.state = this.outstanding > 0 ? 'settling' : 'idle'
    if (this.state === 'settling') this.#reason = NOT_HERE
    return true
  }

  // Answers

  accepted(send: Send): void {
    this.outstanding--
    this.#refusedBy = ''
    this.#rereads = 0
    if (this.#claimedMeanwhile) this.#doubtful = true
    send.settle(undefined)
    this.#settled()
    if (this.#allowed === Number.POSITIVE_INFINITY) return
    this.#acceptedSinceFull++
    if (++this.#allowed > allowedMax) this.#allowed = Number.POSITIVE_INFINITY
    this.pump()
  }

  refused(send: Send, reason: number, payload: Buffer): void {
    this.outstanding--
    const final = finally_(reason, this.destination)
    if (final) {
      send.settle(final)
      return this.#settled()
    }
    send.body = Buffer.from(payload.subarray(payload.length - send.bodyBytes + (send.tail?.length ?? 0)))
    send.channel = undefined
    send.sequence = -1
    const gone = reason === NOT_HERE || reason === MOVING
    if (gone && this.route.at === 'channel' && this.state === 'open') this.#refusedBy = this.route.owner
    this.state = 'settling'
    if (reason === NOT_HERE && ++send.redirects > redirectsMax) {
      send.settle(
        failure('unreachable', 'UNREACHABLE', `'${this.destination}' moved ${send.redirects} times before this reached it`),
      )
      return this.#settled()
    }
    if (reason === MOVING) this.#isMoving()
    this.#reason = reason
    this.#refused.push(send)
    this.queuedBytes += send.size
    this.#host.held(send)
    if (this.outstanding > 0) this.#watchPath()
    this.#settled()
  }

  lost(send: Send): void {
    this.outstanding--
    send.settle(failure('unknown', 'LOST', `the peer that held '${this.destination}' went away before it answered`))
    if (this.state === 'open') {
      this.state = 'settling'
      this.#reason = NOT_HERE
    }
    this.#settled()
  }

  /** The destination is at a client of this peer now. */
  claimedHere(): void {
    if (this.route.at !== 'channel') return
    this.#claimedMeanwhile = this.outstanding > 0
    if (this.state === 'settling') this.route = { at: 'none' }
    if (this.state !== 'open' && this.state !== 'paused') return
    this.#reroute()
    this.#settled()
    this.pump()
  }

  /** The other end accepts nothing new: what comes next goes elsewhere. */
  channelLeaving(channel: Channel): void {
    if (this.route.at === 'channel' && this.route.channel === channel && this.state === 'open') this.pump()
  }

  /** The channel has ended; its unanswered sends have been told. */
  channelEnded(channel: Channel): void {
    if (this.route.at !== 'channel' || this.route.channel !== channel) return
    if (this.state === 'open' || this.state === 'paused') this.#reroute()
    this.#settled()
    this.pump()
  }

  /** The deadline of a written send has passed: its answer does not count any more. */
  unanswered(send: Send, channel: Channel): void {
    channel.abandon(send.sequence)
    this.outstanding--
    send.settle(failure('unknown', 'TIMEOUT', `'${this.destination}' was sent to, and no answer came by the deadline`))
    this.#settled()
    this.pump()
  }

  /** The destination has room again. */
  room(): void {
    this.#roomSeen = true
    if (this.state !== 'paused') return
    this.state = 'open'
    this.#roomSeen = false
    this.pump()
  }

  #settled(): void {
    if (this.state !== 'settling' || this.outstanding > 0) return
    this.#claimedMeanwhile = false
    const again = this.#refused
    this.#refused = []
    this.queue.unshift(again)
    if (this.#reason === FULL) {
      this.#allowed = Math.max(allowedMin, this.#acceptedSinceFull / 2)
      this.#acceptedSinceFull = 0
    }
    // Without the route that was full nobody would say when there is room.
    if ((this.#reason === FULL || this.#reason === UNSURE) && this.route.at !== 'none') {
      this.state = this.#roomSeen ? 'open' : 'paused'
      this.#roomSeen = false
      if (this.state === 'paused') this.#watchPath()
      return this.pump()
    }
    this.#roomSeen = false
    this.route = { at: 'none' }
    this.state = 'idle'
    this.pump()
  }

  #isMoving(): void {
    const nowMs = this.#host.nowMs()
    if (this.#movingUntilMs < nowMs) this.#movingUntilMs = nowMs + movingMs
  }

  // Finding

  #find(): void {
    this.state = 'finding'
    this.#timer?.cancel()
    this.#host.find(this, this.#doubtful)
  }

  /** It is at a client of this peer. */
  foundHere(inbox: Inbox): void {
    if (this.state !== 'finding' && this.state !== 'absent') return
    this.#doubtful = false
    this.#host.stopWaiting(this)
    this.route = { at: 'local', inbox }
    this.state = 'open'
    this.pump()
  }

  /** It is at another peer. */
  found(owner: string, channel: Channel): void {
    if (this.state !== 'finding' && this.state !== 'absent') return
    this.#doubtful = false
    this.lastFailure = undefined
    if (owner === this.#refusedBy) {
      if (!this.#rereadLater()) this.foundNobody()
      return
    }
    if (channel.remoteIsLeaving) return this.retryAfter(rereadMs) // its record will be gone in a moment
    this.#host.stopWaiting(this)
    this.route = { at: 'channel', channel, owner }
    this.state = 'open'
    this.pump()
  }

  /**
   * The datastore still names the owner that refused. True: it is asked again soon, or the owner itself is asked again.
   * False: it was asked often enough; the record is stale.
   */
  #rereadLater(): boolean {
    const nowMs = this.#host.nowMs()
    if (nowMs < this.#movingUntilMs) {
      this.retryAfter(movingPollMs)
      return true
    }
    if (this.#rereads >= redirectsMax) return false
    this.retryAfter(rereadMs * 2 ** this.#rereads++)
    return true
  }

  retryAfter(ms: number): void {
    this.state = 'retrying'
    this.#timer?.cancel()
    this.#timer = this.#host.after(ms, () => {
      if (this.state !== 'retrying') return
      this.state = 'idle'
      this.pump()
    })
  }

  /** Nobody holds it. Sends that do not wait, and were made before the look-up began, are told so. */
  foundNobody(): void {
    if (this.state !== 'finding' && this.state !== 'absent') return
    this.#doubtful = false
    this.#refusedBy = ''
    this.#rereads = 0
    const nowMs = this.#host.nowMs()
    if (nowMs < this.#movingUntilMs) return this.retryAfter(movingPollMs)
    this.drop(send => (send.number <= this.findMark && send.waitUntilMs <= nowMs ? this.#absent() : undefined))
    if (this.queue.length === 0) {
      this.state = 'idle'
      return this.#host.stopWaiting(this)
    }
    if ([...this.queue].some(send => send.number > this.findMark)) return this.#find()
    this.state = 'absent'
    let untilMs = 0
    for (const send of this.queue) untilMs = Math.max(untilMs, send.waitUntilMs)
    this.#host.waitFor(this, untilMs)
  }

  /** It left this peer and is expected elsewhere. */
  foundMoving(): void {
    if (this.state !== 'finding' && this.state !== 'absent') return
    this.#isMoving()
    this.foundNobody()
  }

  #absent(): Failure {
    const who = this.kind === 'address' ? `nobody holds '${this.destination}'` : `no peer '${this.destination}' is in the cluster`
    return failure('absent', 'ABSENT', who)
  }

  /** It cannot be told now where it is. */
  notFound(why: Failure): void {
    if (this.state !== 'finding') return
    this.lastFailure = why
    this.retryAfter(recheckMs)
  }

  /** The wait for it is over. Of what was sent meanwhile, and is being looked up by itself, that says nothing. */
  cameNot(): void {
    if (this.state === 'absent') this.foundNobody()
  }

  /** It could not be waited for. */
  waitFailed(why: Failure): void {
    if (this.state !== 'absent') return
    this.lastFailure = why
    this.retryAfter(recheckMs)
  }

  // A channel that is down

  /** The channel that waiting sends depend on, if they do. */
  #waitsOn(): Channel | undefined {
    const { route, state } = this
    const depends = state === 'open' || state === 'paused' || state === 'settling'
    return depends && this.hasWaiting && route.at === 'channel' ? route.channel : undefined
  }

  /** Sends wait, and its path is broken or may break: has the address gone elsewhere then? */
  #watchPath(): void {
    if (this.#recheck) return
    this.#recheck = this.#host.after(recheckMs, () => {
      this.#recheck = undefined
      const channel = this.#waitsOn()
      if (channel && !channel.ready) {
        this.#downSinceMs ??= this.#host.nowMs()
        return this.#host.recheck(this)
      }
      this.#downSinceMs = undefined
      if (channel && (this.state !== 'open' || this.outstanding >= this.#allowed)) this.#watchPath()
    })
  }

  /** Answer to the look-up of `#watchPath`: `owner` undefined is nobody. */
  recheckedAs(owner: string | undefined): void {
    const { route } = this
    const channel = this.#waitsOn()
    if (!channel || channel.ready || route.at !== 'channel') return this.#watchPath()
    const downMs = this.#host.nowMs() - (this.#downSinceMs ?? this.#host.nowMs())
    if (owner === route.owner || downMs < giveUpAfterMs) return this.#watchPath()
    this.#giveUp(channel)
  }

  recheckFailed(why: Failure): void {
    this.lastFailure = why
    this.#watchPath()
  }

  /** What the old owner has not answered is not known any more; it will not be sent to it late. */
  #giveUp(channel: Channel): void {
    const unanswered: Send[] = []
    channel.eachWaiter(waiter => isSendOf(waiter, this) && unanswered.push(waiter))
    for (const send of unanswered) {
      channel.abandon(send.sequence)
      this.outstanding--
      send.settle(failure('unknown', 'LOST', `'${this.destination}' is held elsewhere now; its former peer did not answer`))
    }
    this.state = 'settling'
    this.#reason = NOT_HERE
    this.#settled()
  }

  // Deadlines

  /** Something waits here: in the queue, or refused and for the answers to the rest. */
  get hasWaiting(): boolean {
    return this.queue.length > 0 || this.#refused.length > 0
  }

  /** Takes out of what waits that which `judge` has an outcome for. */
  drop(judge: (send: Send) => Failure | undefined): void {
    const keep = (send: Send): boolean => {
      const outcome = judge(send)
      if (!outcome) return true
      this.queuedBytes -= send.size
      this.#host.released(send)
      send.settle(outcome)
      return false
    }
    if (this.#refused.length > 0) this.#refused = this.#refused.filter(keep)
    this.queue.filter(keep)
  }

  /** Ends sends whose deadline has passed. */
  sweep(nowMs: number): void {
    this.drop(send => (send.deadlineAtMs <= nowMs ? this.whyWaiting() : undefined))
    if (this.state !== 'absent') return
    this.drop(send => (send.number <= this.findMark && send.waitUntilMs <= nowMs ? this.#absent() : undefined))
    if (this.queue.length > 0) return
    this.state = 'idle'
    this.#host.stopWaiting(this)
  }

  /** In the words of a receipt: what a send of this flow waits for. */
  whyWaiting(): Failure {
    const { destination: to, route } = this
    if (this.state === 'absent') return this.#absent()
    if (this.state === 'paused' || (this.state === 'settling' && this.#reason === FULL)) {
      return this.#reason === UNSURE
        ? failure('unreachable', 'UNREACHABLE', `the peer that holds '${to}' was not sure of its lease until the deadline`)
        : failure('overloaded', 'OVERLOADED', `the inbox of '${to}' stayed full until the deadline`)
    }
    if (this.state === 'open' && route.at === 'channel') {
      return route.channel.ready
        ? failure('overloaded', 'OVERLOADED', `the window to the peer that holds '${to}' stayed full until the deadline`)
        : this.#unreachable(route.channel)
    }
    if (this.lastFailure) return this.lastFailure
    return failure('expired', 'TIMEOUT', `the deadline passed before '${to}' was found`)
  }

  #unreachable(channel: Channel): Failure {
    const why = this.#host.whyDown(channel)
    const text = `the peer that holds '${this.destination}' (${channel.remote.identity}) could not be reached`
    return failure('unreachable', 'UNREACHABLE', why === undefined ? text : `${text}: ${why}`)
  }

  /** Ends everything that waits, as this peer does. */
  close(why: Failure): void {
    this.#timer?.cancel()
    this.#recheck?.cancel()
    this.#host.stopWaiting(this)
    this.drop(() => why)
    this.state = 'idle'
  }
}

export function ownerKey(owner: Owner): string {
  return `${owner.identity}/${owner.incarnation}/${owner.claim}`
}

function isSendOf(waiter: unknown, flow: Flow): waiter is Send {
  return (waiter as Send).flow === flow
}

export function notAllowed(to: string): Failure {
  return failure('refused', 'REFUSED', `the allow-list of the peer that holds '${to}' does not let this peer send to it`)
}

/** Refusals that no other owner would answer differently. */
function finally_(reason: number, to: string): Failure | undefined {
  switch (reason) {
    case BAD_BODY:
      return failure('refused', 'REFUSED', `the peer that holds '${to}' could not read the body; are its limits lower than ours?`)
    case NO_HANDLER:
      return failure('refused', 'REFUSED', `'${to}' takes no requests`)
    case NOT_ALLOWED:
      return notAllowed(to)
    case OVERTAKEN:
      return failure('refused', 'REFUSED', `a later send to '${to}' was accepted before this one`)
    default:
      return undefined
  }
}
