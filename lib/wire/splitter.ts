/** Cuts a stream of bytes into frames, wherever the chunks end. */
import { PREFIX, badFrame, readUint32 } from './frame.ts'

/** Called for each frame: `buffer[start]` is its kind byte, `end` is behind its last. It may keep the buffer. */
export type FrameSink = (buffer: Buffer, start: number, end: number) => void

/**
 * What is set aside for a frame at first, bytes: room for a body of 64 KiB. More only as its bytes really come: a length is a claim, not
 * a fact. Then as much more as makes moving what is there cheap beside receiving it: a body of 1 MiB is moved once, when a sixteenth came.
 */
const firstBytes = 66 * 1024
const growth = 16

export class Splitter {
  /** Largest length accepted, bytes without the prefix. */
  bytesMax: number
  readonly #sink: FrameSink
  /** The beginning of a frame that a chunk's end cut, prefix included. */
  #part: Buffer = Buffer.alloc(0)
  #have = 0
  /** Whole size of that frame, prefix included; 0 while the prefix itself is cut. */
  #size = 0
  #stopped = false

  constructor(bytesMax: number, sink: FrameSink) {
    this.bytesMax = bytesMax
    this.#sink = sink
  }

  /** Whether a frame has begun and not ended. */
  get within(): boolean {
    return this.#have > 0
  }

  /** Nothing more comes out, also from the chunk in hand. */
  stop(): void {
    this.#stopped = true
  }

  /** Throws `BAD_FRAME` for a length of 0 or above `bytesMax`, before anything of that frame is kept. */
  push(chunk: Buffer): void {
    let at = 0
    if (this.#have > 0) at = this.#continue(chunk)
    while (!this.#stopped && chunk.length - at >= PREFIX) {
      const end = at + PREFIX + this.#length(chunk, at)
      if (end > chunk.length) break
      this.#sink(chunk, at + PREFIX, end)
      at = end
    }
    if (at < chunk.length && !this.#stopped) this.#keep(chunk, at)
  }

  #length(buffer: Buffer, at: number): number {
    const length = readUint32(buffer, at)
    if (length === 0 || length > this.bytesMax) throw badFrame(`a frame of ${length} bytes; allowed are 1 to ${this.bytesMax}`)
    return length
  }

  #keep(chunk: Buffer, at: number): void {
    this.#have = chunk.length - at
    this.#size = this.#have >= PREFIX ? PREFIX + this.#length(chunk, at) : 0
    this.#part = Buffer.allocUnsafe(this.#size > 0 ? Math.max(this.#have, Math.min(this.#size, firstBytes)) : PREFIX)
    chunk.copy(this.#part, 0, at)
  }

  /** Adds to the cut frame; returns how much of the chunk that took. */
  #continue(chunk: Buffer): number {
    let at = 0
    if (this.#size === 0) {
      at = Math.min(PREFIX - this.#have, chunk.length)
      chunk.copy(this.#part, this.#have, 0, at)
      this.#have += at
      if (this.#have < PREFIX) return at
      this.#size = PREFIX + this.#length(this.#part, 0)
    }
    const take = Math.min(this.#size - this.#have, chunk.length - at)
    this.#grow(this.#have + take)
    chunk.copy(this.#part, this.#have, at, at + take)
    this.#have += take
    if (this.#have < this.#size) return at + take
    const [frame, size] = [this.#part, this.#size]
    this.#part = Buffer.alloc(0)
    this.#have = this.#size = 0
    this.#sink(frame, PREFIX, size)
    return at + take
  }

  #grow(bytes: number): void {
    if (bytes <= this.#part.length) return
    const larger = Buffer.allocUnsafe(Math.min(this.#size, Math.max(bytes, this.#part.length * growth)))
    this.#part.copy(larger, 0, 0, this.#have)
    this.#part = larger
  }
}
