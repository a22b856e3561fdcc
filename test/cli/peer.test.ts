import t from 'tap'
import { listeningBroker, run, RunningProgram, status } from './running-program.ts'

// Of the file, not of each test: that would be removed while processes of the test are still being ended.
const folder = t.testdir()
let stores = 0
const newStore = () => `lmdb:${folder}/store${++stores}`

t.test('lines from a pipe are carried out in order, and its end is the end', async t => {
  const store = newStore()
  const holder = new RunningProgram(t, 'homing', ['peer', '--identity', 'holder', '--client', 'alice', '--store', store])
  await holder.line('alice is connected to holder')

  const script = new RunningProgram(t, 'homing', ['peer', '--identity', 'script', '--store', store])
  script.type(
    'connect bob',
    'send alice hello',
    'from bob send alice {"json":1}',
    'request alice {"ask":"position"}',
    'broadcast hear ye',
    'where alice',
    'send nobody x',
    '# a comment',
    '',
    'sessions',
    'disconnect bob',
    'disconnect bob',
  )
  script.endInput()
  const { code, stdout, stderr } = await script.finished()
  t.equal(stderr, '')
  t.equal(code, 0)
  t.same(
    stdout
      .split('\n')
      .filter(line => !line.startsWith('* '))
      .slice(1),
    [
      'bob is connected to script',
      'alice: delivered',
      'alice: delivered',
      'alice => {"echo":{"ask":"position"},"by":"alice"}',
      'reached 1 client',
      '  holder: 1 client',
      'alice is a client of holder',
      "nobody: absent: nobody holds 'nobody'",
      '2 sessions',
      '  alice  at holder',
      '  bob  at script',
      'bob is disconnected',
      'bob is not connected',
    ],
  )
  await holder.line('alice <- "hear ye"')
  t.same(
    holder.lines.filter(line => line.startsWith('alice <')),
    ['alice <- "hello"', 'alice <- bob: {"json":1}', 'alice <? {"ask":"position"}', 'alice <- "hear ye"'],
  )
  holder.endInput()
  t.equal((await holder.finished()).code, 0)
  const { members, sessionCount } = await status(t, '--store', store)
  t.same(members, [])
  t.equal(sessionCount, 0)
})

t.test('a line that cannot be read does not stop the others; the exit code tells', async t => {
  const script = new RunningProgram(t, 'homing', ['peer', '--store', newStore()])
  script.type('dance', 'request nobody 1', 'where nobody')
  script.endInput()
  const { code, stdout, stderr } = await script.finished()
  t.equal(code, 2)
  t.match(stderr, /^homing: line 1: there is no command 'dance'.*\nhoming: line 2: nobody holds 'nobody'\n$/)
  t.match(stdout, /nobody holds nobody$/)
})

t.test('one JSON object a line, an address that is taken over, and quit', async t => {
  const store = newStore()
  const first = new RunningProgram(t, 'homing', [
    'peer',
    '--identity',
    'first',
    '--client',
    'alice',
    '--json',
    '--stay',
    '--store',
    store,
  ])
  first.endInput()
  await first.line(/"connected"/)
  const second = new RunningProgram(t, 'homing', ['peer', '--identity', 'second', '--json', '--store', store])
  second.type('connect alice', 'send alice [1,null]')
  const displaced = await first.line(/"displaced"/)
  t.match(JSON.parse(displaced.line), { event: 'displaced', address: 'alice', by: { identity: 'second' } })
  const message = await second.line(/"message"/)
  t.match(JSON.parse(message.line), { event: 'message', to: 'alice', body: [1, null], via: 'local' })
  second.type('quit')
  t.equal((await second.finished()).code, 0)
  for (const line of [...first.lines, ...second.lines]) t.type((JSON.parse(line) as { event: string }).event, 'string')
  first.signal('SIGTERM')
  t.equal((await first.finished()).code, 0)
})

t.test('through a broker', async t => {
  const { endpoint } = await listeningBroker(t, [], newStore())
  const holder = new RunningProgram(t, 'homing', ['peer', '--client', 'alice', '--json', '--broker', endpoint])
  await holder.line(/"connected"/)
  const sent = await run(t, 'homing', 'send', 'alice', 'hello', '--from', 'bob', '--broker', endpoint)
  t.equal(sent.stdout, 'alice: delivered')
  const message = await holder.line(/"message"/)
  t.match(JSON.parse(message.line), { event: 'message', from: 'bob', to: 'alice', body: 'hello', via: 'broker' })
})
