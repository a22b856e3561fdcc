/** Links between two simulated hosts, and what their handlers hear. */

import type { Connection, Env, Transport } from '../../lib/env/env.ts'
import { MemoryNetwork, type MemoryNetworkOptions } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { HomingError } from '../../lib/errors.ts'
import type { Remote } from '../../lib/link/handshake.ts'
import { Link, type CloseReason, type LinkHandler, type LinkSetup } from '../../lib/link/link.ts'
import { linkOptions, type LinkOptions } from '../../lib/link/options.ts'
import { tapped } from './tapped-connection.ts'

/** A kind that the link itself does not know: what its handler gets. */
export const DATA = 48

export class LinkEar implements LinkHandler {
  readonly heard: string[] = []
  readonly frames: Buffer[] = []
  reason: CloseReason | undefined
  error: HomingError | undefined
  closedAtMs = -1
  readonly env: Env
  admits: (remote: Remote) => Promise<void> = async () => undefined
  onFrame: (frame: Buffer) => void = () => undefined
  #waiting: (() => void)[] = []

  constructor(env: Env) {
    this.env = env
  }

  /** Resolves once `condition` holds, asked after each thing heard. For real sockets: virtual time has its own `until`. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  admit(_link: Link, remote: Remote): Promise<void> {
    return this.admits(remote)
  }

  opened(): void {
    this.heard.push('opened')
    this.#wake()
  }

  frame(_link: Link, buffer: Buffer, start: number, end: number): void {
    const frame = buffer.subarray(start + 1, end)
    this.frames.push(frame)
    this.onFrame(frame)
    this.#wake()
  }

  batch(): void {
    if (this.heard.at(-1) !== 'batch') this.heard.push('batch')
  }

  closed(_link: Link, reason: CloseReason, error?: HomingError): void {
    this.heard.push('closed')
    this.reason = reason
    this.error = error
    this.closedAtMs = this.env.clock.monotonicMs()
    this.#wake()
  }
}

export class LinkWorld {
  readonly time: VirtualTime
  readonly network: MemoryNetwork
  readonly options: Readonly<LinkOptions>
  readonly here: Env
  readonly there: Env
  readonly near: LinkEar
  readonly far: LinkEar
  /** What the dialler's end writes goes through here. */
  readonly tap = new Tap()
  /** The listener's end, once it was dialled. */
  accepted: Link | undefined
  #names = 0

  constructor(seed: number | string = 1, options: Partial<LinkOptions> = {}, network: Partial<MemoryNetworkOptions> = {}) {
    this.time = new VirtualTime({ seed })
    this.network = new MemoryNetwork(this.time.timers, this.time.random, network)
    this.options = linkOptions(options)
    const env = virtualEnv(this.time, this.network, 'here')
    this.here = { ...env, transport: this.tap.on(env.transport) }
    this.there = virtualEnv(this.time, this.network, 'there')
    this.near = new LinkEar(this.here)
    this.far = new LinkEar(this.there)
  }

  setup(identity: string, given: Partial<LinkSetup> = {}): LinkSetup {
    const introduce: LinkSetup['introduce'] = () => ({ identity, incarnation: '1', role: 'peer', capabilities: [] })
    return { options: this.options, cluster: 'links', secrets: [], tls: undefined, introduce, ...given }
  }

  async listen(given: Partial<LinkSetup> = {}): Promise<string> {
    const accept = (connection: Connection): Link =>
      (this.accepted = Link.accept(this.there, this.setup('there', given), connection, this.far))
    const listener = await this.there.transport.listen(`memory:there${++this.#names}`, undefined, accept)
    return listener.endpoint
  }

  dial(endpoint: string, given: Partial<LinkSetup> = {}, expect?: string): Link {
    return Link.dial(this.here, this.setup('here', given), endpoint, expect, this.near)
  }

  /** Both ends open. */
  async pair(): Promise<{ near: Link; far: Link }> {
    const near = this.dial(await this.listen())
    await this.time.until(() => near.isOpen && this.accepted?.isOpen === true, 1_000)
    return { near, far: this.accepted! }
  }

  /** A connection to a listening link that says nothing by itself. */
  async raw(endpoint: string): Promise<RawEnd> {
    const raw = new RawEnd()
    raw.connection = this.here.transport.dial(endpoint, undefined, 1_000, raw)
    await this.time.until(() => raw.isOpen, 1_000)
    return raw
  }
}

/** Lets only so many bytes through; the others wait, in order. */
export class Tap {
  /** Bytes that may pass now. */
  allowed = Infinity
  #queue: Uint8Array = Buffer.alloc(0)
  #connection: Connection | undefined

  on(transport: Transport): Transport {
    return {
      listen: (...args) => transport.listen(...args),
      dial: (...args) => {
        const connection = transport.dial(...args)
        this.#connection = connection
        return tapped(connection, (bytes, flushed) => {
          this.#queue = Buffer.concat([this.#queue, bytes])
          this.allow(0)
          flushed?.()
        })
      },
    }
  }

  /** Lets `bytes` more through. */
  allow(bytes: number): void {
    this.allowed += bytes
    const now = this.#queue.subarray(0, this.allowed)
    if (now.length === 0) return
    this.#queue = this.#queue.subarray(now.length)
    this.allowed -= now.length
    this.#connection?.write(now)
  }
}

/** The end of a connection that speaks no protocol. */
export class RawEnd {
  connection!: Connection
  isOpen = false
  isClosed = false
  bytes = 0

  opened(): void {
    this.isOpen = true
  }

  data(chunk: Uint8Array): void {
    this.bytes += chunk.length
  }

  closed(): void {
    this.isClosed = true
  }
}
