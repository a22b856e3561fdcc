/** F25: every past finding again, and some seconds of new inputs. `npm run fuzz` goes on for longer. */
import t from 'tap'
import { keptInputs } from './corpus.ts'
import { Fuzzer, verdict } from './fuzzer.ts'
import { Unheard } from './oracles.ts'
import { targets } from './targets/all.ts'

const seed = process.env['HOMING_SEED'] ?? String(Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it)`)
/** For each target, ms: about ten seconds for all. */
const eachMs = 700

for (const target of targets) {
  t.test(`F25: ${target.name}: what was found before`, async t => {
    using unheard = new Unheard()
    for (const { file, bytes } of keptInputs(target.name)) {
      const failure = await verdict(target, bytes, unheard)
      t.equal(failure?.what, undefined, file)
    }
  })

  t.test(`F25: ${target.name}: ${target.about}`, async t => {
    const fuzzer = new Fuzzer(target, [...target.seeds(), ...keptInputs(target.name).map(({ bytes }) => bytes)], seed)
    // Its seeds at least, however slow the machine is; then by time.
    await fuzzer.run(fuzzer.toFeed, Infinity)
    await fuzzer.run(Infinity, eachMs)
    await fuzzer.close()
    for (const { what, input, error } of fuzzer.findings) {
      t.fail(`${what}: npm run fuzz -- --target ${target.name} --input ${input.toString('hex')}`, { error })
    }
    t.ok(fuzzer.words > 1, `${fuzzer.executions} executions, ${fuzzer.words} behaviours`)
  })
}
