/** test/vectors/protocols.json: what peers and brokers say to each other by protocol, and that they say nothing else. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { readAnswer, readNews } from '../../lib/broker/directory-answers.ts'
import { readQuestion, type News, type Question } from '../../lib/broker/directory-protocol.ts'
import type { Peer } from '../../lib/index.ts'
import { simulateCluster } from '../../lib/testing/index.ts'
import { decodeBody, encodeBody } from '../../lib/wire/body.ts'
import { tap, type Heard } from '../support/tapped-network.ts'

const vectors = JSON.parse(readFileSync('test/vectors/protocols.json', 'utf8')) as {
  version: string
  calls: { protocol: string; asked: unknown; answered: unknown; askedHex: string; answeredHex: string }[]
  tells: { protocol: string; told: unknown; hex: string }[]
}

/** JSON has no bytes. */
function meant(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(meant)
  if ('$bytes' in value) return Buffer.from(value.$bytes as string, 'hex')
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, meant(item)]))
}

const read = (hex: string): unknown => decodeBody(Buffer.from(hex, 'hex'), 0, hex.length / 2)
const opOf = (body: unknown): string => String((body as { op?: string } | null)?.op ?? '')

t.test('hex is what the values say', async t => {
  t.equal(vectors.version, 'v1')
  const both = [
    ...vectors.calls.flatMap(({ asked, answered, askedHex, answeredHex }) => [
      [asked, askedHex] as const,
      [answered, answeredHex] as const,
    ]),
    ...vectors.tells.map(({ told, hex }) => [told, hex] as const),
  ]
  for (const [value, hex] of both) {
    t.equal(encodeBody(meant(value)).toString('hex'), hex)
    t.same(read(hex), meant(value), hex)
  }
})

// Written out so that the compiler misses none.
const questions = {
  join: 1,
  reassert: 1,
  claim: 1,
  release: 1,
  moving: 1,
  find: 1,
  wait: 1,
  sessions: 1,
  member: 1,
  members: 1,
  note: 1,
  update: 1,
  leave: 1,
} satisfies Record<Question['op'], 1>
const news = {
  displaced: 1,
  revalidate: 1,
  memberUp: 1,
  memberChanged: 1,
  memberDown: 1,
  untold: 1,
  store: 1,
  fenced: 1,
} satisfies Record<News['op'], 1>

t.test('every question and every piece of news has a vector, and each question is taken', async t => {
  const asked = vectors.calls.filter(({ protocol }) => protocol === 'directory/1')
  t.same([...new Set(asked.map(({ asked }) => opOf(asked)))].sort(), Object.keys(questions).sort())
  const told = vectors.tells.filter(({ protocol }) => protocol === 'directory/1')
  t.same([...new Set(told.map(({ told }) => opOf(told)))].sort(), Object.keys(news).sort())
  for (const { askedHex } of asked) t.ok(readQuestion(read(askedHex)))
  // Those of earlier brokers as well: a vector stays.
  for (const { askedHex, answeredHex } of asked) readAnswer(readQuestion(read(askedHex)), read(answeredHex))
  for (const { hex } of told) t.ok(readNews(read(hex)))
  for (const { askedHex } of asked) t.ok(readQuestion({ ...(read(askedHex) as object), later: { of: 1 } }), 'F21: and more keys')
})

/** The keys and kinds of values of a body, without the values themselves; lists are empty. */
function shapeOf(value: unknown, key = ''): string {
  if (value === null) return 'null'
  if (ArrayBuffer.isView(value)) return 'bytes'
  if (Array.isArray(value)) return '[]'
  // A place in a list is any; what became of something is said in words.
  if (typeof value !== 'object') return key === 'op' || (key === 'at' && typeof value === 'string') ? String(value) : typeof value
  if (key === 'metadata') return 'map'
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, item]) => `${key}: ${shapeOf(item, key)}`).join(', ')}}`
}

/** The shape of a body, and of each item of each list in it. */
function allShapes(value: unknown): string[] {
  return [shapeOf(value), ...itemsOf(value).flatMap(allShapes)]
}

function itemsOf(value: unknown): unknown[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return []
  if (Array.isArray(value)) return value
  return Object.entries(value).flatMap(([key, item]) => (key === 'metadata' ? [] : itemsOf(item)))
}

function shapesOf({ calls, tells }: Heard): Map<string, Set<string>> {
  const shapes = new Map<string, Set<string>>()
  const add = (name: string, body: unknown): void => {
    const known = shapes.get(name) ?? new Set<string>()
    for (const shape of allShapes(body)) known.add(shape)
    shapes.set(name, known)
  }
  for (const { protocol, asked, answered } of calls) {
    add(`${protocol} ${opOf(asked)} asked`, asked)
    add(`${protocol} ${opOf(asked)} answered`, answered)
  }
  for (const { protocol, told } of tells) add(`${protocol} ${opOf(told)} told`, told)
  return shapes
}

/** What cannot be brought about at will in a short world. */
const unprovoked = ['directory/1 note', 'directory/1 revalidate', 'directory/1 untold', 'directory/1 fenced', 'alive/1']

t.test('F21: peers and brokers say what the vectors say, and nothing else', async t => {
  const heard = await talk()
  const known = shapesOf({
    calls: vectors.calls.map(({ protocol, asked, answered }) => ({ protocol, asked: meant(asked), answered: meant(answered) })),
    tells: vectors.tells.map(({ protocol, told }) => ({ protocol, told: meant(told) })),
  })
  const said = shapesOf(heard)
  for (const [name, shapes] of said) for (const shape of shapes) t.ok(known.get(name)?.has(shape), `${name}: ${shape}`)
  for (const name of known.keys()) if (!unprovoked.some(no => name.startsWith(no))) t.ok(said.has(name), `${name} was said`)
})

/** A short life of a cluster, in both modes, in which nearly all is said once. */
async function talk(): Promise<Heard> {
  const all: Heard = { calls: [], tells: [] }
  for (const brokers of [[], ['hub']]) {
    await using cluster = await simulateCluster({ seed: 1 })
    const heard = tap(cluster)
    for (const name of brokers) await cluster.broker(name)
    const peers: Peer[] = []
    for (const name of ['a', 'b', 'c']) peers.push(await cluster.peer(name, { brokers }))
    const [a, b, c] = peers as [Peer, Peer, Peer]
    await cluster.run(4_000)
    const waiting = a.sendMessage('late', 1, { waitMs: 3_000 })
    await cluster.run(500)
    await cluster.settle(b.connectClients(['late', 'bob', 'ben']))
    await cluster.settle(waiting)
    await cluster.settle(a.sendMessage('nobody', 1, { waitMs: 200 }))
    await cluster.settle(a.sendMessage('bob', 'kept', { from: 'anna' }))
    await cluster.settle(c.connectClient('bob', () => {}))
    await cluster.settle(a.broadcast('all'))
    await cluster.settle(listed(a))
    await cluster.settle(c.disconnectClient('bob'))
    await cluster.settle(a.protocol('chat/1').announce({ hello: 1 }))
    await cluster.settle(
      a
        .protocol('chat/1')
        .call('nobody', 1)
        .catch(() => {}),
    )
    cluster.stall('b', 1_500) // it cannot be told, and hears of it through the datastore
    await cluster.settle(c.connectClient('ben', () => {}))
    await cluster.run(6_000)
    cluster.storeDown()
    await cluster.run(5_000)
    cluster.storeUp()
    await cluster.run(5_000)
    if (brokers.length > 0) cluster.reset('b', 'hub')
    await cluster.run(2_000)
    await cluster.settle(b.drain({ deadlineMs: 1_000 }))
    cluster.kill('c')
    await cluster.run(15_000)
    all.calls.push(...heard.calls)
    all.tells.push(...heard.tells)
  }
  return all
}

async function listed(peer: Peer): Promise<string[]> {
  const addresses: string[] = []
  for await (const { address } of peer.sessions()) addresses.push(address)
  return addresses
}
