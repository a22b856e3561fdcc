import t from 'tap'
import { HomingError } from '../../lib/errors.ts'
import { decodeBody, encodeBody, encodeBodyInto } from '../../lib/wire/body.ts'
import { bodyDefaults, scanBody } from '../../lib/wire/scan.ts'

const decoded = (bytes: Uint8Array) => {
  const scan = scanBody(bytes, 0, bytes.length)
  if (scan < 0) throw new Error(`scan says ${scan}`)
  return decodeBody(bytes, 0, bytes.length)
}
const through = (value: unknown) => decoded(encodeBody(value))
const filled = (length: number, item: number) => Array.from({ length }, () => item)
const failure = (value: unknown, limits = bodyDefaults): HomingError => {
  try {
    encodeBody(value, limits)
  } catch (error) {
    if (error instanceof HomingError) return error
    throw error
  }
  throw new Error('it was encoded')
}

// What both sides write and read alike; test/vectors/body.json holds the same for other languages, and more.
const table: [value: unknown, hex: string][] = [
  [null, 'c0'],
  [false, 'c2'],
  [true, 'c3'],
  [0, '00'],
  [127, '7f'],
  [128, 'cc80'],
  [255, 'ccff'],
  [256, 'cd0100'],
  [65535, 'cdffff'],
  [65536, 'ce00010000'],
  [4294967295, 'ceffffffff'],
  [4294967296, 'cb41f0000000000000'],
  [-1, 'ff'],
  [-32, 'e0'],
  [-33, 'd0df'],
  [-128, 'd080'],
  [-129, 'd1ff7f'],
  [-32768, 'd18000'],
  [-32769, 'd2ffff7fff'],
  [-2147483648, 'd280000000'],
  [-2147483649, 'cbc1e0000000200000'],
  [-0, 'cb8000000000000000'],
  [1.5, 'cb3ff8000000000000'],
  [NaN, 'cb7ff8000000000000'],
  [Infinity, 'cb7ff0000000000000'],
  [-Infinity, 'cbfff0000000000000'],
  [0n, 'd30000000000000000'],
  [-1n, 'd3ffffffffffffffff'],
  [2n ** 63n - 1n, 'd37fffffffffffffff'],
  [-(2n ** 63n), 'd38000000000000000'],
  [2n ** 63n, 'cf8000000000000000'],
  [2n ** 64n - 1n, 'cfffffffffffffffff'],
  [2n ** 64n, 'c70942010000000000000000'],
  [-(2n ** 63n) - 1n, 'c70942ff7fffffffffffffff'],
  [2n ** 71n - 1n, 'c709427fffffffffffffffff'],
  [2n ** 71n, 'c70a4200800000000000000000'],
  [2n ** 120n, 'd84201000000000000000000000000000000'],
  ['', 'a0'],
  ['a', 'a161'],
  ['ä€😀', 'a9c3a4e282acf09f9880'],
  ['\ufeffa', 'a4efbbbf61'],
  ['x'.repeat(31), `bf${'78'.repeat(31)}`],
  ['x'.repeat(32), `d920${'78'.repeat(32)}`],
  ['ä'.repeat(16), `d920${'c3a4'.repeat(16)}`],
  ['x'.repeat(255), `d9ff${'78'.repeat(255)}`],
  ['x'.repeat(256), `da0100${'78'.repeat(256)}`],
  ['€'.repeat(86), `da0102${'e282ac'.repeat(86)}`],
  ['€'.repeat(22_000), `db000101d0${'e282ac'.repeat(22_000)}`],
  [Buffer.alloc(0), 'c400'],
  [Buffer.from('0102', 'hex'), 'c4020102'],
  [Buffer.alloc(256), `c50100${'00'.repeat(256)}`],
  [Buffer.alloc(65536), `c600010000${'00'.repeat(65536)}`],
  [new Date(0), 'd6ff00000000'],
  [new Date(4294967295000), 'd6ffffffffff'],
  [new Date(1), 'd7ff003d090000000000'],
  [new Date(4294967296000), 'd7ff0000000100000000'],
  [new Date(17179869183999), 'd7ffee2e1f03ffffffff'],
  [new Date(17179869184000), 'c70cff000000000000000400000000'],
  [new Date(-1), 'c70cff3b8b87c0ffffffffffffffff'],
  [new Date(8.64e15), 'c70cff00000000000007dba8218000'],
  [new Date(-8.64e15), 'c70cff00000000fffff82457de8000'],
  [[], '90'],
  [[1, [2]], '92019102'],
  [filled(16, 0), `dc0010${'00'.repeat(16)}`],
  [filled(65536, 0), `dd00010000${'00'.repeat(65536)}`],
  [{}, '80'],
  [{ a: 1, b: [true] }, '82a16101a16291c3'],
  [
    { '': 0, '1': 0, constructor: 0, hasOwnProperty: 0 },
    '84a13100a000ab636f6e7374727563746f7200ae6861734f776e50726f706572747900',
  ],
  [JSON.parse('{"__proto__":{"polluted":1}}'), 'a95f5f70726f746f5f5f'.replace(/^/, '81') + '81a8706f6c6c7574656401'],
]

t.test('one value, one encoding, both ways', async t => {
  for (const [value, hex] of table) {
    const bytes = encodeBody(value)
    const title = hex.slice(0, 40)
    t.equal(bytes.toString('hex').slice(0, 200), hex.slice(0, 200), title)
    t.equal(bytes.length * 2, hex.length, title)
    t.strictSame(decoded(bytes), value, title)
    t.strictSame(decoded(Buffer.concat([bytes])), value)
    const target = Buffer.alloc(bytes.length + 20, 0xee)
    t.equal(encodeBodyInto(value, target, 7), 7 + bytes.length)
    t.ok(target.subarray(7, 7 + bytes.length).equals(bytes))
  }
  t.ok(Object.is(through(-0), -0))
  t.ok(Number.isNaN(through(NaN)))
})

t.test('what other senders may write and we do not', async t => {
  const reads: [hex: string, value: unknown][] = [
    ['cc01', 1],
    ['cd0001', 1],
    ['ce00000001', 1],
    ['d0ff', -1],
    ['d1ffff', -1],
    ['d2ffffffff', -1],
    ['d37fffffffffffffff', 2n ** 63n - 1n],
    ['cf0000000000000001', 1n],
    ['ca3fc00000', 1.5],
    ['d90161', 'a'],
    ['da000161', 'a'],
    ['db0000000161', 'a'],
    ['c50001ff', Buffer.from([255])],
    ['c600000001ff', Buffer.from([255])],
    ['dc000101', [1]],
    ['dd0000000101', [1]],
    ['de0001a16101', { a: 1 }],
    ['df00000001d9016101', { a: 1 }],
    ['81da00016101', { a: 1 }],
    ['81db000000016101', { a: 1 }],
    ['82a16101a16102', { a: 2 }],
    ['d442ff', -1n],
    ['d54280ff', -32513n],
    ['d642ffffffff', -1n],
    ['d7420000000000000001', 1n],
    ['c70142ff', -1n],
    ['c8000142ff', -1n],
    ['c90000000142ff', -1n],
    ['c70442ffffffff', -1n],
    ['d7ff00000004f0000000', new Date(4026531840000)],
    ['c704ff00000001', new Date(1000)],
    ['c70cff3b9ac9ff0000000000000001', new Date(1999)],
  ]
  for (const [hex, value] of reads) t.strictSame(decoded(Buffer.from(hex, 'hex')), value, hex)
})

t.test('as JSON has it: undefined, toJSON, instances, boxes', async t => {
  class Point {
    x = 1
    #secret = 2
    get sum() {
      return this.x + this.#secret
    }
  }
  const self = {
    a: 1,
    toJSON() {
      return self
    },
  }
  const pairs: [unknown, unknown][] = [
    [undefined, null],
    [{ a: undefined, b: 1 }, { b: 1 }],
    [
      [undefined, 1],
      [null, 1],
    ],
    [Object.assign([], { 1: 1 }), [null, 1]],
    [new Point(), { x: 1 }],
    [Object.create({ inherited: 1 }, { own: { value: 2, enumerable: true }, hidden: { value: 3 } }), { own: 2 }],
    [Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
    [{ [Symbol('s')]: 1, a: 1 }, { a: 1 }],
    [{ a: () => 1, toJSON: () => ({ b: 2 }) }, { b: 2 }],
    [{ a: { toJSON: (key: string) => key } }, { a: 'a' }],
    [{ toJSON: () => undefined }, null],
    [{ toJSON: 5 }, { toJSON: 5 }],
    [self, { a: 1 }],
    [new URL('http://a/b'), 'http://a/b'],
    [new (class extends Map<number, number> { toJSON() { return [...this] } })([[1, 2]]), [[1, 2]]], // prettier-ignore
    [new (class { toJSON() { return new Date(5) } })(), new Date(5)], // prettier-ignore
    [[Object(1), Object('a'), Object(true), Object(5n)], [1, 'a', true, 5n]], // prettier-ignore
    [new Uint8Array([1, 2, 3]).subarray(1), Buffer.from([2, 3])],
  ]
  for (const [given, got] of pairs) t.strictSame(through(given), got)
})

t.test('dropped properties leave no trace in the bytes', async t => {
  for (const count of [15, 16, 17]) {
    const kept = Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]))
    t.same(encodeBody({ gone: undefined, ...kept, also: undefined }), encodeBody(kept), `${count} kept`)
  }
})

t.test('what a body may not hold is refused, and where it is', async t => {
  const cycle: unknown[] = []
  cycle.push(cycle)
  const refusals: [unknown, RegExp][] = [
    [() => 1, /^body: a function$/],
    [Symbol('s'), /^body: a symbol$/],
    [{ a: [1, { b() {} }] }, /^body\.a\[1\]\.b: a function$/],
    [[Symbol('s')], /^body\[0\]: a symbol$/],
    [{ m: new Map() }, /^body\.m: a Map$/],
    [new Set(), /a Set/],
    [/x/, /a RegExp/],
    [new TypeError('x'), /an Error/],
    [Promise.resolve(), /a Promise/],
    [new Date(NaN), /an invalid Date/],
    [new ArrayBuffer(1), /an ArrayBuffer/],
    [new Float64Array(1), /a typed array/],
    [new DataView(new ArrayBuffer(1)), /a typed array/],
    [new WeakMap(), /a weak reference/],
    [Object(Symbol('s')), /a symbol/],
    [cycle, /nested deeper than 32, or a cycle/],
    [Object.assign([], { length: 1e9 }), /too many/],
    [[filled(40_000, 0), filled(40_000, 0)], /^body\[1\]: too many/],
  ]
  for (const [value, text] of refusals) {
    const error = failure(value)
    t.equal(error.code, 'UNENCODABLE')
    t.match(error.message, text)
    t.equal(error.outcome, 'not-delivered')
  }
  const thrown = new Error('mine')
  t.throws(() => encodeBody({ get a() { throw thrown } }), thrown, 'what a getter throws goes through') // prettier-ignore
  t.strictSame(through([1]), [1], 'and the next one is not touched by it')
})

t.test('sender and receiver have the same limits', async t => {
  const nest = (depth: number) => Array.from({ length: depth }).reduce<unknown>(inner => [inner], 0)
  t.strictSame(through(nest(32)), nest(32))
  t.equal(failure(nest(33)).code, 'UNENCODABLE')
  const map = (depth: number) => Array.from({ length: depth }).reduce<unknown>(inner => ({ a: inner }), 0)
  t.strictSame(through(map(32)), map(32))
  t.equal(failure(map(33)).code, 'UNENCODABLE')

  t.strictSame(through(filled(65_536, 1)), filled(65_536, 1))
  t.equal(failure(filled(65_537, 1)).code, 'UNENCODABLE')
  const entries = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]))
  t.strictSame(through(entries(65_536)), entries(65_536))
  t.equal(failure(entries(65_537)).code, 'UNENCODABLE')
  t.strictSame(through({ gone: undefined, list: filled(65_535, 0) }), { list: filled(65_535, 0) }, 'the dropped do not count')

  for (const bodyBytesMax of [100, 70_000, 1 << 20]) {
    const limits = { ...bodyDefaults, bodyBytesMax }
    const head = bodyBytesMax > 65_538 ? 5 : 2
    for (const fill of [(n: number) => 'x'.repeat(n), (n: number) => Buffer.alloc(n)]) {
      const bytes = encodeBody(fill(bodyBytesMax - head), limits)
      t.equal(bytes.length, bodyBytesMax)
      t.equal(scanBody(bytes, 0, bytes.length, limits), 0)
      t.equal(failure(fill(bodyBytesMax - head + 1), limits).code, 'TOO_LARGE')
    }
    t.equal(encodeBody(filled(97, 0), { ...limits, bodyBytesMax: 100 }).length, 100)
    t.equal(failure(filled(98, 0), { ...limits, bodyBytesMax: 100 }).code, 'TOO_LARGE')
    const target = Buffer.alloc(bodyBytesMax + 100)
    t.throws(() => encodeBodyInto('x'.repeat(bodyBytesMax), target, 3, limits), { code: 'TOO_LARGE' })
  }
})

t.test('into a buffer: all or -1, and never past its end', async t => {
  const value = {
    text: 'hello',
    list: [1, 2, 3],
    when: new Date(5),
    bytes: Buffer.alloc(20),
    euro: '€'.repeat(40),
    deep: { a: 2n ** 100n },
  }
  const expected = encodeBody(value)
  for (let size = 0; size <= expected.length + 20; size++) {
    const whole = Buffer.alloc(size + 10, 0xee)
    const end = encodeBodyInto(value, whole.subarray(0, size), 2)
    t.ok(whole.subarray(size).equals(Buffer.alloc(10, 0xee)), 'the bytes behind are untouched')
    if (size >= expected.length + 2 + 9) t.equal(end, expected.length + 2, `${size} bytes are enough`)
    if (size < expected.length + 2) t.equal(end, -1, `${size} bytes are not enough`)
    if (end !== -1) t.ok(whole.subarray(2, end).equals(expected))
  }
})

t.test('a getter may encode bodies itself', async t => {
  const target = Buffer.alloc(1000)
  const inner = { text: 'x'.repeat(100) }
  const sneaky = {
    before: 'b'.repeat(50),
    get middle() {
      t.throws(() => encodeBody([[[() => 1]]]), { message: 'body[0][0][0]: a function' })
      encodeBodyInto(inner, target, 500)
      return encodeBody(inner)
    },
    after: 'a'.repeat(50),
  }
  const plain = { before: sneaky.before, middle: encodeBody(inner), after: sneaky.after }
  t.strictSame(encodeBody(sneaky), encodeBody(plain))
  const end = encodeBodyInto(sneaky, target, 10)
  t.strictSame(decoded(target.subarray(10, end)), plain)
  t.strictSame(decoded(target.subarray(500, 500 + encodeBody(inner).length)), inner)
  t.throws(() => encodeBody([sneaky, () => 1]), { message: 'body[1]: a function' })
})

t.test('a large body with a getter that is asked once', async t => {
  let asked = 0
  const value = { a: 'x'.repeat(60_000), get b() { asked++; return 'y'.repeat(60_000) }, c: 'z'.repeat(300_000) } // prettier-ignore
  t.equal((through(value) as { c: string }).c.length, 300_000)
  t.equal(asked, 1)
})

t.test('lone surrogates and malformed bytes become U+FFFD', async t => {
  for (const pad of ['', 'x'.repeat(100)]) {
    t.equal(through(`${pad}a\ud800b`), `${pad}a\ufffdb`)
    t.equal(through(`${pad}\udc00`), `${pad}\ufffd`)
    t.equal(through(`${pad}\ud83d\ude00\ud83d`), `${pad}\ud83d\ude00\ufffd`)
    t.strictSame(through({ [`${pad}\ud800`]: 1 }), { [`${pad}\ufffd`]: 1 })
  }
  for (const hex of ['a1ff', 'a1c3', 'a2c328', 'a3eda080', 'a4f4908080', 'a2c080', 'bf' + 'ff'.repeat(31)]) {
    const text = decoded(Buffer.from(hex, 'hex')) as string
    t.match(text, /^[\ufffd(]+$/, hex)
  }
  t.strictSame(decoded(Buffer.from('81a1ff01', 'hex')), { '\ufffd': 1 })
})

t.test('any string is a key, and prototypes are never touched', async t => {
  const value = JSON.parse(
    '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":1,"valueOf":null}',
  ) as object
  const got = through(value) as Record<string, unknown>
  t.strictSame(Object.keys(got), ['__proto__', 'constructor', 'toString', 'valueOf'])
  t.equal(Object.getPrototypeOf(got), Object.prototype)
  t.equal(({} as Record<string, unknown>).polluted, undefined)
  t.same(encodeBody(got), encodeBody(value))
  t.equal(JSON.stringify(got), JSON.stringify(value))
})

t.test('what is handed out is the reader’s own', async t => {
  const chunk = Buffer.alloc(20_000, 1)
  for (const size of [3, 5000]) {
    const bytes = encodeBody({ data: Buffer.alloc(size, 7) })
    bytes.copy(chunk, 11)
    const { data } = decodeBody(chunk, 11, 11 + bytes.length) as { data: Buffer }
    chunk.fill(9)
    t.ok(data.equals(Buffer.alloc(size, 7)))
  }
  const plainArray = new Uint8Array(encodeBody({ a: 'text' }))
  t.strictSame(decodeBody(plainArray, 0, plainArray.length), { a: 'text' }, 'a Uint8Array that is no Buffer')
  t.throws(() => decodeBody(Buffer.from('0102', 'hex'), 0, 2), /not scanned/, 'a bug of the caller shows')
})
