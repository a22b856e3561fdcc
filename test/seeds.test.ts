/** Each statement of seed 001 is named by a test, and docs/seeds.md says which file that is in. */
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'

const tests = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts') && name !== 'seeds.test.ts')
  .map(name => ({ name, source: readFileSync(`test/${name}`, 'utf8') }))

/** Files by the number of the statement that they name: `P7`, `P10 to P16`. */
function named(): Map<number, Set<string>> {
  const files = new Map<number, Set<string>>()
  for (const { name, source } of tests) {
    for (const [, from, to] of source.matchAll(/\bP(\d+)(?: to P(\d+))?\b/g)) {
      for (let number = Number(from); number <= Number(to ?? from); number++) {
        files.set(number, (files.get(number) ?? new Set()).add(name))
      }
    }
  }
  return files
}

t.test('P1 to P62 each have a test and a line', async t => {
  const files = named()
  const rows = new Map(
    [...readFileSync('docs/seeds.md', 'utf8').matchAll(/^\| P(\d+) \|(.*)$/gm)].map(([, number, row]) => [Number(number), row!]),
  )
  for (let number = 1; number <= 62; number++) {
    const row = rows.get(number) ?? ''
    t.ok(row, `P${number} has a line in docs/seeds.md`)
    t.ok(files.has(number), `P${number} is named by a test`)
    for (const [, file] of row.matchAll(/`test\/([^`]+)`/g)) {
      t.ok(files.get(number)?.has(file!), `P${number} is named in test/${file}`)
    }
  }
})
