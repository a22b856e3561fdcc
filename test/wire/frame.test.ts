import fc from 'fast-check'
import t from 'tap'
import { HomingError } from '../../lib/errors.ts'
import {
  CHANNEL_HEADER,
  closeFrame,
  labelAt,
  labelMax,
  NUMBERED_HEADER,
  NumbersIn,
  numbersMax,
  NumbersOut,
  pingFrame,
  PREFIX,
  Reader,
  readRoute,
  routeFrame,
  unrouteFrame,
  writeChannelHeader,
  writeLabel,
  writeNumberedHeader,
  writeShortText,
} from '../../lib/wire/frame.ts'
import { ACK, MESSAGE, PING, PONG, RESUME, ROUTE } from '../../lib/wire/kinds.ts'
import { nameBytesMax } from '../../lib/wire/limits.ts'
import { isName } from '../../lib/wire/name.ts'

const seed = Number(process.env.HOMING_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it)`)
const runs = { seed, numRuns: 300 }

const readerOf = (bytes: Buffer) => new Reader().set(bytes, 0, bytes.length)
const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

t.test('headers of channels', async t => {
  for (const [kind, label, expected] of [
    [RESUME, 0, '00000004 20 000000'],
    [ACK, 1, '00000004 21 000001'],
    [ACK, 0x01_02_03, '00000004 21 010203'],
    [255, labelMax, '00000004 ff ffffff'],
  ] as const) {
    const buffer = Buffer.alloc(CHANNEL_HEADER, 0xaa)
    t.equal(closeFrame(buffer, 0, writeChannelHeader(buffer, 0, kind, label)), CHANNEL_HEADER)
    t.same(buffer, hex(expected))
    t.equal(labelAt(buffer, PREFIX), label)
  }
})

t.test('headers of numbered frames: the sequence is taken modulo 2^32', async t => {
  for (const [sequence, expected] of [
    [0, '00000000'],
    [0x01020304, '01020304'],
    [0xffff_ffff, 'ffffffff'],
    [0x1_0000_0000, '00000000'],
    [0x1_0000_0007, '00000007'],
  ] as const) {
    const buffer = Buffer.alloc(3 + NUMBERED_HEADER)
    t.equal(closeFrame(buffer, 3, writeNumberedHeader(buffer, 3, MESSAGE, 9, sequence)), 3 + NUMBERED_HEADER)
    t.same(buffer.subarray(3), hex(`00000008 30 000009 ${expected}`))
  }
})

t.test('a label is written over, and nothing else', async t => {
  const buffer = Buffer.alloc(NUMBERED_HEADER)
  closeFrame(buffer, 0, writeNumberedHeader(buffer, 0, MESSAGE, labelMax, 0xffff_ffff))
  writeLabel(buffer, 0, 0x0a0b0c)
  t.same(buffer, hex('00000008 30 0a0b0c ffffffff'))
})

t.test('pings', async t => {
  t.same(pingFrame(PING, 0), hex('00000005 08 00000000'))
  t.same(pingFrame(PONG, 0xfedc_ba98), hex('00000005 09 fedcba98'))
})

t.test('the fields of a reader', async t => {
  const reader = readerOf(hex('01 0203 040506 0708090a 0b0c0d0e0f10 03616263 00 c3a9'))
  t.same(
    [reader.u8(), reader.u16(), reader.u24(), reader.u32(), reader.u48(), reader.shortText(), reader.shortText(), reader.text(2)],
    [1, 0x0203, 0x040506, 0x0708090a, 0x0b0c0d0e0f10, 'abc', '', 'é'],
  )
  t.equal(reader.at, reader.end)
})

t.test('a field that does not fit is BAD_FRAME, also where the buffer goes on behind the frame', async t => {
  const fields: [bytes: number, read: (reader: Reader) => unknown][] = [
    [1, reader => reader.u8()],
    [2, reader => reader.u16()],
    [3, reader => reader.u24()],
    [4, reader => reader.u32()],
    [6, reader => reader.u48()],
    [9, reader => reader.text(9)],
    [9, reader => reader.shortText()],
  ]
  for (const [bytes, read] of fields) {
    const buffer = Buffer.alloc(20, 8)
    t.doesNotThrow(() => read(new Reader().set(buffer, 5, 5 + bytes)))
    for (let end = 5; end < 5 + bytes; end++)
      t.throws(() => read(new Reader().set(buffer, 5, end)), { code: 'BAD_FRAME' }, `${bytes}: ${end}`)
  }
})

t.test('short texts', async t => {
  for (const text of ['', 'a', 'größe', 'x'.repeat(255)]) {
    const buffer = Buffer.alloc(300)
    const end = writeShortText(buffer, 0, text)
    t.equal(end, 1 + Buffer.byteLength(text))
    t.equal(new Reader().set(buffer, 0, end).shortText(), text)
  }
})

// Addresses

function writeAll(texts: readonly string[]): Buffer {
  const out = new NumbersOut()
  const buffer = Buffer.alloc(texts.reduce((sum, text) => sum + NumbersOut.size(Buffer.byteLength(text)), 0))
  let at = 0
  for (const text of texts) {
    const end = out.write(buffer, at, text)
    if (end - at > NumbersOut.size(Buffer.byteLength(text))) throw new Error('longer than it said')
    at = end
  }
  return buffer.subarray(0, at)
}

function readAll(bytes: Buffer): string[] {
  const numbers = new NumbersIn()
  const reader = readerOf(bytes)
  const texts: string[] = []
  while (reader.at < reader.end) texts.push(numbers.read(reader))
  return texts
}

t.test('addresses are numbered when first written, and referred to afterwards', async t => {
  const texts = ['bob', '', 'alice', 'bob', 'alice', 'zoë']
  const bytes = writeAll(texts)
  t.same(bytes, hex('4003 0000 626f62  0000  4005 0001 616c696365  8000  8001  4004 0002 7a6fc3ab'))
  t.same(readAll(bytes), texts)
})

t.test('every form of an address is read', async t => {
  for (const [what, bytes, expected] of [
    ['none', '0000', ['']],
    ['plain', '0003 626f62', ['bob']],
    ['plain, not numbered: the next number is 0', '0003 626f62 4001 0000 61 8000', ['bob', 'a', 'a']],
    ['a number given anew', '4001 0000 61 4001 0000 62 8000', ['a', 'b', 'b']],
    ['the empty text by a number', '4000 0000 8000', ['', '']],
  ] as const) {
    t.same(readAll(hex(bytes)), expected, what)
  }
})

t.test('addresses that are refused', async t => {
  for (const [what, bytes] of [
    ['a number that stands for nothing', '8000'],
    ['a number beyond those given', '4001 0000 61 8001'],
    ['a number out of turn', '4001 0001 61'],
    ['the last number, out of turn', '4001 7fff 61'],
    ['a number of more than 15 bits', '4001 8000 61'],
    ['a text past the end', '0004 616161'],
    ['a numbered text past the end', '4004 0000 616161'],
    ['the longest claim', '3fff'],
    ['a text longer than any name', `00bf${'61'.repeat(191)}`],
    ['a numbered text longer than any name: 32,768 of them would be kept', `40bf0000${'61'.repeat(191)}`],
    ['half a head', '00'],
    ['nothing', ''],
  ] as const) {
    t.throws(() => new NumbersIn().read(readerOf(hex(bytes))) && readAll(hex(bytes)), { code: 'BAD_FRAME' }, what)
  }
})

t.test('when all numbers are given, texts are written out', async t => {
  const texts = Array.from({ length: numbersMax + 2 }, (_, i) => `a${i}`)
  const again = [...texts, texts[0]!, texts[numbersMax - 1]!, texts[numbersMax]!]
  const bytes = writeAll(again)
  t.same(readAll(bytes), again)
  t.same(
    bytes.subarray(-11),
    hex(`8000 ffff 0006 ${Buffer.from(`a${numbersMax}`).toString('hex')}`).subarray(-11),
    'the last one has no number',
  )
})

t.test(
  'an address longer than names may be is BAD_FRAME, numbered or not: tables of them would be a way to claim memory',
  async t => {
    const long = (head: number): Buffer => {
      const bytes = Buffer.alloc(4 + 191, 'a')
      bytes.writeUInt16BE(head, 0)
      if (head & 0x4000) bytes.writeUInt16BE(0, 2)
      return bytes
    }
    for (const head of [191, 0x4000 | 191]) t.throws(() => readAll(long(head)), { code: 'BAD_FRAME' })
    const most = 'a'.repeat(190)
    t.same(readAll(writeAll([most, most])), [most, most])
  },
)

t.test('any texts come back', async t => {
  const text = fc.string({ unit: 'grapheme', maxLength: 20 })
  fc.assert(
    fc.property(fc.array(text, { maxLength: 40 }), texts => {
      t.same(readAll(writeAll(texts)), texts)
    }),
    runs,
  )
})

t.test('noise read as addresses is text or BAD_FRAME, and claims no memory (F25)', async t => {
  const before = process.memoryUsage().heapUsed
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      try {
        return readAll(Buffer.from(bytes)).join('').length <= bytes.length
      } catch (error) {
        return error instanceof HomingError && error.code === 'BAD_FRAME'
      }
    }),
    runs,
  )
  t.ok(process.memoryUsage().heapUsed - before < 64 << 20)
})

// Ways

const longest = 'x'.repeat(nameBytesMax)
const route = {
  label: 7,
  pair: 0x01020304,
  from: { identity: 'a', incarnation: '1f' },
  to: { identity: 'bö', incarnation: '2' },
}

t.test('a way is written and read', async t => {
  const frame = routeFrame(route)
  t.same(frame, hex('00000013 10 000007 01020304 0161 023166 0362c3b6 0132'))
  t.same(readRoute(new Reader().set(frame, PREFIX + 1, frame.length)), route)
})

t.test('a way with the longest names fits', async t => {
  const run = { identity: longest, incarnation: longest }
  const given = { label: labelMax, pair: 0xffff_ffff, from: run, to: run }
  const frame = routeFrame(given)
  t.equal(frame.length, PREFIX + 1 + 3 + 4 + 4 * (1 + nameBytesMax))
  t.same(readRoute(new Reader().set(frame, PREFIX + 1, frame.length)), given)
})

t.test('a way that ends within a field is BAD_FRAME, wherever it ends', async t => {
  const frame = routeFrame(route)
  t.equal(frame[PREFIX], ROUTE)
  for (let end = PREFIX + 1; end < frame.length; end++) {
    t.throws(() => readRoute(new Reader().set(frame, PREFIX + 1, end)), { code: 'BAD_FRAME' }, `at ${end}`)
  }
})

t.test('a way from or to what is no name is BAD_FRAME: a broker would write it on as another one', async t => {
  for (const name of ['', 'x'.repeat(191), 'a\nb', '\ufffd']) {
    const frame = routeFrame({ ...route, to: { identity: name, incarnation: '2' } })
    t.throws(() => readRoute(new Reader().set(frame, PREFIX + 1, frame.length)), { code: 'BAD_FRAME' }, JSON.stringify(name))
  }
  const malformed = routeFrame(route)
  malformed.fill(0xff, malformed.length - 3, malformed.length - 2)
  t.throws(() => readRoute(new Reader().set(malformed, PREFIX + 1, malformed.length)), { code: 'BAD_FRAME' }, 'malformed UTF-8')
})

t.test('the end of a way', async t => {
  t.same(unrouteFrame(7, true, 3), hex('00000006 11 000007 01 03'))
  t.same(unrouteFrame(labelMax, false, 1), hex('00000006 11 ffffff 00 01'))
})

t.test('any way comes back', async t => {
  const name = fc.string({ unit: 'grapheme', maxLength: 30 }).filter(isName)
  const run = fc.record({ identity: name, incarnation: name })
  const any = fc.record({ label: fc.nat({ max: labelMax }), pair: fc.nat({ max: 0xffff_ffff }), from: run, to: run })
  fc.assert(
    fc.property(any, given => {
      const frame = routeFrame(given)
      t.same(readRoute(new Reader().set(frame, PREFIX + 1, frame.length)), given)
    }),
    runs,
  )
})
