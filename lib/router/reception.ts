/** What comes in for the clients of this peer: into their inboxes, or refused for a reason that its sender can act on. */
import { Access, type Grants } from '../access/access.ts'
import type { Env } from '../env/env.ts'
import type { Channel } from '../mesh/channel.ts'
import type { Run } from '../sessions/directory.ts'
import {
  BAD_BODY,
  FULL,
  MOVING,
  NO_HANDLER,
  NOT_ALLOWED,
  NOT_HERE,
  NumbersOut,
  OVERTAKEN,
  UNSURE,
  type Reader,
} from '../wire/frame.ts'
import { REQUEST, ROOM } from '../wire/kinds.ts'
import { scanBody, type BodyLimits } from '../wire/scan.ts'
import { ClaimsUnderWay } from './claims-under-way.ts'
import type { Inbox } from './inbox.ts'
import { BytesMessage, originOf, type Sender, type Serve } from './message.ts'

/** What the reception needs of its surroundings. */
export interface ReceptionHost {
  /** Runs a client's request handler and sends its answer. A promise means that it is busy. Never throws or rejects. */
  serve(channel: Channel, callId: number, deadlineMs: number, message: BytesMessage): Promise<void> | undefined
  /** Whether the client at this address answers requests. */
  answers(address: string): boolean
  /** Somebody believes the address to be here, and it is not. */
  notHere(address: string): void
  /** False while this peer is not sure that it owns what it claimed: nothing is taken until it is. */
  isSure(): boolean
}

interface Refusal {
  reason: number
  /** Number of our last refusal for the address. */
  sequence: number
  /** At the end of this turn the sender is told that there is room. */
  roomDue: boolean
}

export class Reception {
  readonly #host: ReceptionHost
  readonly #env: Env
  readonly #limits: Readonly<BodyLimits>
  readonly #inboxes = new Map<string, Inbox>()
  /** Claims in progress, by address; ahead of an inbox of the same address that still serves. */
  readonly #claiming = new ClaimsUnderWay()
  /** Addresses that left here and are expected elsewhere, until when. */
  readonly #moved = new Map<string, number>()
  /**
   * Addresses refused to a channel. What its sender had written before it saw the refusal is refused likewise: taken in, it would
   * overtake what was refused. Forgotten when the sender's acknowledgement shows that it has seen the last refusal.
   */
  readonly #refusals = new Map<Channel, Map<string, Refusal>>()
  /** Who was refused because this peer was not sure of its lease. */
  readonly #unsure = new Map<Channel, Set<string>>()
  readonly #senders = new WeakMap<Run, Sender>()
  #lastRun: Run | undefined
  #lastSender: Sender | undefined
  readonly #access: Access
  /** What the other ends of channels may do, where there is an allow-list. */
  readonly #grants = new WeakMap<Channel, Grants>()
  readonly counts = { received: 0, refused: 0 }

  constructor(env: Env, limits: Readonly<BodyLimits>, host: ReceptionHost, access: Access) {
    this.#env = env
    this.#limits = limits
    this.#host = host
    this.#access = access
  }

  get size(): number {
    return this.#inboxes.size
  }

  inboxes(): IterableIterator<Inbox> {
    return this.#inboxes.values()
  }

  /** The inbox that serves an address, or will as soon as its claim is written. */
  at(address: string): Inbox | undefined {
    const claiming = this.#claiming.at(address)
    const serving = this.#inboxes.get(address)
    // An older claim may be answered after a newer one.
    return claiming && (!serving || serving.claim < claiming.claim) ? claiming : serving
  }

  /** The inbox that serves an address. */
  serving(address: string): Inbox | undefined {
    return this.#inboxes.get(address)
  }

  /** Their claims are being written; `claimed` follows for those that succeed, then `claimsEnded`. */
  claiming(inboxes: readonly Inbox[]): void {
    this.#claiming.add(inboxes)
  }

  claimsEnded(inboxes: readonly Inbox[]): void {
    this.#claiming.end(inboxes)
    if (this.#unsure.size > 0) for (const { address } of inboxes) this.#putOffNoMore(address)
  }

  /** The claim is written: this inbox serves the address from now on. Returns the one that served it here before. */
  claimed(inbox: Inbox): Inbox | undefined {
    const former = this.#inboxes.get(inbox.address)
    this.#inboxes.set(inbox.address, inbox)
    if (this.#moved.size > 0) this.#moved.delete(inbox.address)
    return former
  }

  remove(inbox: Inbox): void {
    if (this.#inboxes.get(inbox.address) !== inbox) return
    this.#inboxes.delete(inbox.address)
    if (this.#unsure.size > 0) this.#putOffNoMore(inbox.address)
  }

  /** Where the address is here no more, who was put off does not wait until this peer is sure: it may be elsewhere by then. */
  #putOffNoMore(address: string): void {
    const inbox = this.at(address)
    if (inbox && inbox.state !== 'closed') return
    for (const [channel, addresses] of this.#unsure) {
      if (!addresses.delete(address)) continue
      if (addresses.size === 0) this.#unsure.delete(channel)
      tellRoom(channel, address)
    }
  }

  /** The address has left and is expected elsewhere: senders wait for it instead of hearing that it is absent. */
  moved(address: string, untilMs: number): void {
    this.#moved.set(address, untilMs)
  }

  /** Whether the address left so and is still expected elsewhere. */
  hasMoved(address: string): boolean {
    return (this.#moved.get(address) ?? 0) > this.#env.clock.monotonicMs()
  }

  /** A message or request from a channel: 0, or why it is refused. */
  accept(channel: Channel, kind: number, reader: Reader): number {
    const to = channel.numbersIn.read(reader)
    const from = channel.numbersIn.read(reader)
    const number = reader.u48()
    const request = kind === REQUEST
    const callId = request ? reader.u32() : 0
    const deadlineMs = request ? reader.u32() : 0
    const reason = this.#take(channel, to, from, number, request, callId, deadlineMs, reader)
    if (reason === 0) {
      this.counts.received++
      return 0
    }
    this.counts.refused++
    this.#remember(channel, to, reason)
    return reason
  }

  #take(
    channel: Channel,
    to: string,
    from: string,
    number: number,
    request: boolean,
    callId: number,
    deadlineMs: number,
    reader: Reader,
  ): number {
    const { buffer, at, end } = reader
    const inbox = this.at(to)
    // Before all else: what is refused for good is not to be sent again. Only its holder says so; elsewhere the list may be another one.
    if (this.#access.isOn && inbox && inbox.state !== 'closed' && !this.#may(channel, request, to)) return NOT_ALLOWED
    if (scanBody(buffer, at, end, this.#limits) < 0) return BAD_BODY
    if (this.#refusals.size > 0) {
      const refused = this.#refusals.get(channel)?.get(to)
      if (refused) return this.#again(refused, channel, to, inbox, end - at)
    }
    if (!inbox || inbox.state === 'closed') {
      if (this.hasMoved(to)) return MOVING
      this.#host.notHere(to)
      return NOT_HERE
    }
    if (!this.#host.isSure()) {
      this.#putOff(channel, to)
      return UNSURE
    }
    if (request && !this.#host.answers(to) && inbox.state !== 'claiming') return NO_HANDLER
    const via = channel.path?.kind ?? 'direct'
    const sender = this.#senderOf(channel)
    if (inbox.hasPassed(sender.origin, number)) return OVERTAKEN
    const serve: Serve | undefined = request ? taken => this.#host.serve(channel, callId, deadlineMs, taken) : undefined
    const message = new BytesMessage(from, to, buffer, at, end, sender, number, via, serve)
    if (inbox.offer(message)) return 0
    this.#tellRoom(channel, inbox)
    return FULL
  }

  /**
   * The same answer as before. Where its cause has ended meanwhile, this may have been sent in answer to that news, before a break of the
   * path: then it is told once more, or the sender would wait for it for ever. But that an address is not here is not said while it is here
   * again: its sender may have heard of that from the datastore, and would take it for absent.
   */
  #again(refused: Refusal, channel: Channel, to: string, inbox: Inbox | undefined, bytes: number): number {
    const { reason } = refused
    const isHere = inbox !== undefined && inbox.state !== 'closed'
    if (reason !== UNSURE && isHere) {
      if (inbox.hasRoom(bytes)) this.#tellRoomSoon(refused, channel, to)
      else this.#tellRoom(channel, inbox)
      return FULL
    }
    if (reason === UNSURE && isHere && !this.#host.isSure()) this.#putOff(channel, to)
    else if (reason === FULL || reason === UNSURE) this.#tellRoomSoon(refused, channel, to)
    return reason
  }

  #tellRoomSoon(refused: Refusal, channel: Channel, to: string): void {
    if (refused.roomDue) return
    refused.roomDue = true
    this.#env.timers.soon(() => {
      const last = this.#refusals.get(channel)?.get(to)
      if (last) last.roomDue = false
      tellRoom(channel, to)
    })
  }

  #putOff(channel: Channel, to: string): void {
    let addresses = this.#unsure.get(channel)
    if (!addresses) this.#unsure.set(channel, (addresses = new Set()))
    addresses.add(to)
  }

  #remember(channel: Channel, to: string, reason: number): void {
    if (ofOneFrame.has(reason)) return
    let refusals = this.#refusals.get(channel)
    if (!refusals) this.#refusals.set(channel, (refusals = new Map()))
    const roomDue = refusals.get(to)?.roomDue ?? false
    refusals.set(to, { reason, sequence: channel.nextSequence, roomDue })
  }

  #tellRoom(channel: Channel, inbox: Inbox): void {
    inbox.whenRoom((channel.roomTeller ??= address => tellRoom(channel, address)))
  }

  /** The other end has seen our frames up to `sequence`. */
  acknowledged(channel: Channel, sequence: number): void {
    const refusals = this.#refusals.get(channel)
    if (!refusals) return
    for (const [address, refusal] of refusals) if (refusal.sequence <= sequence) refusals.delete(address)
    if (refusals.size === 0) this.#refusals.delete(channel)
  }

  ended(channel: Channel): void {
    this.#refusals.delete(channel)
    this.#unsure.delete(channel)
  }

  /** The lease is sure again: who was put off may send. */
  sureAgain(): void {
    for (const [channel, addresses] of this.#unsure) for (const address of addresses) tellRoom(channel, address)
    this.#unsure.clear()
  }

  /** Forgets moves that have ended. */
  sweep(nowMs: number): void {
    for (const [address, untilMs] of this.#moved) if (untilMs <= nowMs) this.#moved.delete(address)
  }

  /** Whether the other end of the channel, as it was proved or as the broker vouches for it, may send to an address here. */
  #may(channel: Channel, request: boolean, to: string): boolean {
    let grants = this.#grants.get(channel)
    if (!grants) this.#grants.set(channel, (grants = this.#access.of(channel.remote.identity)))
    return grants.may(request ? 'request' : 'send', to)
  }

  #senderOf({ remote, path }: Channel): Sender {
    const vouchedBy = path?.kind === 'broker' ? path.name : undefined
    const last = this.#lastSender
    if (last && remote === this.#lastRun && vouchedBy === last.vouchedBy) return last // most frames come many in a row from one peer
    let sender = this.#senders.get(remote)
    if (sender?.vouchedBy !== vouchedBy || !sender) {
      sender = { identity: remote.identity, origin: originOf(remote), vouchedBy }
      this.#senders.set(remote, sender)
    }
    this.#lastRun = remote
    return (this.#lastSender = sender)
  }
}

/** Refusals that say nothing of the next frame to the same address: their sender does not send them again. */
const ofOneFrame: ReadonlySet<number> = new Set([BAD_BODY, NO_HANDLER, NOT_ALLOWED, OVERTAKEN])

function tellRoom(channel: Channel, address: string): void {
  if (channel.hasEnded) return
  const at = channel.begin(ROOM, NumbersOut.size(Buffer.byteLength(address)))
  channel.commit(channel.numbersOut.write(channel.buffer, at, address))
}
