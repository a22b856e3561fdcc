import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Datastore, Merge } from '../../lib/datastores/datastore.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { riakDatastore } from '../../lib/datastores/riak.ts'
import { riakPlace } from '../../lib/datastores/riak-url.ts'
import { startRiakServer, type RiakServer, type RiakServerOptions } from '../support/riak-server.ts'
import { frame, Message } from '../support/riak-wire.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)
const options = { operationTimeoutMs: 5_000, cluster: 'test' }
const passing = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

async function listed(store: Datastore, prefix = ''): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys(prefix)) keys.push(key)
  return keys.sort()
}

/** A test on a cluster of its own. */
function testOn(name: string, given: RiakServerOptions, fn: (t: Test, server: RiakServer) => Promise<void>): void {
  t.test(name, async t => {
    await using server = await startRiakServer(given)
    await fn(t, server)
  })
}

/** A datastore that speaks to one node alone. */
function openAt(server: RiakServer, node: number, merge?: Merge): Promise<Datastore> {
  return openDatastore(`riak://127.0.0.1:${server.ports[node]}`, { ...options, ...(merge && { merge }) })
}

/** What a node holds of a key of the default bucket. */
const copyAt = (server: RiakServer, node: number, key: string) => server.replicas.copyOf(node, 'default/homing', Buffer.from(key))

/** Looks until it is so. */
async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let looks = 0; !(await holds()); looks++) {
    if (looks > 1_000) throw new Error(`in vain: ${what}`)
    await passing(2)
  }
}

// ---- two minds

testOn('what two wrote at once is merged by each reader alike, and by the next write for good', {}, async (t, server) => {
  await using one = await openAt(server, 0)
  await using other = await openAt(server, 1)
  const first = await one.put('a', bytes('first'))
  await until('a copy everywhere', () => [0, 1, 2].every(node => copyAt(server, node, 'a') !== undefined))
  for (const node of [0, 1, 2]) server.replicas.lag(node, 30)
  const versions = await Promise.all([
    one.put('a', bytes('one'), { ifVersion: first! }),
    other.put('a', bytes('other'), { ifVersion: first! }),
  ])
  t.ok(
    versions.every(version => typeof version === 'string'),
    'both are told that theirs held: this is what `atomicPut: false` says',
  )
  for (const node of [0, 1, 2]) server.replicas.lag(node, 0)
  await until('siblings everywhere', () => [0, 1, 2].every(node => copyAt(server, node, 'a')!.contents.length === 2))

  const [seen, seenToo] = [await one.get('a'), await other.get('a')]
  t.same(seen, seenToo)
  t.match(text(seen), /^(one|other)$/)
  t.same(await listed(one), ['a'], 'listed once')
  t.equal(await other.delete('a', { ifVersion: first! }), false)
  const loser = versions.find(version => version !== seen!.version)!
  t.equal(await one.put('a', bytes('x'), { ifVersion: loser }), undefined, 'who lost holds no version')
  t.type(await other.put('a', bytes('merged'), { ifVersion: seen!.version }), 'string')
  await until('one value everywhere', () => [0, 1, 2].every(node => copyAt(server, node, 'a')!.contents.length === 1))
  t.equal(text(await one.get('a')), 'merged')
})

testOn('a merge that is given decides, and what it makes has a version of its own', {}, async (t, server) => {
  const union: Merge = (_, a, b) => {
    const words = new Set([a, b].flatMap(each => text({ bytes: each })!.split(' ')))
    return bytes([...words].sort().join(' '))
  }
  const stores = await Promise.all([0, 1, 2].map(node => openAt(server, node, union)))
  for (const node of [0, 1, 2]) server.replicas.lag(node, 30)
  await Promise.all(stores.map((store, i) => store.put('a', bytes(['x', 'y', 'z'][i]!), { ifVersion: null })))
  for (const node of [0, 1, 2]) server.replicas.lag(node, 0)
  await until('all of it everywhere', async () =>
    (await Promise.all(stores.map(store => store.get('a')))).every(e => text(e) === 'x y z'),
  )
  const entries = await Promise.all(stores.map(store => store.get('a')))
  t.equal(new Set(entries.map(entry => entry!.version)).size, 1)
  t.type(await stores[0]!.put('a', bytes('w'), { ifVersion: entries[0]!.version }), 'string')
  t.equal(text(await stores[2]!.get('a')), 'w')
  for (const store of stores) await store[Symbol.asyncDispose]()
})

for (const [mode, deleteMode] of [
  ['for a while', 3_000],
  ['for ever', 'keep'],
  ['not at all', 'immediate'],
] as const) {
  testOn(`what is written while it is removed stays; tombstones kept ${mode}`, { deleteMode }, async (t, server) => {
    await using one = await openAt(server, 0)
    await using other = await openAt(server, 1)
    for (let round = 0; round < 20; round++) {
      const version = await one.put('a', bytes('old'))
      const [gone, written] = await Promise.all([
        one.delete('a', { ifVersion: version! }),
        other.put('a', bytes('new'), { ifVersion: version! }),
      ])
      t.ok(gone || written !== undefined)
      const entry = await other.get('a')
      t.equal(text(entry), written === undefined ? undefined : 'new')
      t.same(await one.get('a'), entry)
      t.equal(await one.delete('a'), true)
      t.equal(await other.get('a'), undefined)
      t.type(await other.put('a', bytes('again'), { ifVersion: null }), 'string', 'over what is left of a removal')
      t.equal(text(await one.get('a')), 'again')
    }
  })
}

testOn('what is written knowingly over something is later than it, whatever the clocks say', {}, async (t, server) => {
  const hour = 3_600_000
  const place = riakPlace(server.url)
  const open = (aheadMs: number) =>
    riakDatastore({ ...place, operationTimeoutMs: 5_000, warn: () => {}, merge: undefined, nowMs: () => Date.now() + aheadMs })
  const stores = [await open(hour), await open(0), await open(-hour)]
  const timeOf = (key: string) => {
    const meta = copyAt(server, 0, key)!.contents[0]!.userMeta[0]!.toString()
    return Number.parseInt(/homing\W+([0-9a-z]+)\./.exec(meta)![1]!, 36)
  }
  let before = 0
  for (let i = 0; i < 9; i++) {
    const store = stores[i % 3]!
    const known = await store.get('a')
    if (i % 2) await store.put('a', bytes(`${i}`))
    else t.type(await store.put('a', bytes(`${i}`), { ifVersion: known?.version ?? null }), 'string')
    await until('the copy', async () => copyAt(server, 0, 'a')?.contents[0]?.value.toString() === `${i}`)
    t.ok(timeOf('a') > before)
    before = timeOf('a')
  }
  for (const store of stores) await store[Symbol.asyncDispose]()
})

// ---- copies

testOn('what is acknowledged is read at each node, although one hears of it late', {}, async (t, server) => {
  const stores = await Promise.all([0, 1, 2].map(node => openAt(server, node)))
  for (const late of [0, 1, 2]) {
    server.replicas.lag(late, 40)
    for (let i = 0; i < 10; i++) {
      const version = await stores[i % 3]!.put('a', bytes(`${i}`))
      for (const store of stores) t.equal((await store.get('a'))?.version, version)
    }
    server.replicas.lag(late, 0)
  }
  for (const store of stores) await store[Symbol.asyncDispose]()
})

testOn('a node that was away is told what it missed', {}, async (t, server) => {
  await using store = await openDatastore(server.url, options)
  await store.put('old', bytes('1'))
  await server.kill(2)
  await store.put('new', bytes('1'))
  await store.delete('old')
  await server.restart(2)
  await using late = await openAt(server, 2)
  t.equal(text(await late.get('new')), '1')
  t.equal(await late.get('old'), undefined)
})

testOn('siblings of a partition are one entry when it is over', {}, async (t, server) => {
  await using one = await openAt(server, 0)
  await using other = await openAt(server, 2)
  const version = await one.put('a', bytes('0'))
  await until('a copy everywhere', () => [0, 1, 2].every(node => copyAt(server, node, 'a') !== undefined))
  server.replicas.partition([[0], [1, 2]])
  const mine = await one.put('a', bytes('one'), { ifVersion: version! })
  await passing(5)
  const theirs = await other.put('a', bytes('other'), { ifVersion: version! })
  t.ok(mine && theirs)
  await one.put('only here', bytes('1'))
  server.replicas.heal()
  await until('the same everywhere', async () => text(await one.get('a')) === 'other' && text(await other.get('a')) === 'other')
  t.same(await one.get('a'), await other.get('a'))
  await until('what only one side had', async () => text(await other.get('only here')) === '1')
  t.equal(await one.delete('a', { ifVersion: (await other.get('a'))!.version }), true)
  t.equal(await other.get('a'), undefined)
})

// ---- forgetting, and listing

testOn('what is forgotten is removed by the way, by whoever reads or lists it', {}, async (t, server) => {
  await using store = await openDatastore(server.url, options)
  await store.putMany(['read', 'listed', 'claimed'].map(key => ({ key, bytes: bytes('1'), ttlMs: 30 })))
  await store.put('kept', bytes('1'))
  await passing(40)
  t.ok(copyAt(server, 0, 'read') && copyAt(server, 0, 'listed'))
  t.equal(await store.get('read'), undefined)
  t.same(await listed(store), ['kept'])
  const isGone = (key: string) => copyAt(server, 0, key)?.contents.every(({ deleted }) => deleted) ?? true
  await until('both are removed', () => isGone('read') && isGone('listed'))
  t.type(await store.put('claimed', bytes('2'), { ifVersion: null }), 'string')
  t.equal(text(await store.get('claimed')), '2')
})

testOn('a listing has what this process wrote and removed a moment ago, although one copy is behind', {}, async (t, server) => {
  for (const late of [0, 1, 2]) {
    await using store = await openDatastore(server.url, options)
    server.replicas.lag(late, 60)
    for (let i = 0; i < 6; i++) {
      await store.put('a', bytes('1'))
      t.same(await listed(store), ['a'])
      await store.put('b', bytes('1'), { ttlMs: 5 })
      await passing(6)
      t.same(await listed(store), ['a'])
      await store.delete('a')
      t.same(await listed(store), [])
    }
    server.replicas.lag(late, 0)
  }
})

testOn(
  'without indexes, listings walk through all keys, and it is said at the start',
  { backend: 'bitcask' },
  async (t, server) => {
    const told: string[] = []
    await using store = await openDatastore(server.url, { ...options, warn: told.push.bind(told) })
    t.match(told, [/no secondary indexes/])
    const keys = Array.from({ length: 700 }, (_, i) => `l/${i}`)
    await store.putMany(
      [...keys, 'm', 'short'].map(key => ({ key, bytes: bytes('1'), ...(key === 'short' ? { ttlMs: 20 } : {}) })),
    )
    await store.deleteMany(keys.slice(0, 300).map(key => ({ key })))
    await passing(30)
    t.same(await listed(store, 'l/'), keys.slice(300).sort())
    t.same((await listed(store)).length, 401)
  },
)

testOn('a listing that a node dies in goes on with another one', {}, async (t, server) => {
  await using store = await openDatastore(server.url, options)
  const keys = Array.from({ length: 3_500 }, (_, i) => `l/${i}`)
  for (let from = 0; from < keys.length; from += 250) {
    await store.putMany(keys.slice(from, from + 250).map(key => ({ key, bytes: bytes('1') })))
  }
  const found: string[] = []
  for await (const key of store.keys('l/')) if (found.push(key) === 1_000) await server.kill(1)
  t.same(found.sort(), keys.sort())
})

// ---- nodes that are away

testOn('one node dies: calls go on, and nothing of what was acknowledged is lost', {}, async (t, server) => {
  await using store = await openDatastore(server.url, options)
  const written = new Map<string, string>()
  const outcomes = { done: 0, unknown: 0 }
  let writing = true
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    for (let i = 0; writing; i++) {
      try {
        await store.put(`${writer}/${i % 20}`, bytes(`${i}`))
        written.set(`${writer}/${i % 20}`, `${i}`)
        outcomes.done++
      } catch (error) {
        t.match(error, { code: 'DATASTORE', outcome: 'unknown' }, 'what never left goes to another node')
        written.delete(`${writer}/${i % 20}`)
        outcomes.unknown++
      }
    }
  })
  const reading = async () => {
    while (writing) await store.getMany(['0/1', '1/1', '2/1'])
  }
  const reader = reading()
  for (const node of [0, 1, 2]) {
    await passing(60)
    await server.kill(node)
    await passing(120)
    await server.restart(node)
    await passing(120)
  }
  writing = false
  await Promise.all(writers)
  await reader // no read has failed
  t.comment(`${outcomes.done} written, ${outcomes.unknown} unknown`)
  t.ok(outcomes.done > 50)
  t.ok(outcomes.unknown <= 3 * 8, 'one for each writer and each death at most')
  const entries = await store.getMany([...written.keys()])
  t.same(entries.map(text), [...written.values()])
})

testOn('a node that stands still costs a read half its time once, and is then left alone', {}, async (t, server) => {
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 800 })
  await store.putMany(Array.from({ length: 30 }, (_, i) => ({ key: `${i}`, bytes: bytes('1') })))
  server.stall(1)
  const begun = performance.now()
  const entries = await Promise.all(Array.from({ length: 30 }, (_, i) => store.get(`${i}`)))
  t.ok(entries.every(Boolean))
  t.ok(performance.now() - begun < 800)
  await until('it is known to be down', async () => {
    const since = performance.now()
    await Promise.all(Array.from({ length: 6 }, (_, i) => store.put(`${i}`, bytes('2')).catch(() => {})))
    return performance.now() - since < 300
  })
  for (let i = 0; i < 30; i++) t.type(await store.put(`${i}`, bytes('3')), 'string')
  server.resume(1)
  await until('it is used again', () => server.connections[1]! > 0)
})

testOn(
  'a datastore of one node: it is away, and calls fail at once; it is back, and they do not',
  { nodes: 1 },
  async (t, server) => {
    await using store = await openDatastore(server.url, options)
    await store.put('a', bytes('1'))
    await server.kill(0)
    await t.rejects(store.get('a'), { code: 'DATASTORE', retryable: true })
    const since = performance.now()
    for (let i = 0; i < 10; i++)
      await t.rejects(store.put('a', bytes('2')), { code: 'DATASTORE', outcome: 'not-delivered', message: /does not answer/ })
    t.ok(performance.now() - since < 1_000)
    await server.restart(0)
    await until('it answers', () => store.get('a').then(Boolean, () => false))
    t.equal(text(await store.get('a')), '1')
  },
)

testOn('however much is asked at once, a node has few connections', {}, async (t, server) => {
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 20_000 })
  const gets = Promise.all(Array.from({ length: 5_000 }, (_, i) => store.get(`${i}`)))
  await until('connections are made', () => server.connections.every(count => count > 10))
  t.ok(
    server.connections.every(count => count <= 25),
    server.connections.join(' '),
  )
  await gets
})

// ---- opening

testOn('the bucket: siblings are asked for where nobody decided, at all nodes', { gossipMs: 60 }, async (t, server) => {
  t.equal(server.replicas.propsOf(0, 'default', 'homing').allowMult, false)
  await using store = await openDatastore(server.url, options)
  t.same(
    [0, 1, 2].map(node => server.replicas.propsOf(node, 'default', 'homing').allowMult),
    [true, true, true],
  )
  t.equal(server.replicas.propsOf(0, 'default', 'another').allowMult, false, 'others keep theirs')
  await store.put('a', bytes('1'))
  await using elsewhere = await openDatastore(`${server.url}?bucket=another`, options)
  t.equal(await elsewhere.get('a'), undefined)
})

const types = {
  good: {},
  'last one': { allowMult: false },
  wins: { lastWriteWins: true },
  strong: { consistent: true },
  thin: { r: 'one', w: 1 },
} as const

testOn('the bucket type: refused with the command that makes one, and warned of', { types }, async (t, server) => {
  const told: string[] = []
  const open = (type: string) =>
    openDatastore(`${server.url}?bucketType=${encodeURIComponent(type)}`, { ...options, warn: text => told.push(text) })
  await using store = await open('good')
  await store.put('a', bytes('1'))
  t.equal(text(await store.get('a')), '1')
  t.same(told, [])
  const refused = (why: RegExp) => ({ code: 'BAD_OPTION', message: why })
  await t.rejects(open('last one'), refused(/'last one' does not keep siblings.*riak-admin bucket-type create/))
  await t.rejects(open('wins'), refused(/does not keep siblings/))
  await t.rejects(open('strong'), refused(/strongly consistent/))
  await t.rejects(open('none'), refused(/'none' does not exist.*bucket-type activate none/))
  t.same(told, [])
  await using thin = await open('thin')
  t.ok(thin)
  t.match(told, [/n_val 3, r 1 and w 1 a read may miss/])
})

t.test('who is no Riak is told apart, in time, and nothing of it stays', async t => {
  const answers: [string, (socket: Socket) => void, RegExp][] = [
    ['another protocol', socket => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'), /cannot be read/],
    ['an answer of another kind', socket => socket.once('data', () => socket.write(frame(10))), /cannot be read/],
    ['an unknown code', socket => socket.once('data', () => socket.write(frame(200, Buffer.from('x')))), /cannot be read/],
    ['a body that is none', socket => socket.once('data', () => socket.write(frame(0, Buffer.from('xyz')))), /cannot be read/],
    ['a length that is none', socket => socket.once('data', () => socket.write(Buffer.alloc(8))), /cannot be read/],
    ['the end', socket => socket.end(), /closed/],
    ['silence', () => {}, /no answer within/],
  ]
  for (const [name, answer, why] of answers) {
    const sockets = new Set<Socket>()
    const server = createServer(socket => {
      sockets.add(socket)
      socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
      answer(socket)
      socket.resume() // or it would not see its end
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const since = performance.now()
    const url = `riak://127.0.0.1:${(server.address() as AddressInfo).port}`
    const refused = { code: 'DATASTORE', message: why }
    await t.rejects(openDatastore(url, { ...options, operationTimeoutMs: 300 }), refused, name)
    t.ok(performance.now() - since < 1_000)
    await until('its connections are closed', () => sockets.size === 0)
    server.close()
  }
  await t.rejects(openDatastore('riak://127.0.0.1:1', options), { code: 'DATASTORE', message: /127\.0\.0\.1:1.*ECONNREFUSED/ })
})

testOn('a key that somebody else wrote is an error for its reader', {}, async (t, server) => {
  await using store = await openDatastore(server.url, options)
  const socket = createConnection(server.ports[0]!, '127.0.0.1')
  const content = new Message().bytes(1, 'not ours').encoded()
  socket.write(frame(11, new Message().bytes(1, 'homing').bytes(2, 'theirs').bytes(4, content).encoded()))
  await once(socket, 'data')
  socket.destroy()
  await t.rejects(store.get('theirs'), { code: 'DATASTORE', message: /did not write/ })
  await t.rejects(store.put('theirs', bytes('1')), { code: 'DATASTORE', outcome: 'not-delivered' })
  t.same(await listed(store), [], 'and not listed')
})

t.test('nothing is printed, and after closing nothing keeps the process, whichever nodes are there', async t => {
  for (const away of ['none', 'one, before', 'one, later', 'all, later', 'all, before'] as const) {
    await using server = await startRiakServer()
    if (away === 'one, before') await server.kill(0)
    if (away === 'all, before') for (const node of [0, 1, 2]) await server.kill(node)
    const child = fork(fileURLToPath(new URL('./riak-user.js', import.meta.url)), [server.url], {
      execArgv: ['--unhandled-rejections=strict'],
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    let printed = ''
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', chunk => (printed += String(chunk)))
    const ended = once(child, 'exit')
    const [said] = (await once(child, 'message')) as [string]
    t.equal(said, away === 'all, before' ? 'DATASTORE' : 'ready')
    if (away === 'one, later') await server.kill(1)
    if (away === 'all, later') for (const node of [0, 1, 2]) await server.kill(node)
    if (said === 'ready') child.send('close')
    t.equal((await ended)[0], 0, away)
    t.equal(printed, '')
  }
})

testOn('a process that is closed while a node stands still ends in time', {}, async (t, server) => {
  server.stall(2)
  const child = fork(fileURLToPath(new URL('./riak-user.js', import.meta.url)), [server.url])
  const ended = once(child, 'exit')
  await once(child, 'message')
  const since = performance.now()
  child.send('close')
  t.equal((await ended)[0], 0)
  t.ok(performance.now() - since < 2_000)
})
