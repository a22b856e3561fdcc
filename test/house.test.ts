/** The house: who may import whom, and what comes only through Env. docs/architecture.md, "The house". */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import t from 'tap'
import { version } from '../lib/version.ts'

const files = readdirSync('lib', { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts'))

/** From left to right: a room imports from those before it. Files of lib itself are rooms of their own. */
const order = [
  'errors.ts',
  'version.ts',
  'access',
  'env',
  'wire',
  'link',
  'datastores',
  'sessions',
  'mesh',
  'router',
  'client.ts',
  'options.ts',
  'members.ts',
  'events.ts',
  'broker-events.ts',
  'broadcast.ts',
  'peer',
  'peer.ts',
  'broker',
  'broker.ts',
  'create.ts',
  'index.ts',
  'testing',
  'cli',
]

const room = (file: string): string => file.split('/')[0]!
const sources = new Map(files.map(file => [file, readFileSync(join('lib', file), 'utf8')]))

function imports(file: string): string[] {
  const found = sources.get(file)!.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)
  return [...found].map(([, path]) => normalize(join(dirname(file), path!)))
}

t.test('every room is on the list', async t => {
  for (const file of files) t.ok(order.includes(room(file)), `lib/${file}`)
})

t.test('imports go to the left only', async t => {
  for (const file of files) {
    for (const target of imports(file)) {
      if (target.startsWith('..')) continue
      t.ok(order.indexOf(room(target)) <= order.indexOf(room(file)), `lib/${file} imports ${target}`)
    }
  }
})

t.test('only open.ts knows the drivers', async t => {
  for (const file of files) {
    for (const target of imports(file)) {
      if (!/^datastores\/(memory|lmdb|redis|riak|zookeeper|couchbase)\.ts$/.test(target)) continue
      const may = file === 'datastores/open.ts' || room(file) === 'testing'
      t.ok(may, `lib/${file} imports ${target}`)
    }
  }
})

t.test('what is outside comes through Env', async t => {
  const forbidden =
    /\bnew Date\(\)|\bDate\.now\b|\bperformance\.|\bprocess\.(hrtime|uptime)|\bMath\.random|\brandom(Bytes|UUID|Int|FillSync)\b|\bgetRandomValues\b|(?<!\w)set(Timeout|Interval|Immediate)\(|AbortSignal\.timeout|from 'node:(net|tls|fs|os|worker_threads|timers|perf_hooks)/
  for (const [file, source] of sources) {
    // The worker's entry point is where its own Env begins.
    if (['env', 'cli', 'datastores'].includes(room(file)) || file.endsWith('-worker.ts')) continue
    const found = source.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '').match(forbidden)
    t.equal(found?.[0], undefined, `lib/${file}`)
  }
})

t.test('no circles among files', async t => {
  const done = new Set<string>()
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) t.fail(`circle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`)
    if (done.has(file) || path.includes(file)) return
    for (const target of valueImports(file)) if (sources.has(target)) visit(target, [...path, file])
    done.add(file)
  }
  for (const file of files) visit(file, [])
  t.equal(done.size, files.length)
})

/** Imports that exist when the program runs: types are erased. */
function valueImports(file: string): string[] {
  const found = sources.get(file)!.matchAll(/^(?:import|export)\s+(?!type\b)[^'"]*?from\s+'(\.[^']+)'/gm)
  return [...found].map(([, path]) => relative('.', normalize(join(dirname(file), path!))))
}

t.test('the version is that of the package', async t => {
  t.equal(version, (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version)
})
