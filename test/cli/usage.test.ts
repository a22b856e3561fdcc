import t from 'tap'
import { listeningBroker, run, RunningProgram } from './running-program.ts'

// Of the file, not of each test: that would be removed while processes of the test are still being ended.
const folder = t.testdir({
  short: 'abc\n',
  right: '0123456789abcdef-right\n',
  wrong: '0123456789abcdef-wrong\n',
})
let stores = 0
const newStore = () => `lmdb:${folder}/store${++stores}`

t.test('what cannot be meant is said in a line, with exit 2 (P6)', async t => {
  const table: [string, string[], RegExp][] = [
    ['brokerless', ['0', '3'], /^brokerless: n is a whole number from 1, not '0'\n$/],
    ['brokerless', ['x'], /^brokerless: n is a whole number from 1, not 'x'\n$/],
    ['brokerless', ['1', '2.5'], /^brokerless: total is a whole number from 1, not '2.5'\n$/],
    ['server', ['4', '3'], /^server: n \(4\) is above total \(3\)/],
    ['server', ['1', '1', '--broker', 'localhost'], /^server: --broker: 'localhost' is no endpoint; it looks like tcp:/],
    ['index', ['1'], /^index: too many arguments/],
    ['homing', ['snd', 'a', 'b'], /^homing: unknown command 'snd'\n\(Did you mean send\?\)\n$/],
    ['homing', ['send', 'a', 'b', '--coutn', '2'], /^homing: unknown option '--coutn'\n\(Did you mean --count\?\)\n$/],
    ['homing', ['send', 'a'], /^homing: missing required argument 'body'\n$/],
    ['homing', ['send', 'a', 'b', '--count', '0'], /^homing: option '--count <n>' argument '0' is invalid/],
    ['homing', ['where', 'a', '--store', 'mongo://x'], /^homing: unknown datastore 'mongo:'; known are .*lmdb:.*\n$/],
    [
      'homing',
      ['where', 'a', '--store', 'lmdb:', '--broker', 'tcp://127.0.0.1:1'],
      /^homing: broker and store exclude each other/,
    ],
    ['homing', ['bench', 'nothing'], /^bench: there is no bench 'nothing'; there are one-way, .*guard\n$/],
    ['homing', ['bench', '--rounds', '0'], /^bench: option '--rounds <n>' argument '0' is invalid/],
    ['homing', ['where', 'a', '--cluster', 'a/b'], /^homing: cluster is 1 to 32 letters/],
    [
      'homing',
      ['peer', '--listen', 'tcp://0.0.0.0:0'],
      /^homing: tcp:\/\/0\.0\.0\.0:0 can be reached from other machines.*--secret-file.*--insecure/,
    ],
  ]
  for (const [name, args, stderr] of table) {
    const finished = await run(t, name, ...args)
    t.equal(finished.code, 2, `${name} ${args.join(' ')}`)
    t.equal(finished.stdout, '')
    t.match(finished.stderr, stderr)
  }
})

t.test('an engine that is not known (P8)', async t => {
  for (const name of ['brokerless', 'server', 'index']) {
    const { code, stdout, stderr } = await run(t, name, '--store', 'mongo://localhost')
    t.equal(code, 1)
    t.equal(stdout, '')
    t.match(stderr, /^Invalid backend\.\n/)
  }
})

t.test('each program and command says what it is for, with an example', async t => {
  const commands = ['demo', 'peer', 'broker', 'send', 'broadcast', 'where', 'explain', 'status', 'bench']
  const lines = [['brokerless'], ['server'], ['index'], ['homing'], ...commands.map(command => ['homing', command])] as [
    string,
    ...string[],
  ][]
  for (const [name, ...args] of lines) {
    const { code, stdout, stderr } = await run(t, name, ...args, '--help')
    t.equal(code, 0)
    t.equal(stderr, '')
    t.match(stdout, /^Usage: /)
    t.match(stdout, /\nExample:/)
  }
})

t.test('nobody there: exit 1 and what was tried', async t => {
  const { code, stdout, stderr } = await run(t, 'homing', 'where', 'alice', '--store', newStore())
  t.equal(code, 1)
  t.equal(stdout, 'nobody holds alice')
  t.equal(stderr, '')
})

t.test('a secret that is too short, or in a file that is not there', async t => {
  const store = newStore()
  const short = await run(t, 'homing', 'where', 'a', '--store', store, '--secret-file', `${folder}/short`)
  t.equal(short.code, 2)
  t.match(short.stderr, /^homing: a secret has at least 16 bytes.*openssl rand/)
  const missing = await run(t, 'homing', 'where', 'a', '--store', store, '--secret-file', `${folder}/none`)
  t.equal(missing.code, 1)
  t.match(missing.stderr, /^homing: --secret-file .*none cannot be read: ENOENT.*\n$/)
})

t.test('the wrong cluster, the wrong secret', async t => {
  const store = newStore()
  const { endpoint } = await listeningBroker(t, ['--secret-file', `${folder}/right`], store)
  const ask = (secret: string, ...more: string[]) =>
    run(t, 'homing', 'where', 'a', '--broker', endpoint, '--secret-file', `${folder}/${secret}`, ...more)
  const right = await ask('right')
  t.equal(right.stdout, 'nobody holds a')
  const wrong = await ask('wrong')
  t.equal(wrong.code, 1)
  t.match(wrong.stderr, /^homing: .*secret.*\n$/)
  const elsewhere = await ask('right', '--cluster', 'elsewhere')
  t.equal(elsewhere.code, 1)
  t.match(elsewhere.stderr, /^homing: .*cluster.*'elsewhere'.*\n$/)
})

t.test('the wrong secret between two peers', async t => {
  const store = newStore()
  const shared = (secret: string) => ['--store', store, '--log-level', 'silent', '--secret-file', `${folder}/${secret}`]
  const holder = new RunningProgram(t, 'homing', ['peer', '--client', 'alice', ...shared('right')])
  await holder.line(/^alice is connected/)
  const right = await run(t, 'homing', 'send', 'alice', 'hi', ...shared('right'))
  t.equal(right.stdout, 'alice: delivered')
  const wrong = await run(t, 'homing', 'send', 'alice', 'hi', '--deadline-ms', '300', ...shared('wrong'))
  t.equal(wrong.code, 1)
  t.match(wrong.stdout, /^alice: unreachable: .*different secrets/)
})
