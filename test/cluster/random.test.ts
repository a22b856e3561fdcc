/** Random worlds with random faults: no promise may break in any of them. `HOMING_SEEDS=500` runs more, `HOMING_SEED=7` another first one. */
import t from 'tap'
import { modes } from '../support/clusters.ts'
import { runWorld } from '../support/random-world.ts'

const first = Number(process.env['HOMING_SEED'] ?? 1)
const count = Number(process.env['HOMING_SEEDS'] ?? 30)

/** Worlds in which a promise broke once. */
const kept = { brokerless: [143, 2005, 2018, 2039, 3286, 4115, 4327], broker: [2030] }

for (const mode of modes) {
  void t.test(`promises 1, 2, 3, 4 and 9 in worlds that broke one of them before (${mode})`, async t => {
    for (const seed of kept[mode]) t.same((await runWorld(seed, mode)).violations.slice(0, 5), [], `seed ${seed}`)
  })

  void t.test(`promises 1, 2, 3, 4 and 9 in random worlds (${mode}, seeds ${first} to ${first + count - 1})`, async t => {
    for (let seed = first; seed < first + count; seed++) {
      const { violations } = await runWorld(seed, mode)
      t.same(violations.slice(0, 5), [], `seed ${seed}`)
    }
  })

  void t.test(`the same seed gives the same world (${mode}, seed ${first})`, async t => {
    const { trace } = await runWorld(first, mode)
    t.ok(trace.length > 10_000)
    t.equal((await runWorld(first, mode)).trace, trace)
    t.not((await runWorld(first + 1, mode)).trace, trace)
  })
}
