/**
 * What a channel has written and must keep until it is acknowledged: large segments, filled frame by frame. The write buffer is the
 * resend store: an object and a buffer for each frame would cost a third more (LIMITS: measured on a prototype of this path).
 */
import { CHANNEL_HEADER, NUMBERED_HEADER, PREFIX, writeLabel } from '../wire/frame.ts'
import { FIRST_NUMBERED } from '../wire/kinds.ts'
import type { Path } from './path.ts'

export const segmentBytes = 64 * 1024

export interface Segment {
  buffer: Buffer
  /** Behind the last whole frame. */
  end: number
  /** Behind the last byte that was given to the path. */
  written: number
  /** The rest of its last frame: a large body, not copied. Nothing comes behind it in this segment. */
  tail: Uint8Array | undefined
  tailWritten: boolean
  /** Highest sequence in it, -1 if it holds no numbered frame. */
  lastSequence: number
}

export class SendBuffer {
  #segments: Segment[] = []
  #current: Segment | undefined
  #acknowledged = -1
  #heldBytes = 0
  #rest = nothing

  /** A segment with room for `bytes` more. */
  reserve(bytes: number): Segment {
    const current = this.#current
    if (current && !current.tail && current.end + bytes <= current.buffer.length) return current
    // Here too, not only on acknowledgements: a receiver that sends nothing gets none, and its own acknowledgements would pile up; those
    // behind a frame that is not acknowledged as well.
    this.#keep(this.#segments.filter(segment => !this.#isDone(segment)))
    // What a large body cut off is filled on.
    const buffer = this.#rest.length >= bytes ? this.#rest : Buffer.allocUnsafeSlow(Math.max(segmentBytes, bytes))
    this.#rest = nothing
    const segment: Segment = { buffer, end: 0, written: 0, tail: undefined, tailWritten: true, lastSequence: -1 }
    this.#segments.push(segment)
    this.#heldBytes += buffer.length
    this.#current = segment
    return segment
  }

  /** What comes next goes into another segment: somebody is still filling this one. */
  turnPage(): void {
    this.#current = undefined
    this.#rest = nothing
  }

  /** The last frame of the current segment goes on with these bytes. */
  attach(tail: Uint8Array): void {
    const segment = this.#current!
    const { buffer, end } = segment
    this.#rest = buffer.subarray(end)
    segment.buffer = buffer.subarray(0, end)
    segment.tail = tail
    segment.tailWritten = false
    this.#heldBytes += tail.length - this.#rest.length
  }

  /** Memory that is set aside, bytes. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  writeTo(path: Path): void {
    for (const segment of this.#segments) {
      if (segment.written < segment.end) path.write(segment.buffer.subarray(segment.written, segment.end))
      segment.written = segment.end
      if (segment.tailWritten) continue
      segment.tailWritten = true
      path.write(segment.tail!)
    }
  }

  /** Everything up to this number was accepted: segments that hold nothing newer are forgotten. */
  release(acknowledged: number): void {
    this.#acknowledged = acknowledged
    // A segment of one large frame is not kept to be filled on: an idle channel holds one common segment at most.
    const [first] = this.#segments
    if (!first || (first === this.#current && !first.tail && first.buffer.length <= segmentBytes)) return
    let done = 0
    while (done < this.#segments.length && this.#isDone(this.#segments[done]!)) done++
    if (done > 0) this.#keep(this.#segments.slice(done))
  }

  /** Written, and nothing in it may have to be sent again. */
  #isDone({ lastSequence, written, end, tailWritten }: Segment): boolean {
    return lastSequence <= this.#acknowledged && written === end && tailWritten
  }

  #keep(segments: Segment[]): void {
    this.#segments = segments
    this.#heldBytes = 0
    for (const { buffer, tail } of segments) this.#heldBytes += buffer.length + (tail?.length ?? 0)
    if (this.#current && segments.at(-1) !== this.#current) this.#current = undefined
  }

  /**
   * For a new path: keeps only numbered frames that are not acknowledged, under the new label, and counts as unwritten those from
   * `resendFrom` on. Copies, because the old path may still be reading the old bytes. `moved` is told where each frame is now, and
   * may make it another one before it leaves, as long as it was or shorter, or of `NUMBERED_HEADER` and four bytes.
   */
  rebuild(
    firstSequence: number,
    resendFrom: number,
    label: number,
    moved: (sequence: number, segment: Segment, at: number) => void,
  ): void {
    const old = this.#segments
    this.#segments = []
    this.#current = undefined
    let sequence = firstSequence
    const arrived: Segment[] = []
    let resending = false
    for (const { buffer, end, tail } of old) {
      for (let at = 0, next = 0; at < end; at = next) {
        next = at + PREFIX + buffer.readUInt32BE(at)
        if (buffer[at + PREFIX]! < FIRST_NUMBERED) continue
        const low = buffer.readUInt32BE(at + CHANNEL_HEADER)
        if ((low - sequence) | 0) continue // acknowledged before: an older one in a segment that was still held
        if (sequence >= resendFrom && !resending) {
          // What arrived and what is sent again never share a segment: `written` is one position a segment.
          resending = true
          this.#segments.forEach(countAsWritten)
          arrived.push(...this.#segments)
          this.#segments = []
          this.#current = undefined
        }
        const here = Math.min(next, end) - at // the rest, if any, is the tail
        const segment = this.reserve(Math.max(here, NUMBERED_HEADER + 4))
        buffer.copy(segment.buffer, segment.end, at, at + here)
        writeLabel(segment.buffer, segment.end, label)
        moved(sequence, segment, segment.end)
        const bytes = PREFIX + segment.buffer.readUInt32BE(segment.end)
        const goesOn = here < next - at && bytes > here // it has not been made another one
        segment.end += goesOn ? here : bytes
        segment.lastSequence = sequence++
        if (goesOn) this.attach(tail!)
      }
    }
    if (!resending) {
      this.#segments.forEach(countAsWritten)
    }
    this.#segments = [...arrived, ...this.#segments]
    if (!resending) this.#current = undefined
    this.#keep(this.#segments)
  }
}

const nothing: Buffer = Buffer.alloc(0)

function countAsWritten(segment: Segment): void {
  segment.written = segment.end
  segment.tailWritten = true
}
