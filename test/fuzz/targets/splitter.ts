/** The splitter: whatever the chunks, the same frames, and the same end. */
import { PREFIX } from '../../../lib/wire/frame.ts'
import { Splitter } from '../../../lib/wire/splitter.ts'
import { Dice } from '../dice.ts'
import { frame, u32 } from '../stream.ts'
import { about, claim, pureTarget, refusal } from '../target.ts'
import { channelVectors, linkVectors } from './vectors.ts'

const frameBytesMax = 1_000

interface Cut {
  readonly frames: readonly Buffer[]
  readonly end: string
}

/** As slowly and plainly as it can be said. */
function plainly(stream: Buffer): Cut {
  const frames: Buffer[] = []
  for (let at = 0; ;) {
    if (stream.length - at < PREFIX) return { frames, end: at < stream.length ? 'within' : 'whole' }
    const length = stream.readUInt32BE(at)
    if (length === 0 || length > frameBytesMax) return { frames, end: 'BAD_FRAME' }
    if (stream.length - at - PREFIX < length) return { frames, end: 'within' }
    frames.push(stream.subarray(at + PREFIX, (at += PREFIX + length)))
  }
}

function inChunks(stream: Buffer, sizeOf: () => number): Cut {
  const frames: Buffer[] = []
  const splitter = new Splitter(frameBytesMax, (buffer, start, end) => void frames.push(buffer.subarray(start, end)))
  try {
    for (let at = 0; at < stream.length;) {
      const size = sizeOf()
      splitter.push(stream.subarray(at, at + size))
      at += size
    }
  } catch (error) {
    refusal(error, 'BAD_FRAME')
    return { frames, end: 'BAD_FRAME' }
  }
  return { frames, end: splitter.within ? 'within' : 'whole' }
}

function same(a: Cut, b: Cut): boolean {
  return a.end === b.end && a.frames.length === b.frames.length && a.frames.every((each, at) => each.equals(b.frames[at]!))
}

export const splitterTarget = pureTarget(
  {
    name: 'splitter',
    about: 'a stream of frames, cut into chunks at random',
    bytesMax: 2_048,
    framed: true,
    dictionary: [u32(0), u32(1), u32(frameBytesMax), u32(frameBytesMax + 1), u32(0xffff_ffff)],
    seeds: () => [...linkVectors(), ...channelVectors(), frame(48, Buffer.alloc(frameBytesMax - 1)), Buffer.alloc(3)],
  },
  input => {
    const dice = Dice.of(input)
    const expected = plainly(input)
    const most = dice.pick([2, 5, 40, 2_000])
    const sizes: Record<string, () => number> = {
      'one chunk': () => Infinity,
      'random chunks': () => 1 + dice.below(most),
      // They take long.
      ...(dice.chance(0.1) && { 'single bytes': () => 1 }),
    }
    for (const [what, sizeOf] of Object.entries(sizes))
      claim(same(expected, inChunks(input, sizeOf)), `${what} give other frames`)
    return `${about(expected.frames.length)} ${expected.end}`
  },
)
