/**
 * Frames as bare Node would do them at its best: packed straight into large buffers, one write a turn, parsed in place. A frame is its
 * payload's length, a tag of free use, and the payload, filled up to a multiple of eight bytes because msgpackr starts only there.
 */
import type { Socket } from 'node:net'
import { Packr, RESERVE_START_SPACE, REUSE_BUFFER_MODE, Unpackr } from 'msgpackr'

const headerBytes = 8
const bufferBytes = 64 * 1024
/** Where less is left, msgpackr would take a buffer of its own. */
const slackBytes = 4 * 1024
/** Bytes that may wait in a socket before whoever fills it is told to wait. */
const waitingBytesMax = 1 << 20

const packMode = RESERVE_START_SPACE | REUSE_BUFFER_MODE | headerBytes
const packr = new Packr({ useRecords: false })
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true })
/** Where to unpack, without an object a message. */
const place = { start: 0, end: 0 }

export function unpack(chunk: Buffer, start: number, end: number): unknown {
  place.start = start
  place.end = end
  return unpackr.unpack(chunk, place) as unknown
}

/** Where the frame that begins at `at` ends. */
function frameEnd(chunk: Buffer, at: number): number {
  return at + ((headerBytes + chunk.readUInt32BE(at) + 7) & ~7)
}

/** Large buffers on their way into one socket; each is used again when the socket is done with it. */
class Buffers {
  readonly #socket: Socket
  readonly #free: Buffer[] = []
  #room: Promise<void> | undefined

  constructor(socket: Socket) {
    this.#socket = socket
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(bufferBytes)
  }

  write(buffer: Buffer, end: number): void {
    this.#socket.write(end === buffer.length ? buffer : buffer.subarray(0, end), () => void this.#free.push(buffer))
  }

  /** What to wait for before more is written. */
  room(): Promise<void> | undefined {
    if (this.#socket.writableLength <= waitingBytesMax) return undefined
    return (this.#room ??= new Promise(resolve => {
      this.#socket.once('drain', () => {
        this.#room = undefined
        resolve()
      })
    }))
  }
}

/** Into which buffer msgpackr writes: that belongs to the whole module. */
let aimedAt: Buffer | undefined

/** Packs frames for one socket. */
export class FrameWriter {
  readonly #buffers: Buffers
  #buffer: Buffer
  #end = 0
  #flushDue = false
  readonly #flush = (): void => {
    this.#flushDue = false
    this.flush()
  }

  constructor(socket: Socket) {
    this.#buffers = new Buffers(socket)
    this.#buffer = this.#buffers.take()
  }

  /** It leaves with the others of this turn. */
  write(value: unknown, tag: number): void {
    if (this.#end + slackBytes > bufferBytes) this.flush()
    const at = this.#end
    if (aimedAt !== this.#buffer) {
      packr.useBuffer(this.#buffer)
      packr.position = at
      aimedAt = this.#buffer
    }
    packr.pack(value, packMode)
    const length = packr.position - at - headerBytes
    this.#buffer.writeUInt32BE(length, at)
    this.#buffer.writeUInt32BE(tag, at + 4)
    this.#end = (packr.position + 7) & ~7
    if (this.#flushDue) return
    this.#flushDue = true
    queueMicrotask(this.#flush)
  }

  flush(): void {
    if (this.#end === 0) return
    this.#buffers.write(this.#buffer, this.#end)
    this.#buffer = this.#buffers.take()
    this.#end = 0
    // It may be one that was written before, and is taken again.
    aimedAt = undefined
  }

  room(): Promise<void> | undefined {
    return this.#buffers.room()
  }
}

/** Copies whole frames for one socket, as a relay does. */
export class FrameCopier {
  readonly #buffers: Buffers
  #buffer: Buffer
  #end = 0

  constructor(socket: Socket) {
    this.#buffers = new Buffers(socket)
    this.#buffer = this.#buffers.take()
  }

  copy(chunk: Buffer, start: number, end: number): void {
    if (this.#end + end - start > bufferBytes) this.flush()
    chunk.copy(this.#buffer, this.#end, start, end)
    this.#end += end - start
  }

  flush(): void {
    if (this.#end === 0) return
    this.#buffers.write(this.#buffer, this.#end)
    this.#buffer = this.#buffers.take()
    this.#end = 0
  }

  room(): Promise<void> | undefined {
    return this.#buffers.room()
  }
}

/** Given a frame: its tag, and where its header and its payload begin and end. */
export type FrameHandler = (tag: number, chunk: Buffer, start: number, payload: number, end: number) => void

/** Cuts what a socket reads into frames. Only those that a chunk's end cuts are copied. */
export class FrameReader {
  readonly #handle: FrameHandler
  readonly #cut = Buffer.allocUnsafeSlow(bufferBytes)
  #cutBytes = 0

  constructor(handle: FrameHandler) {
    this.#handle = handle
  }

  read(chunk: Buffer): void {
    let at = this.#cutBytes > 0 ? this.#complete(chunk) : 0
    while (at + headerBytes <= chunk.length) {
      const next = frameEnd(chunk, at)
      if (next > chunk.length) break
      this.#frame(chunk, at)
      at = next
    }
    if (at < chunk.length) this.#cutBytes += chunk.copy(this.#cut, this.#cutBytes, at)
  }

  /** Adds to the frame that was cut what it lacks; returns where the next one begins. */
  #complete(chunk: Buffer): number {
    let at = this.#fill(chunk, 0, headerBytes)
    if (this.#cutBytes < headerBytes) return at
    const end = frameEnd(this.#cut, 0)
    at = this.#fill(chunk, at, end)
    if (this.#cutBytes < end) return at
    this.#cutBytes = 0
    this.#frame(this.#cut, 0)
    return at
  }

  #fill(chunk: Buffer, from: number, upTo: number): number {
    if (this.#cutBytes >= upTo) return from
    const taken = chunk.copy(this.#cut, this.#cutBytes, from, from + upTo - this.#cutBytes)
    this.#cutBytes += taken
    return from + taken
  }

  #frame(chunk: Buffer, at: number): void {
    const payload = at + headerBytes
    this.#handle(chunk.readUInt32BE(at + 4), chunk, at, payload, payload + chunk.readUInt32BE(at))
  }
}
