/**
 * The ordered, acknowledged stream of frames between two incarnations. It outlives paths: after a break both ends say what they expect
 * next, what was not acknowledged is sent again, and what comes twice is dropped by its number. docs/protocol.md, "Channels".
 */
import type { Env } from '../env/env.ts'
import type { Run } from '../sessions/directory.ts'
import {
  addressEnd,
  badFrame,
  CHANNEL_HEADER,
  closeFrame,
  NUMBERED_HEADER,
  NumbersIn,
  NumbersOut,
  PREFIX,
  Reader,
  readUint32,
  writeChannelHeader,
  writeNumberedHeader,
  writeUint32,
} from '../wire/frame.ts'
import { ACK, FIRST_NUMBERED, LEAVE, MESSAGE, REFUSE, REQUEST, RESUME, ROOM, VOID } from '../wire/kinds.ts'
import type { Path } from './path.ts'
import { segmentBytes, SendBuffer, type Segment } from './send-buffer.ts'

/** Somebody who waits for the answer to a numbered frame. Exactly one of the calls comes, once. */
export interface Waiter {
  /** The other end accepted it. */
  accepted(): void
  /** The other end did not accept it; `payload` is what followed the header, without a tail. Valid during the call. */
  refused(reason: number, kind: number, payload: Buffer): void
  /** The channel ended before an answer came. */
  lost(): void
}

/** Why a channel ended: its other end died or left, has a new incarnation, forgot us, broke the protocol; or this peer closes. */
export type ChannelEnd = 'dead' | 'left' | 'replaced' | 'forgotten' | 'broken' | 'closed'

export interface ChannelHandler {
  /**
   * A numbered frame: returns 0 to accept it, or why not (wire/frame.ts). Must take what it needs from the reader before it returns.
   * A `BAD_FRAME` thrown here ends the channel.
   */
  accept(channel: Channel, kind: number, reader: Reader): number
  /** The other end has room for `address` again. */
  room(channel: Channel, address: string): void
  /** More may be written: the path came up, or the window has room again. */
  writable(channel: Channel): void
  /** The other end has seen all that we sent up to number `sequence`, and all that it sent before it saw it has arrived here. */
  acknowledged(channel: Channel, sequence: number): void
  /** The other end accepts nothing new. */
  leaving(channel: Channel): void
  /** The path is gone that was up; the channel lives. */
  down(channel: Channel): void
  /** Last call. Its waiters have been told. */
  ended(channel: Channel, why: ChannelEnd): void
}

export interface ChannelOptions {
  /** Unacknowledged bytes at which users' frames wait. */
  windowBytes: number
  /** Unacknowledged bytes, answers and refusals included, at which the other end is judged broken. */
  windowCapBytes: number
}

export const channelDefaults: Readonly<ChannelOptions> = { windowBytes: 4 << 20, windowCapBytes: 8 << 20 }

/** Stands where a waiter was that waits no more. */
const abandoned: Waiter = { accepted() {}, refused() {}, lost() {} }

/**
 * Frames of one read after which an acknowledgement leaves at once: with few outstanding, both ends would else take turns. Each time
 * twice as many, as whoever sends much at a time does not wait for the first of it.
 */
const ackEveryMin = 32
/** Large frames take a read each: an acknowledgement for each of them would cost a tenth of the frame. */
const readsPerAck = 4
/**
 * What was gathered in a turn is written without waiting for its end when it is an eighth of what is under way: with few outstanding the
 * other end shall not wait, with many a larger write costs less.
 */
const flushBytesMin = 8 * 1024
const flushBytesMax = segmentBytes

export class Channel {
  readonly remote: Run
  /** What the other end numbered, and what we did. Only between `begin` and `commit`. */
  readonly numbersIn = new NumbersIn()
  readonly numbersOut = new NumbersOut()
  /** Names this channel between its two ends; never 0. */
  readonly id: number
  /** Kept for the reception: one function a channel, however many inboxes are full. */
  roomTeller: ((address: string) => void) | undefined
  readonly #env: Env
  readonly #handler: ChannelHandler
  readonly #options: ChannelOptions
  readonly #reader = new Reader()

  #path: Path | undefined
  #resumed = false
  /** Its handler takes it to be up: it was resumed, and is not known to be down. */
  #up = false
  #ended: ChannelEnd | undefined
  #remoteId = 0
  #leaving = false
  #remoteLeaving = false

  // Out. Sequences count from 0; rings are indexed by sequence & mask.
  #next = 0
  #acknowledged = -1
  #arrived = -1
  readonly #buffer = new SendBuffer()
  #mask = 255
  #waiters: (Waiter | undefined)[] = new Array(256)
  #segments: (Segment | undefined)[] = new Array(256)
  #offsets = new Uint32Array(256)
  #unackedBytes = 0
  #gathered = 0
  #flushDue = false
  #wasFull = false

  // In.
  #expected = 0
  #unackedIn = 0
  #ackEvery = ackEveryMin
  /** Reads in a row after which nothing was acknowledged, because more of a frame was to come. */
  #readsUnacked = 0

  // Between begin and commit.
  #segment: Segment | undefined
  #kind = 0

  constructor(env: Env, remote: Run, options: ChannelOptions, handler: ChannelHandler) {
    this.#env = env
    this.remote = remote
    this.#options = options
    this.#handler = handler
    this.id = 1 + Math.floor(env.random.fraction() * 0xffff_fffe)
  }

  /** Frames that are written now reach the other end, unless its path breaks. */
  get ready(): boolean {
    return this.#resumed && !this.#leaving && !this.#remoteLeaving
  }

  get path(): Path | undefined {
    return this.#path
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined
  }

  /** The other end accepts nothing new. */
  get remoteIsLeaving(): boolean {
    return this.#remoteLeaving
  }

  get unacknowledgedBytes(): number {
    return this.#unackedBytes
  }

  /** Memory that is set aside for what was written, bytes. */
  get heldBytes(): number {
    return this.#buffer.heldBytes
  }

  /** The number that the next frame will have. */
  get nextSequence(): number {
    return this.#next
  }

  get unacknowledgedFrames(): number {
    return this.#next - 1 - this.#acknowledged
  }

  /** Whether a user's frame of `bytes` may be written now. An empty window admits one of any size. */
  admits(bytes: number): boolean {
    if (!this.ready) return false
    if (this.#unackedBytes === 0 || this.#unackedBytes + bytes <= this.#options.windowBytes) return true
    this.#wasFull = true
    return false
  }

  // Writing: begin, fill `buffer` from the returned position, commit. Nothing may come between, unless `filling` is set: where code of
  // the application may run before the commit. Then `writes` tells whether something came: the frame is lost, and has to be written anew.

  /** Grows with all that is written, and when a path or the channel ends. */
  writes = 0
  /** A frame is being filled by code that may write to this channel: what it writes goes elsewhere. */
  filling = false

  /** Starts a numbered frame with room for `payloadBytes`; returns where its payload goes in `buffer`. */
  begin(kind: number, payloadBytes: number): number {
    this.writes++
    if (this.filling) this.#buffer.turnPage()
    this.#kind = kind
    this.#segment = this.#buffer.reserve(NUMBERED_HEADER + payloadBytes)
    return this.#segment.end + NUMBERED_HEADER
  }

  get buffer(): Buffer {
    return this.#segment!.buffer
  }

  /**
   * Ends the frame that was begun; it will be written in this turn. Returns its sequence. `tail` follows what was filled in, and is not
   * copied: it must not change until the frame is acknowledged.
   */
  commit(end: number, waiter?: Waiter, tail?: Uint8Array): number {
    const bytes = end - this.#segment!.end + (tail?.length ?? 0)
    const segment = this.#segment!
    const start = segment.end
    const sequence = this.#next++
    if (sequence - this.#acknowledged > this.#mask) this.#growRings()
    writeNumberedHeader(segment.buffer, start, this.#kind, this.#path?.label ?? 0, sequence)
    writeUint32(segment.buffer, start, bytes - PREFIX)
    segment.end = end
    segment.lastSequence = sequence
    if (tail) this.#buffer.attach(tail)
    const slot = sequence & this.#mask
    this.#waiters[slot] = waiter
    this.#segments[slot] = segment
    this.#offsets[slot] = start
    this.#unackedBytes += bytes
    this.#gather(bytes)
    if (this.#unackedBytes > this.#options.windowCapBytes) this.#checkCap()
    return sequence
  }

  /** Sends a frame whose payload is at hand. */
  send(kind: number, payload: Uint8Array, waiter?: Waiter): number {
    const at = this.begin(kind, payload.length)
    this.buffer.set(payload, at)
    return this.commit(at + payload.length, waiter)
  }

  /** Calls `fn` for each waiter that has no answer yet, oldest first; for deadlines. */
  eachWaiter(fn: (waiter: Waiter) => void): void {
    for (let sequence = this.#acknowledged + 1; sequence < this.#next; sequence++) {
      const waiter = this.#waiters[sequence & this.#mask]
      if (waiter && waiter !== abandoned) fn(waiter)
    }
  }

  /**
   * Nobody waits for this frame any more (its sender was told `unknown`). Where it has not arrived yet and must be sent again, it goes
   * as a blank: what was given up is not delivered late.
   */
  abandon(sequence: number): void {
    if (sequence > this.#acknowledged && sequence < this.#next) this.#waiters[sequence & this.#mask] = abandoned
  }

  /** Tells the other end that nothing new is accepted here; it answers what is under way. */
  leave(): void {
    if (this.#leaving || this.#ended) return
    this.#leaving = true
    if (this.#resumed) this.#control(LEAVE)
  }

  flush(): void {
    if (this.#path && this.#resumed && this.#unackedIn > 0) {
      this.#flushDue = true // what the acknowledgement would ask for is here
      this.#acknowledge()
    }
    this.#flushDue = false
    this.#gathered = 0
    if (this.#path && this.#resumed) this.#buffer.writeTo(this.#path)
  }

  // Paths

  /** Uses this path from now on; the other end must do the same and answer with its `RESUME`. */
  attach(path: Path): void {
    if (this.#ended) throw new Error('channel: attached after its end')
    this.writes++
    this.#path = path
    this.#resumed = false
    this.#sayResume()
  }

  /** `path` is gone. */
  detach(path: Path): void {
    if (this.#path !== path) return
    this.writes++
    this.#path = undefined
    this.#resumed = false
    if (!this.#up) return
    this.#up = false
    if (!this.#ended) this.#handler.down(this)
  }

  #sayResume(): void {
    const frame = Buffer.allocUnsafe(CHANNEL_HEADER + 12)
    const at = writeChannelHeader(frame, 0, RESUME, this.#path!.label)
    frame.writeUInt32BE(this.id, at)
    frame.writeUInt32BE(this.#remoteId, at + 4)
    frame.writeUInt32BE(this.#expected >>> 0, at + 8)
    closeFrame(frame, 0, frame.length)
    this.#path!.write(frame)
  }

  // Reading

  /**
   * A frame of this channel from its path; `buffer[start]` is its kind. Returns 'forgotten' when the other end has lost this channel:
   * the mesh must end it and give the frame to a new one. Throws `BAD_FRAME`.
   */
  receive(buffer: Buffer, start: number, end: number): 'taken' | 'forgotten' {
    const kind = buffer[start]!
    if (kind > VOID || (kind > LEAVE && kind < FIRST_NUMBERED)) throw badFrame(`a frame of the unknown kind ${kind}`)
    const reader = this.#reader.set(buffer, start + 4, end)
    if (kind === RESUME) return this.#resume(reader.u32(), reader.u32(), reader.u32())
    if (!this.#resumed) {
      // Our RESUME has crossed one that named an older channel of ours: what follows it belongs to that one.
      if (this.#ended || this.#path) return 'taken'
      throw badFrame('a frame before RESUME')
    }
    if (kind === ACK) this.#acked(reader.u32())
    else if (kind === LEAVE) this.#remoteLeaves()
    else this.#numbered(kind, reader)
    return 'taken'
  }

  /** After the frames of one read: answers go at once, and acknowledgements with them; alone these wait for more to come in this turn. */
  afterBatch(more = false): void {
    this.#ackEvery = ackEveryMin
    if (more && this.#gathered === 0 && ++this.#readsUnacked < readsPerAck) return
    this.#readsUnacked = 0
    if (this.#gathered > 0) this.flush()
    else if (this.#unackedIn > 0) this.#flushSoon()
  }

  #resume(theirs: number, ours: number, expected32: number): 'taken' | 'forgotten' {
    if (theirs === 0) throw badFrame('RESUME with the id 0')
    if (ours === 0 && expected32 !== 0) throw badFrame('RESUME of a new channel that expects more than the first frame')
    if (this.#remoteId !== 0 && theirs !== this.#remoteId) return 'forgotten'
    if (ours !== 0 && ours !== this.id) {
      // It remembers an older channel of ours and will forget it when it reads our RESUME.
      return 'taken'
    }
    const expected = unwrap(expected32, this.#next)
    if (expected > this.#next || expected <= this.#acknowledged || expected <= this.#arrived) return 'forgotten'
    // Each makes us send all again that is unacknowledged.
    if (this.#resumed) throw badFrame('RESUME twice on one way')
    const first = this.#remoteId === 0
    this.#remoteId = theirs
    this.#resumed = this.#up = true
    this.writes++
    this.#arrived = expected - 1
    this.#buffer.rebuild(this.#acknowledged + 1, expected, this.#path!.label, (sequence, segment, at) => {
      const slot = sequence & this.#mask
      this.#segments[slot] = segment
      this.#offsets[slot] = at
      if (this.#waiters[slot] === abandoned && sequence >= expected) this.#makeBlank(segment.buffer, at)
    })
    if (!first || this.#unackedIn > 0) this.#acknowledge()
    if (this.#leaving) this.#control(LEAVE)
    this.flush()
    this.#handler.writable(this)
    return 'taken'
  }

  /** Of a frame that was given up, only the addresses are sent again: they may define numbers. Of one without addresses, two empty ones. */
  #makeBlank(buffer: Buffer, at: number): void {
    const kind = buffer[at + PREFIX]!
    const payload = at + NUMBERED_HEADER
    const before = PREFIX + readUint32(buffer, at)
    if (kind !== MESSAGE && kind !== REQUEST && kind !== VOID) buffer.writeUInt32BE(0, payload)
    const end = closeFrame(buffer, at, addressEnd(buffer, addressEnd(buffer, payload)))
    buffer[at + PREFIX] = VOID
    this.#unackedBytes -= before - (end - at)
  }

  #numbered(kind: number, reader: Reader): void {
    const ahead = (reader.u32() - this.#expected) | 0
    if (ahead < 0) {
      this.#unackedIn++ // sent twice by a resume: say again that it is here
      return
    }
    if (ahead > 0) throw badFrame(`frame ${this.#expected + ahead} where ${this.#expected} was due`)
    const sequence = this.#expected++
    this.#unackedIn++
    if (kind === REFUSE) this.#refused(reader)
    else if (kind === ROOM) this.#handler.room(this, this.numbersIn.read(reader))
    else if (kind === VOID) this.#blank(reader)
    else {
      const reason = this.#handler.accept(this, kind, reader)
      if (reason !== 0) this.#refuse(sequence, reason)
    }
    if (this.#unackedIn >= this.#ackEvery && this.#resumed) {
      this.#ackEvery *= 2
      this.#acknowledge()
      this.flush()
    }
  }

  /** A message or request that was given up: only the numbers that its addresses define count. */
  #blank(reader: Reader): void {
    this.numbersIn.read(reader)
    this.numbersIn.read(reader)
  }

  #refuse(sequence: number, reason: number): void {
    if (this.#ended) return
    const at = this.begin(REFUSE, 5)
    this.buffer.writeUInt32BE(sequence >>> 0, at)
    this.buffer[at + 4] = reason
    this.commit(at + 5)
  }

  #refused(reader: Reader): void {
    const sequence = unwrap(reader.u32(), this.#next)
    const reason = reader.u8()
    if (sequence <= this.#acknowledged || sequence >= this.#next) throw badFrame('a refusal of a frame that is not under way')
    // Before anything is sent in answer: by this acknowledgement the other end knows that what follows it was sent with the refusal seen.
    this.#acknowledge()
    if (this.#ended) return
    const slot = sequence & this.#mask
    const waiter = this.#waiters[slot]
    this.#waiters[slot] = undefined
    if (!waiter) return
    const { buffer, end: filled } = this.#segments[slot]!
    const at = this.#offsets[slot]!
    const end = Math.min(filled, at + PREFIX + readUint32(buffer, at))
    waiter.refused(reason, buffer[at + PREFIX]!, buffer.subarray(at + NUMBERED_HEADER, end))
  }

  #acked(sequence32: number): void {
    const last = unwrap(sequence32, this.#next)
    if (last >= this.#next || last < this.#acknowledged) throw badFrame('an acknowledgement of what was never sent')
    // An answer may make its waiter write, and what is written may end this channel.
    while (this.#acknowledged < last && !this.#ended) {
      const slot = ++this.#acknowledged & this.#mask
      const waiter = this.#waiters[slot]
      const { buffer } = this.#segments[slot]!
      this.#unackedBytes -= PREFIX + readUint32(buffer, this.#offsets[slot]!)
      this.#waiters[slot] = undefined
      this.#segments[slot] = undefined
      waiter?.accepted()
    }
    if (this.#ended) return
    if (this.#arrived < last) this.#arrived = last
    this.#buffer.release(last)
    this.#handler.acknowledged(this, last)
    if (this.#wasFull && this.#unackedBytes <= this.#options.windowBytes / 2) {
      this.#wasFull = false
      this.#handler.writable(this)
    }
  }

  #acknowledge(): void {
    this.#unackedIn = 0
    if (this.#expected === 0) return
    this.#control(ACK, this.#expected - 1)
  }

  #remoteLeaves(): void {
    const known = this.#remoteLeaving
    this.#remoteLeaving = true
    if (!known) this.#handler.leaving(this)
    // After our last frame: when the other end reads it, it has answered all that we sent. After a break it asks again.
    if (!this.#leaving && this.#resumed) this.#control(LEAVE)
  }

  /** A frame without a number. Goes through the same buffer: its place among the numbered ones means something. */
  #control(kind: number, value?: number): void {
    this.writes++
    if (this.filling) this.#buffer.turnPage()
    const bytes = CHANNEL_HEADER + (value === undefined ? 0 : 4)
    const segment = this.#buffer.reserve(bytes)
    const start = segment.end
    writeChannelHeader(segment.buffer, start, kind, this.#path!.label)
    if (value !== undefined) segment.buffer.writeUInt32BE(value >>> 0, start + CHANNEL_HEADER)
    segment.end = closeFrame(segment.buffer, start, start + bytes)
    this.#gather(bytes)
    if (this.#buffer.heldBytes > this.#heldBytesMax) this.#checkCap()
  }

  #gather(bytes: number): void {
    this.#gathered += bytes
    if (this.#gathered >= flushBytesMin && (this.#gathered >= flushBytesMax || this.#gathered * 8 >= this.#unackedBytes))
      this.flush()
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#flushDue || !this.#resumed) return
    this.#flushDue = true
    this.#env.timers.soon(() => this.#flushDue && this.flush())
  }

  /** What is kept may have acknowledgements in between: of these too, whoever acknowledges nothing gets only so many. */
  get #heldBytesMax(): number {
    return 4 * this.#options.windowCapBytes + 16 * segmentBytes
  }

  #checkCap(): void {
    // One large frame is the user's right (an empty window admits it: it is the oldest then). What comes on top of it are only answers
    // and refusals, each made by a frame of the other end, which therefore sends and does not acknowledge.
    if (this.unacknowledgedFrames === 0) return
    const oldest = (this.#acknowledged + 1) & this.#mask
    const oldestBytes = PREFIX + readUint32(this.#segments[oldest]!.buffer, this.#offsets[oldest]!)
    const isOver = this.#unackedBytes - oldestBytes > this.#options.windowCapBytes
    if (isOver || this.#buffer.heldBytes - oldestBytes > this.#heldBytesMax) this.#path?.abandon('bad-frame')
  }

  #growRings(): void {
    const size = (this.#mask + 1) * 2
    const waiters: (Waiter | undefined)[] = new Array(size)
    const segments: (Segment | undefined)[] = new Array(size)
    const offsets = new Uint32Array(size)
    for (let sequence = this.#acknowledged + 1; sequence < this.#next; sequence++) {
      waiters[sequence & (size - 1)] = this.#waiters[sequence & this.#mask]
      segments[sequence & (size - 1)] = this.#segments[sequence & this.#mask]
      offsets[sequence & (size - 1)] = this.#offsets[sequence & this.#mask]!
    }
    this.#waiters = waiters
    this.#segments = segments
    this.#offsets = offsets
    this.#mask = size - 1
  }

  /** The end: every waiter without an answer is told. Idempotent. */
  end(why: ChannelEnd): void {
    if (this.#ended) return
    this.writes++
    this.#ended = why
    const path = this.#path
    this.#path = undefined
    this.#resumed = false
    const waiting: Waiter[] = []
    this.eachWaiter(waiter => waiting.push(waiter))
    this.#waiters = []
    this.#segments = []
    path?.abandon(why === 'broken' ? 'bad-frame' : why === 'replaced' ? 'replaced' : 'leaving')
    for (const waiter of waiting) waiter.lost()
    this.#handler.ended(this, why)
  }
}

/** The full sequence next to `near` whose low 32 bits are `low`. */
function unwrap(low: number, near: number): number {
  return near + ((low - near) | 0)
}
