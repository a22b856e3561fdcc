import t from 'tap'
import { RunningProgram, status } from './running-program.ts'

// Of the file, not of each test: that would be removed while processes of the test are still being ended.
const folder = t.testdir()
let stores = 0
const newStore = () => `lmdb:${folder}/store${++stores}`

t.test('an error that nobody expected: its stack, everything closed, exit 1 (P58)', async t => {
  const store = newStore()
  const breakOnSignal = 'data:text/javascript,process.on("SIGUSR2",()=>{throw new TypeError("boom")})'
  const program = new RunningProgram(t, 'brokerless', ['--store', store], { node: ['--import', breakOnSignal] })
  await program.line('Client clientD1 connected to server 1')
  program.signal('SIGUSR2')
  const { code, stderr } = await program.finished()
  t.equal(code, 1)
  t.match(stderr, /^brokerless: unexpected error: TypeError: boom\n\s+at /)
  const { members, sessionCount } = await status(t, '--store', store)
  t.same(members, [])
  t.equal(sessionCount, 0)
})

t.test('a second signal ends it at once', async t => {
  const program = new RunningProgram(t, 'brokerless', ['--store', newStore()])
  await program.line('Client clientD1 connected to server 1')
  program.signal('SIGINT')
  program.signal('SIGTERM')
  t.equal((await program.finished()).code, 130)
})

t.test('a reader that goes away is an end, not an error', async t => {
  const program = new RunningProgram(t, 'brokerless', ['--store', newStore()])
  await program.line('Server registered as: 1')
  program.stopReading()
  const { code, stderr } = await program.finished()
  t.equal(code, 0)
  t.equal(stderr, '')
})
