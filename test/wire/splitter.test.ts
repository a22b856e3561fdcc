import fc from 'fast-check'
import t from 'tap'
import { HomingError } from '../../lib/errors.ts'
import { frameOf, PREFIX } from '../../lib/wire/frame.ts'
import { Splitter } from '../../lib/wire/splitter.ts'
import { measured } from '../support/figures.ts'
import { heapBytes } from '../support/heap.ts'

const seed = Number(process.env.HOMING_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it)`)
const runs = { seed, numRuns: 300 }

const prefix = (length: number) => Buffer.from(length.toString(16).padStart(2 * PREFIX, '0'), 'hex')

/** A splitter, and copies of what came out of it. */
function collecting(bytesMax = 1_000): { splitter: Splitter; frames: string[] } {
  const frames: string[] = []
  const splitter = new Splitter(bytesMax, (buffer, start, end) => frames.push(buffer.toString('hex', start, end)))
  return { splitter, frames }
}

const hexOf = (frames: readonly Buffer[]) => frames.map(frame => frame.toString('hex', PREFIX))

const three = [frameOf(8, Buffer.from([1, 2, 3, 4])), frameOf(34, Buffer.alloc(0)), frameOf(48, Buffer.alloc(300, 7))]
const stream = Buffer.concat(three)

t.test('frames of one chunk', async t => {
  const { splitter, frames } = collecting()
  splitter.push(stream)
  t.same(frames, hexOf(three))
  t.notOk(splitter.within)
})

t.test('P26: cut in two at every place', async t => {
  for (let at = 0; at <= stream.length; at++) {
    const { splitter, frames } = collecting()
    splitter.push(stream.subarray(0, at))
    splitter.push(stream.subarray(at))
    t.same(frames, hexOf(three), `cut at ${at}`)
  }
})

t.test('cut in three at every two places of two frames', async t => {
  const two = three.slice(0, 2)
  const bytes = Buffer.concat(two)
  for (let a = 0; a <= bytes.length; a++) {
    for (let b = a; b <= bytes.length; b++) {
      const { splitter, frames } = collecting()
      for (const part of [bytes.subarray(0, a), bytes.subarray(a, b), bytes.subarray(b)]) splitter.push(part)
      t.same(frames, hexOf(two), `cut at ${a} and ${b}`)
    }
  }
})

t.test('P26: one byte at a time', async t => {
  const { splitter, frames } = collecting()
  for (const [at, byte] of stream.entries()) {
    splitter.push(Buffer.from([byte]))
    const whole = at + 1 === three[0]!.length || at + 1 === three[0]!.length + three[1]!.length || at + 1 === stream.length
    t.equal(splitter.within, !whole, `after byte ${at}`)
  }
  t.same(frames, hexOf(three))
})

t.test('a chunk may be written over once the frames of it are out', async t => {
  // What is left of a cut frame is a copy: the rest of its chunk does not live on with it.
  const { splitter, frames } = collecting()
  const chunk = Buffer.from(stream.subarray(0, 20))
  splitter.push(chunk)
  chunk.fill(0xee)
  splitter.push(stream.subarray(20))
  t.same(frames, hexOf(three))
})

for (const [name, length] of [
  ['0', 0],
  ['one above the limit', 1_001],
  ['2 GiB', 0x7fff_ffff],
  ['above 2 GiB', 0x8000_0000],
  ['4 GiB', 0xffff_ffff],
] as const) {
  t.test(`a length of ${name} is refused, whole or in pieces, before anything is kept (F24)`, async t => {
    const bytes = Buffer.concat([prefix(length), Buffer.alloc(16)])
    for (let at = 0; at <= bytes.length; at++) {
      const { splitter, frames } = collecting()
      const push = () => {
        splitter.push(bytes.subarray(0, at))
        splitter.push(bytes.subarray(at))
      }
      t.throws(push, { code: 'BAD_FRAME' }, `cut at ${at}`)
      t.same(frames, [])
    }
  })
}

t.test('the longest and the shortest length are allowed, and a lower limit holds at once', async t => {
  const { splitter, frames } = collecting(1_000)
  splitter.push(frameOf(9, Buffer.alloc(999)))
  splitter.push(frameOf(9, Buffer.alloc(0)))
  t.equal(frames.length, 2)
  splitter.bytesMax = 999
  t.throws(() => splitter.push(frameOf(9, Buffer.alloc(999))), { code: 'BAD_FRAME' })
})

t.test('F24: a claim of 64 MiB that is allowed sets aside what a body of 64 KiB takes, until its bytes come', async t => {
  const bytesMax = 64 << 20
  const splitters = Array.from({ length: 200 }, () => collecting(bytesMax).splitter)
  const before = process.memoryUsage()
  const startedMs = performance.now()
  for (const splitter of splitters) splitter.push(Buffer.concat([prefix(bytesMax), Buffer.from([48])]))
  const tookMs = performance.now() - startedMs
  const after = process.memoryUsage()
  const [buffers, heap] = [after.arrayBuffers - before.arrayBuffers, after.heapUsed - before.heapUsed]
  // The pool from which small buffers are cut may have been renewed once.
  t.ok(
    buffers <= splitters.length * 66 * 1024 + Buffer.poolSize,
    `${splitters.length} claims of 64 MiB set ${buffers} bytes aside`,
  )
  t.ok(heap < splitters.length * 4 * 1024, `and took ${heap} bytes besides`)
  t.ok(tookMs < splitters.length, `and ${tookMs} ms`)
  t.ok(splitters.every(splitter => splitter.within))
})

t.test('a large frame in small chunks comes out whole', async t => {
  const payload = Buffer.alloc(1 << 20)
  for (let i = 0; i < payload.length; i += 4) payload.writeUInt32LE(i, i)
  const frame = frameOf(48, payload)
  let seen: Buffer | undefined
  const splitter = new Splitter(frame.length, (buffer, start, end) => (seen = buffer.subarray(start, end)))
  for (let at = 0; at < frame.length; at += 1_009) splitter.push(frame.subarray(at, at + 1_009))
  t.ok(seen?.equals(frame.subarray(PREFIX)))
})

t.test('after stop nothing comes out, also from the chunk in hand', async t => {
  const out: number[] = []
  const splitter: Splitter = new Splitter(100, (buffer, start) => {
    out.push(buffer[start]!)
    splitter.stop()
  })
  splitter.push(Buffer.concat([frameOf(1, Buffer.alloc(3)), frameOf(2, Buffer.alloc(3)), prefix(0xffff_ffff)]))
  splitter.push(frameOf(3, Buffer.alloc(3)))
  t.same(out, [1])
})

t.test('a limit that a frame raises holds for the next one of the same chunk', async t => {
  // As a link does it when the handshake ends.
  const kinds: number[] = []
  const splitter: Splitter = new Splitter(10, (buffer, start) => {
    kinds.push(buffer[start]!)
    splitter.bytesMax = 1_000
  })
  splitter.push(Buffer.concat([frameOf(4, Buffer.alloc(5)), frameOf(48, Buffer.alloc(500))]))
  t.same(kinds, [4, 48])
})

/** Bytes, and where to cut them. */
const cuts = fc.array(fc.nat({ max: 10_000 }), { maxLength: 20 })

function pieces(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map(place => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end))
}

t.test('F24: a length that claims too much costs its offender a link, and us next to nothing', async t => {
  const offences = 2_000
  const chunk = Buffer.concat([prefix(0xffff_ffff), Buffer.alloc(60)])
  for (let n = 0; n < 100; n++) t.throws(() => new Splitter(1_000, () => {}).push(chunk)) // warm
  const before = heapBytes()
  const kept: Splitter[] = []
  const began = performance.now()
  for (let n = 0; n < offences; n++) {
    const splitter = new Splitter(1_000, () => {})
    try {
      splitter.push(chunk)
    } catch {
      kept.push(splitter) // as if nobody closed it
    }
  }
  const ms = (performance.now() - began) / offences
  const kib = (heapBytes() - before) / offences / 1_024
  t.equal(kept.length, offences)
  measured(t, 'F24', 'time an offence', ms, 'ms')
  measured(t, 'F24', 'memory an offence, while its link lives', kib, 'KiB')
  t.ok(ms <= 1, `${ms} ms`)
  t.ok(kib <= 64, `${kib} KiB`)
})

t.test('any frames, cut anywhere, come out as they went in (F25)', async t => {
  const payloads = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 12 })
  fc.assert(
    fc.property(payloads, cuts, (payloads, places) => {
      const given = payloads.map((payload, kind) => frameOf(kind, payload))
      const { splitter, frames } = collecting()
      for (const piece of pieces(Buffer.concat(given), places)) splitter.push(piece)
      t.same(frames, hexOf(given))
      return !splitter.within
    }),
    runs,
  )
})

t.test('noise: frames or BAD_FRAME, the same at any cutting, and never more bytes out than in (F25)', async t => {
  const outcome = (parts: readonly Buffer[]): { frames: string[]; error: string | undefined } => {
    const { splitter, frames } = collecting(200)
    try {
      for (const part of parts) splitter.push(part)
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      return { frames, error: error.code }
    }
    return { frames, error: undefined }
  }
  // Lengths that are often plausible: noise that is refused at its first byte shows little.
  const chunk = fc.tuple(fc.oneof(fc.nat({ max: 220 }), fc.nat({ max: 0xffff_ffff })), fc.uint8Array({ maxLength: 220 }))
  const noise = fc
    .array(chunk, { maxLength: 8 })
    .map(chunks => Buffer.concat(chunks.flatMap(([length, bytes]) => [prefix(length), bytes])))
  let refused = 0
  fc.assert(
    fc.property(noise, cuts, (bytes, places) => {
      const whole = outcome([bytes])
      if (whole.error) refused++
      t.same(outcome(pieces(bytes, places)), whole)
      return whole.frames.join('').length / 2 <= bytes.length && (whole.error === undefined || whole.error === 'BAD_FRAME')
    }),
    runs,
  )
  t.ok(refused > 0 && refused < runs.numRuns, `${refused} of ${runs.numRuns} refused: both happen`)
})
