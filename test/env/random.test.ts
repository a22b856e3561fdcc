import t from 'tap'
import { realRandom, seededRandom } from '../../lib/env/random.ts'

t.test('bytes are as many as asked for, and others each time', async t => {
  for (const random of [realRandom(), seededRandom(1)]) {
    for (const count of [0, 1, 2, 3, 4, 5, 1_000]) t.equal(random.bytes(count).byteLength, count)
    t.notSame(random.bytes(16), random.bytes(16))
    t.notOk(Buffer.isBuffer(random.bytes(16)))
  }
})

t.test('a seed repeats its sequence, near seeds have nothing in common', async t => {
  const [first, again, next, text] = [seededRandom(1), seededRandom(1), seededRandom(2), seededRandom('1')]
  const fractions = Array.from({ length: 100 }, () => first.fraction())
  t.same(
    Array.from({ length: 100 }, () => again.fraction()),
    fractions,
  )
  t.equal(text.fraction(), fractions[0])
  t.ok(fractions.filter(fraction => Math.abs(fraction - next.fraction()) < 0.001).length < 5)
})

t.test('the sequence is the same on every machine and in every version', async t => {
  const random = seededRandom('homing')
  t.equal(Buffer.from(random.bytes(12)).toString('hex'), '481e142918a2404dc27fa6f1')
  t.equal(random.fraction(), 0.038300880891787514)
})

t.test('fractions fill [0, 1) evenly, bytes all values', async t => {
  const random = seededRandom(3)
  const tenths = Array.from({ length: 10 }, () => 0)
  for (let i = 0; i < 100_000; i++) {
    const fraction = random.fraction()
    if (fraction < 0 || fraction >= 1) t.fail(`${fraction}`)
    tenths[Math.floor(fraction * 10)]!++
  }
  t.ok(tenths.every(count => Math.abs(count - 10_000) < 500))
  const values = Array.from({ length: 256 }, () => 0)
  for (const byte of random.bytes(256_000)) values[byte]!++
  t.ok(values.every(count => Math.abs(count - 1_000) < 200))
})
