/** examples/python/homing_client.py, which was written from docs/protocol.md, against a real broker and real peers. */
import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { createBroker, createPeer, type BrokerOptions, type Peer } from '../lib/index.ts'

const example = join('examples', 'python', 'homing_client.py')
const secret = 'b5a1f0c37e9d44528a6610ffde9b7c21'

/** The first Python here that has msgpack. */
function findPython(): string | undefined {
  return ['python3', '/usr/bin/python3'].find(python => spawnSync(python, ['-c', 'import msgpack']).status === 0)
}

const python = findPython()
const options = python ? {} : { skip: 'no python3 with the package msgpack' }

/** A Python process: its lines one by one, and its end. */
class Script {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly ended: Promise<unknown>

  constructor(t: Test, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = spawn(python!, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, HOMING_SECRET: '', ...env } })
    this.#child.stderr!.setEncoding('utf8').on('data', text => t.comment(text))
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
    this.ended = once(this.#child, 'exit').then(([code]) => code as unknown)
    t.teardown(() => this.kill())
  }

  async line(): Promise<string | undefined> {
    const { value, done } = await this.#lines.next()
    return done ? undefined : value
  }

  say(line: string): void {
    this.#child.stdin!.write(`${line}\n`)
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.ended
  }
}

async function output(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { stdout } = await promisify(execFile)(python!, args, { env: { ...process.env, HOMING_SECRET: '', ...env } })
  return stdout.trim()
}

/** A broker, and a peer behind it. */
async function cluster(t: Test, given: BrokerOptions = {}): Promise<{ url: string; peer: Peer }> {
  const broker = await createBroker({ identity: 'broker', listen: 'tcp://127.0.0.1:0', store: 'memory:', ...given })
  const [url] = broker.endpoints
  const peer = await createPeer({ identity: 'server-1', broker: url!, ...given })
  t.teardown(async () => {
    await peer.close()
    await broker.close()
  })
  return { url: url!, peer }
}

t.test('it has 150 lines, as README says', async t => {
  t.equal(readFileSync(example, 'utf8').split('\n').length - 1, 150)
})

for (const [name, given, env] of [
  ['without a secret', {}, {}],
  ['with a secret', { secret }, { HOMING_SECRET: secret }],
] as const) {
  t.test(`the script receives, and sends, ${name}`, options, async t => {
    const { url, peer } = await cluster(t, given)
    const script = new Script(t, [example, url, 'py-1', 'bob'], env)
    for (const [n, body] of ['hello', { n: 1 }, [true, null, -1.5]].entries()) {
      const receipt = await peer.sendMessage('bob', body, { from: 'alice', waitMs: 10_000 })
      t.equal(receipt.status, 'delivered')
      t.equal(await script.line(), `alice: ${['hello', "{'n': 1}", '[True, None, -1.5]'][n]}`)
    }
    const alice = await peer.connectClient('alice')
    t.equal(await output([example, url, 'py-2', 'carol', '--send', 'alice', 'good day'], env), 'delivered')
    const first = (await alice[Symbol.asyncIterator]().next()).value
    t.match(first, { from: 'carol', to: 'alice', body: 'good day' })
    t.match(first?.id, /^py-2\/[0-9a-f]{16}\/\d+$/)
    t.equal(await output([example, url, 'py-2', 'carol', '--send', 'bob', 'from Python'], env), 'delivered')
    t.equal(await script.line(), 'carol: from Python', 'from one Python to the other')
    t.equal(await output([example, url, 'py-2', 'carol', '--send', 'nobody', ''], env), 'absent')
  })
}

t.test('without the secret it is told why it may not join', options, async t => {
  const { url } = await cluster(t, { secret })
  for (const HOMING_SECRET of ['', 'another secret of 16 bytes']) {
    const joining = output([example, url, 'py-1', 'bob'], { HOMING_SECRET })
    await t.rejects(joining, { code: 1, stderr: /REFUSED.*different secrets/ })
  }
})

t.test('it answers pings, and so is still there when it had nothing to say for long', options, async t => {
  const { url, peer } = await cluster(t, { pingAfterMs: 50, staleAfterMs: 200 })
  const script = new Script(t, [example, url, 'py-1', 'bob'])
  t.equal((await peer.sendMessage('bob', 1, { waitMs: 10_000 })).status, 'delivered')
  t.equal(await script.line(), ': 1')
  await new Promise(resolve => setTimeout(resolve, 1_000)) // five times as long as a dead one is kept
  t.equal((await peer.sendMessage('bob', 2)).status, 'delivered')
  t.equal(await script.line(), ': 2')
})

t.test('an address moves to it and from it', options, async t => {
  // A short lease: of a client that moved, its former peer hears by a note, which it reads when it renews.
  const { url, peer } = await cluster(t, { leaseMs: 1_500, renewEveryMs: 300, guardMs: 300 })
  const first = await peer.connectClient('bob')
  const script = new Script(t, [example, url, 'py-1', 'bob'])
  t.equal(await first.ended, 'displaced')
  t.equal((await peer.sendMessage('bob', 'to Python')).status, 'delivered')
  t.equal(await script.line(), ': to Python')
  const again = await peer.connectClient('bob')
  t.equal((await peer.sendMessage('bob', 'to Node')).status, 'delivered')
  t.equal((await again[Symbol.asyncIterator]().next()).value?.body, 'to Node')
})

t.test('a burst comes whole and in order', options, async t => {
  const { url, peer } = await cluster(t)
  const script = new Script(t, [example, url, 'py-1', 'bob'])
  t.equal((await peer.sendMessage('bob', 'first', { waitMs: 10_000 })).status, 'delivered')
  t.equal(await script.line(), ': first')
  const receipts = Promise.all(Array.from({ length: 700 }, (_, n) => peer.sendMessage('bob', n)))
  for (let n = 0; n < 700; n++) {
    const line = await script.line()
    if (line !== `: ${n}`) t.fail(`${line} where ${n} was due`)
  }
  t.ok((await receipts).every(({ status }) => status === 'delivered'))
})

/** As a library: prints what becomes of each line: `send TO TEXT`, `send-many TO COUNT`, `receive TIMEOUT` or `close`. */
const library = `
import sys
sys.path.insert(0, 'examples/python')
from homing_client import HomingClient
client = HomingClient(sys.argv[1], sys.argv[2])
client.connect('bob')
client.connect('carol')
print('ready', flush=True)
for line in sys.stdin:
    what, *rest = line.split()
    try:
        if what == 'send': print(client.send(*rest), flush=True)
        if what == 'send-many': print(*{client.send(rest[0], n) for n in range(int(rest[1]))}, flush=True)
        if what == 'receive': print(client.receive(float(rest[0])), flush=True)
        if what == 'close': client.close()
    except (OSError, EOFError) as error: print(type(error).__name__, flush=True)
`

t.test('as a library: several addresses, itself, and a goodbye', options, async t => {
  const { url, peer } = await cluster(t)
  const script = new Script(t, ['-c', library, url, 'py-1'])
  t.equal(await script.line(), 'ready')

  // What comes while it sends waits until it is received, in the order of its address.
  const receipts = Array.from({ length: 400 }, (_, n) => peer.sendMessage(n % 2 ? 'bob' : 'carol', n))
  script.say('send-many nobody 50')
  t.equal(await script.line(), 'absent')
  const seen: Record<string, number[]> = { bob: [], carol: [] }
  for (let n = 0; n < 400; n++) {
    script.say('receive 10')
    const [, to, body] = /^\('', '(\w+)', (\d+)\)$/.exec((await script.line()) ?? '') ?? []
    seen[to!]!.push(Number(body))
  }
  t.same(seen, { bob: Array.from({ length: 200 }, (_, n) => 2 * n + 1), carol: Array.from({ length: 200 }, (_, n) => 2 * n) })
  t.ok((await Promise.all(receipts)).every(({ status }) => status === 'delivered'))

  script.say('send bob hello')
  t.equal(await script.line(), 'delivered', 'to itself')
  script.say('receive 10')
  t.equal(await script.line(), "('', 'bob', 'hello')")
  script.say('receive 0')
  t.equal(await script.line(), 'TimeoutError')

  script.say('receive 0.5')
  await t.rejects(peer.request('bob', null), { code: 'REFUSED' }, 'it takes no requests')
  t.equal(await script.line(), 'TimeoutError')
  const left = once(peer, 'memberDown')
  script.say('close')
  t.match(await left, [{ identity: 'py-1', why: 'left' }])
  t.equal((await peer.sendMessage('bob', 'late')).status, 'absent')
})

/** Sends when something has come, and does not read that before: so both open a way to each other. */
const crossing = `
import sys
sys.path.insert(0, 'examples/python')
from homing_client import HomingClient
client = HomingClient(sys.argv[1], 'py-1')
client.connect('bob')
found = client._ask(op='find', addresses=['alice'])
client._ask = lambda **question: found
print('ready', flush=True)
client._link.poll(10)
print(client.send('alice', 'hello'), client.receive(), flush=True)
`

for (const [identity, whose] of [
  ['a-peer', "the peer's"],
  ['z-peer', "the script's"],
]) {
  t.test(`when both open a way at once, ${whose} stands, and messages go both ways`, options, async t => {
    const { url } = await cluster(t)
    const peer = await createPeer({ identity: identity!, broker: url })
    t.teardown(() => peer.close())
    const alice = await peer.connectClient('alice')
    const script = new Script(t, ['-c', crossing, url])
    t.equal(await script.line(), 'ready')
    t.equal((await peer.sendMessage('bob', 'hello')).status, 'delivered')
    t.equal(await script.line(), "delivered ('', 'bob', 'hello')")
    t.equal((await alice[Symbol.asyncIterator]().next()).value?.body, 'hello')
  })
}

t.test('what becomes of a message that the other side refuses', options, async t => {
  const { url, peer } = await cluster(t)
  const script = new Script(t, ['-c', library, url, 'py-1'])
  t.equal(await script.line(), 'ready')
  const alice = await peer.connectClient('alice', { request: () => 0 })
  const sent = 21 // 21 messages of 0.2 MiB are more than an inbox of 4 MiB
  t.ok(alice)
  script.say(`send alice ${'x'.repeat(200_000)}`)
  t.equal(await script.line(), 'delivered')
  for (let n = 1; n < sent; n++) script.say(`send alice ${'x'.repeat(200_000)}`)
  const statuses = []
  for (let n = 1; n < sent; n++) statuses.push(await script.line())
  t.equal(statuses.filter(status => status === 'delivered').length, 19)
  t.equal(statuses.at(-1), 'overloaded')
  const iterator = alice[Symbol.asyncIterator]()
  for (let n = 0; n < 20; n++) await iterator.next()
  script.say('send alice again')
  t.equal(await script.line(), 'delivered', 'there is room again')
})

t.test('a broker that dies is noticed, and its successor taken', options, async t => {
  const port = await freePort()
  const listen = `tcp://127.0.0.1:${port}`
  const broker = await createBroker({ identity: 'broker', listen, store: 'memory:' })
  const peer = await createPeer({ identity: 'server-1', broker: listen })
  t.teardown(() => peer.close())
  const script = new Script(t, ['-c', library, listen, 'py-1'])
  t.equal(await script.line(), 'ready')
  script.say('receive 20')
  await broker.close()
  t.equal(await script.line(), 'EOFError')
  await script.kill()

  const successor = await createBroker({ identity: 'broker', listen, store: 'memory:' })
  t.teardown(() => successor.close())
  const next = new Script(t, [example, listen, 'py-1', 'bob'])
  t.equal((await peer.sendMessage('bob', 'welcome back', { waitMs: 20_000, deadlineMs: 20_000 })).status, 'delivered')
  t.equal(await next.line(), ': welcome back')
})

async function freePort(): Promise<number> {
  const broker = await createBroker({ listen: 'tcp://127.0.0.1:0', store: 'memory:' })
  const [, port] = /:(\d+)$/.exec(broker.endpoints[0]!)!
  await broker.close()
  return Number(port)
}
