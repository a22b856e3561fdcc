/** Planted bugs still apply, are found, and are no part of what is shipped. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { alteredModule, alteredSource } from '../support/altered-modules.ts'
import { alterations } from './alterations.ts'
import { chosenOf } from './chosen.ts'
import { hunt, modes } from './hunt.ts'

t.test('every planted bug has its place, and what comes of it can be read', async t => {
  const sources = alterations.map(alteration => alteredModule(alteration.module, [alteration]))
  // Read as modules by the engine itself, and not run: private names and all are checked.
  const code = `
    import { SourceTextModule } from 'node:vm'
    let all = ''
    for await (const chunk of process.stdin) all += chunk
    for (const [name, source] of JSON.parse(all)) {
      try { new SourceTextModule(source) } catch (error) { console.log(name + ': ' + error) }
    }`
  const child = promisify(execFile)(
    process.execPath,
    ['--experimental-vm-modules', '--no-warnings', '--input-type=module', '-e', code],
    {
      env: {},
    },
  )
  child.child.stdin!.end(JSON.stringify(alterations.map(({ name }, at) => [name, sources[at]])))
  t.equal((await child).stdout, '')
  t.equal(new Set(alterations.map(({ name }) => name)).size, alterations.length, 'names are names of one')
})

t.test('an alteration whose text is not there exactly once is refused', async t => {
  const alteration = { name: 'one', what: 'nothing', module: 'none.js', find: 'a', replace: '$&' }
  t.equal(alteredSource('bab', alteration), 'b$&b')
  t.throws(() => alteredSource('b', alteration), /occurs 0 times/)
  t.throws(() => alteredSource('aa', alteration), /occurs 2 times/)
  t.throws(() => alteredSource('a', { ...alteration, find: '' }), /occurs 0 times/)
  t.throws(() => chosenOf(['none-such']), /no planted bug is called 'none-such'/)
})

for (const name of ['refusals-forgotten', 'hand-over-behind']) {
  t.test(`'${name}' is found within some seeds, and is gone without it`, async t => {
    const { signal } = new AbortController()
    const begun: string[] = []
    const options = { from: 1, seeds: 20, signal, begun: (seed: number, mode: string) => void begun.push(`${seed} ${mode}`) }
    const found = await hunt([name], { ...options, modes })
    if (!found) return t.fail(`not found in ${begun.join(', ')}`)
    t.comment(`seed ${found.seed}, ${found.mode}: ${found.breach.text}`)
    t.equal(found.breach.rule, 'H3')
    t.equal(await hunt([], { ...options, from: found.seed, seeds: 1, modes: [found.mode] }), undefined)
  })
}
