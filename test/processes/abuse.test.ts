/** A broker and a peer on real sockets, and who does them harm: P25 to P29, P31 of the seed; F16, F24, F25 of the failure model. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { createBroker, createPeer, type Broker, type Peer } from '../../lib/index.ts'
import { realEnv } from '../../lib/env/real.ts'
import { Link, type CloseReason, type LinkHandler } from '../../lib/link/link.ts'
import { linkDefaults } from '../../lib/link/options.ts'
import { frameOf } from '../../lib/wire/frame.ts'
import { Child } from '../support/processes.ts'

interface World {
  broker: Broker
  one: Peer
  two: Peer
  /** What bob, a client of two, has got. */
  got: unknown[]
}

async function world(t: Test): Promise<World> {
  const broker = await createBroker({ identity: 'hub', store: 'memory:', listen: 'tcp://127.0.0.1:0' })
  t.teardown(() => broker.close())
  const [one, two] = await Promise.all(['one', 'two'].map(identity => createPeer({ identity, broker: broker.endpoints[0]! })))
  t.teardown(() => one!.close())
  t.teardown(() => two!.close())
  const got: unknown[] = []
  await two!.connectClient('bob', message => void got.push(message.body))
  return { broker, one: one!, two: two!, got }
}

async function dial(endpoint: string): Promise<Socket> {
  const { hostname, port } = new URL(endpoint)
  const socket = connect(Number(port), hostname)
  socket.on('error', () => {}) // a reset is one of the ways to be closed
  socket.resume()
  await once(socket, 'connect')
  return socket
}

const closed = (socket: Socket): Promise<unknown> => (socket.closed ? Promise.resolve() : once(socket, 'close'))

t.test('P28, F24, F25: garbage, or a frame of 4 GiB by claim, closes that connection and no other', async t => {
  const { broker, one, got } = await world(t)
  const before = process.memoryUsage.rss()
  const bad: string[] = []
  broker.on('badFrame', ({ error }) => void bad.push(error.code))
  for (const bytes of [
    Buffer.from('GET / HTTP/1.1\r\n\r\n'),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
    Buffer.alloc(5_000, 7),
    Buffer.from([0, 0, 0, 0]),
    Buffer.from([0, 0, 0, 2, 1, 0xc1]),
    Buffer.from([0, 0, 0, 1, 48]),
  ]) {
    const socket = await dial(broker.endpoints[0]!)
    socket.write(bytes)
    await closed(socket)
  }
  t.same(bad, Array(6).fill('BAD_FRAME'), 'each was told')
  t.equal((await one.sendMessage('bob', 'still here')).status, 'delivered')
  t.same(got, ['still here'])
  t.ok(process.memoryUsage.rss() - before < 64 * 2 ** 20)
})

/** A link that proves itself as a peer and then says what it likes. */
function intruder(endpoint: string, identity: string): { link: Promise<Link>; closed: Promise<CloseReason> } {
  let opened: (link: Link) => void
  let ended: (reason: CloseReason) => void
  const link = new Promise<Link>(resolve => (opened = resolve))
  const closed = new Promise<CloseReason>(resolve => (ended = resolve))
  const handler: LinkHandler = {
    opened: given => opened(given),
    frame: () => {},
    batch: () => {},
    closed: (_link, reason) => ended(reason),
  }
  const introduce = (): ReturnType<Parameters<typeof Link.dial>[1]['introduce']> => ({
    identity,
    incarnation: 'i',
    role: 'peer',
    capabilities: [],
  })
  Link.dial(
    realEnv(),
    { options: linkDefaults, cluster: 'homing', secrets: [], tls: undefined, introduce },
    endpoint,
    undefined,
    handler,
  )
  return { link, closed }
}

t.test('P25, P27: a frame of an unknown kind is answered by a close that says so; others are unaffected', async t => {
  const { broker, one } = await world(t)
  for (const frame of [
    frameOf(15, Buffer.from('?')),
    frameOf(99, Buffer.from([0, 0, 0])),
    frameOf(40, Buffer.from([0, 0, 0, 1, 2])),
  ]) {
    const { link, closed } = intruder(broker.endpoints[0]!, `intruder-${frame[4]}`)
    const bad = once(broker, 'badFrame')
    ;(await link).write(frame)
    t.equal(await closed, 'bad-frame')
    await bad
  }
  t.equal((await one.sendMessage('bob', 1)).status, 'delivered')
})

t.test('a peer speaks for itself only: a way in the name of another ends the link', async t => {
  const { broker, one } = await world(t)
  const { link, closed } = intruder(broker.endpoints[0]!, 'mallory')
  const { routeFrame } = await import('../../lib/wire/frame.ts')
  const run = { identity: 'two', incarnation: 'x' }
  ;(await link).write(routeFrame({ label: 1, pair: 1, from: { identity: 'one', incarnation: one.incarnation }, to: run }))
  t.equal(await closed, 'bad-frame')
})

t.test('P29: a peer that goes is told, and forgotten after its lease; its sessions read as absent', async t => {
  const times = { leaseMs: 900, renewEveryMs: 200, guardMs: 200 }
  await using broker = await createBroker({ identity: 'hub', store: 'memory:', listen: 'tcp://127.0.0.1:0', ...times })
  const child = new Child(t)
  await child.ask('peer', { identity: 'gone', broker: broker.endpoints[0]!, ...times })
  await child.ask('connect', 'alice')
  await using one = await createPeer({ identity: 'one', broker: broker.endpoints[0]!, ...times })
  t.equal((await one.sendMessage('alice', 1)).status, 'delivered')
  const [down, gone] = [once(broker, 'linkDown'), once(broker, 'peerGone')]
  await child.kill()
  const killedMs = performance.now()
  t.match(await down, [{ identity: 'gone' }])
  t.match(await gone, [{ identity: 'gone', why: 'lapsed' }])
  let status = ''
  while (status !== 'absent' && performance.now() - killedMs < 5_000) {
    status = (await one.sendMessage('alice', 2, { deadlineMs: 100 })).status
  }
  t.equal(status, 'absent')
  t.ok(performance.now() - killedMs <= times.leaseMs + 2_000)
})

t.test('P31, F16: a peer that does not read slows its own senders, within bounds, and nobody else', async t => {
  const { broker, one, got } = await world(t)
  const slow = new Child(t)
  await slow.ask('peer', { identity: 'slow', broker: broker.endpoints[0]! })
  await slow.ask('connect', 'sloth')
  t.equal((await one.sendMessage('sloth', 'awake')).status, 'delivered')

  const before = process.memoryUsage.rss()
  slow.process.kill('SIGSTOP')
  const body = Buffer.alloc(64 * 1024, 1)
  const receipts = Array.from({ length: 500 }, () => one.sendMessage('sloth', body, { deadlineMs: 1_500 }))
  const latencies: number[] = []
  for (let sent = 0; sent < 200; sent++) {
    const began = performance.now()
    t.equal((await one.sendMessage('bob', sent)).status, 'delivered')
    latencies.push(performance.now() - began)
  }
  t.equal(got.length, 200)
  const grown = process.memoryUsage.rss() - before
  t.ok(grown < 32 * 2 ** 20 + 64 * 2 ** 20, `500 bodies of 64 KiB wait in their sender alone: ${Math.round(grown / 2 ** 20)} MiB`)

  const statuses = new Map<string, number>()
  for (const { status } of await Promise.all(receipts)) statuses.set(status, (statuses.get(status) ?? 0) + 1)
  const accounted = (statuses.get('unknown') ?? 0) + (statuses.get('overloaded') ?? 0) + (statuses.get('unreachable') ?? 0)
  t.equal(accounted, 500, JSON.stringify([...statuses]))
  t.ok((statuses.get('unknown') ?? 0) * body.length <= 9 * 2 ** 20, 'no more than a window was on its way')
  slow.process.kill('SIGCONT')
})

t.test('F16: a long queue for a small inbox arrives whole, in order, and is not sent again and again', async t => {
  const store = 'memory:small'
  await using one = await createPeer({ identity: 'one', store })
  await using two = await createPeer({ identity: 'two', store, inboxBytesMax: 50_000 })
  const got: unknown[] = []
  await two.connectClient('slow', async message => {
    await new Promise(resolve => setImmediate(resolve))
    got.push(message.body)
  })
  const count = 2_000
  const receipts = await Promise.all(Array.from({ length: count }, (_, at) => one.sendMessage('slow', at)))
  t.ok(receipts.every(({ status }) => status === 'delivered'))
  while (got.length < count) await new Promise(resolve => setImmediate(resolve))
  t.ok(
    got.every((body, at) => body === at),
    'in order',
  )
  t.ok(two.stats.refused <= 2 * count, `${two.stats.refused} refusals for ${count} messages`)
})
