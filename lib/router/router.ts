/**
 * The way of every send to the holder of its address: here, over a channel, or nowhere. And of what peers say to each other: the
 * protocols on which the layers stand.
 */
import { Access, type Grants } from '../access/access.ts'
import type { Env, Timer } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { Channel } from '../mesh/channel.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Directory, Run } from '../sessions/directory.ts'
import { encodeBody } from '../wire/body.ts'
import { BAD_BODY, FULL, UNSURE, type Reader } from '../wire/frame.ts'
import { CALL, CANCEL, MESSAGE, REPLY, REQUEST, TELL } from '../wire/kinds.ts'
import { FINE, scanBody, type BodyLimits } from '../wire/scan.ts'
import { Budget } from './budget.ts'
import { Calls } from './calls.ts'
import { notAllowed, type Flow, type FlowHost } from './flow.ts'
import { Flows } from './flows.ts'
import { Encoded } from './frame-body.ts'
import type { Inbox, InboxHost } from './inbox.ts'
import { Locator } from './locator.ts'
import { BytesMessage, originOf, type Message, type Sender, type Serve } from './message.ts'
import type { RouterOptions } from './options.ts'
import { failure, NumberedReceipt, type Failure, type Receipt } from './receipt.ts'
import { Protocols, type ProtocolHandlers } from './protocols.ts'
import { Reception, type ReceptionHost } from './reception.ts'
import { Send, type Settle } from './send.ts'
import { encodeApart, writeAtOnce, writeSend } from './send-frame.ts'
import type { CallOptions, RequestOptions, SendOptions } from './send-options.ts'
import { Serving, type RequestContext, type Work } from './serving.ts'
import { Signals } from './signals.ts'
import { Turn } from './turn.ts'

export interface RouterSetup {
  env: Env
  self: Run
  options: RouterOptions
  limits: Readonly<BodyLimits>
  /** Who may send here; absent: everybody. */
  access?: Access
  /** Runs the request handler of a client: its answer, or a promise of it. Throws `REFUSED` where there is none. */
  answer(message: Message, context: RequestContext): unknown
  answers(address: string): boolean
  /** Something failed that nobody waits for. */
  trouble(error: unknown): void
  /** A handler threw. */
  handlerFailed(where: string, error: unknown): void
}

/** How often deadlines are looked at, ms. A timer for each message would cost more than the message. */
const sweepMs = 40

export class Router implements FlowHost {
  readonly #setup: RouterSetup
  readonly #env: Env
  readonly #options: RouterOptions
  readonly budget: Budget
  /** For the inboxes of this peer. */
  readonly inboxHost: InboxHost
  readonly reception: Reception
  readonly #calls = new Calls()
  readonly #serving: Serving
  readonly #signals = new Signals()
  readonly #origin: string
  /** Of what this peer's own clients and code send. */
  readonly #sender: Sender
  readonly #access: Access
  readonly #grants: Grants
  readonly #turn: Turn
  readonly #locator: Locator
  #directory: Directory | undefined
  #sure = true
  #doubts = 0
  #closed: HomingError | undefined

  readonly #flows: Flows
  /** Flows in which something waits. */
  readonly #active = new Set<Flow>()
  /** Flows that wait for room or for the path of a channel. */
  readonly #blocked = new Map<Channel, Set<Flow>>()
  /** Flows to clients of this peer that wait until it is sure of its lease. */
  readonly #unsure = new Set<Flow>()
  /** Hand-overs that wait for the same. */
  readonly #untilSure = new Set<() => void>()
  readonly #protocols: Protocols
  #lastNumber = 0
  #sweeper: Timer | undefined
  readonly counts = { sent: 0, byStatus: {} as Partial<Record<Receipt['status'], number>> }

  constructor(setup: RouterSetup) {
    this.#setup = setup
    this.#env = setup.env
    this.#options = setup.options
    this.budget = new Budget(setup.options.waitingBytesMax)
    const { inboxBytesMax, requestsMax } = setup.options
    this.inboxHost = { inboxBytesMax, requestsMax, budget: this.budget, timers: setup.env.timers }
    this.#origin = originOf(setup.self)
    this.#sender = { identity: setup.self.identity, origin: this.#origin, vouchedBy: undefined }
    this.#access = setup.access ?? new Access(undefined, setup.trouble)
    this.#grants = this.#access.of(setup.self.identity)
    this.#turn = new Turn(setup.env)
    this.#flows = new Flows(this, setup.options.locationsMax)
    this.#serving = new Serving({
      limits: setup.limits,
      nowMs: () => this.nowMs(),
      turnMs: () => this.#turn.nowMs,
      somethingWaits: () => this.#active.size > 0,
      replyInTurn: (to, callId, failed, body, untilMs) =>
        void this.#toPeer(to, REPLY, failed ? failedText : '', new Encoded(body), callId, untilMs, unheard),
    })
    this.#protocols = new Protocols(this.#serving, setup.limits, this.budget, (name, error) =>
      setup.handlerFailed(`protocol ${name}`, error),
    )
    const receptionHost: ReceptionHost = {
      serve: (channel, callId, deadlineMs, message) =>
        this.#serving.answer(channel, callId, deadlineMs, context => setup.answer(message, context)),
      answers: setup.answers,
      notHere: address => void this.#locator.lookForGhost(address),
      isSure: () => this.#isSure(),
    }
    this.reception = new Reception(setup.env, setup.limits, receptionHost, this.#access)
    this.#locator = new Locator({
      env: setup.env,
      self: setup.self,
      reception: this.reception,
      deadlineMs: setup.options.deadlineMs,
      trouble: error => setup.trouble(error),
    })
  }

  /** Before the first link. */
  meets(mesh: Mesh): void {
    this.#locator.meets(mesh)
    this.#sweeper = this.#env.timers.every(sweepMs, () => this.#sweep())
  }

  /** Before anything is sent to an address. */
  connect(directory: Directory): void {
    this.#directory = directory
    this.#locator.connect(directory)
  }

  /** How often this peer was unsure of what it holds: a claim that was under way meanwhile may have been overtaken, unheard. */
  get doubts(): number {
    return this.#doubts
  }

  /** Of a call that names none, ms. */
  get deadlineMs(): number {
    return this.#options.deadlineMs
  }

  /** How a message from another peer comes. */
  get via(): 'direct' | 'broker' {
    return this.#locator.mesh.kind
  }

  /** Who says that the other end of the channel to a run is that run: the broker on the way; undefined where the run itself proved it. */
  voucherOf(run: Run): string | undefined {
    const path = this.#locator.mesh.find(run)?.path
    return path?.kind === 'broker' ? path.name : undefined
  }

  /** Whether the address was sent to before, or is connected here: then it is well-formed. */
  knows(address: string): boolean {
    return this.#flows.at(address) !== undefined || this.reception.serving(address) !== undefined
  }

  /**
   * Looked at by the clocks of this moment, once a turn of the loop: after a stall or a suspend what had queued on the sockets comes before
   * any timer, and may not be delivered under a lease that has ended meanwhile.
   */
  #isSure(): boolean {
    if (this.#turn.isFirstLook()) void this.#directory?.lease
    return this.#sure
  }

  /** A client of this peer has the address now: what is sent to it goes there, not to its former owner. */
  claimedHere(address: string): void {
    this.#flows.at(address)?.claimedHere()
  }

  // Sending to addresses

  /** Resolves to the receipt; never rejects. */
  send(to: string, body: unknown, options: SendOptions = none): Promise<Receipt> {
    const receipt = new Promise<Receipt>(catchResolve)
    this.#send(MESSAGE, to, body, options, 0, this.#receipted, caught)
    return receipt
  }

  /** Of all messages: a function for each would cost as much as the rest of its receipt. */
  readonly #receipted: Settle = (failed, { resolve, number, early }) => {
    const status = failed?.status ?? (early ? 'sent' : 'delivered')
    this.counts.byStatus[status] = (this.counts.byStatus[status] ?? 0) + 1
    resolve!(new NumberedReceipt(status, failed?.cause, this.#origin, number))
  }

  /** Resolves to the handler's reply; rejects with a `HomingError`. */
  request(to: string, body: unknown, options: RequestOptions = none): Promise<unknown> {
    const { id, reply } = this.#calls.open(to, '', this.#turn.nowMs + (options.deadlineMs ?? this.#options.deadlineMs))
    const { signal } = options
    let send: Send | undefined
    const unwatch = signal && this.#signals.watch(signal, () => this.#giveUp(id, send, signal))
    send = this.#send(REQUEST, to, body, options, id, this.#requested, undefined)
    return unwatch ? reply.finally(unwatch) : reply
  }

  readonly #requested: Settle = (failed, { callId, channel }) => {
    if (failed) this.#calls.fail(callId, failed.cause)
    else this.#calls.accepted(callId, channel)
  }

  #send(
    kind: number,
    to: string,
    body: unknown,
    options: SendOptions,
    callId: number,
    settle: Settle,
    resolve: ((receipt: Receipt) => void) | undefined,
  ): Send {
    this.counts.sent++
    const { from = '', signal } = options
    const flow = this.#flows.to(to)
    const nowMs = this.#turn.nowMs
    const deadlineAtMs = nowMs + (options.deadlineMs ?? this.#options.deadlineMs)
    const send = new Send(flow, {
      kind,
      from,
      number: ++this.#lastNumber,
      callId,
      deadlineAtMs,
      waitUntilMs: options.waitMs ? Math.min(deadlineAtMs, nowMs + options.waitMs) : 0,
      settle,
      early: options.level === 'sent',
      resolve,
    })
    const refused = this.#mayNotSend(from, signal)
    if (signal && kind === MESSAGE && !refused) send.unwatch = this.#signals.watch(signal, () => this.#abort(send, signal))
    if (refused) send.settle(refused)
    else if (!this.#writeAtOnce(flow, send, body)) this.#enter(flow, send, body)
    return send
  }

  /** False: it has to be encoded apart; nothing has happened yet. */
  #writeAtOnce(flow: Flow, send: Send, body: unknown): boolean {
    const channel = flow.openChannel
    if (!channel || !writeAtOnce(send, channel, body, this.#setup.limits, this.#turn)) return false
    if (send.sequence >= 0) this.#wrote(send, channel)
    return true
  }

  #wrote(send: Send, channel: Channel): void {
    if (send.kind === REQUEST || send.kind === CALL) this.#calls.written(send.callId, channel)
    if (send.early) send.settle(undefined)
  }

  /** For what goes to several. Throws `UNENCODABLE`, `TOO_LARGE`, and what the body's own code throws. */
  encode(body: unknown): Encoded {
    return new Encoded(encodeBody(body, this.#setup.limits))
  }

  /** Whether these bytes, which another peer sent within a body, are a body themselves: one that can be decoded. */
  isBody(bytes: Uint8Array): boolean {
    return scanBody(bytes, 0, bytes.length, this.#setup.limits) === FINE
  }

  #mayNotSend(from: string, signal: AbortSignal | undefined): Failure | undefined {
    if (this.#closed) return { status: 'refused', cause: this.#closed }
    if (signal?.aborted) return failure('expired', 'TIMEOUT', 'the signal was aborted before the call', signal.reason)
    if (this.#options.strictFrom && from !== '' && !this.reception.at(from)) {
      return failure('refused', 'REFUSED', `'${from}' is not connected at this peer (strictFrom)`)
    }
    return undefined
  }

  /** Into its flow, if what waits there and everywhere has room for it. */
  #enter(flow: Flow, send: Send, body: unknown): void {
    if (!encodeApart(send, body, this.#setup.limits)) return
    if (this.#closed) return send.settle({ status: 'refused', cause: this.#closed }) // meanwhile, by code of the body
    const full = flow.queuedBytes > 0 && flow.queuedBytes + send.size > this.#options.waitingBytesPerAddressMax
    const room = !full && (flow.kind === 'peer' ? this.budget.takeForPeers(send.size) : this.budget.take(send.size))
    if (!room) {
      const what = full ? `to '${flow.destination}'` : 'of this peer'
      send.settle(failure('overloaded', 'OVERLOADED', `the sends ${what} that wait take all the memory they may`))
      return
    }
    flow.add(send)
    if (flow.queue.length > 0) this.#active.add(flow)
  }

  #deadline(deadlineMs: number = this.#options.deadlineMs): number {
    return this.#env.clock.monotonicMs() + deadlineMs
  }

  #abort(send: Send, signal: AbortSignal): void {
    if (send.settled) return
    if (send.sequence >= 0 && send.channel) {
      send.flow.unanswered(send, send.channel)
      return
    }
    send.flow.drop(one => (one === send ? failure('expired', 'TIMEOUT', 'aborted by the caller', signal.reason) : undefined))
  }

  #giveUp(callId: number, send: Send | undefined, signal: AbortSignal): void {
    const channel = this.#calls.giveUp(callId, signal.reason) ?? send?.channel
    if (channel) this.#cancel(callId, channel)
    if (send) this.#abort(send, signal)
  }

  // FlowHost

  nowMs(): number {
    return this.#env.clock.monotonicMs()
  }

  after(ms: number, fn: () => void): Timer {
    return this.#env.timers.after(ms, fn)
  }

  find(flow: Flow, doubtful: boolean): void {
    flow.findMark = this.#lastNumber
    if (flow.kind === 'peer') this.#locator.findPeer(flow, this.#flows.runOf(flow))
    else this.#locator.find(flow, doubtful)
  }

  recheck(flow: Flow): void {
    this.#locator.recheck(flow)
  }

  waitFor(flow: Flow, untilMs: number): void {
    this.#locator.waitFor(flow, untilMs)
  }

  stopWaiting(flow: Flow): void {
    this.#locator.stopWaiting(flow)
  }

  whyDown(channel: Channel): string | undefined {
    return this.#locator.mesh.explain(channel.remote).lastError
  }

  held(send: Send): void {
    this.budget.force(send.size)
    this.#active.add(send.flow)
  }

  released(send: Send): void {
    this.budget.give(send.size)
  }

  whenWritable(flow: Flow, channel: Channel): void {
    let flows = this.#blocked.get(channel)
    if (!flows) this.#blocked.set(channel, (flows = new Set()))
    flows.add(flow)
  }

  deliverHere(flow: Flow, send: Send, inbox: Inbox): 0 | typeof FULL | typeof UNSURE {
    if (!this.#isSure()) {
      this.#unsure.add(flow)
      return UNSURE
    }
    const request = send.kind === REQUEST
    if (this.#access.isOn && !this.#grants.may(request ? 'request' : 'send', inbox.address)) {
      send.settle(notAllowed(inbox.address))
      return 0
    }
    if (request && !this.#setup.answers(inbox.address) && inbox.state !== 'claiming') {
      send.settle(failure('refused', 'REFUSED', `'${inbox.address}' takes no requests`))
      return 0
    }
    const serve: Serve | undefined = request ? taken => this.#serveHere(send, taken) : undefined
    const { from, number } = send
    const body = send.tail ? Buffer.concat([send.body, send.tail]) : send.body
    const message = new BytesMessage(from, inbox.address, body, 0, body.length, this.#sender, number, 'local', serve)
    if (!inbox.offer(message)) return FULL
    send.settle(undefined)
    return 0
  }

  write(send: Send, channel: Channel): void {
    writeSend(send, channel, this.#turn)
    this.#wrote(send, channel)
  }

  // Channels: what the mesh tells

  accept(channel: Channel, kind: number, reader: Reader): number {
    switch (kind) {
      case MESSAGE:
      case REQUEST:
        return this.reception.accept(channel, kind, reader)
      case REPLY:
        return this.#replied(channel, reader)
      case CANCEL:
        this.#serving.cancelled(channel, reader.u32())
        return 0
      case TELL:
        return this.#protocols.told(channel, reader)
      case CALL:
        return this.#protocols.called(channel, reader)
      default:
        throw new HomingError('BAD_FRAME', `a numbered frame of the unknown kind ${kind}`)
    }
  }

  room(channel: Channel, address: string): void {
    const flow = this.#flows.at(address)
    if (flow?.route.at === 'channel' && flow.route.channel === channel) flow.room()
  }

  writable(channel: Channel): void {
    const flows = this.#blocked.get(channel)
    if (!flows) return
    this.#blocked.delete(channel)
    // In turns, so that one flow with much to send does not take the whole window.
    for (const flow of flows) flow.pump(turn)
  }

  acknowledged(channel: Channel, sequence: number): void {
    this.reception.acknowledged(channel, sequence)
    if (this.#blocked.has(channel) && channel.admits(0)) this.writable(channel)
  }

  leaving(channel: Channel): void {
    for (const flow of this.#flows.toAddresses()) flow.channelLeaving(channel)
  }

  ended(channel: Channel): void {
    this.#blocked.delete(channel)
    this.#calls.lostOn(channel)
    this.#serving.lostOn(channel)
    this.reception.ended(channel)
    for (const flow of this.#flows) flow.channelEnded(channel)
  }

  // Peers and protocols

  /** Answers a protocol from now on; one answer a name. Throws `BAD_OPTION` for a name that is taken. */
  serveProtocol(name: string, handlers: ProtocolHandlers): () => void {
    return this.#protocols.serve(name, handlers)
  }

  /** Resolves when the run has accepted it; rejects with a `HomingError` otherwise. In order with other tells and calls to that run. */
  tell(run: Run, protocol: string, body: unknown, options: CallOptions = none): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle: Settle = failed => (failed ? reject(failed.cause) : resolve())
      this.#toPeer(run, TELL, protocol, body, 0, this.#deadline(options.deadlineMs), settle)
    })
  }

  /** Resolves to what the run's protocol handler answers; rejects with a `HomingError`. */
  call(run: Run, protocol: string, body: unknown, options: CallOptions = none): Promise<unknown> {
    const deadlineAtMs = this.#deadline(options.deadlineMs)
    const { id, reply } = this.#calls.open(run.identity, protocol, deadlineAtMs)
    let send: Send | undefined
    const { signal } = options
    const unwatch = signal && this.#signals.watch(signal, () => this.#giveUp(id, send, signal))
    send = this.#toPeer(run, CALL, protocol, body, id, deadlineAtMs, this.#requested)
    return unwatch ? reply.finally(unwatch) : reply
  }

  #toPeer(run: Run, kind: number, from: string, body: unknown, callId: number, deadlineAtMs: number, settle: Settle): Send {
    const flow = this.#flows.toPeer(run)
    const number = ++this.#lastNumber
    const setup = { kind, from, number, callId, deadlineAtMs, waitUntilMs: 0, settle, early: false, resolve: undefined }
    const send = new Send(flow, setup)
    if (this.#closed) send.settle({ status: 'refused', cause: this.#closed })
    else this.#enter(flow, send, body)
    return send
  }

  #replied(channel: Channel, reader: Reader): number {
    const callId = reader.u32()
    const ok = reader.u8() === 0
    const { buffer, at, end } = reader
    if (scanBody(buffer, at, end, this.#setup.limits) < 0) return BAD_BODY
    this.#calls.replied(callId, ok, buffer, at, end, channel)
    return 0
  }

  /** A request between two clients of this peer. */
  #serveHere(send: Send, message: BytesMessage): Promise<void> | undefined {
    const { callId } = send
    const deadlineMs = Math.max(0, send.deadlineAtMs - this.#turn.nowMs)
    this.#calls.written(callId, 'here')
    const work: Work = context => this.#setup.answer(message, context)
    return this.#serving.answerHere(callId, deadlineMs, work, (ok, body) =>
      this.#calls.replied(callId, ok, body, 0, body.length, 'here'),
    )
  }

  #cancel(callId: number, channel: Channel): void {
    if (channel.hasEnded) return
    const at = channel.begin(CANCEL, 4)
    channel.commit(channel.buffer.writeUInt32BE(callId, at))
  }

  // Time

  /** Whether what comes in may be taken: this peer is sure that it owns what it claimed. */
  setSure(sure: boolean): void {
    if (this.#sure === sure) return
    this.#sure = sure
    if (!sure) {
      this.#doubts++
      return
    }
    this.reception.sureAgain()
    const waiting = [...this.#unsure]
    this.#unsure.clear()
    for (const flow of waiting) flow.room()
    for (const wake of [...this.#untilSure]) wake()
  }

  /** Undefined: this peer is sure that it owns what it claimed. Else it resolves when it is, or after `waitMs`. */
  untilSure(waitMs: number): Promise<void> | undefined {
    if (this.#isSure()) return undefined
    return new Promise(resolve => {
      const wake = (): void => {
        timer.cancel()
        this.#untilSure.delete(wake)
        resolve()
      }
      const timer = this.#env.timers.after(waitMs, wake)
      this.#untilSure.add(wake)
    })
  }

  #sweep(): void {
    const nowMs = this.nowMs()
    for (const flow of this.#active) {
      flow.sweep(nowMs)
      if (!flow.hasWaiting) this.#active.delete(flow)
    }
    for (const channel of this.#locator.mesh.channels())
      channel.eachWaiter(waiter => this.#overdue(waiter as Send, channel, nowMs))
    this.#calls.sweep(nowMs, (id, channel) => this.#cancel(id, channel))
    this.#serving.sweep(nowMs)
    this.reception.sweep(nowMs)
    this.#flows.forgetPeers(run => this.#locator.mesh.find(run) !== undefined)
  }

  /** Whoever has not said that it has a request may stand still, and read of it later: it hears then that nobody waits for it any more. */
  #overdue(send: Send, channel: Channel, nowMs: number): void {
    if (send.deadlineAtMs > nowMs || send.settled) return
    if (send.kind === REQUEST || send.kind === CALL) this.#cancel(send.callId, channel)
    send.flow.unanswered(send, channel)
  }

  /** What a send to `address` would meet now, in words; for `explain`. */
  explain(address: string): { state: string; waiting: number; outstanding: number; lastFailure?: string } {
    const flow = this.#flows.at(address)
    if (!flow) return { state: 'unused', waiting: 0, outstanding: 0 }
    const { state, queue, outstanding, lastFailure } = flow
    return { state, waiting: queue.length, outstanding, ...(lastFailure && { lastFailure: lastFailure.cause.message }) }
  }

  get waiting(): { sends: number; bytes: number; requests: number } {
    let sends = 0
    for (const flow of this.#active) sends += flow.queue.length
    return { sends, bytes: this.budget.used, requests: this.#calls.waiting }
  }

  /** Ends everything that waits: nothing is sent any more. */
  close(error: HomingError): void {
    this.#closed = error
    this.#sweeper?.cancel()
    for (const flow of this.#flows) flow.close({ status: 'refused', cause: error })
    this.#calls.close(error)
    this.#serving.close()
  }
}

const none = {}

// The function that resolves a promise, without a function of our own for each promise.
let caught: (receipt: Receipt) => void
const catchResolve = (resolve: (receipt: Receipt) => void): void => void (caught = resolve)

/** Sends of one flow in its turn, when several wait for one channel. */
const turn = 16

/** Says in the place of the sender that a reply is a failure. */
const failedText = 'failed'

/** Of a send whose outcome nobody waits for. */
const unheard: Settle = () => {}
