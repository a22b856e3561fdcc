import fc from 'fast-check'
import { Unpackr } from 'msgpackr'
import t from 'tap'
import { decodeBody, encodeBody, encodeBodyInto } from '../../lib/wire/body.ts'
import { BAD_EXTENSION, bodyDefaults, scanBody, TRAILING, TRUNCATED } from '../../lib/wire/scan.ts'

const seed = Number(process.env.HOMING_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it)`)
const run = (numRuns: number) => ({ seed, numRuns })

const text = fc.oneof(
  fc.string({ maxLength: 8 }),
  fc.string({ unit: 'binary', maxLength: 120 }),
  fc.constantFrom('__proto__', 'constructor', 'toString', '\ufeffbom', '\ufeff' + 'long'.repeat(30), 'é'.repeat(40)),
)
const leaf = fc.oneof(
  fc.constantFrom(null, true, false, 0, -0, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53, NaN, Infinity),
  fc.integer(),
  fc.double(),
  text,
  fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }),
  fc.bigInt({ min: -(2n ** 600n), max: 2n ** 600n }),
  fc.date({ noInvalidDate: true, min: new Date(-8.64e15), max: new Date(8.64e15) }),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
)
const { value } = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof(
    { maxDepth: 5 },
    leaf,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.array(fc.tuple(text, tie('value')), { maxLength: 20 }).map(pairs => {
      const object = {}
      for (const [key, item] of pairs) {
        Object.defineProperty(object, key, { value: item, enumerable: true, writable: true, configurable: true })
      }
      return object
    }),
  ),
}))

/** Equal in kind and to the last bit: our own, because assertion libraries treat `__proto__` as what it is elsewhere. */
function same(a: unknown, b: unknown): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b)
  if (a instanceof Date) return b instanceof Date && a.getTime() === b.getTime()
  if (Buffer.isBuffer(a)) return Buffer.isBuffer(b) && a.equals(b)
  if (Array.isArray(a)) return Array.isArray(b) && a.length === b.length && a.every((item, i) => same(item, b[i]))
  const keys = Object.keys(a)
  if (Array.isArray(b) || Object.getPrototypeOf(b) !== Object.prototype || keys.length !== Object.keys(b).length) return false
  return keys.every(
    key => Object.hasOwn(b, key) && same((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
  )
}

const decode = (bytes: Uint8Array) => decodeBody(bytes, 0, bytes.length)
const scan = (bytes: Uint8Array) => scanBody(bytes, 0, bytes.length)
const pristine = JSON.stringify(Object.getOwnPropertyNames(Object.prototype))

t.test('what goes in comes out', async () => {
  const target = Buffer.alloc(1 << 17)
  fc.assert(
    fc.property(value, fc.nat(1000), (value, at) => {
      const bytes = encodeBody(value)
      if (scan(bytes) !== 0 || !same(value, decode(bytes))) return false
      const end = encodeBodyInto(value, target, at)
      const into = target.subarray(at, end)
      return into.equals(bytes) && scanBody(target, at, end) === 0 && same(value, decodeBody(target, at, end))
    }),
    run(3000),
  )
})

t.test('every shorter or longer piece is refused', async () => {
  fc.assert(
    fc.property(value, value => {
      const bytes = encodeBody(value)
      for (let end = 0; end < Math.min(bytes.length, 60); end++) if (scanBody(bytes, 0, end) !== TRUNCATED) return false
      return scan(Buffer.concat([bytes, Buffer.from([0])])) === TRAILING
    }),
    run(1000),
  )
})

// Another implementation as judge of the structure. It knows more extensions than we allow, and does not look into ours.
const judge = new Unpackr({ useRecords: false, mapsAsObjects: false })

function judged(bytes: Buffer): 'yes' | 'no' {
  try {
    judge.unpack(bytes)
    return 'yes'
  } catch {
    return 'no' // it refuses by throwing: that is its answer
  }
}

const noise = fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes))
const mutated = fc
  .tuple(
    value,
    fc.array(fc.tuple(fc.nat(), fc.constantFrom('set', 'cut', 'double', 'insert'), fc.integer({ min: 0, max: 255 })), {
      maxLength: 4,
    }),
  )
  .map(([value, changes]) => {
    let bytes = encodeBody(value)
    for (const [where, what, byte] of changes) {
      const at = where % (bytes.length + 1)
      const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)]
      if (what === 'set' && at < bytes.length) bytes[at] = byte
      if (what === 'cut') bytes = Buffer.concat([head, tail.subarray(1 + (byte & 3))])
      if (what === 'double') bytes = Buffer.concat([head, tail, tail])
      if (what === 'insert') bytes = Buffer.concat([head, Buffer.from([byte]), tail])
    }
    return bytes
  })

t.test('what the scan passes is decoded, and what it refuses as broken is broken', async t => {
  let passed = 0
  let refused = 0
  const check = (bytes: Buffer) => {
    const before = Buffer.from(bytes)
    const code = scan(bytes)
    if (code === 0) {
      passed++
      const value = decode(bytes)
      const again = encodeBody(value)
      // What was read can be written, and is then in its one form.
      if (scan(again) !== 0 || !same(value, decode(again)) || !bytes.equals(before)) return false
      if (judged(bytes) !== 'yes') return false
    } else {
      refused++
      if ((code === TRUNCATED || code === TRAILING) && bytes.length > 0 && judged(bytes) === 'yes') return false
    }
    return true
  }
  fc.assert(fc.property(noise, check), run(20_000))
  fc.assert(fc.property(mutated, check), run(10_000))
  t.ok(passed > 1000 && refused > 1000, `${passed} passed, ${refused} refused`)
  t.equal(JSON.stringify(Object.getOwnPropertyNames(Object.prototype)), pristine, 'Object.prototype is as it was')
})

t.test('extensions: exactly ours, exactly well formed', async () => {
  const head = (length: number): number[] => ([1, 2, 4, 8, 16].includes(length) ? [0xd4 + Math.log2(length)] : [0xc7, length])
  fc.assert(
    fc.property(fc.constantFrom(0xff, 0x42, 0, 1, 0x72, 0x73), fc.uint8Array({ maxLength: 20 }), (type, data) => {
      const bytes = Buffer.from([...head(data.length), type, ...data])
      const code = scan(bytes)
      if (code !== 0) return code === BAD_EXTENSION
      const value = decode(bytes)
      if (type === 0x42) return typeof value === 'bigint' && data.length > 0
      return type === 0xff && value instanceof Date && !Number.isNaN(value.getTime())
    }),
    run(5000),
  )
})

t.test('the sender refuses what the receiver would', async () => {
  const limits = { bodyBytesMax: 200, depthMax: 3, elementsMax: 20 }
  fc.assert(
    fc.property(value, value => {
      const bytes = encodeBody(value, bodyDefaults)
      const allowed = scanBody(bytes, 0, bytes.length, limits) === 0
      try {
        return encodeBody(value, limits).equals(bytes) && allowed
      } catch (error) {
        return !allowed && ['UNENCODABLE', 'TOO_LARGE'].includes((error as { code: string }).code)
      }
    }),
    run(3000),
  )
})
