import { once } from 'node:events'
import { fork } from 'node:child_process'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import type { HomingError } from '../../lib/errors.ts'
import { contractOf } from '../contract/datastore.ts'
import { redisGiven, redisUnderTest } from '../contract/redis-drivers.ts'
import { asking, until } from '../support/redis-cluster.ts'
import { hasRedisServer, startRedisServer } from '../support/redis-server.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)
const options = { operationTimeoutMs: 2_000, cluster: 'test' }
const given = process.env['HOMING_TEST_REDIS']
const installed = hasRedisServer()

/** A test that needs servers of its own; without the program there is none. */
const testOwn = (name: string, fn: (t: Test) => Promise<void>) => installed && t.test(name, fn)

const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

/** Tries until the server answers: what a caller does after an outage. */
async function untilAnswered<T>(t: Test, call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if ((error as HomingError).code !== 'DATASTORE') t.fail(`${error}`)
      await pass(5)
    }
  }
}

contractOf(t, redisUnderTest)
if (given !== undefined) contractOf(t, redisGiven(given))

testOwn('a server that has not seen the scripts, or forgot them, is given them', async t => {
  await using server = await startRedisServer()
  await using store = await openDatastore(server.url, options)
  for (const what of ['single', 'batch']) {
    const { Redis } = await import('ioredis')
    const admin = new Redis(server.port, '127.0.0.1')
    await admin.script('FLUSH')
    const [a, b] = await store.putMany(['a', 'b'].map(key => ({ key, bytes: bytes('1') })))
    if (what === 'single') {
      t.type(await store.put('a', bytes('2'), { ifVersion: a! }), 'string')
      await admin.script('FLUSH')
      t.equal(await store.delete('b', { ifVersion: b! }), true)
    } else {
      const versions = await store.putMany([
        { key: 'a', bytes: bytes('2'), ifVersion: a! },
        { key: 'a', bytes: bytes('3') },
        { key: 'b', bytes: bytes('2'), ifVersion: a! },
      ])
      t.same(
        versions.map(version => version !== undefined),
        [true, true, false],
      )
      t.same((await store.getMany(['a', 'b'])).map(text), ['3', '1'])
    }
    admin.disconnect()
  }
})

testOwn('goes on by itself when the server was killed and is back', async t => {
  await using server = await startRedisServer()
  await using store = await openDatastore(server.url, options)
  for (let round = 0; round < 2; round++) {
    const version = await store.put('a', bytes('1'))
    // Calls that are under way when it dies, and calls while it is away.
    const dying = Array.from({ length: 50 }, (_, i) => store.put(`dying/${i}`, bytes('x'), i % 2 ? { ifVersion: version! } : {}))
    const outcomes = Promise.allSettled(dying)
    await server.kill()
    for (const outcome of await outcomes)
      if (outcome.status === 'rejected') t.equal((outcome.reason as HomingError).code, 'DATASTORE')
    const since = performance.now()
    await t.rejects(store.get('a'), { name: 'HomingError', code: 'DATASTORE', retryable: true })
    await t.rejects(store.putMany([{ key: 'a', bytes: bytes('2') }]), { code: 'DATASTORE' })
    await t.rejects(store.deleteMany([{ key: 'a' }]), { code: 'DATASTORE' })
    await t.rejects(listed(store), { code: 'DATASTORE' })
    t.ok(performance.now() - since < 500, 'while it is away, calls fail at once')
    await server.restart()
    const back = performance.now()
    t.equal(await untilAnswered(t, () => store.get('a')), undefined)
    t.ok(performance.now() - back < 2_000, 'back within 2 s')
    const [first] = await store.putMany([{ key: 'a', bytes: bytes('3'), ifVersion: null }])
    t.type(await store.put('a', bytes('4'), { ifVersion: first! }), 'string')
    t.equal(text(await store.get('a')), '4')
  }
})

testOwn('a server that stands still is DATASTORE in time, with an unknown outcome for writes', async t => {
  await using server = await startRedisServer()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 200 })
  await store.put('a', bytes('1'))
  process.kill(server.pid, 'SIGSTOP')
  const since = performance.now()
  await Promise.all([
    t.rejects(store.get('a'), { code: 'DATASTORE' }),
    t.rejects(store.put('a', bytes('2')), { code: 'DATASTORE', outcome: 'unknown' }),
    t.rejects(store.putMany(Array.from({ length: 3_000 }, (_, i) => ({ key: `k${i}`, bytes: bytes('2') }))), {
      code: 'DATASTORE',
      outcome: 'unknown',
    }),
    t.rejects(listed(store), { code: 'DATASTORE' }),
  ])
  const tookMs = performance.now() - since
  t.ok(tookMs >= 190 && tookMs < 600, `${tookMs} ms`)
  process.kill(server.pid, 'SIGCONT')
  t.match(await untilAnswered(t, () => store.get('a')), { version: String })
})

testOwn('a connection that went silent is given up and replaced', async t => {
  await using server = await startRedisServer()
  await using proxy = await startTcpProxy(server.port)
  await using store = await openDatastore(`redis://127.0.0.1:${proxy.port}`, { ...options, operationTimeoutMs: 150 })
  await store.put('a', bytes('1'))
  proxy.swallow()
  await t.rejects(store.get('a'), { code: 'DATASTORE' })
  t.equal(text(await untilAnswered(t, () => store.get('a'))), '1')
  t.ok(proxy.connections >= 2)
})

t.test('opening fails with DATASTORE in time when nobody answers, or somebody who says nothing', async t => {
  const mute = createServer().listen(0, '127.0.0.1')
  const held: Socket[] = []
  mute.on('connection', socket => held.push(socket))
  await once(mute, 'listening')
  const { port } = mute.address() as AddressInfo
  t.teardown(() => {
    for (const socket of held) socket.destroy()
    mute.close()
  })
  const since = performance.now()
  await t.rejects(openDatastore(`redis://127.0.0.1:${port}`, { ...options, operationTimeoutMs: 200 }), {
    code: 'DATASTORE',
    retryable: true,
  })
  t.ok(performance.now() - since < 500)
  mute.close()
  for (const socket of held) socket.destroy()
  await once(mute, 'close')
  await t.rejects(openDatastore(`redis://127.0.0.1:${port}`, options), {
    code: 'DATASTORE',
    message: /ECONNREFUSED/,
    cause: { code: 'ECONNREFUSED' },
  })
})

testOwn('passwords: used, and in no error', async t => {
  await using server = await startRedisServer('--requirepass', 'hush:/@%secret')
  const place = `127.0.0.1:${server.port}/0`
  await using store = await openDatastore(`redis://:${encodeURIComponent('hush:/@%secret')}@${place}`, options)
  t.type(await store.put('a', bytes('1')), 'string')
  for (const url of [`redis://:wrong-password@${place}`, `redis://somebody:wrong-password@${place}`, `redis://${place}`]) {
    const error = await openDatastore(url, options).then(
      () => undefined,
      (failure: unknown) => failure,
    )
    t.match(error, { name: 'HomingError', code: 'DATASTORE' })
    t.match((error as Error).message, /WRONGPASS|NOAUTH/)
    t.notMatch(inspect(error, { depth: 9, showHidden: true }), /wrong-password/)
  }
})

testOwn('databases of one server are apart', async t => {
  await using server = await startRedisServer()
  await using zero = await openDatastore(`redis://127.0.0.1:${server.port}`, options)
  await using three = await openDatastore(`redis://127.0.0.1:${server.port}/3`, options)
  await three.put('a', bytes('3'))
  t.equal(await zero.get('a'), undefined)
})

testOwn('a key that holds what Homing did not write is DATASTORE, and is left as it is', async t => {
  await using server = await startRedisServer()
  await using store = await openDatastore(server.url, options)
  const { Redis } = await import('ioredis')
  const admin = new Redis(server.port, '127.0.0.1')
  await admin.set('short', 'x')
  await admin.rpush('list', 'x')
  await t.rejects(store.get('short'), { code: 'DATASTORE' })
  await t.rejects(store.get('list'), { code: 'DATASTORE' })
  await t.rejects(store.put('list', bytes('1'), { ifVersion: 'x' }), { code: 'DATASTORE', outcome: 'not-delivered' })
  t.equal(await store.put('short', bytes('1'), { ifVersion: 'x' }), undefined, 'its bytes are no version')
  t.equal(await admin.get('short'), 'x')
  admin.disconnect()
})

testOwn('start-up checks: eviction is told, a replica is refused', async t => {
  await using evicting = await startRedisServer('--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru')
  const told: string[] = []
  await using store = await openDatastore(evicting.url, { ...options, warn: text => told.push(text) })
  t.ok(store)
  t.equal(told.length, 2)
  t.match(told, [/allkeys-lru/, /keeps nothing on its disk/])
  await using keeping = await startRedisServer('--maxmemory', '100mb', '--maxmemory-policy', 'noeviction', '--appendonly', 'yes')
  await using other = await openDatastore(keeping.url, { ...options, warn: text => told.push(text) })
  t.ok(other)
  await using saving = await startRedisServer('--save', '3600 1')
  await using third = await openDatastore(saving.url, { ...options, warn: text => told.push(text) })
  t.ok(third)
  t.equal(told.length, 2, 'nothing to say of those')
  // Where nobody can write a file, not even the superuser.
  await using failing = await startRedisServer('--save', '3600 1', '--dir', '/proc')
  await asking(failing, admin =>
    until(
      async () => {
        await admin.bgsave().catch(() => {}) // one may be under way
        return admin.info('persistence')
      },
      info => info.includes('rdb_last_bgsave_status:err'),
    ),
  )
  await using fourth = await openDatastore(failing.url, { ...options, warn: text => told.push(text) })
  t.ok(fourth)
  t.match(told.slice(2), [/the last snapshot failed/])
  await using replica = await startRedisServer('--replicaof', '127.0.0.1', `${keeping.port}`)
  await t.rejects(openDatastore(replica.url, options), { code: 'DATASTORE', message: /replica/ })
})

testOwn('20,000 claims in one batch, within the time of a call', async t => {
  await using server = await startRedisServer()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 5_000 })
  const writes = Array.from({ length: 20_000 }, (_, i) => ({
    key: `c/sessions/address-${i}`,
    bytes: new Uint8Array(100),
    ifVersion: null,
  }))
  const since = performance.now()
  const versions = await store.putMany(writes)
  t.comment(`${(performance.now() - since).toFixed()} ms`)
  t.equal(new Set(versions).size, 20_000)
})

testOwn('P49: after disposal nothing keeps the process, whether the server is there or not', async t => {
  await using server = await startRedisServer()
  for (const kill of [false, true]) {
    const child = fork(fileURLToPath(new URL('./redis-user.js', import.meta.url)), [server.url], {
      execArgv: ['--unhandled-rejections=strict'],
    })
    const ended = once(child, 'exit')
    await once(child, 'message')
    if (kill) await server.kill()
    child.send('close')
    t.equal((await ended)[0], 0)
  }
})

async function listed(store: Datastore): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys('')) keys.push(key)
  return keys
}
