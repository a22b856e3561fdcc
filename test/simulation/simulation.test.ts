/** Simulated worlds: a few of each kind here; `npm run sim -- --seeds 10000 --jobs 2` runs the many. */
import t from 'tap'
import { drawPlan, faultNames, simulate, timelineOf, type Mode } from '../../lib/testing/index.ts'
import { tryTwice } from './verdict.ts'

const first = Number(process.env['HOMING_SEED'] ?? 1)
const count = 2

/** Worlds in which a promise broke once, or the judge was wrong. */
const kept: Record<Mode, readonly number[]> = {
  brokerless: [49, 117, 157, 245, 31147],
  broker: [22, 28, 40, 1464, 5370, 31326, 31568],
}

for (const mode of ['brokerless', 'broker'] as const) {
  void t.test(`no promise breaks, and twice the same happens (${mode}, seeds ${first} to ${first + count - 1})`, async t => {
    for (let seed = first; seed < first + count; seed++) {
      const { verdict } = await tryTwice(seed, mode)
      t.same(verdict.violations, [], `npm run sim -- --seed ${seed} --mode ${mode}`)
      t.ok(verdict.messages > 50)
    }
  })

  void t.test(`worlds that broke a promise once (${mode})`, async t => {
    for (const seed of kept[mode]) {
      const { findings } = await simulate({ seed, mode })
      t.same(findings, [], `npm run sim -- --seed ${seed} --mode ${mode}`)
    }
  })
}

t.test('the plans of many seeds have everything in them', async t => {
  const plans = Array.from({ length: 200 }, (_, seed) => drawPlan(seed, seed % 2 === 0 ? 'broker' : 'brokerless'))
  for (const name of faultNames)
    t.ok(
      plans.some(({ faults }) => faults.includes(name)),
      name,
    )
  for (const kind of ['linearizable', 'amnesic', 'eventual'])
    t.ok(
      plans.some(({ store }) => store.kind === kind),
      kind,
    )
  t.ok(plans.some(({ brokers }) => brokers.length === 3))
  t.ok(plans.some(({ options }) => options.whenStoreIsDown === 'stop'))
  t.ok(plans.some(({ network }) => network.chunkBytesMax === 1))
  t.same(drawPlan(7, 'broker'), drawPlan(7, 'broker'))
  t.notSame(drawPlan(7, 'broker').options, drawPlan(8, 'broker').options)
})

t.test('a timeline shows what was found, and what led to it', async t => {
  const simulation = await simulate({ seed: first, mode: 'brokerless' })
  const findings = [{ rule: 'H1', text: "something about 'u1'", atMs: 5_000, address: 'u1' } as const]
  const text = timelineOf({ ...simulation, findings })
  t.match(text, /^seed \d+, brokerless: peers a b c/)
  t.match(text, /sends 'u1' #\d+ within \d+: \w+/)
  t.match(text, /5000 ms: H1 something about 'u1'$/)
  t.ok(text.split('\n').length < 450)
  t.ok(timelineOf(simulation, { whole: true }).length > text.length)
})
