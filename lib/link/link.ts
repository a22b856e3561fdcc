/** One live connection to one other party: handshake, heartbeat, frames in and out, and an end with a reason. */
import type { Connection, ConnectionHandler, Env, Timer, TlsOptions } from '../env/env.ts'
import { HomingError, homingError } from '../errors.ts'
import { badFrame, frameOf, pingFrame } from '../wire/frame.ts'
import { CLOSE, PING, PONG } from '../wire/kinds.ts'
import { Splitter } from '../wire/splitter.ts'
import { Handshake, type HandshakeStep, type Introduction, type Remote } from './handshake.ts'
import { frameBytesMax, type LinkOptions } from './options.ts'

/** Why a link ended: one closed list, the same words in code and logs. */
export type CloseReason =
  'local' | 'remote' | 'stale' | 'duplicate' | 'refused' | 'bad-frame' | 'slow' | 'unreachable' | 'leaving' | 'replaced'

const reasons: readonly CloseReason[] = [
  'local',
  'remote',
  'stale',
  'duplicate',
  'refused',
  'bad-frame',
  'slow',
  'unreachable',
  'leaving',
  'replaced',
]

/** How long a closing connection may take to send its last words, ms. */
const lingerMs = 1_000
/**
 * What may wait for the other end, bytes, besides the largest frame: above all windows and outboxes. An end that sends and does not read
 * could else make its answers (pongs, acknowledgements) fill our memory.
 */
const pendingBytesMax = 64 << 20

/** What both ends of a handshake need to know. */
export interface LinkSetup {
  readonly options: LinkOptions
  readonly cluster: string
  /** The shared secret, and before it is rotated out the previous one; none: no proof is asked for. */
  readonly secrets: readonly Uint8Array[]
  readonly tls: TlsOptions | undefined
  introduce(): Introduction
}

export interface LinkHandler {
  /** Listener only: the remote is proved; may it stay? Rejects with the `HomingError` to refuse it with. */
  admit?(link: Link, remote: Remote): Promise<void>
  opened(link: Link): void
  /** `buffer[start]` is the kind. It may keep the buffer. A `HomingError` `BAD_FRAME` thrown here closes the link. */
  frame(link: Link, buffer: Buffer, start: number, end: number): void
  /** All frames of one read were handed over. */
  batch(link: Link): void
  /** Last call, exactly once, also for a link that never opened. `error` says more where there is more to say. */
  closed(link: Link, reason: CloseReason, error?: HomingError): void
}

export class Link implements ConnectionHandler {
  /** Whether this side dialled. */
  readonly dialled: boolean
  readonly #env: Env
  readonly #setup: LinkSetup
  readonly #handler: LinkHandler
  readonly #splitter: Splitter
  readonly #expect: string | undefined
  #connection: Connection | undefined
  #handshake: Handshake | undefined
  #remote: Remote | undefined
  #state: 'dialling' | 'handshake' | 'open' | 'closed' = 'dialling'
  #openedAtMs = 0
  #closedAtMs: number | undefined
  #heardAtMs = 0
  #tickedAtMs = 0
  #pinged: { nonce: number; atMs: number } | undefined
  #pingedAtMs = 0
  /** Who waits for a sign of life. */
  #askers: { nonce: number; tell(heard: boolean): void }[] = []
  #frames = 0
  #cut: { frames: number; sinceMs: number } | undefined
  #deadline: Timer | undefined
  #heartbeat: Timer | undefined
  /** Destroys a connection whose other end does not read our end. */
  #linger: Timer | undefined
  /** Round trip of the last answered ping, ms. */
  roundTripMs: number | undefined

  private constructor(env: Env, setup: LinkSetup, handler: LinkHandler, dialled: boolean, expect: string | undefined) {
    this.#env = env
    this.#setup = setup
    this.#handler = handler
    this.dialled = dialled
    this.#expect = expect
    this.#splitter = new Splitter(setup.options.handshakeBytesMax, (buffer, start, end) => this.#frame(buffer, start, end))
  }

  /** Dials; `expect` is the identity that must answer. Throws `BAD_OPTION` for an endpoint that cannot be read. */
  static dial(env: Env, setup: LinkSetup, endpoint: string, expect: string | undefined, handler: LinkHandler): Link {
    const link = new Link(env, setup, handler, true, expect)
    link.#connection = env.transport.dial(endpoint, setup.tls, setup.options.dialTimeoutMs, link)
    return link
  }

  static accept(env: Env, setup: LinkSetup, connection: Connection, handler: LinkHandler): Link {
    const link = new Link(env, setup, handler, false, undefined)
    link.#connection = connection
    link.#shakeHands()
    return link
  }

  /** What the other end proved to be. A bug to ask before `opened`. */
  get remote(): Remote {
    if (!this.#remote) throw new Error('link: asked for its remote before the handshake ended')
    return this.#remote
  }

  /** The rest of a frame that has begun is on its way. */
  get isWithinFrame(): boolean {
    return this.#splitter.within
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Whether the handshake ended well, whatever came later. */
  get wasOpen(): boolean {
    return this.#remote !== undefined
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** How long it has been open, or was, ms. */
  get ageMs(): number {
    return this.wasOpen ? (this.#closedAtMs ?? this.#env.clock.monotonicMs()) - this.#openedAtMs : 0
  }

  get pendingBytes(): number {
    return this.#connection?.pendingBytes ?? 0
  }

  /** For people. */
  get address(): string {
    return this.#connection?.remote ?? '?'
  }

  /** Queues whole frames. The bytes belong to the link until `flushed`. On a link that is not open they are dropped. */
  write(bytes: Uint8Array, flushed?: () => void): void {
    if (this.#state === 'open') this.#connection?.write(bytes, flushed)
  }

  /** Ends the link and tells the other end why. Idempotent. */
  close(reason: CloseReason, error?: HomingError): void {
    if (this.#state === 'closed') return
    const connection = this.#connection
    if (this.#state === 'open' && reason !== 'stale') {
      const text = Buffer.from(error?.message ?? '').subarray(0, 500)
      connection?.write(frameOf(CLOSE, Buffer.concat([Buffer.from([reasons.indexOf(reason)]), text])))
      this.#finish()
    } else if (this.#state === 'handshake' && (reason === 'refused' || reason === 'bad-frame')) {
      this.#finish() // behind the REJECT that says why
    } else {
      connection?.destroy()
    }
    this.#end(reason, error)
  }

  /** Whether anything came in as lately as from an end that lives, which is pinged when it has been silent for `pingAfterMs`. */
  get isHeard(): boolean {
    return this.isOpen && this.#env.clock.monotonicMs() - this.#heardAtMs <= 2 * this.#setup.options.pingAfterMs
  }

  /** Whether the other end echoes a ping of this moment within `withinMs`: what it sent before says nothing of it now. */
  answers(withinMs: number): Promise<boolean> {
    if (!this.isOpen) return Promise.resolve(false)
    const nonce = this.#ping(this.#env.clock.monotonicMs())
    return new Promise(resolve => {
      const timer = this.#env.timers.after(withinMs, () => this.#tellAskers(false, nonce))
      this.#askers.push({
        nonce,
        tell: heard => {
          timer.cancel()
          resolve(heard)
        },
      })
    })
  }

  /** Those who asked with this nonce, or all. */
  #tellAskers(heard: boolean, nonce?: number): void {
    const told = this.#askers.filter(asker => nonce === undefined || asker.nonce === nonce)
    this.#askers = this.#askers.filter(asker => !told.includes(asker))
    for (const { tell } of told) tell(heard)
  }

  // ConnectionHandler

  opened(): void {
    if (this.#state === 'dialling') this.#shakeHands()
  }

  data(chunk: Uint8Array): void {
    if (this.#state === 'closed') return
    this.#heardAtMs = this.#env.clock.monotonicMs()
    try {
      this.#splitter.push(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length))
    } catch (error) {
      // Whatever bytes do to us ends their link and nothing else; a bug of ours is not hidden: it carries its stack as cause.
      this.close('bad-frame', homingError(error, 'BAD_FRAME', 'a frame could not be read'))
      return
    }
    if (this.isOpen) this.#handler.batch(this)
  }

  closed(error?: Error): void {
    this.#linger?.cancel()
    if (this.#state === 'closed') return
    if (this.#state === 'open') {
      return this.#end(
        'remote',
        error && new HomingError('UNREACHABLE', `the connection broke: ${error.message}`, { cause: error }),
      )
    }
    const why = error ? error.message : 'the connection ended before the handshake was over'
    this.#end('unreachable', new HomingError('UNREACHABLE', why, { cause: error }))
  }

  // The handshake

  #shakeHands(): void {
    const { options, cluster, secrets } = this.#setup
    const { tls } = this.#connection ?? {}
    this.#state = 'handshake'
    this.#deadline = this.#env.timers.after(options.handshakeTimeoutMs, () =>
      this.close('slow', new HomingError('UNREACHABLE', `no handshake within ${options.handshakeTimeoutMs} ms`)),
    )
    this.#handshake = new Handshake(this.dialled ? 'dialler' : 'listener', {
      cluster,
      self: this.#setup.introduce(),
      secrets,
      nonce: this.#env.random.bytes(32),
      ...(tls && { exporter: tls.exporter }),
      ...(tls?.peerName !== undefined && { peerName: tls.peerName }),
      ...(this.#expect !== undefined && { expect: this.#expect }),
    })
    this.#take(this.#handshake.start())
  }

  #take(step: HandshakeStep): void {
    for (const { kind, payload } of step.send) this.#connection?.write(frameOf(kind, payload))
    if (step.error) return this.close(step.error.code === 'BAD_FRAME' ? 'bad-frame' : 'refused', step.error)
    if (step.verified) void this.#admit(step.verified)
    if (step.remote) this.#open(step.remote)
  }

  async #admit(remote: Remote): Promise<void> {
    try {
      await this.#handler.admit?.(this, remote)
    } catch (error) {
      if (this.#state === 'handshake') this.#take(this.#handshake!.reject(homingError(error, 'REFUSED', 'not admitted')))
      return
    }
    if (this.#state === 'handshake') this.#take(this.#handshake!.accept())
  }

  #open(remote: Remote): void {
    this.#deadline?.cancel()
    this.#remote = remote
    this.#state = 'open'
    this.#splitter.bytesMax = frameBytesMax(this.#setup.options)
    this.#openedAtMs = this.#heardAtMs = this.#tickedAtMs = this.#env.clock.monotonicMs()
    this.#heartbeat = this.#env.timers.every(this.#setup.options.pingAfterMs / 2, () => this.#beat())
    this.#handler.opened(this)
  }

  // Frames

  #frame(buffer: Buffer, start: number, end: number): void {
    if (this.#state === 'closed') return
    if (this.#state !== 'open') {
      // Many small frames are as much as a large one.
      this.#splitter.bytesMax -= end - start
      return this.#take(this.#handshake!.receive(buffer[start]!, buffer.subarray(start + 1, end)))
    }
    this.#frames++
    const kind = buffer[start]!
    if (kind === PING) return this.#answer(buffer, start, end)
    if (kind === PONG) return this.#answered(buffer, start, end)
    if (kind === CLOSE) return this.#closedByRemote(buffer, start, end)
    this.#handler.frame(this, buffer, start, end)
  }

  #answer(buffer: Buffer, start: number, end: number): void {
    if (end - start !== 5) throw badFrame('a ping of another size')
    this.write(pingFrame(PONG, buffer.readUInt32BE(start + 1)))
  }

  #answered(buffer: Buffer, start: number, end: number): void {
    if (end - start !== 5) throw badFrame('a pong of another size')
    const nonce = buffer.readUInt32BE(start + 1)
    if (this.#askers.length > 0) this.#tellAskers(true, nonce)
    if (this.#pinged?.nonce !== nonce) return
    this.roundTripMs = this.#heardAtMs - this.#pinged.atMs
    this.#pinged = undefined
  }

  #closedByRemote(buffer: Buffer, start: number, end: number): void {
    const reason = reasons[buffer[start + 1] ?? -1]
    if (!reason) throw badFrame('a close without a reason that is known')
    // eslint-disable-next-line no-control-regex -- the text goes into logs and terminals
    const text = buffer.toString('utf8', start + 2, end).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ')
    const { remote } = this
    this.#finish()
    const said = reason === 'local' ? 'remote' : reason
    const error = text === '' ? undefined : new HomingError('UNREACHABLE', `${remote.identity} closed the link: ${text}`)
    this.#end(said, error)
  }

  // Liveness

  #beat(): void {
    const { pingAfterMs, staleAfterMs, frameTimeoutMs } = this.#setup.options
    const nowMs = this.#env.clock.monotonicMs()
    const late = nowMs - this.#tickedAtMs > pingAfterMs * 1.5
    this.#tickedAtMs = nowMs
    // A loop that was late has not read what arrived meanwhile: it judges nobody before the next beat.
    if (late) {
      this.#heardAtMs = Math.max(this.#heardAtMs, nowMs - pingAfterMs)
      this.#pinged = undefined
      this.#cut = undefined
    }
    const silentMs = nowMs - this.#heardAtMs
    if (silentMs >= staleAfterMs && this.#pinged) {
      return this.close('stale', new HomingError('UNREACHABLE', `no sign of life for ${Math.round(silentMs)} ms`))
    }
    // Behind a large frame that is on its way to us waits whatever the other end asks: it hears from us all the same.
    const asked = silentMs >= pingAfterMs && !this.#pinged
    if (asked || (this.#splitter.within && nowMs - this.#pingedAtMs >= pingAfterMs)) this.#ping(nowMs)
    if (this.pendingBytes > pendingBytesMax + frameBytesMax(this.#setup.options)) {
      return this.close('slow', new HomingError('UNREACHABLE', `it does not read: ${this.pendingBytes} bytes wait for it`))
    }
    this.#checkCutFrame(nowMs, frameTimeoutMs)
  }

  #ping(nowMs: number): number {
    const nonce = Math.floor(this.#env.random.fraction() * 0x1_0000_0000)
    this.#pinged = { nonce, atMs: nowMs }
    this.#pingedAtMs = nowMs
    this.write(pingFrame(PING, nonce))
    return nonce
  }

  #checkCutFrame(nowMs: number, frameTimeoutMs: number): void {
    if (!this.#splitter.within) this.#cut = undefined
    else if (this.#cut?.frames !== this.#frames) this.#cut = { frames: this.#frames, sinceMs: nowMs }
    else if (nowMs - this.#cut.sinceMs >= frameTimeoutMs) {
      this.close('slow', new HomingError('UNREACHABLE', `a frame was not whole after ${frameTimeoutMs} ms`))
    }
  }

  /** Sends what is queued, then closes; an end that is never read must not keep the descriptor. */
  #finish(): void {
    this.#connection?.end()
    this.#linger = this.#env.timers.after(lingerMs, () => this.#connection?.destroy())
  }

  #end(reason: CloseReason, error?: HomingError): void {
    this.#state = 'closed'
    this.#closedAtMs = this.#env.clock.monotonicMs()
    this.#splitter.stop()
    this.#deadline?.cancel()
    this.#heartbeat?.cancel()
    this.#tellAskers(false)
    this.#handler.closed(this, reason, error)
  }
}
