/** Planted bugs still apply, are found, and are no part of what is shipped. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { alteredModule, alteredSource } from '../support/altered-modules.ts'
import { alterations } from './alterations.ts'
import { chosenOf } from './chosen.ts'
import { hunt } from './hunt.ts'

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

t.test('two that show in one world are found there, by the rules that they break, and are gone without them', async t => {
  const { signal } = new AbortController()
  const world = { from: 2, seeds: 1, modes: ['brokerless'], signal, begun: () => undefined } as const
  const rules = { 'opened-before-hand-over': 'H1', 'hand-over-behind': 'H3' }
  for (const [name, rule] of Object.entries(rules)) {
    const found = await hunt([name], world)
    t.equal(found?.breach.rule, rule, `${name}: ${found?.breach.text}`)
  }
  t.equal(await hunt([], world), undefined)
})
