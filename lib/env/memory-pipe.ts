/** One direction of a connection of the memory network: what left one end and is not at the other yet. */

import type { Random, Timers } from './env.ts'

/** What travels: TCP's own words. A refusal or a reset is `rst`. */
export type Segment = { kind: 'syn' | 'syn-ack' | 'ack' | 'fin' | 'rst' } | { kind: 'data'; bytes: Uint8Array }

/** How the wire behaves. */
export interface WireOptions {
  /** How long everything travels, ms. */
  latencyMs: number
  /** Up to that much longer, drawn for each segment, ms; a late segment holds up those behind it. */
  jitterMs: number
  /** What passes through one direction of a connection in a millisecond, bytes. */
  bytesPerMs: number
  /** After a heal TCP tries again only by and by: each direction goes on up to that much later, ms. */
  resumeMsMax: number
}

/** What a pipe asks of its network. */
export interface Wire {
  readonly timers: Timers
  readonly random: Random
  readonly options: WireOptions
  /** Whether nothing gets from one host to the other now. If so, the pipe is resumed when that changes. */
  isStuck(pipe: MemoryPipe): boolean
  /** How much longer this one's way is at present, ms. */
  detourMs(pipe: MemoryPipe): number
}

interface Travelling {
  readonly segment: Segment
  arrived: boolean
}

/** Delivers in order. Nothing in it is lost, however long the way is cut, but by `drop`. */
export class MemoryPipe {
  from: string
  to: string
  /** Bytes that left the sender's queue and were not taken by the receiver's process: what two kernels hold. */
  heldBytes = 0
  readonly #wire: Wire
  readonly #receive: (segment: Segment) => void
  /** Waiting for the narrow wire; the first is on it. */
  #waiting: Segment[] = []
  #travelling: Travelling[] = []
  #isBusy = false

  constructor(wire: Wire, from: string, to: string, receive: (segment: Segment) => void) {
    this.#wire = wire
    this.from = from
    this.to = to
    this.#receive = receive
  }

  send(segment: Segment): void {
    if (segment.kind === 'data') this.heldBytes += segment.bytes.byteLength
    // Behind what waits, though the wire has become wide meanwhile.
    if (this.#wire.options.bytesPerMs === Infinity && this.#waiting.length === 0) return this.#launch(segment)
    this.#waiting.push(segment)
    if (!this.#isBusy) this.#sendNext()
  }

  /** Forgets all that has not arrived. */
  drop(): void {
    this.#waiting = []
    this.#travelling = []
  }

  /** The way is open again. */
  resume(): void {
    const { timers, random, options } = this.#wire
    timers.after(options.latencyMs + random.fraction() * options.resumeMsMax, () => this.#arrive())
  }

  #sendNext(): void {
    const segment = this.#waiting[0]
    this.#isBusy = segment !== undefined
    if (!segment) return
    const bytes = segment.kind === 'data' ? segment.bytes.byteLength : 0
    this.#wire.timers.after(bytes / this.#wire.options.bytesPerMs, () => {
      // Not what was dropped meanwhile: those before it are lost, and it would leave a hole.
      if (this.#waiting[0] === segment) this.#launch(this.#waiting.shift()!)
      this.#sendNext()
    })
  }

  #launch(segment: Segment): void {
    const { timers, random, options } = this.#wire
    const travelling = { segment, arrived: false }
    this.#travelling.push(travelling)
    const jitterMs = options.jitterMs > 0 ? random.fraction() * options.jitterMs : 0
    timers.after(options.latencyMs + jitterMs + this.#wire.detourMs(this), () => {
      travelling.arrived = true
      this.#arrive()
    })
  }

  #arrive(): void {
    while (this.#travelling[0]?.arrived && !this.#wire.isStuck(this)) this.#receive(this.#travelling.shift()!.segment)
  }
}
