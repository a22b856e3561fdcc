/** Every program of examples/ runs, and prints what the comment at its end says. */
import t from 'tap'
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const sources = new URL('../../examples/', import.meta.url)
const compiled = new URL('../examples/', import.meta.url)
const examples = readdirSync(sources).filter(name => name.endsWith('.ts'))

t.ok(examples.length >= 6, `${examples.length} examples`)

for (const name of examples) {
  t.test(name, async t => {
    const file = fileURLToPath(new URL(name.replace(/\.ts$/, '.js'), compiled))
    const [, expected] = /\/\* Prints:\n([\s\S]*)\n\*\/\s*$/.exec(readFileSync(new URL(name, sources), 'utf8')) ?? []
    t.ok(expected, 'says what it prints')
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [file], { timeout: 20_000 })
    t.equal(stdout.trimEnd(), expected)
    t.equal(stderr, '')
  })
}

t.test('README prints simulated-cluster.ts as it is, and what it prints', async t => {
  const source = readFileSync(new URL('simulated-cluster.ts', sources), 'utf8')
  const [, program, output] = /^(import[\s\S]*)\n\/\* Prints:\n([\s\S]*)\n\*\/\s*$/m.exec(source)!
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  t.ok(readme.includes(`\`\`\`ts\n${program!.trimEnd()}\n\`\`\`\n\n\`\`\`\n${output}\n\`\`\``))
})
