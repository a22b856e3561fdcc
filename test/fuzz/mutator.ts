/** Makes a new input of one that is known: bytes changed, and where inputs are streams of frames, frames too. */
import { NUMBERED_HEADER, PREFIX } from '../../lib/wire/frame.ts'
import type { Dice } from './dice.ts'
import { cutFrames, fixLength, renumber } from './stream.ts'

export interface MutatorOptions {
  readonly bytesMax: number
  /** Inputs are streams of frames. */
  readonly framed: boolean
  /** What is worth putting in. */
  readonly dictionary: readonly Uint8Array[]
}

const bytes8 = [0, 1, 2, 0x0f, 0x10, 0x1f, 0x20, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xfe, 0xff] as const
/** Numbers at which something ends: of 16 bits, of 24, of signed and unsigned 32, and the bounds of the protocol. */
const numbers = [0, 1, 2, 3, 16, 190, 191, 255, 256, 4_095, 4_096, 0x3fff, 0x4000, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0xff_ffff, 0x100_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff] as const // prettier-ignore
/** Bytes beside which a kind or a head has its neighbours. */
const kinds = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 16, 17, 31, 32, 33, 34, 35, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 127, 200, 255] as const // prettier-ignore

type Change = (bytes: Buffer, others: readonly Buffer[]) => Buffer

export class Mutator {
  readonly #dice: Dice
  readonly #options: MutatorOptions
  readonly #changes: readonly Change[]
  readonly #frameChanges: readonly ((frames: Buffer[], others: readonly Buffer[]) => void)[]

  constructor(dice: Dice, options: MutatorOptions) {
    this.#dice = dice
    this.#options = options
    this.#changes = [
      bytes => this.#setByte(bytes),
      bytes => this.#setByte(bytes),
      bytes => this.#flipBit(bytes),
      bytes => this.#step(bytes),
      bytes => this.#setNumber(bytes),
      bytes => this.#remove(bytes),
      bytes => this.#repeat(bytes),
      bytes => this.#insertNoise(bytes),
      bytes => this.#insertWord(bytes),
      bytes => this.#overwriteWord(bytes),
      (bytes, others) => this.#splice(bytes, others),
    ]
    this.#frameChanges = [
      frames => void frames.splice(dice.below(frames.length), 1),
      frames => void frames.splice(dice.below(frames.length), 0, dice.pick(frames)),
      frames => this.#swap(frames),
      frames => this.#setKind(frames),
      frames => this.#setField(frames),
      (frames, others) => this.#borrow(frames, others),
      (frames, others) => this.#changeOne(frames, others),
      (frames, others) => this.#changeOne(frames, others),
      (frames, others) => this.#changeOne(frames, others),
    ]
  }

  /** `input` stays as it is; `others` are what may be borrowed from. */
  mutate(input: Buffer, others: readonly Buffer[]): Buffer {
    let changed = Buffer.from(input)
    const times = 1 + (this.#dice.chance(0.5) ? 0 : this.#dice.below(6))
    for (let i = 0; i < times; i++) {
      const frames = this.#options.framed && this.#dice.chance(0.8)
      changed = Buffer.from(frames ? this.#changeFrames(changed, others) : this.#dice.pick(this.#changes)(changed, others))
    }
    return changed.subarray(0, this.#options.bytesMax)
  }

  #changeFrames(bytes: Buffer, others: readonly Buffer[]): Buffer {
    const frames = cutFrames(bytes)
    if (frames.length === 0) return this.#insertWord(bytes)
    this.#dice.pick(this.#frameChanges)(frames, others)
    return Buffer.concat(this.#dice.chance(0.6) ? renumber(frames) : frames)
  }

  // Of bytes

  #at(bytes: Buffer): number {
    return this.#dice.below(bytes.length)
  }

  #setByte(bytes: Buffer): Buffer {
    if (bytes.length > 0) bytes[this.#at(bytes)] = this.#dice.chance(0.5) ? this.#dice.below(256) : this.#dice.pick(bytes8)
    return bytes
  }

  #flipBit(bytes: Buffer): Buffer {
    if (bytes.length > 0) bytes[this.#at(bytes)]! ^= 1 << this.#dice.below(8)
    return bytes
  }

  #step(bytes: Buffer): Buffer {
    if (bytes.length > 0) bytes[this.#at(bytes)]! += this.#dice.chance(0.5) ? 1 : 255
    return bytes
  }

  #setNumber(bytes: Buffer): Buffer {
    const size = this.#dice.pick([2, 3, 4])
    if (bytes.length < size) return bytes
    const number = this.#dice.chance(0.2) ? bytes.length + this.#dice.below(3) - 1 : this.#dice.pick(numbers)
    bytes.writeUIntBE(number % 2 ** (8 * size), this.#dice.below(bytes.length - size + 1), size)
    return bytes
  }

  #length(most: number): number {
    return 1 + this.#dice.below(Math.min(most, this.#dice.chance(0.7) ? 4 : 64))
  }

  #remove(bytes: Buffer): Buffer {
    if (bytes.length === 0) return bytes
    const at = this.#at(bytes)
    const end = this.#dice.chance(0.1) ? bytes.length : at + this.#length(bytes.length - at)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)])
  }

  #repeat(bytes: Buffer): Buffer {
    if (bytes.length === 0) return bytes
    const at = this.#at(bytes)
    const piece = bytes.subarray(at, at + this.#length(bytes.length - at))
    const times = this.#dice.chance(0.9) ? 1 : 1 + this.#dice.below(100)
    return Buffer.concat([bytes.subarray(0, at), ...new Array<Buffer>(times).fill(piece), bytes.subarray(at)])
  }

  #insert(bytes: Buffer, piece: Uint8Array): Buffer {
    const at = this.#dice.below(bytes.length + 1)
    return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)])
  }

  #insertNoise(bytes: Buffer): Buffer {
    return this.#insert(bytes, Buffer.from(Array.from({ length: this.#length(64) }, () => this.#dice.below(256))))
  }

  #word(): Uint8Array {
    const { dictionary } = this.#options
    return dictionary.length > 0 ? this.#dice.pick(dictionary) : Buffer.from([this.#dice.pick(bytes8)])
  }

  #insertWord(bytes: Buffer): Buffer {
    return this.#insert(bytes, this.#word())
  }

  #overwriteWord(bytes: Buffer): Buffer {
    if (bytes.length === 0) return bytes
    const word = this.#word()
    const at = this.#at(bytes)
    return Buffer.concat([bytes.subarray(0, at), word, bytes.subarray(at + word.length)])
  }

  #splice(bytes: Buffer, others: readonly Buffer[]): Buffer {
    const other = this.#dice.pick(others)
    if (other.length === 0) return bytes
    const from = this.#at(other)
    if (this.#dice.chance(0.5)) return this.#insert(bytes, other.subarray(from, from + this.#length(other.length - from)))
    return Buffer.concat([bytes.subarray(0, this.#dice.below(bytes.length + 1)), other.subarray(from)])
  }

  // Of frames. All leave the list as it can be put together again; not every frame is one that is longer than its prefix.

  #swap(frames: Buffer[]): void {
    const [a, b] = [this.#dice.below(frames.length), this.#dice.below(frames.length)]
    ;[frames[a], frames[b]] = [frames[b]!, frames[a]!]
  }

  #setKind(frames: Buffer[]): void {
    const one = Buffer.from(this.#dice.pick(frames))
    if (one.length > PREFIX) one[PREFIX] = this.#dice.pick(kinds)
    frames[this.#dice.below(frames.length)] = one
  }

  /** The label, the sequence, or what lies where they would. */
  #setField(frames: Buffer[]): void {
    const at = this.#dice.below(frames.length)
    const one = Buffer.from(frames[at]!)
    const number = this.#dice.pick(numbers)
    if (this.#dice.chance(0.5) && one.length >= PREFIX + 4) one.writeUIntBE(number % 2 ** 24, PREFIX + 1, 3)
    else if (one.length >= NUMBERED_HEADER) one.writeUInt32BE(number, NUMBERED_HEADER - 4)
    frames[at] = one
  }

  #borrow(frames: Buffer[], others: readonly Buffer[]): void {
    const theirs = cutFrames(this.#dice.pick(others))
    if (theirs.length === 0) return
    const from = this.#dice.below(theirs.length)
    const count = this.#dice.chance(0.7) ? 1 : 1 + this.#dice.below(theirs.length - from)
    frames.splice(this.#dice.below(frames.length + 1), 0, ...theirs.slice(from, from + count))
  }

  #changeOne(frames: Buffer[], others: readonly Buffer[]): void {
    const at = this.#dice.below(frames.length)
    const one = frames[at]!
    const payload = this.#dice.pick(this.#changes)(Buffer.from(one.subarray(PREFIX)), others)
    const changed = Buffer.concat([one.subarray(0, PREFIX), payload])
    frames[at] = this.#dice.chance(0.95) ? fixLength(changed) : changed
  }
}
