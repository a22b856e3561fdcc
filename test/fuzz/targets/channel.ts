/** A channel whose other end says what it likes: each waiter gets one answer, what is written is in turn, memory has its bounds. */
import { Channel, type ChannelHandler, type Waiter } from '../../../lib/mesh/channel.ts'
import type { Path } from '../../../lib/mesh/path.ts'
import { segmentBytes } from '../../../lib/mesh/send-buffer.ts'
import { badFrame, FULL, labelAt, NOT_HERE, PREFIX, readUint32, type Reader } from '../../../lib/wire/frame.ts'
import { CALL, CANCEL, FIRST_NUMBERED, MESSAGE, REPLY, REQUEST, TELL } from '../../../lib/wire/kinds.ts'
import { Splitter } from '../../../lib/wire/splitter.ts'
import { bodyWords } from '../dictionary.ts'
import { StillEnv } from '../still-env.ts'
import { cutFrames, FIRST_OF_ORDERS, frame, u16, u24, u32 } from '../stream.ts'
import { about, claim, pureTarget, refusal } from '../target.ts'
import {
  ack,
  blank,
  call,
  cancel,
  leave,
  message,
  numberedNames,
  refuse,
  reply,
  request,
  resume,
  room,
  tell,
} from './channel-frames.ts'
import { channelVectors } from './vectors.ts'

// What our side does between the frames of the other one.
const SEND = FIRST_OF_ORDERS
const LARGE = FIRST_OF_ORDERS + 1
const GIVE_UP = FIRST_OF_ORDERS + 2
const NEW_PATH = FIRST_OF_ORDERS + 3
const TURN = FIRST_OF_ORDERS + 4
const LEAVE_ = FIRST_OF_ORDERS + 5
const END_OF_READ = FIRST_OF_ORDERS + 6
const CUT = FIRST_OF_ORDERS + 7

const options = { windowBytes: 16_000, windowCapBytes: 32_000 }
/** Sends of our own side in one input, so that it is the other end that has to be bounded. */
const sendsMax = 200

/** Counts the answers of one send. */
class Sent implements Waiter {
  answers = 0
  gaveUp = false

  accepted(): void {
    this.answers++
  }
  refused(): void {
    this.answers++
  }
  lost(): void {
    this.answers++
  }
}

/** Reads what is written to it: frames under its label, and numbered ones in turn. */
class CheckedPath implements Path {
  readonly kind = 'direct'
  readonly name = 'fuzz'
  readonly pendingBytes = 0
  readonly label: number
  readonly #abandoned: () => void
  readonly #splitter = new Splitter(1 << 24, (buffer, start) => this.#frame(buffer, start))
  #next: number | undefined

  constructor(label: number, abandoned: () => void) {
    this.label = label
    this.#abandoned = abandoned
  }

  write(bytes: Uint8Array): void {
    this.#splitter.push(Buffer.from(bytes))
  }

  #frame(buffer: Buffer, start: number): void {
    claim(labelAt(buffer, start) === this.label, 'a frame is written under the label of another path')
    if (buffer[start]! < FIRST_NUMBERED) return
    const sequence = readUint32(buffer, start + 4)
    claim(this.#next === undefined || sequence === this.#next, 'a frame is written out of turn')
    this.#next = (sequence + 1) >>> 0
  }

  abandon(): void {
    this.#abandoned()
  }
}

class Conversation implements ChannelHandler {
  readonly #env = new StillEnv()
  readonly #sent: Sent[] = []
  readonly #seen = new Set<string>()
  #channel: Channel
  #path: CheckedPath | undefined
  #label = 0
  #isBroken = false
  #accepted = 0
  #lastSequences: number[] = []

  constructor() {
    this.#channel = this.#newChannel()
    this.#attach()
  }

  #newChannel(): Channel {
    return new Channel(this.#env, { identity: 'mallory', incarnation: '1' }, options, this)
  }

  #attach(): void {
    this.#path = new CheckedPath(++this.#label, () => this.#break('capped'))
    this.#channel.attach(this.#path)
  }

  /** As a mesh does when frames cannot be read. */
  #break(why: string): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.#seen.add(why)
    this.#channel.end('broken')
  }

  // ChannelHandler: reads what a router reads

  accept(channel: Channel, kind: number, reader: Reader): number {
    switch (kind) {
      case MESSAGE:
      case REQUEST: {
        const to = channel.numbersIn.read(reader)
        channel.numbersIn.read(reader)
        reader.u48()
        if (kind === REQUEST) reader.u32()
        if (kind === REQUEST) reader.u32()
        this.#accepted++
        return to === 'alice' ? 0 : to === 'full' ? FULL : NOT_HERE
      }
      case TELL:
        reader.shortText()
        return 0
      case CALL:
        reader.u32()
        reader.u32()
        if (reader.shortText() === 'echo/1') this.#send(20) // an answer within the read
        return 0
      case REPLY:
        reader.u32()
        reader.u8()
        return 0
      case CANCEL:
        reader.u32()
        return 0
      default:
        throw badFrame(`a numbered frame of the unknown kind ${kind}`)
    }
  }
  room(): void {
    this.#seen.add('room')
  }
  writable(): void {
    this.#seen.add('writable')
  }
  acknowledged(_channel: Channel, sequence: number): void {
    claim(Number.isSafeInteger(sequence), 'an acknowledgement of no number')
    this.#seen.add('acknowledged')
  }
  leaving(): void {
    this.#seen.add('leaving')
  }
  down(): void {
    this.#seen.add('down')
  }
  ended(): void {
    this.#seen.add('ended')
  }

  // What happens

  take(each: Buffer): void {
    if (this.#isBroken) return
    const payload = each.subarray(PREFIX + 1)
    const number = payload.length >= 2 ? payload.readUInt16BE(0) : (payload[0] ?? 0)
    switch (each[PREFIX]) {
      case SEND:
        return this.#send(number)
      case LARGE:
        return this.#sendLarge(number)
      case GIVE_UP:
        return this.#giveUp(number)
      case NEW_PATH:
        this.#cut()
        return this.#attach()
      case CUT:
        return this.#cut()
      case TURN:
        return this.#env.turn()
      case LEAVE_:
        return this.#channel.leave()
      case END_OF_READ:
        return this.#channel.afterBatch(number === 1)
      default:
        return this.#hear(each)
    }
  }

  #cut(): void {
    if (this.#path) this.#channel.detach(this.#path)
    this.#path = undefined
  }

  #send(bytes: number): void {
    if (this.#channel.hasEnded || this.#sent.length >= sendsMax) return
    const sent = new Sent()
    this.#sent.push(sent)
    this.#lastSequences.push(this.#channel.send(MESSAGE, Buffer.alloc(4 + (bytes % 5_000)), sent))
  }

  #sendLarge(bytes: number): void {
    if (this.#channel.hasEnded || this.#sent.length >= sendsMax) return
    const sent = new Sent()
    this.#sent.push(sent)
    const at = this.#channel.begin(MESSAGE, 4)
    this.#channel.buffer.writeUInt32BE(0, at)
    this.#lastSequences.push(this.#channel.commit(at + 4, sent, Buffer.alloc(bytes)))
  }

  #giveUp(number: number): void {
    if (this.#lastSequences.length === 0) return
    const at = number % this.#lastSequences.length
    const sent = this.#sent.slice(-this.#lastSequences.length)[at]!
    if (sent.answers > 0) return
    sent.gaveUp = true
    this.#channel.abandon(this.#lastSequences[at]!)
  }

  #hear(each: Buffer): void {
    if (!this.#path || each.length < PREFIX + 4 || each[PREFIX]! < 32) return // not for a channel
    const buffer = Buffer.from(each)
    try {
      if (this.#channel.receive(buffer, PREFIX, buffer.length) === 'forgotten') this.#begunAnew(buffer)
    } catch (error) {
      this.#break(refusal(error, 'BAD_FRAME'))
      return
    }
    if (!this.#isBroken) this.#checkBounds()
  }

  #begunAnew(buffer: Buffer): void {
    const former = this.#channel
    const path = this.#path!
    former.detach(path)
    this.#seen.add('forgotten')
    this.#lastSequences = []
    this.#channel = this.#newChannel()
    former.end('forgotten')
    this.#attach()
    this.#channel.receive(buffer, PREFIX, buffer.length)
  }

  #checkBounds(): void {
    const large = this.#sent.length * 70_000 // our own, which its users bound
    const { heldBytes, unacknowledgedBytes } = this.#channel
    claim(unacknowledgedBytes >= 0, 'less than nothing is unacknowledged')
    claim(heldBytes <= 5 * options.windowCapBytes + 18 * segmentBytes + large, `${heldBytes} bytes are held`)
  }

  end(): string {
    if (!this.#isBroken) this.#env.turn()
    this.#channel.end('closed')
    this.#env.turn()
    claim(this.#env.timersSet === 0, 'timers are left')
    for (const { answers, gaveUp } of this.#sent) claim(gaveUp ? answers <= 1 : answers === 1, `${answers} answers to one send`)
    return `${about(this.#accepted)} ${about(this.#sent.length)} ${[...this.#seen].sort().join(', ')}`
  }
}

/** Our channel's id: the first fraction of the environment's chance, which is the same for each input. */
const ourId = 1 + Math.floor(new StillEnv().random.fraction() * 0xffff_fffe)

function seeds(): Buffer[] {
  const [begin, again] = [resume(0x0102_0304, 0, 0), resume(0x0102_0304, ourId, 0)]
  const sends = [frame(SEND, u16(30)), frame(SEND, u16(600)), frame(TURN, [])]
  const talk = [
    message(0, 'alice', 'hi'),
    message(1, 'nobody', { a: 1 }),
    message(2, 'full', [1, 2]),
    request(3, 'alice', 'what?', 9),
    tell(4, 'echo/1', null),
    call(5, 'echo/1', 'x', 10),
    reply(6, 3, false, 'yes'),
    cancel(7, 9),
    room(8, 'bob'),
    blank(9),
  ]
  return [
    Buffer.concat([begin, ...talk, frame(END_OF_READ, []), frame(TURN, []), leave()]),
    Buffer.concat([begin, ...numberedNames(0), frame(END_OF_READ, [1]), frame(TURN, [])]),
    Buffer.concat([begin, ...sends, ack(0), ack(1), frame(LEAVE_, [])]),
    Buffer.concat([begin, ...sends, refuse(0, 0, FULL), refuse(1, 1, NOT_HERE), ack(1), room(2, 'bob')]),
    Buffer.concat([begin, ...sends, frame(GIVE_UP, u16(1)), frame(NEW_PATH, []), again, frame(TURN, []), ack(1)]),
    Buffer.concat([
      begin,
      frame(LARGE, u16(40_000)),
      ...sends,
      frame(NEW_PATH, []),
      resume(0x0102_0304, ourId, 1),
      frame(TURN, []),
    ]),
    Buffer.concat([begin, ...talk, frame(NEW_PATH, []), again, message(10, 'alice', 'later')]),
    Buffer.concat([begin, ...sends, resume(0x0f0f_0f0f, 0, 0), message(0, 'alice', 'anew')]),
    Buffer.concat([begin, frame(CUT, []), ...sends, frame(NEW_PATH, []), again]),
    ...channelVectors(),
  ]
}

export const channelTarget = pureTarget(
  {
    name: 'channel',
    about: 'a channel with a hostile other end, while we send, give up, change paths',
    bytesMax: 16_384,
    framed: true,
    dictionary: [
      ...bodyWords.slice(0, 30),
      u24(0),
      u32(ourId),
      u32(0x0102_0304),
      frame(SEND, u16(900)),
      frame(LARGE, u16(60_000)),
      frame(TURN, []),
      frame(NEW_PATH, []),
    ],
    seeds,
  },
  input => {
    const conversation = new Conversation()
    for (const each of cutFrames(input)) conversation.take(each)
    return conversation.end()
  },
)
