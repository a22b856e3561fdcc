import t from 'tap'
import { encodeBody, decodeBody } from '../../lib/wire/body.ts'
import {
  BAD_EXTENSION,
  BAD_KEY,
  bodyDefaults,
  FINE,
  RESERVED,
  scanBody,
  scanError,
  TOO_DEEP,
  TOO_LONG,
  TOO_MANY,
  TRAILING,
  TRUNCATED,
} from '../../lib/wire/scan.ts'

const scan = (bytes: Uint8Array, limits = bodyDefaults) => scanBody(bytes, 0, bytes.length, limits)
const hex = (text: string) => Buffer.from(text, 'hex')

t.test('one whole value, and nothing else', async t => {
  const verdicts: [hex: string, verdict: number][] = [
    ['', TRUNCATED],
    ['c0', FINE],
    ['c0c0', TRAILING],
    ['c1', RESERVED],
    ['91c1', RESERVED],
    ['a161', FINE],
    ['a1', TRUNCATED],
    ['a26161ff', TRAILING],
    ['d9', TRUNCATED],
    ['d90161', FINE],
    ['da00', TRUNCATED],
    ['da000261', TRUNCATED],
    ['db000000', TRUNCATED],
    ['dbffffffff61', TRUNCATED],
    ['c4', TRUNCATED],
    ['c401', TRUNCATED],
    ['c5ffff00', TRUNCATED],
    ['c6ffffffff', TRUNCATED],
    ['cc', TRUNCATED],
    ['cd00', TRUNCATED],
    ['ce000000', TRUNCATED],
    ['cf00000000000000', TRUNCATED],
    ['ca000000', TRUNCATED],
    ['cb00000000000000', TRUNCATED],
    ['d300000000000000', TRUNCATED],
    ['91', TRUNCATED],
    ['9100', FINE],
    ['91c0c0', TRAILING],
    ['81', TRUNCATED],
    ['81a161', TRUNCATED],
    ['81a16100', FINE],
    ['810100', BAD_KEY],
    ['81c000', BAD_KEY],
    ['81c4016100', BAD_KEY],
    ['819000', BAD_KEY],
    ['81d9', TRUNCATED],
    ['81d90261', TRUNCATED],
    ['81da0001', TRUNCATED],
    ['81db00000001', TRUNCATED],
    ['81dbffffffff6100', TRUNCATED],
    ['dc', TRUNCATED],
    ['dc0001', TRUNCATED],
    ['de0001a161c0', FINE],
    ['df00000001a161c0', FINE],
    ['9290', TRUNCATED],
    ['929080', FINE],
    ['8291', TRUNCATED],
    ['c70042', BAD_EXTENSION],
    ['c70142', TRUNCATED],
    ['c7ff42', TRUNCATED],
    ['c8ffff4200', TRUNCATED],
    ['c9ffffffff4200', TRUNCATED],
    ['d44200', FINE],
    ['d442', TRUNCATED],
    ['d84200', TRUNCATED],
    ['d47200', BAD_EXTENSION],
    ['d40000', BAD_EXTENSION],
    ['c70074', BAD_EXTENSION],
    ['d4ff00', BAD_EXTENSION],
    ['d5ff0000', BAD_EXTENSION],
    ['d6ff00000000', FINE],
    ['d7ffee6b27fc00000000', FINE],
    ['d7ffee6b280000000000', BAD_EXTENSION],
    ['d8ff00000000000000000000000000000000', BAD_EXTENSION],
    ['c70cff3b9ac9ff0000000000000000', FINE],
    ['c70cff3b9aca000000000000000000', BAD_EXTENSION],
    ['c70cff00000000000007dba8218000', FINE],
    ['c70cff000f4240000007dba8218000', BAD_EXTENSION],
    ['c70cff00000000000007dba8218001', BAD_EXTENSION],
    ['c70cff00000000fffff82457de8000', FINE],
    ['c70cff00000000fffff82457de7fff', BAD_EXTENSION],
    ['c70cff000000007fffffffffffffff', BAD_EXTENSION],
  ]
  for (const [text, verdict] of verdicts) t.equal(scan(hex(text)), verdict, text || 'nothing')
})

t.test('between start and end, whatever lies around', async t => {
  const bytes = hex('c1c192a16101c1c1')
  t.equal(scanBody(bytes, 2, 6), FINE)
  t.equal(scanBody(bytes, 2, 5), TRUNCATED)
  t.equal(scanBody(bytes, 2, 7), TRAILING)
  t.equal(scanBody(bytes, 2, 2), TRUNCATED)
  t.equal(scanBody(bytes, 2, 100), TRUNCATED)
  t.equal(scanBody(bytes, -1, 2), TRUNCATED)
  t.equal(scanBody(new Uint8Array(hex('c3')), 0, 1), FINE)
})

t.test('limits', async t => {
  t.equal(scan(hex('91'.repeat(31) + '90')), FINE)
  t.equal(scan(hex('91'.repeat(32) + '90')), TOO_DEEP)
  t.equal(scan(hex('81a161'.repeat(32) + 'c0')), FINE)
  t.equal(scan(hex('81a161'.repeat(32) + '80')), TOO_DEEP)
  t.equal(scan(hex('dd00010000' + '00'.repeat(65_536))), FINE)
  t.equal(scan(hex('dd00010001' + '00'.repeat(65_537))), TOO_MANY)
  t.equal(scan(hex('92' + ('dc7fff' + '00'.repeat(32_767)).repeat(2))), FINE)
  t.equal(scan(hex('92' + ('dc8000' + '00'.repeat(32_768)).repeat(2))), TOO_MANY)
  t.equal(scan(hex('d90161'), { ...bodyDefaults, bodyBytesMax: 2 }), TOO_LONG)
  t.equal(scan(hex('91'.repeat(300) + 'c0'), { ...bodyDefaults, depthMax: 100_000 }), TOO_DEEP, 'the stack is not run over')
  t.match(scanError(TOO_DEEP), /too deep/)
})

/** The least of many tries, in ms, of the clock or of the processor: a busy machine is not what is measured. */
function fastest(fn: () => void): number {
  let least = Infinity
  for (let n = 0; n < 30; n++) {
    const start = process.hrtime.bigint()
    const before = process.cpuUsage()
    fn()
    const ms = Number(process.hrtime.bigint() - start) / 1e6
    const { user, system } = process.cpuUsage(before)
    least = Math.min(least, ms, user + system > 0 ? (user + system) / 1e3 : ms)
  }
  return least
}

t.test('hostile bodies are refused at once', async t => {
  const hostile: [what: string, bytes: Buffer, verdict: number][] = [
    ['5 bytes that claim 33 million items', hex('dd02000000'), TOO_MANY],
    ['5 bytes that claim 65,536 items', hex('dd00010000'), TRUNCATED],
    ['5 bytes that claim 33 million entries', hex('df02000000'), TOO_MANY],
    ['5 bytes that claim 4 GiB of text', hex('dbffffffff'), TRUNCATED],
    ['6 bytes that claim 4 GiB of extension', hex('c9ffffffff42'), TRUNCATED],
    ['100,000 nested arrays', Buffer.alloc(100_000, 0x91), TOO_DEEP],
    ['100,000 nested maps', hex('81a161'.repeat(100_000)), TOO_DEEP],
    ['nested claims, each of all that is allowed', hex('ddffffffff'.repeat(32)), TOO_MANY],
    ['32 levels of the largest claim that may be true', hex('dc07ff'.repeat(32)), TRUNCATED],
    [
      'a mebibyte of one-byte arrays in one array',
      Buffer.concat([hex('dd000fffff'), Buffer.alloc((1 << 20) - 5, 0x90)]),
      TOO_MANY,
    ],
  ]
  for (const [what, bytes, verdict] of hostile) {
    t.equal(scan(bytes), verdict, what)
    const ms = fastest(() => scan(bytes))
    t.ok(ms < 1, `${what}: ${ms.toFixed(4)} ms`)
  }
})

t.test('what is allowed is decoded in time and space that were bounded before', async t => {
  const worst: [what: string, bytes: Buffer][] = [
    ['65,536 empty maps', Buffer.concat([hex('dd00010000'), Buffer.alloc(65_536, 0x80)])],
    ['65,536 keys', encodeBody(Object.fromEntries(Array.from({ length: 65_536 }, (_, i) => [`${i}k`, 0])))],
    ['65,536 numbers as keys', encodeBody(Object.fromEntries(Array.from({ length: 65_536 }, (_, i) => [`${i * 65_521}`, 0])))],
    ['an integer of a mebibyte', encodeBody(1n << (8n * ((1n << 20n) - 10n)))],
    ['a negative one', encodeBody(-1n << (8n * ((1n << 20n) - 10n)))],
    ['a mebibyte of malformed text', Buffer.concat([hex('db000ffff0'), Buffer.alloc(0xffff0, 0xff)])],
  ]
  for (const [what, bytes] of worst) {
    t.equal(scan(bytes), FINE, what)
    const scanMs = fastest(() => scan(bytes))
    t.ok(scanMs < 5, `${what}: scanned in ${scanMs.toFixed(3)} ms`)
    const ms = fastest(() => decodeBody(bytes, 0, bytes.length))
    t.ok(ms < 50, `${what}: decoded in ${ms.toFixed(1)} ms`)
  }
})

t.test('a small body is scanned in about a tenth of a microsecond', async t => {
  const bytes = encodeBody({ text: 'Hello there', from: 'alice', at: 1_732_156_800_123, room: 'lobby', seq: 12_345, read: false })
  const rounds = 100_000
  let sum = 0
  const ms = fastest(() => {
    for (let i = 0; i < rounds; i++) sum += scanBody(bytes, 0, bytes.length)
  })
  t.equal(sum, 0)
  t.comment(`${bytes.length} bytes: ${((ms * 1e6) / rounds).toFixed(0)} ns`)
  t.ok(ms / rounds < 0.001, 'below a microsecond even on a busy machine')
})
