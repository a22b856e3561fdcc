/** A member that proves itself as any other and then says what it likes: a link, and channels on it, without the manners of a peer. */

import { realEnv } from '../../lib/env/real.ts'
import type { Env, TlsOptions } from '../../lib/env/env.ts'
import { HomingError } from '../../lib/errors.ts'
import type { Role } from '../../lib/link/handshake.ts'
import { Link, type CloseReason, type LinkHandler } from '../../lib/link/link.ts'
import { linkDefaults } from '../../lib/link/options.ts'
import { Channel, channelDefaults, type ChannelHandler } from '../../lib/mesh/channel.ts'
import type { Path } from '../../lib/mesh/path.ts'
import type { Run } from '../../lib/sessions/directory.ts'
import { decodeBody, encodeBody } from '../../lib/wire/body.ts'
import { labelAt, readRoute, Reader, routeFrame } from '../../lib/wire/frame.ts'
import { CALL, FIRST_OF_CHANNEL, MESSAGE, REPLY, REQUEST, ROUTE, TELL, UNROUTE } from '../../lib/wire/kinds.ts'

export interface RawMemberOptions {
  identity: string
  incarnation?: string
  role?: Role
  cluster?: string
  secrets?: readonly Uint8Array[]
  tls?: TlsOptions
}

/** What became of a frame: `accepted`, the reason of its refusal, or `lost` with the channel. */
export type Fate = 'accepted' | 'lost' | number

/** What came of a call: the answer, or the code and text of a failure, or the reason of a refusal. */
export type Outcome = { answer: unknown } | { code: string; message: string } | { refused: Fate }

interface Called {
  protocol: string
  body: unknown
  from: Run
}

export class RawMember implements LinkHandler {
  readonly run: Run
  readonly link: Link
  /** Resolves when its link has ended. */
  readonly ended: Promise<{ reason: CloseReason; error: HomingError | undefined }>
  /** Bodies of messages that came for addresses that it holds, or does not. */
  readonly messages: unknown[] = []
  /** News and other tells. */
  readonly told: unknown[] = []
  /** Answers what it is called with; what this returns goes back as it is. */
  answers: (called: Called) => unknown = () => null
  readonly #env: Env
  readonly #isPeer: boolean
  readonly #open: Promise<void>
  #isOpen!: () => void
  #end!: (end: { reason: CloseReason; error: HomingError | undefined }) => void
  readonly #channels = new Map<number, Channel>()
  readonly #byPair = new Map<number, Channel>()
  /** By the labels that it gave itself. */
  readonly #byLabel = new Map<number, Channel>()
  readonly #calls = new Map<number, (outcome: Outcome) => void>()
  #lastCall = 0
  #lastLabel = 0
  #lastNumber = 0

  private constructor(endpoint: string, options: RawMemberOptions, env: Env) {
    const { identity, incarnation = `raw-${identity}`, role = 'peer', cluster = 'homing', secrets = [], tls } = options
    this.#env = env
    this.run = { identity, incarnation }
    this.#isPeer = role === 'peer'
    this.#open = new Promise(resolve => (this.#isOpen = resolve))
    this.ended = new Promise(resolve => (this.#end = resolve))
    const introduce = () => ({ ...this.run, role, capabilities: [] })
    this.link = Link.dial(env, { options: linkDefaults, cluster, secrets, tls, introduce }, endpoint, undefined, this)
  }

  /** Resolves when its link is open, and its channel 0 up. Rejects with what it was refused with. */
  static async dial(endpoint: string, options: RawMemberOptions, env = realEnv()): Promise<RawMember> {
    const member = new RawMember(endpoint, options, env)
    const ended = member.ended.then(({ reason, error }) => {
      throw error ?? new HomingError('UNREACHABLE', reason)
    })
    await Promise.race([member.#open, ended])
    return member
  }

  get channel(): Channel {
    return this.#channels.get(0)!
  }

  close(): Promise<unknown> {
    this.link.close('local')
    return this.ended
  }

  // What it says

  /** A message, or with `call` a request, in whatever name. */
  send(to: string, body: unknown, { from = '', channel = this.channel, raw }: SendWords = {}): Promise<Fate> {
    const number = Buffer.alloc(6)
    number.writeUIntBE(++this.#lastNumber, 0, 6)
    return this.numbered(MESSAGE, Buffer.concat([address(to), address(from), number, raw ?? encodeBody(body)]), channel)
  }

  request(to: string, body: unknown, channel = this.channel): Promise<Outcome> {
    const number = Buffer.alloc(6)
    number.writeUIntBE(++this.#lastNumber, 0, 6)
    return this.#calling(channel, REQUEST, call => Buffer.concat([address(to), address(''), number, call, encodeBody(body)]))
  }

  call(protocol: string, body: unknown, channel = this.channel): Promise<Outcome> {
    return this.#calling(channel, CALL, call => Buffer.concat([call, shortText(protocol), encodeBody(body)]))
  }

  tell(protocol: string, body: unknown, channel = this.channel): Promise<Fate> {
    return this.numbered(TELL, Buffer.concat([shortText(protocol), encodeBody(body)]), channel)
  }

  /** Any numbered frame. */
  numbered(kind: number, payload: Uint8Array, channel = this.channel): Promise<Fate> {
    return new Promise(resolve => {
      channel.send(kind, payload, {
        accepted: () => resolve('accepted'),
        refused: reason => resolve(reason),
        lost: () => resolve('lost'),
      })
      channel.flush()
    })
  }

  #calling(channel: Channel, kind: number, payload: (call: Buffer) => Buffer): Promise<Outcome> {
    const id = ++this.#lastCall
    const call = Buffer.alloc(8)
    call.writeUInt32BE(id, 0)
    call.writeUInt32BE(5_000, 4)
    return new Promise(resolve => {
      this.#calls.set(id, resolve)
      void this.numbered(kind, payload(call), channel).then(fate => fate !== 'accepted' && resolve({ refused: fate }))
    })
  }

  /** Joins at a broker as a peer does. */
  join(): Promise<Outcome> {
    const member = { ...this.run, role: 'peer', state: 'up', version: 'raw', machine: 'raw', endpoints: [], metadata: {} }
    return this.call('directory/1', { op: 'join', member })
  }

  /** A channel to another run through the broker; `from` is whom it says it is. */
  async way(to: Run, from: Run = this.run): Promise<Channel> {
    const pair = ++this.#lastLabel + 1_000
    const { channel, up } = this.#way(to, from, pair)
    await Promise.race([up, this.ended])
    return channel
  }

  #way(to: Run, from: Run, pair: number): { channel: Channel; up: Promise<void> } {
    const label = ++this.#lastLabel
    this.link.write(routeFrame({ label, pair, from, to }))
    const made = this.#attach(to, label, undefined)
    this.#byPair.set(pair, made.channel)
    this.#byLabel.set(label, made.channel)
    return made
  }

  #attach(remote: Run, label: number, inLabel = label === 0 ? 0 : undefined): { channel: Channel; up: Promise<void> } {
    let isUp!: () => void
    const up = new Promise<void>(resolve => (isUp = resolve))
    const handler: ChannelHandler = {
      accept: (channel, kind, reader) => this.#accept(channel, kind, reader),
      writable: () => isUp(),
      room() {},
      acknowledged() {},
      leaving() {},
      down() {},
      ended() {},
    }
    const { link } = this
    const channel = new Channel(
      this.#env,
      { identity: remote.identity, incarnation: remote.incarnation },
      channelDefaults,
      handler,
    )
    const path: Path = {
      label,
      kind: label === 0 ? 'direct' : 'broker',
      name: '',
      pendingBytes: 0,
      write: bytes => link.write(bytes),
      abandon() {},
    }
    if (inLabel !== undefined) this.#channels.set(inLabel, channel)
    channel.attach(path)
    return { channel, up }
  }

  // LinkHandler

  opened(link: Link): void {
    // At once: what the other end says first may be in the same read.
    if (this.#isPeer) void this.#attach(link.remote, 0).up.then(this.#isOpen)
    else this.#isOpen()
  }

  frame(_link: Link, buffer: Buffer, start: number, end: number): void {
    const kind = buffer[start]!
    if (kind === ROUTE) return this.#routed(readRoute(new Reader().set(buffer, start + 1, end)))
    if (kind === UNROUTE) return this.#unrouted(new Reader().set(buffer, start + 1, end))
    if (kind >= FIRST_OF_CHANNEL) this.#channels.get(labelAt(buffer, start))?.receive(buffer, start, end)
  }

  #routed({ label, pair, from, to }: ReturnType<typeof readRoute>): void {
    const known = this.#byPair.get(pair)
    if (known) return void this.#channels.set(label, known)
    this.#channels.set(label, this.#way(from, to, pair).channel)
  }

  /** Its way is gone: so is the channel. */
  #unrouted(reader: Reader): void {
    const label = reader.u24()
    const isTheirs = reader.u8() === 1
    const channel = isTheirs ? this.#channels.get(label) : this.#byLabel.get(label)
    channel?.end('dead')
  }

  batch(): void {
    for (const channel of this.#channels.values()) channel.afterBatch()
  }

  closed(_link: Link, reason: CloseReason, error?: HomingError): void {
    this.#end({ reason, error })
    for (const channel of new Set([...this.#channels.values(), ...this.#byPair.values()])) channel.end('dead')
  }

  #accept(channel: Channel, kind: number, reader: Reader): number {
    if (kind === REPLY) {
      const answered = this.#calls.get(reader.u32())
      const fine = reader.u8() === 0
      const body = rest(reader)
      answered?.(fine ? { answer: body } : (body as { code: string; message: string }))
    } else if (kind === CALL) {
      const id = reader.u32()
      reader.u32()
      const protocol = reader.shortText()
      const answer = this.answers({ protocol, body: rest(reader), from: channel.remote })
      const head = Buffer.alloc(5)
      head.writeUInt32BE(id)
      void this.numbered(REPLY, Buffer.concat([head, answer instanceof RawBody ? answer.bytes : encodeBody(answer)]), channel)
    } else if (kind === TELL) {
      reader.shortText()
      this.told.push(rest(reader))
    } else if (kind === MESSAGE) {
      channel.numbersIn.read(reader)
      channel.numbersIn.read(reader)
      reader.u48()
      this.messages.push(rest(reader))
    }
    return 0
  }
}

interface SendWords {
  from?: string
  channel?: Channel
  /** The body's bytes instead of a value. */
  raw?: Uint8Array
}

/** A body that goes as it is. */
export class RawBody {
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}

function rest({ buffer, at, end }: Reader): unknown {
  return decodeBody(buffer, at, end)
}

function shortText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

function address(text: string): Buffer {
  const bytes = Buffer.from(text)
  const head = Buffer.alloc(2)
  head.writeUInt16BE(bytes.length)
  return Buffer.concat([head, bytes])
}
