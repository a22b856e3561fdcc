import fc from 'fast-check'
import t from 'tap'
import { seededRandom } from '../../lib/env/random.ts'
import { Backoff } from '../../lib/link/backoff.ts'
import { linkDefaults, linkOptions } from '../../lib/link/options.ts'

const options = linkDefaults
const most = { bytes: () => new Uint8Array(), fraction: () => 1 - 2 ** -53 }

t.test('waits double up to the cap, and to the higher cap once it has failed for long', async t => {
  const backoff = new Backoff(options, most)
  const waits = [0, 1, 2, 3, 4, 5, 6].map(() => Math.round(backoff.failed(1_000)))
  t.same(waits, [100, 200, 400, 800, 1_600, 2_000, 2_000])
  t.equal(Math.round(backoff.failed(31_000)), 2_000)
  t.equal(Math.round(backoff.failed(31_001)), 10_000)
  t.equal(backoff.failures, 9)
})

t.test('after few failures a long time apart the wait is short nevertheless', async t => {
  const backoff = new Backoff(options, most)
  backoff.failed(0)
  t.equal(Math.round(backoff.failed(3_600_000)), 200)
})

t.test('a link that stood a while starts afresh, one that opened and died at once does not', async t => {
  const backoff = new Backoff(options, most)
  for (let i = 0; i < 5; i++) backoff.failed(0)
  t.equal(Math.round(backoff.lost(10, options.provenMs - 1)), 2_000)
  t.equal(Math.round(backoff.lost(40_000, options.provenMs)), 100)
  t.equal(backoff.failures, 1)
  t.equal(Math.round(backoff.lost(80_000, 0)), 200, 'and the time of failing begins anew')
})

t.test('jitter is full: any wait up to the ceiling, never above', async t => {
  const seed = Number(process.env.HOMING_SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`seed ${seed} (HOMING_SEED repeats it)`)
  const waits: number[] = []
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 40 }), (luck, failures) => {
      const backoff = new Backoff(options, seededRandom(luck))
      let last = 0
      for (let i = 0; i < failures; i++) last = backoff.failed(0)
      const ceiling = Math.min(options.redialCapMs, options.redialMs * 2 ** (failures - 1))
      waits.push(last / ceiling)
      return last >= 0 && last <= ceiling
    }),
    { seed, numRuns: 500 },
  )
  const mean = waits.reduce((sum, wait) => sum + wait, 0) / waits.length
  t.ok(mean > 0.4 && mean < 0.6, `mean ${mean}`)
})

t.test('options that make no sense are refused with a text that names them', async t => {
  t.throws(() => linkOptions({ staleAfterMs: 1_000 }), { code: 'BAD_OPTION', message: /staleAfterMs.*pingAfterMs/ })
  t.throws(() => linkOptions({ pingAfterMs: 0 }), { code: 'BAD_OPTION', message: /pingAfterMs/ })
  t.throws(() => linkOptions({ frameTimeoutMs: Number.NaN }), { code: 'BAD_OPTION', message: /frameTimeoutMs/ })
  t.throws(() => linkOptions({ bodyBytesMax: (64 << 20) + 1 }), { code: 'BAD_OPTION', message: /bodyBytesMax/ })
  t.ok(Object.isFrozen(linkOptions()))
})
