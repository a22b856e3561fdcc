import t from 'tap'
import { connect } from 'node:net'
import { RunningProgram, status } from './running-program.ts'

// Of the file, not of each test: that would be removed while processes of the test are still being ended.
const folder = t.testdir()
let stores = 0
const newStore = () => `lmdb:${folder}/store${++stores}`

type TestOf = Parameters<typeof status>[0]

const listeningLine = /^Server listening on "(tcp:\/\/127\.0\.0\.1:\d+)"$/

async function startBroker(
  t: TestOf,
  store: string,
  listen = 'tcp://127.0.0.1:0',
): Promise<{ broker: RunningProgram; endpoint: string }> {
  const broker = new RunningProgram(t, 'index', ['--store', store, '--listen', listen])
  const { line } = await broker.line(listeningLine)
  return { broker, endpoint: listeningLine.exec(line)![1]! }
}

const startServer = (t: TestOf, endpoint: string, n: number, total: number) =>
  new RunningProgram(t, 'server', [String(n), String(total), '--broker', endpoint])

const received = (from: string, to: string, text: string) => `Received: [ 4, '${from}', '${to}', '${text}' ]`

const sevenLines = (p: number, n: number) => [
  received(`clientD${n}`, `clientA${n}`, 'Hello from D to A!'),
  received(`clientA${n}`, `clientB${n}`, 'Hello from A to B!'),
  received(`clientC${n}`, `clientB${n}`, 'Hello from C to B!'),
  received(`clientA${p}`, `clientA${n}`, 'Hello from A to A!'),
  received(`clientC${p}`, `clientC${n}`, 'Hello from C to C!'),
  received(`clientA${p}`, `clientC${n}`, 'Hello from A to C!'),
  received(`clientC${p}`, `clientA${n}`, 'Hello from C to A!'),
]

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

t.test('three servers around a broker: the lines of the seed on each terminal (P3, P35, P40, P41)', async t => {
  const store = newStore()
  const { broker, endpoint } = await startBroker(t, store)
  const servers = [1, 2, 3].map(n => startServer(t, endpoint, n, 3))
  await Promise.all(servers.map((server, at) => server.line(sevenLines(at === 0 ? 3 : at, at + 1)[6]!)))
  for (const server of servers) server.signal('SIGINT')
  for (const [at, server] of servers.entries()) {
    const { code, stderr } = await server.finished()
    t.equal(code, 0)
    t.equal(stderr, '')
    t.same(server.lines, sevenLines(at === 0 ? 3 : at, at + 1))
  }
  await broker.line(/^Client clientC1 disconnected/)
  await broker.line(/^Client clientC2 disconnected/)
  await broker.line(/^Client clientC3 disconnected/)
  const identities = broker.lines.flatMap(line => /^Server registered as: (.*)$/.exec(line)?.slice(1) ?? [])
  t.equal(identities.length, 3)
  for (const identity of identities) {
    t.match(identity, uuid)
    await broker.line(`Server ${identity} disconnected.`)
    const own = broker.lines.filter(line => line.endsWith(identity)).map(line => line.replace(/client(.)\d/, '$1'))
    t.same(own.slice(1), [
      ...['A', 'B', 'C', 'D'].map(letter => `Client ${letter} connected to server ${identity}`),
      ...['B', 'D', 'A', 'C'].map(letter => `Client ${letter} disconnected from ${identity}`),
    ])
  }
  const { sessionCount } = await status(t, '--broker', endpoint)
  t.equal(sessionCount, 0)

  broker.signal('SIGINT')
  const { code, stderr } = await broker.finished()
  t.equal(code, 0)
  t.equal(stderr, '')
  t.same((await status(t, '--store', store)).members, [])
})

t.test('a server that starts before its broker, and sees it die and come back (P7, P30)', async t => {
  const store = newStore()
  const first = await startBroker(t, store)
  first.broker.signal('SIGINT')
  await first.broker.finished()
  const server = startServer(t, first.endpoint, 1, 1)
  const { broker } = await startBroker(t, store, first.endpoint)
  await server.line(received('clientD1', 'clientA1', 'Hello from D to A!'))

  broker.signal('SIGKILL')
  await server.line('disconnected from server')
  const again = await startBroker(t, store, first.endpoint)
  await again.broker.line(/^Server registered as: /)
  await server.line(received('clientC1', 'clientA1', 'Hello from C to A!'))
  server.signal('SIGINT')
  t.equal((await server.finished()).code, 0)
  t.same(
    server.lines.filter(line => line.startsWith('Received')),
    sevenLines(1, 1),
  )
  t.equal(server.lines.filter(line => line === 'disconnected from server').length, 1)
})

t.test('a port that is in use, and bytes that are no packet', async t => {
  const store = newStore()
  const { broker, endpoint } = await startBroker(t, store)
  const second = new RunningProgram(t, 'index', ['--store', store, '--listen', endpoint])
  const { code, stdout, stderr } = await second.finished()
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, new RegExp(`^index: .*${endpoint.replace('tcp://', '')}.*--listen.*\\n$`))

  const socket = connect(Number(new URL(endpoint).port), '127.0.0.1')
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}) // it is cut off, which may be a reset
  socket.write('[0,"1"]\r\n\r\nGET / HTTP/1.1\r\n\r\n')
  await broker.line('Unrecognized packet format.')
})
