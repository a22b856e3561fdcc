import t from 'tap'
import { run, RunningProgram } from './running-program.ts'

// Of the file, not of each test: that would be removed while processes of the test are still being ended.
const folder = t.testdir()
let stores = 0
const newStore = () => `lmdb:${folder}/store${++stores}`

async function startHolder(t: Parameters<typeof run>[0]): Promise<{ holder: RunningProgram; store: string }> {
  const store = newStore()
  const holder = new RunningProgram(t, 'homing', [
    'peer',
    '--identity',
    'holder',
    '--client',
    'alice',
    '--json',
    '--store',
    store,
  ])
  await holder.line(/"connected"/)
  return { holder, store }
}

t.test('one message: its receipt, and an exit code', async t => {
  const { holder, store } = await startHolder(t)
  const delivered = await run(t, 'homing', 'send', 'alice', '{"a":1}', '--from', 'bob', '--store', store)
  t.same(delivered, { code: 0, stdout: 'alice: delivered', stderr: '' })
  const { line } = await holder.line(/"message"/)
  t.match(JSON.parse(line), { from: 'bob', body: { a: 1 }, via: 'direct' })

  const absent = await run(t, 'homing', 'send', 'nobody', 'x', '--json', '--store', store)
  t.equal(absent.code, 1)
  t.match(JSON.parse(absent.stdout), { to: 'nobody', status: 'absent', code: 'ABSENT' })
})

t.test('a body from stdin, and an address that is waited for', async t => {
  const store = newStore()
  const sender = new RunningProgram(t, 'homing', ['send', 'late', '-', '--wait-ms', '20000', '--store', store])
  sender.type('two lines', 'of text')
  sender.endInput()
  const holder = new RunningProgram(t, 'homing', ['peer', '--client', 'late', '--store', store])
  await holder.line('late <- "two lines\\nof text"')
  t.equal((await sender.finished()).code, 0)
})

t.test('many messages: each is in exactly one of the numbers', async t => {
  const { holder, store } = await startHolder(t)
  const all = await run(t, 'homing', 'send', 'alice', 'x', '--count', '1000', '--store', store)
  t.equal(all.code, 0)
  t.match(all.stdout, /^1000 sent: 1000 delivered\np50 \d.* ms, p99 \d.* ms, \d+ messages\/s$/)
  t.equal(holder.lines.filter(line => line.includes('"message"')).length, 1_000)

  const none = await run(t, 'homing', 'send', 'nobody', 'x', '--count', '20', '--json', '--store', store)
  t.equal(none.code, 1)
  t.match(JSON.parse(none.stdout), { asked: 20, sent: 20, byStatus: { absent: 20 }, failures: [{ status: 'absent' }] })
})

t.test('a rate is kept, progress is shown, and Ctrl-C leaves the rest unsent', async t => {
  const { store } = await startHolder(t)
  const sender = new RunningProgram(t, 'homing', [
    'send',
    'alice',
    'x',
    '--count',
    '100000',
    '--rate',
    '100',
    '--json',
    '--store',
    store,
  ])
  await sender.diagnostic(/^\d+ of 100000 messages$/m)
  sender.signal('SIGINT')
  const { code, stdout } = await sender.finished()
  t.equal(code, 1)
  const summary = JSON.parse(stdout) as { asked: number; sent: number; byStatus: Record<string, number>; tookMs: number }
  t.ok(summary.sent <= summary.tookMs / 10 + 65, `${summary.sent} in ${summary.tookMs} ms`)
  t.equal(
    Object.values(summary.byStatus).reduce((a, b) => a + b, 0),
    summary.sent,
  )
})

t.test('broadcast, where and explain', async t => {
  const { holder, store } = await startHolder(t)
  t.same(await run(t, 'homing', 'broadcast', 'hear ye', '--store', store), {
    code: 0,
    stdout: 'reached 1 client\n  holder: 1 client',
    stderr: '',
  })
  await holder.line(/"hear ye"/)
  t.same(await run(t, 'homing', 'where', 'alice', '--store', store), {
    code: 0,
    stdout: 'alice is a client of holder',
    stderr: '',
  })
  const explained = await run(t, 'homing', 'explain', 'alice', '--json', '--store', store)
  t.equal(explained.code, 0)
  t.match(JSON.parse(explained.stdout), {
    address: 'alice',
    owner: { identity: 'holder' },
    path: { kind: 'direct' },
    store: 'up',
  })
})
