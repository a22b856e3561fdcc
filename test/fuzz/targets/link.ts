/** A link with its splitter and its handshake, at either end of a connection that says what it likes. */
import type { Connection, Env } from '../../../lib/env/env.ts'
import type { HomingError } from '../../../lib/errors.ts'
import { Link, type CloseReason, type LinkHandler, type LinkSetup } from '../../../lib/link/link.ts'
import { linkOptions } from '../../../lib/link/options.ts'
import { encodeBody } from '../../../lib/wire/body.ts'
import { PREFIX } from '../../../lib/wire/frame.ts'
import { CLOSE, HELLO, PING, PONG, PROOF, READY, REJECT, WELCOME } from '../../../lib/wire/kinds.ts'
import { Splitter } from '../../../lib/wire/splitter.ts'
import { Dice } from '../dice.ts'
import { bodyWords } from '../dictionary.ts'
import { StillEnv } from '../still-env.ts'
import { cutFrames, FIRST_OF_ORDERS, frame, u16, u32 } from '../stream.ts'
import { about, claim, inGeneral, pureTarget } from '../target.ts'
import { linkVectors } from './vectors.ts'

// What our side does between the frames of the other one.
const DIALLED = FIRST_OF_ORDERS
const TIME = FIRST_OF_ORDERS + 1
const OUR_CLOSE = FIRST_OF_ORDERS + 2
const ASK = FIRST_OF_ORDERS + 3
const BREAK = FIRST_OF_ORDERS + 4
const WRITE = FIRST_OF_ORDERS + 5

const options = linkOptions({ bodyBytesMax: 2_000 })

/** The connection under the link: takes everything, and checks that it is frames. */
class Wire implements Connection {
  readonly remote = 'fuzz'
  readonly tls = undefined
  readonly pendingBytes = 0
  readonly #splitter = new Splitter(16_384, () => void this.frames++)
  frames = 0
  isOver = false

  write(bytes: Uint8Array, flushed?: () => void): void {
    this.#splitter.push(Buffer.from(bytes))
    claim(!this.#splitter.within, 'a piece of a frame is written')
    flushed?.()
  }

  end(): void {
    this.isOver = true
  }

  destroy(): void {
    this.isOver = true
  }
}

class Ear implements LinkHandler {
  opened_ = 0
  frames = 0
  closings: string[] = []

  async admit(): Promise<void> {}

  opened(): void {
    this.opened_++
  }

  frame(_link: Link, buffer: Buffer, start: number, end: number): void {
    claim(this.opened_ === 1 && this.closings.length === 0, 'a frame of a link that is not open')
    claim(
      start < end && end <= buffer.length && ![PING, PONG, CLOSE].includes(buffer[start]!),
      'a frame that is none for the handler',
    )
    this.frames++
  }

  batch(): void {}

  closed(_link: Link, reason: CloseReason, error?: HomingError): void {
    const words = error ? ` ${inGeneral(error.message)}` : ''
    claim(
      !(error?.cause instanceof Error && error.code === 'BAD_FRAME'),
      `something other than BAD_FRAME: ${String(error?.cause)}`,
    )
    this.closings.push(`${reason}${words}`)
  }
}

const introduction = { cluster: 'fuzz', identity: 'mallory', incarnation: '1', role: 'peer', capabilities: ['x'] }
const nonce = new Uint8Array(32)

const dialling = [
  frame(HELLO, encodeBody({ versions: [1, 1], ...introduction, nonce })),
  frame(PROOF, encodeBody({ proof: new Uint8Array(0) })),
]
const listening = [
  frame(WELCOME, encodeBody({ version: 1, ...introduction, nonce, secret: false })),
  frame(READY, encodeBody({ proof: new Uint8Array(0) })),
]

function seeds(): Buffer[] {
  const frames = linkVectors()
  const [asDialler, asListener] = [Buffer.concat(dialling), Buffer.concat([frame(DIALLED, []), ...listening])]
  const life = [
    frame(PING, u32(7)),
    frame(48, Buffer.alloc(40)),
    frame(TIME, u16(1_200)),
    frame(ASK, []),
    frame(PONG, u32(7)),
    frame(WRITE, []),
    frame(CLOSE, [0], Buffer.from('bye')),
  ]
  return [
    ...[asDialler, asListener].map(start => Buffer.concat([start, ...life])),
    ...[asDialler, asListener].map(start => Buffer.concat([start, frame(TIME, u16(9_000))])),
    Buffer.concat([asDialler, frame(OUR_CLOSE, [3])]),
    Buffer.concat([asDialler, frame(48, Buffer.alloc(1_500)).subarray(0, 700), frame(BREAK, [])]),
    Buffer.concat([frame(TIME, u16(3_000)), asDialler]),
    frame(REJECT, encodeBody({ code: 'REFUSED', text: 'no' })),
    ...frames.map(each => Buffer.concat([asDialler, each])),
  ]
}

const closeReasons: readonly CloseReason[] = [
  'local',
  'duplicate',
  'refused',
  'bad-frame',
  'slow',
  'leaving',
  'replaced',
  'stale',
]

/** The promises of the admission run on. */
async function settled(): Promise<void> {
  for (let i = 0; i < 4; i++) await Promise.resolve()
}

class Conversation {
  readonly #still = new StillEnv()
  readonly #wire = new Wire()
  readonly #ear = new Ear()
  readonly #dice: Dice
  readonly #link: Link

  constructor(input: Buffer, dialled: boolean) {
    this.#dice = Dice.of(input)
    const env: Env = { ...this.#still, transport: { ...this.#still.transport, dial: () => this.#wire } }
    const introduce: LinkSetup['introduce'] = () => ({ identity: 'us', incarnation: '1', role: 'peer', capabilities: ['x', 'y'] })
    const setup: LinkSetup = { options, cluster: 'fuzz', secrets: [], tls: undefined, introduce }
    if (dialled) {
      this.#link = Link.dial(env, setup, 'tcp://fuzz:1', undefined, this.#ear)
      this.#link.opened()
    } else this.#link = Link.accept(env, setup, this.#wire, this.#ear)
  }

  async take(each: Buffer): Promise<void> {
    const kind = each[PREFIX] ?? 0
    const payload = each.subarray(PREFIX + 1)
    switch (kind) {
      case DIALLED:
        return
      case TIME:
        return this.#still.pass(payload.length >= 2 ? payload.readUInt16BE(0) : 100)
      case OUR_CLOSE:
        return this.#link.close(closeReasons[(payload[0] ?? 0) % closeReasons.length]!)
      case ASK:
        void this.#link.answers(500)
        return
      case BREAK:
        this.#link.closed(payload.length > 0 ? new Error('reset') : undefined)
        this.#wire.isOver = true
        return
      case WRITE:
        return this.#link.write(frame(48, Buffer.alloc(10)))
      default:
        return this.#hear(each)
    }
  }

  async #hear(each: Buffer): Promise<void> {
    for (let at = 0; at < each.length && !this.#wire.isOver;) {
      const size = this.#dice.chance(0.7) ? each.length : 1 + this.#dice.below(each.length)
      this.#link.data(Uint8Array.from(each.subarray(at, at + size)))
      at += size
      await settled()
    }
  }

  async end(): Promise<string> {
    const was = this.#link.isOpen ? 'open' : this.#link.isClosed ? 'closed' : 'between'
    this.#still.pass(100)
    this.#link.close('local')
    this.#link.closed()
    await settled()
    claim(this.#ear.closings.length === 1, `${this.#ear.closings.length} ends of one link`)
    claim(this.#still.timersSet === 0, `${this.#still.timersSet} timers are left`)
    const { opened_, frames, closings } = this.#ear
    return `${opened_} ${about(frames)} ${about(this.#wire.frames)} ${was} ${closings[0]}`
  }
}

export const linkTarget = pureTarget(
  {
    name: 'link',
    about: 'a link, dialled or accepted: its handshake, frames, pings, time that passes',
    bytesMax: 8_192,
    framed: true,
    dictionary: [
      ...bodyWords,
      u32(2_000 + 4_096),
      u32(2_000 + 4_097),
      frame(TIME, u16(6_000)),
      frame(TIME, u16(600)),
      frame(WRITE, []),
      frame(ASK, []),
    ],
    seeds,
  },
  async input => {
    const frames = cutFrames(input)
    const conversation = new Conversation(input, frames[0]?.[PREFIX] === DIALLED)
    for (const each of frames) await conversation.take(each)
    return conversation.end()
  },
)
