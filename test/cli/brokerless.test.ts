import t from 'tap'
import { RunningProgram, status } from './running-program.ts'

// Of the file, not of each test: that would be removed while processes of the test are still being ended.
const folder = t.testdir()
let stores = 0
const newStore = () => `lmdb:${folder}/store${++stores}`

// Each test mostly waits for the schedule; only the one that looks at times runs alone.
t.jobs = 3

const start = (t: Parameters<typeof status>[0], store: string, n: number, total: number, ...more: string[]) =>
  new RunningProgram(t, 'brokerless', [String(n), String(total), '--store', store, ...more])

const registering = (n: number) => [
  `Server registered as: ${n}`,
  ...['A', 'B', 'C', 'D'].map(letter => `Client client${letter}${n} connected to server ${n}`),
  `Received: clientD${n} clientA${n} Hello from D to A!`,
  `Received: clientA${n} clientB${n} Hello from A to B!`,
  `Received: clientC${n} clientB${n} Hello from C to B!`,
  `Client clientB${n} disconnected from ${n}`,
  `Client clientD${n} disconnected from ${n}`,
]

const network = (p: number, n: number) => [
  `Received: [ 'clientA${p}', 'clientA${n}', 'Hello from A to A!' ]`,
  `Received: [ 'clientC${p}', 'clientC${n}', 'Hello from C to C!' ]`,
  `Received: [ 'clientA${p}', 'clientC${n}', 'Hello from A to C!' ]`,
  `Received: [ 'clientC${p}', 'clientA${n}', 'Hello from C to A!' ]`,
]

const lastOf = (lines: string[]) => lines[lines.length - 1]!

t.test('three processes: the lines of the seed, in its order; Ctrl-C leaves no record (P5, P33, P36, P40)', async t => {
  const store = newStore()
  const ring = [1, 2, 3].map(n => start(t, store, n, 3))
  await Promise.all(ring.map((program, at) => program.line(lastOf(network(at === 0 ? 3 : at, at + 1)))))
  const during = await status(t, '--store', store)
  t.same(
    during.members.map(({ identity }) => identity),
    ['1', '2', '3'],
  )
  t.same(
    during.sessions.map(({ address }) => address),
    ['clientA1', 'clientA2', 'clientA3', 'clientC1', 'clientC2', 'clientC3'],
  )

  for (const program of ring) program.signal('SIGINT')
  for (const [at, program] of ring.entries()) {
    const n = at + 1
    const { code, stderr } = await program.finished()
    t.equal(code, 0)
    t.equal(stderr, '')
    const goodbye = [`Client clientA${n} disconnected from ${n}`, `Client clientC${n} disconnected from ${n}`]
    t.same(program.lines, [...registering(n), ...network(at === 0 ? 3 : at, n), ...goodbye])
  }
  const after = await status(t, '--store', store)
  t.same(after.members, [])
  t.equal(after.sessionCount, 0)
})

t.test('one process talks to itself, in the local form, each step at its time (P32, P34)', { buffered: false }, async t => {
  const program = start(t, newStore(), 1, 1)
  const { atMs: registeredMs } = await program.line('Server registered as: 1')
  await program.line('Received: clientC1 clientA1 Hello from C to A!')
  t.same(program.lines.slice(10), [
    'Received: clientA1 clientA1 Hello from A to A!',
    'Received: clientC1 clientC1 Hello from C to C!',
    'Received: clientA1 clientC1 Hello from A to C!',
    'Received: clientC1 clientA1 Hello from C to A!',
  ])
  const dueMs = [500, 600, 700, 800, 900, 1000, 1100, 1900, 2000, 2500, 2600, 2700, 2800]
  // A busy machine may be late; early it may never be, but for the time that the first line took to arrive here.
  for (const [at, { line, atMs }] of program.printed.slice(1).entries()) {
    const lateMs = atMs - registeredMs - dueMs[at]!
    t.ok(lateMs > -100 && lateMs < 400, `${line}: ${lateMs.toFixed(0)} ms late`)
  }
})

t.test('messages wait for a neighbour that comes late, and arrive in the order they were made (P37)', async t => {
  const store = newStore()
  const first = start(t, store, 1, 2)
  await first.line('Client clientD1 disconnected from 1')
  // Its clients connect half a second after its start at the earliest: after the first of the four messages was made.
  const second = start(t, store, 2, 2)
  await second.line(lastOf(network(1, 2)))
  t.same(
    second.lines.filter(line => line.includes('[')),
    network(1, 2),
  )
  t.notMatch(first.lines.join('\n'), 'Client not found.')
})

t.test('past the wait, one line for each message (P37)', async t => {
  const program = start(t, newStore(), 1, 2, '--wait-ms', '100')
  await program.line('Client not found.')
  program.signal('SIGTERM')
  const { code } = await program.finished()
  t.equal(code, 0)
  t.equal(program.lines.filter(line => line === 'Client not found.').length, 1)
})

t.test('a neighbour that was killed is no longer available', async t => {
  const store = newStore()
  const second = start(t, store, 2, 2, '--identity', 'two')
  const first = start(t, store, 1, 2, '--wait-ms', '100')
  await first.line('Client clientD1 disconnected from 1')
  second.signal('SIGKILL')
  await first.line('Server two no longer available.')
})

t.test('an identity that is in use is refused in one line', async t => {
  const store = newStore()
  await start(t, store, 1, 3).line('Server registered as: 1')
  const second = start(t, store, 1, 3)
  const { code, stdout, stderr } = await second.finished()
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, /^brokerless: .*'1'.*\n$/)
})
