import { readFileSync } from 'node:fs'
import t from 'tap'
import { decodeBody, encodeBody } from '../../lib/wire/body.ts'
import { scanBody } from '../../lib/wire/scan.ts'

interface Vectors {
  /** What is written and read. */
  both: { value: unknown; hex: string }[]
  /** What is read, although nobody here writes it so. */
  read: { value: unknown; hex: string }[]
  refused: { hex: string; why: string }[]
}

const vectors = JSON.parse(readFileSync('test/vectors/body.json', 'utf8')) as Vectors

/** JSON has no bytes, bigint, Date, NaN, ...: there an object with one key that begins with `$` stands for it. */
function meant(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(meant)
  const entries = Object.entries(value)
  const [key, text] = entries.length === 1 ? entries[0]! : []
  if (key === '$bytes') return Buffer.from(text as string, 'hex')
  if (key === '$bigint') return BigInt(text as string)
  if (key === '$date') return new Date(text as number)
  if (key === '$number') return Number(text)
  const object = {}
  for (const [key, item] of entries) {
    Object.defineProperty(object, key, { value: meant(item), enumerable: true, writable: true, configurable: true })
  }
  return object
}

function read(hex: string): unknown {
  const bytes = Buffer.from(hex, 'hex')
  const verdict = scanBody(bytes, 0, bytes.length)
  if (verdict < 0) throw new Error(`the scan says ${verdict}`)
  return decodeBody(bytes, 0, bytes.length)
}

t.test('the vectors that other languages are held against', async t => {
  t.ok(vectors.both.length > 50 && vectors.read.length > 20 && vectors.refused.length > 20)
  for (const { value, hex } of vectors.both) {
    t.equal(encodeBody(meant(value)).toString('hex'), hex)
    t.equal(encodeBody(read(hex)).toString('hex'), hex, 'and back')
    t.strictSame(read(hex), meant(value))
  }
  for (const { value, hex } of vectors.read) t.strictSame(read(hex), meant(value), hex)
  for (const { hex, why } of vectors.refused) t.ok(scanBody(Buffer.from(hex, 'hex'), 0, hex.length / 2) < 0, `${hex}: ${why}`)
})
