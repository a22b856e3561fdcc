import { once } from 'node:events'
import { fork } from 'node:child_process'
import { type AddressInfo, createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import zookeeper, { type Client, type Exception } from 'node-zookeeper-client'
import t, { type Test } from 'tap'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import { placeOf } from '../../lib/datastores/folders.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { nameOf, readMarkName, textOf } from '../../lib/datastores/zookeeper-tree.ts'
import type { HomingError } from '../../lib/errors.ts'
import { standStill } from '../support/stopped.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { startZooKeeper, zooKeeperMissing } from '../support/zookeeper-server.ts'
import { answered, claimsAtOnce, endsByItself } from './every-server.ts'

const missing = zooKeeperMissing()
const options = { operationTimeoutMs: 2_000, cluster: 'test' }
const valueBytesMax = 1_040_383
const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)
const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

if (missing) t.test('ZooKeeper', { skip: missing }, async () => {})

/** A test that needs a server of its own. */
const testOwn = (name: string, fn: (t: Test) => Promise<void>) => !missing && t.test(name, fn)

/** What becomes true on the way of a watch or a session; fails after 10 s. */
async function until(t: Test, what: string, holds: () => Promise<boolean> | boolean): Promise<number> {
  const sinceMs = performance.now()
  while (!(await holds())) {
    if (performance.now() - sinceMs > 10_000) {
      t.fail(`not within 10 s: ${what}`)
      break
    }
    await pass(5)
  }
  return performance.now() - sinceMs
}

async function listed(store: Datastore, prefix = ''): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys(prefix)) keys.push(key)
  return keys.sort()
}

/** Somebody else at the same server: its own tools, another program. */
async function stranger(t: Test, port: number): Promise<Client> {
  const client = zookeeper.createClient(`127.0.0.1:${port}`, { sessionTimeout: 4_000, spinDelay: 50, retries: 0 })
  const connected = once(client, 'connected')
  client.connect()
  await connected
  t.teardown(() => client.close())
  return client
}

function asked<T>(ask: (answer: (error: Exception | null, value: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => ask((error, value) => (error ? reject(error) : resolve(value))))
}

t.test('every key is a name of a node, and no two keys are the same', async t => {
  const keys = [
    '',
    '%',
    '.',
    '..',
    '/',
    'a/b',
    'a.b',
    'a:b',
    'ł ó\0\n',
    '👩‍👩‍👧',
    '%2F',
    "-_!~*'()",
    'homing:c:peers:',
    'homing:c:peers:a:b/c',
  ]
  for (const key of keys) {
    t.match(nameOf(key), /^[\w:%!~*'()-]+$/)
    t.equal(textOf(nameOf(key)), key)
    t.same(readMarkName(`${nameOf(key)}.e123`), { leaf: key, mark: 'e123' })
  }
  t.equal(new Set(keys.map(nameOf)).size, keys.length)
  t.same(placeOf('homing:c:peers:a:b'), { folder: 'homing:c:peers:', leaf: 'a:b' })
  t.same(placeOf('homing:c'), { folder: '', leaf: 'homing:c' })
  for (const odd of ['', 'a.b', 'a/b', '%zz', '%', '%FF', 'ł'].filter(name => name !== '%')) t.equal(textOf(odd), undefined, odd)
  for (const odd of ['a', '.', 'ł.e']) t.equal(readMarkName(odd), undefined, odd)
})

testOwn('the largest value fits at the longest place; one byte more is TOO_LARGE and costs nobody the connection', async t => {
  await using server = await startZooKeeper()
  const root = `/${'r'.repeat(255)}/${'s'.repeat(255)}`
  await using store = await openDatastore(`zookeeper://127.0.0.1:${server.port}${root}`, options)
  const key = `${'a'.repeat(3)}:${'ł'.repeat(36)}:b:`.padEnd(80, 'c') + 'ó'.repeat(59)
  for (const ttl of [{}, { ttlMs: 60_000 }]) {
    await store.delete(key)
    const version = await store.put(key, new Uint8Array(valueBytesMax), { ifVersion: null, ...ttl })
    t.type(await store.put(key, new Uint8Array(valueBytesMax).fill(1), { ifVersion: version! }), 'string')
    t.equal((await store.get(key))?.bytes.at(-1), 1)
  }
  const beside = store.put('beside', bytes('1'))
  await t.rejects(store.put(key, new Uint8Array(valueBytesMax + 1)), {
    name: 'HomingError',
    code: 'TOO_LARGE',
    outcome: 'not-delivered',
  })
  t.type(await beside, 'string')
  await t.rejects(
    store.putMany([
      { key: 'x', bytes: bytes('1') },
      { key: 'y', bytes: new Uint8Array(2 ** 21) },
    ]),
    { code: 'TOO_LARGE' },
  )
  t.equal(await store.get('x'), undefined, 'nothing of the batch is written')
})

testOwn("a condition does not hold for a later life of the key, though ZooKeeper's own count is the same", async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, options)
  await using other = await openDatastore(server.url, options)
  for (const overwrites of [0, 1, 3]) {
    for (const ttl of [{}, { ttlMs: 60_000 }]) {
      const life = async (by: Datastore, value: string): Promise<string> => {
        let version = (await by.put('a', bytes(value), { ifVersion: null, ...ttl }))!
        for (let i = 0; i < overwrites; i++) version = (await by.put('a', bytes(value), { ifVersion: version, ...ttl }))!
        return version
      }
      const first = await life(store, 'first')
      await other.delete('a')
      const second = await life(other, 'second')
      t.equal(first.split('.')[1], second.split('.')[1], 'the same count')
      t.equal(await store.put('a', bytes('third'), { ifVersion: first }), undefined)
      t.equal(await store.delete('a', { ifVersion: first }), false)
      t.match(await store.get('a'), { version: second, bytes: bytes('second') })
      t.equal(await store.delete('a', { ifVersion: second }), true)
    }
  }
  const client = await stranger(t, server.port)
  for (const kind of ['entries', 'marks'])
    t.same(
      await asked<string[]>(answer => client.getChildren(`/test/%/${kind}`, undefined, answer)),
      [],
      `nothing is left in ${kind}`,
    )
})

testOwn('peers are listed without the sessions, and an entry without what others put there', async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, options)
  await store.putMany(
    ['homing:c:peers:a', 'homing:c:sessions:x', 'homing:c:sessions:y:z', 'homing:d:peers:a', 'loose'].map(key => ({
      key,
      bytes: bytes(key),
    })),
  )
  const client = await stranger(t, server.port)
  const folder = `/test/${nameOf('homing:c:peers:')}`
  t.same(await asked<string[]>(answer => client.getChildren(`${folder}/entries`, undefined, answer)), ['a'])
  t.same(await listed(store, 'homing:c:sessions:y'), ['homing:c:sessions:y:z'])
  t.same(await listed(store, 'homing:c'), ['homing:c:peers:a', 'homing:c:sessions:x', 'homing:c:sessions:y:z'])
  t.same(await listed(store, 'homing:c:peers:b'), [])
  t.same(await listed(store, 'nothing:is:there:'), [])
  t.equal((await listed(store)).length, 5)

  const open = zookeeper.ACL.OPEN_ACL_UNSAFE
  for (const path of [`${folder}/entries/short`, `${folder}/marks/no-point`, '/test/%zz'])
    await asked<string>(answer => client.create(path, Buffer.from('x'), open, 0, answer))
  t.same(await listed(store, 'homing:c:peers:'), ['homing:c:peers:a'])
  await t.rejects(store.get('homing:c:peers:short'), { code: 'DATASTORE', message: /did not write/ })
  t.equal(await store.put('homing:c:peers:short', bytes('1'), { ifVersion: 'e'.repeat(24) + '.0' }), undefined)
  t.equal(text(await store.get('homing:c:peers:a')), 'homing:c:peers:a', 'the connection is not the worse for it')
})

testOwn('what has lapsed is removed when somebody meets it', async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, options)
  await store.putMany(['a', 'b'].map(key => ({ key: `k:k:k:${key}`, bytes: bytes('1'), ttlMs: 20 })))
  const client = await stranger(t, server.port)
  const left = (): Promise<string[]> => asked(answer => client.getChildren('/test/k:k:k:/entries', undefined, answer))
  t.equal((await left()).length, 2)
  await pass(40)
  t.same(await listed(store, 'k:k:k:'), [])
  await until(t, 'they are removed', async () => (await left()).length === 0)
})

testOwn('goes on by itself when the server was killed and is back, with all that was acknowledged', async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, options)
  const kept = await store.put('kept', bytes('1'))
  for (let round = 0; round < 2; round++) {
    const dying = Array.from({ length: 50 }, (_, i) => store.put(`dying/${round}/${i}`, bytes('x'), { ifVersion: null }))
    const outcomes = Promise.allSettled(dying)
    await server.kill()
    const told = await outcomes
    const since = performance.now()
    await t.rejects(store.get('a'), { name: 'HomingError', code: 'DATASTORE', retryable: true })
    await t.rejects(store.put('a', bytes('2')), { code: 'DATASTORE', outcome: 'not-delivered' })
    await t.rejects(store.putMany(['a', 'b'].map(key => ({ key, bytes: bytes('2') }))), { code: 'DATASTORE' })
    await t.rejects(store.deleteMany([{ key: 'a' }]), { code: 'DATASTORE' })
    await t.rejects(listed(store), { code: 'DATASTORE' })
    t.ok(performance.now() - since < 500, 'while it is away, calls fail at once')
    await server.restart()
    const back = performance.now()
    t.equal((await answered(t, () => store.get('kept')))?.version, kept)
    t.ok(performance.now() - back < 2_000, 'back within 2 s')
    for (const [i, outcome] of told.entries()) {
      const entry = await store.get(`dying/${round}/${i}`)
      if (outcome.status === 'fulfilled') t.equal(entry?.version, outcome.value)
      else {
        const { code, outcome: known } = outcome.reason as HomingError
        t.equal(code, 'DATASTORE')
        if (known === 'not-delivered') t.equal(entry, undefined)
      }
    }
  }
})

testOwn('a server that has lost everything is used again once the session is over', async t => {
  await using server = await startZooKeeper()
  const operationTimeoutMs = 600
  const sessionMs = 4 * operationTimeoutMs
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs })
  let losses = 0
  store.onLoss!(() => losses++)
  for (let i = 0; i < 100; i++) await store.put(`a/${i}`, bytes('1'))
  await server.kill()
  await server.restart()
  t.equal(text(await answered(t, () => store.get('a/1'))), '1')
  t.equal(losses, 0)
  await server.kill()
  await server.restart('empty')
  const back = performance.now()
  t.equal(await answered(t, () => store.get('a/1')), undefined)
  t.equal(losses, 1, 'told before it was read')
  t.ok(performance.now() - back < sessionMs + 2_000, 'F5: within 2 s, once it is over')
  t.type(await store.put('a/1', bytes('2'), { ifVersion: null }), 'string')
})

testOwn('a server that stands still is DATASTORE in time, with an unknown outcome for writes', async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 600 })
  await store.put('a', bytes('1'))
  await standStill(server.pid)
  const since = performance.now()
  await Promise.all([
    t.rejects(store.get('a'), { code: 'DATASTORE' }),
    t.rejects(store.put('a', bytes('2'), { ifVersion: null }), { code: 'DATASTORE', outcome: 'unknown' }),
    t.rejects(store.delete('b'), { code: 'DATASTORE', outcome: 'unknown' }),
    t.rejects(store.putMany(Array.from({ length: 3_000 }, (_, i) => ({ key: `k${i}`, bytes: bytes('2') }))), {
      code: 'DATASTORE',
      outcome: 'unknown',
    }),
    t.rejects(listed(store), { code: 'DATASTORE' }),
  ])
  const tookMs = performance.now() - since
  t.ok(tookMs >= 590 && tookMs < 1_000, `${tookMs} ms`)
  process.kill(server.pid, 'SIGCONT')
  t.match(await answered(t, () => store.get('a')), { version: String })
})

testOwn('a connection that went silent is given up and replaced, with or without calls on it', async t => {
  await using server = await startZooKeeper()
  await using proxy = await startTcpProxy(server.port)
  await using store = await openDatastore(`zookeeper://127.0.0.1:${proxy.port}/test`, { ...options, operationTimeoutMs: 600 })
  await store.put('a', bytes('1'))
  proxy.swallow()
  await t.rejects(store.get('a'), { code: 'DATASTORE' })
  t.equal(text(await answered(t, () => store.get('a'))), '1')
  t.equal(proxy.connections, 2)
  proxy.swallow()
  await until(t, 'a third connection', () => proxy.connections === 3)
  t.equal(text(await answered(t, () => store.get('a'))), '1')
})

testOwn('a session that has expired is followed by a new one, and what it showed is shown again', async t => {
  await using server = await startZooKeeper()
  await using proxy = await startTcpProxy(server.port)
  await using store = await openDatastore(`zookeeper://127.0.0.1:${proxy.port}/test`, { ...options, operationTimeoutMs: 500 })
  await using other = await openDatastore(server.url, options)
  await using sign = store.presence!.show('homing:c:signs:a')
  t.ok(sign)
  await until(t, 'it is shown', async () => (await other.get('homing:c:signs:a')) !== undefined)
  const first = (await other.get('homing:c:signs:a'))!.version
  let changes = 0
  await using watch = other.presence!.watch('homing:c:signs:', () => changes++)
  t.ok(watch)
  await until(t, 'it is watched', () => changes === 1)
  // The server hears nothing more, and lets the session go before its client would have given it up.
  proxy.mute(true)
  proxy.swallow()
  await until(t, 'the server has expired it', async () => (await other.get('homing:c:signs:a')) === undefined)
  t.ok(changes >= 1)
  proxy.mute(false)
  t.equal(await answered(t, () => store.get('b')), undefined, 'the store was not opened again')
  await until(t, 'it is shown again', async () => (await other.get('homing:c:signs:a')) !== undefined)
  t.not((await other.get('homing:c:signs:a'))!.version, first)
  await until(t, 'all of that was told', () => changes >= 3)
})

testOwn('presence: comings and goings are told, writings are not; a sign that others remove is put back', async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, options)
  await using other = await openDatastore(server.url, options)
  t.throws(() => store.presence!.watch('homing:c:peers:a', () => {}), { code: 'BAD_OPTION' })
  t.throws(() => store.presence!.show(''), { code: 'BAD_OPTION' })

  let changes = 0
  const watch = store.presence!.watch('homing:c:peers:', () => changes++)
  await until(t, 'the first call: what was there may have changed', () => changes === 1)
  const version = await other.put('homing:c:peers:a', bytes('1'))
  await until(t, 'it came', () => changes === 2)
  await other.put('homing:c:peers:a', bytes('2'), { ifVersion: version! })
  await other.put('homing:c:peers:a', bytes('3'), { ttlMs: 60_000 })
  await other.put('homing:c:sessions:a', bytes('1'))
  await other.delete('homing:c:peers:a')
  await until(t, 'it went', () => changes === 3)
  await watch[Symbol.asyncDispose]()
  await other.put('homing:c:peers:b', bytes('1'))
  t.equal(await store.get('homing:c:peers:a'), undefined)
  t.equal(changes, 3, 'nothing for writings, other kinds, or after the end')

  const sign = store.presence!.show('homing:c:signs:a')
  await until(t, 'shown', async () => (await listed(other, 'homing:c:signs:')).length === 1)
  t.match(await other.get('homing:c:signs:a'), { bytes: new Uint8Array(0) })
  t.equal(await other.delete('homing:c:signs:a'), true)
  await until(t, 'put back', async () => (await listed(other, 'homing:c:signs:')).length === 1)
  await sign[Symbol.asyncDispose]()
  t.same(await listed(other, 'homing:c:signs:'), [])
})

testOwn('a sign goes with its process: soon after kill -9, at once when the datastore is closed', async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, options)
  for (const how of ['kill', 'close']) {
    const child = fork(fileURLToPath(new URL('./datastore-user.js', import.meta.url)), [server.url, `k:k:k:${how}`])
    t.teardown(() => child.kill('SIGKILL'))
    await once(child, 'message')
    await until(t, 'shown', async () => (await store.get(`k:k:k:${how}`)) !== undefined)
    const ended = once(child, 'exit')
    if (how === 'kill') child.kill('SIGKILL')
    else child.send('close')
    const tookMs = await until(t, 'gone', async () => (await store.get(`k:k:k:${how}`)) === undefined)
    // A session of four operations' time, and the server looks each tick.
    t.ok(how === 'close' || tookMs < 4 * 500 + 2 * 200 + 500, `${how}: ${tookMs} ms`)
    await ended
  }
})

testOwn('of several servers, those that answer are used', async t => {
  await using server = await startZooKeeper()
  const mute = createServer().listen(0, '127.0.0.1')
  await once(mute, 'listening')
  const dead = `127.0.0.1:${(mute.address() as AddressInfo).port}`
  mute.close()
  await once(mute, 'close')
  for (let i = 0; i < 5; i++) {
    await using store = await openDatastore(`zookeeper://${dead},127.0.0.1:${server.port},${dead}/test`, options)
    t.type(await store.put('a', bytes('1')), 'string')
  }
})

t.test('opening fails with DATASTORE in time when nobody answers, or somebody who is no ZooKeeper', async t => {
  for (const says of ['', 'HTTP/1.1 400 Bad Request\r\n\r\n', '\0\0\0\x08\xff\xff\xff\xff', '\0\0\0\x25' + 'x'.repeat(200)]) {
    const odd = createServer(socket => {
      socket.on('error', () => socket.destroy()).resume()
      socket.write(Buffer.from(says, 'latin1'))
      t.teardown(() => socket.destroy())
    }).listen(0, '127.0.0.1')
    await once(odd, 'listening')
    const since = performance.now()
    const url = `zookeeper://127.0.0.1:${(odd.address() as AddressInfo).port}`
    await t.rejects(openDatastore(url, { ...options, operationTimeoutMs: 200 }), { name: 'HomingError', code: 'DATASTORE' })
    t.ok(performance.now() - since < 700)
    odd.close()
  }
  const gone = createServer().listen(0, '127.0.0.1')
  await once(gone, 'listening')
  const { port } = gone.address() as AddressInfo
  gone.close()
  await once(gone, 'close')
  await t.rejects(openDatastore(`zookeeper://127.0.0.1:${port}`, options), {
    code: 'DATASTORE',
    message: /ECONNREFUSED/,
    cause: { code: 'ECONNREFUSED' },
  })
})

testOwn('an answer that the client does not know ends the connection, not the process', async t => {
  await using server = await startZooKeeper()
  // Between the two sits one who puts an error code of a newer server into the second answer.
  const { createConnection } = await import('node:net')
  let spoil = false
  const between = createServer(socket => {
    const onward = createConnection(server.port, '127.0.0.1')
    for (const each of [socket, onward]) each.on('error', () => each.destroy())
    socket.on('close', () => onward.destroy()).pipe(onward)
    onward.on('close', () => socket.destroy())
    onward.on('data', chunk => {
      if (spoil) chunk.writeInt32BE(-127, 16)
      spoil = false
      socket.write(chunk)
    })
  }).listen(0, '127.0.0.1')
  await once(between, 'listening')
  t.teardown(() => between.close())
  await using store = await openDatastore(`zookeeper://127.0.0.1:${(between.address() as AddressInfo).port}/test`, options)
  await store.put('a', bytes('1'))
  spoil = true
  await t.rejects(store.put('a', bytes('2')), { code: 'DATASTORE', outcome: 'unknown' })
  t.ok(await answered(t, () => store.get('a')))
})

testOwn('user and password: what is written belongs to them, and the password is in no error', async t => {
  await using server = await startZooKeeper()
  const place = `127.0.0.1:${server.port}/mine`
  await using store = await openDatastore(`zookeeper://me:${encodeURIComponent('hush:/@%secret')}@${place}`, options)
  t.type(await store.put('a', bytes('1')), 'string')
  t.equal(text(await store.get('a')), '1')
  for (const url of [`zookeeper://me:wrong-password@${place}`, `zookeeper://${place}`]) {
    await using other = await openDatastore(url, options)
    for (const call of [() => other.get('a'), () => other.put('a', bytes('2')), () => listed(other)]) {
      const error = await call().then(
        () => undefined,
        (failure: unknown) => failure,
      )
      t.match(error, { name: 'HomingError', code: 'DATASTORE', message: /NO_AUTH/ })
      t.notMatch(inspect(error, { depth: 9, showHidden: true }), /wrong-password/)
    }
  }
})

testOwn('20,000 claims in one batch', async t => {
  await using server = await startZooKeeper()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 30_000 })
  await claimsAtOnce(t, store, 20_000)
})

testOwn('P49: after disposal nothing keeps the process, whether the server is there or not', async t => {
  await using server = await startZooKeeper()
  await endsByItself(t, server, 'k:k:k:a')
})
