import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { failureOf } from '../../lib/datastores/couchbase-documents.ts'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import type { HomingError } from '../../lib/errors.ts'
import { standStill } from '../support/stopped.ts'
import { couchbaseMissing, type CouchbaseServer, startCouchbase } from '../support/couchbase-server.ts'
import { answered, claimsAtOnce, endsByItself } from './every-server.ts'

const missing = couchbaseMissing()
const options = { operationTimeoutMs: 2_000, cluster: 'test' }
const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)
const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

if (missing) t.test('Couchbase', { skip: missing }, async () => {})

/** A test that needs a server of its own. */
const testOwn = (name: string, fn: (t: Test) => Promise<void>) => !missing && t.test(name, fn)

async function listed(store: Datastore, prefix = ''): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys(prefix)) keys.push(key)
  return keys.sort()
}

/** Another program on the same bucket. */
async function stranger(t: Test, { port }: CouchbaseServer) {
  const couchbase = await import('couchbase')
  const cluster = await couchbase.connect(`couchbase://127.0.0.1:${port}`, { username: 'default', password: '' })
  t.teardown(() => cluster.close())
  const documents = cluster.bucket('default').defaultCollection()
  const raw = {
    transcoder: { encode: (value: Buffer): [Buffer, number] => [value, 0], decode: (value: Buffer): Buffer => value },
  }
  return {
    documents,
    /** The length of a document; `undefined`: there is none. */
    async lengthOf(id: string): Promise<number | undefined> {
      try {
        return ((await documents.get(id, raw)).content as Buffer).length
      } catch (error) {
        if (error instanceof couchbase.DocumentNotFoundError) return undefined
        throw error
      }
    },
  }
}

testOwn('goes on by itself when the server was killed and is back', async t => {
  await using server = await startCouchbase()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 1_500 })
  for (let round = 0; round < 2; round++) {
    await store.put('a', bytes('1'))
    const dying = Array.from({ length: 50 }, (_, i) => store.put(`dying/${round}/${i}`, bytes('x'), { ifVersion: null }))
    const outcomes = Promise.allSettled(dying)
    await server.kill()
    for (const outcome of await outcomes)
      if (outcome.status === 'rejected') t.equal((outcome.reason as HomingError).code, 'DATASTORE')
    await Promise.all([
      t.rejects(store.get('a'), { name: 'HomingError', code: 'DATASTORE', retryable: true }),
      t.rejects(store.put('a', bytes('2')), { code: 'DATASTORE', outcome: 'not-delivered' }, 'it was never sent'),
      t.rejects(store.putMany(['a', 'b'].map(key => ({ key, bytes: bytes('2') }))), { code: 'DATASTORE' }),
      t.rejects(store.deleteMany([{ key: 'a' }]), { code: 'DATASTORE' }),
      t.rejects(listed(store), { code: 'DATASTORE' }),
    ])
    await server.restart()
    const back = performance.now()
    t.equal(await answered(t, () => store.get('a')), undefined, 'the mock has forgotten it')
    const tookMs = performance.now() - back
    t.ok(tookMs < 2_000, `back within ${tookMs.toFixed()} ms`)
    const [first] = await store.putMany([{ key: 'a', bytes: bytes('3'), ifVersion: null }])
    t.type(await store.put('a', bytes('4'), { ifVersion: first! }), 'string')
    t.equal(text(await store.get('a')), '4')
  }
})

testOwn('what was lost with the engine is listed again once it is written again', async t => {
  await using server = await startCouchbase()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 500 })
  let losses = 0
  store.onLoss!(() => losses++)
  const keys = Array.from({ length: 20 }, (_, i) => `homing:c:peers:${i}`)
  await store.putMany(keys.map(key => ({ key, bytes: bytes('1') })))
  t.equal((await listed(store, 'homing:c:peers:')).length, 20)
  await server.kill()
  await server.restart()
  // What reads as absent shows that all is gone; what is written from then on is in the new log.
  t.equal(losses, 0)
  t.equal(await answered(t, () => store.get(keys[0]!)), undefined)
  t.equal(losses, 1, 'told before it was read')
  await store.putMany(keys.map(key => ({ key, bytes: bytes('2'), ifVersion: null })))
  t.equal((await listed(store, 'homing:c:peers:')).length, 20)
  t.equal((await listed(store)).length, 20)
})

testOwn('a server that stands still is DATASTORE in time, with an unknown outcome for writes', async t => {
  await using server = await startCouchbase()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 1_000 })
  await store.putMany(['a', 'b', 'c'].map(key => ({ key, bytes: bytes('1') })))
  await standStill(server.pid)
  const since = performance.now()
  await Promise.all([
    t.rejects(store.get('a'), { code: 'DATASTORE' }),
    t.rejects(store.put('b', bytes('2')), { code: 'DATASTORE', outcome: 'unknown' }),
    t.rejects(store.put('new', bytes('2')), { code: 'DATASTORE', outcome: 'unknown' }),
    t.rejects(store.delete('c'), { code: 'DATASTORE', outcome: 'unknown' }),
    t.rejects(store.deleteMany(['c', 'd'].map(key => ({ key }))), { code: 'DATASTORE', outcome: 'unknown' }),
    t.rejects(listed(store), { code: 'DATASTORE' }),
  ])
  const tookMs = performance.now() - since
  t.ok(tookMs >= 700 && tookMs < 1_400, `${tookMs} ms`)
  process.kill(server.pid, 'SIGCONT')
  t.equal(text(await answered(t, () => store.get('a'))), '1')
})

t.test('what the client says of a failed write is what its caller is told', async t => {
  const couchbase = await import('couchbase')
  const { DurabilityAmbiguousError, AmbiguousTimeoutError, RequestCanceledError, DurableWriteReCommitInProgressError } = couchbase
  for (const kind of [
    DurabilityAmbiguousError,
    AmbiguousTimeoutError,
    RequestCanceledError,
    DurableWriteReCommitInProgressError,
  ]) {
    const cause = new kind()
    t.match(failureOf(couchbase, 'writing', cause), { code: 'DATASTORE', outcome: 'unknown', cause }, kind.name)
  }
  const { DurabilityImpossibleError, TemporaryFailureError, UnambiguousTimeoutError, DurableWriteInProgressError } = couchbase
  for (const kind of [DurabilityImpossibleError, TemporaryFailureError, UnambiguousTimeoutError, DurableWriteInProgressError]) {
    const cause = new kind()
    t.match(failureOf(couchbase, 'writing', cause), { code: 'DATASTORE', outcome: 'not-delivered', cause }, kind.name)
    t.match(failureOf(couchbase, 'writing', cause, 'unknown'), { outcome: 'unknown' }, 'one of many')
  }
  t.match(failureOf(couchbase, 'writing', new Error('whatever')), { code: 'DATASTORE', outcome: 'unknown', message: /whatever/ })
})

testOwn('durable writes that cannot be had are told when the store is opened, with what to do', async t => {
  await using server = await startCouchbase()
  const plain = server.url.replace('?durability=none', '')
  for (const url of [plain, `${plain}?durability=persistToMajority`])
    await t.rejects(openDatastore(url, options), { code: 'DATASTORE', message: /no durable writes.*replicas.*durability=none/ })
})

t.test('opening fails with DATASTORE in time when nobody answers, or somebody who is no Couchbase', async t => {
  const held: Socket[] = []
  for (const says of ['', 'HTTP/1.1 400 Bad Request\r\n\r\n']) {
    const odd = createServer(socket => {
      held.push(socket.on('error', () => socket.destroy()))
      socket.write(says)
    }).listen(0, '127.0.0.1')
    await once(odd, 'listening')
    const url = `couchbase://127.0.0.1:${(odd.address() as AddressInfo).port}/default`
    const since = performance.now()
    await t.rejects(openDatastore(url, { ...options, operationTimeoutMs: 300 }), { name: 'HomingError', code: 'DATASTORE' })
    t.ok(performance.now() - since < 800)
    odd.close()
    for (const socket of held.splice(0)) socket.destroy()
    await once(odd, 'close')
    await t.rejects(openDatastore(url, { ...options, operationTimeoutMs: 300 }), { code: 'DATASTORE', outcome: 'not-delivered' })
  }
})

testOwn('a bucket that is not there is DATASTORE in time, and nothing is printed', async t => {
  await using server = await startCouchbase()
  const printed = t.capture(console, 'error')
  await t.rejects(openDatastore(`couchbase://default@127.0.0.1:${server.port}/nowhere?durability=none`, options), {
    code: 'DATASTORE',
    message: /bucket/,
  })
  t.same(printed(), [])
})

testOwn('passwords are in no error', async t => {
  await using server = await startCouchbase()
  await server.kill()
  for (const place of [`127.0.0.1:${server.port}/default`, 'nowhere.invalid/default']) {
    const url = `couchbase://somebody:hush-hush@${place}?durability=none`
    const error = await openDatastore(url, { ...options, operationTimeoutMs: 500 }).then(
      () => undefined,
      (failure: unknown) => failure,
    )
    t.match(error, { name: 'HomingError', code: 'DATASTORE', outcome: 'not-delivered' })
    t.notMatch(inspect(error, { depth: 9, showHidden: true }), /hush-hush/)
  }
})

testOwn('a key that holds what Homing did not write is DATASTORE, and is left as it is', async t => {
  await using server = await startCouchbase()
  await using store = await openDatastore(server.url, options)
  const { documents } = await stranger(t, server)
  const { cas } = await documents.upsert('json', { a: 1 })
  await t.rejects(store.get('json'), { code: 'DATASTORE', message: /did not write/ })
  await t.rejects(store.put('json', bytes('1'), { ifVersion: null }), { code: 'DATASTORE' })
  t.equal(await store.put('json', bytes('1'), { ifVersion: `${BigInt(cas.toString()) + 1n}` }), undefined)
  t.same((await documents.get('json')).content, { a: 1 })
})

testOwn('versions: zero, which means any to Couchbase, and what is too large are none', async t => {
  await using server = await startCouchbase()
  await using store = await openDatastore(server.url, options)
  const version = (await store.put('a', bytes('1')))!
  for (const odd of [
    '0',
    '00',
    `0${version}`,
    `${version}t`,
    '18446744073709551616',
    '99999999999999999999',
    '-1',
    '1n',
    `${version} `,
  ]) {
    t.equal(await store.put('a', bytes('2'), { ifVersion: odd }), undefined, odd)
    t.equal(await store.delete('a', { ifVersion: odd }), false, odd)
  }
  t.equal(text(await store.get('a')), '1')
  for (const key of ['_homing-index:', '_homing-index:folders'])
    await t.rejects(store.put(key, bytes('1')), { code: 'BAD_OPTION' })
})

testOwn('the log of keys gets longer with the keys, and shorter when they are gone', async t => {
  await using server = await startCouchbase()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 20_000 })
  const { lengthOf } = await stranger(t, server)
  const root =
    '_homing-index:' + (await import('node:crypto')).createHash('sha256').update('k:k:k:').digest('base64url').slice(0, 22)
  const first = `${root}:0:0`
  const prefix = 'k:k:k:'
  const write = (from: number, count: number) =>
    store.putMany(
      Array.from({ length: count }, (_, i) => ({ key: `${prefix}${String(from + i).padStart(30, '0')}`, bytes: bytes('1') })),
    )

  await write(0, 100)
  const some = (await lengthOf(first))!
  t.ok(some >= 100 * 42 && some < 100 * 50, `${some} bytes for 100 keys`)
  await write(0, 100)
  t.equal(await lengthOf(first), some, 'a key that was added a moment ago is not added again')

  // Enough additions that one of them looks how long the log got: the next level takes the next keys.
  await write(100, 500)
  for (let i = 0; i < 80; i++) await write(600 + i, 1)
  const long = (await lengthOf(first))!
  t.ok(long > 16 * 1024)
  let after = 700
  for (; (await lengthOf(`${root}:1:0`)) === undefined && after < 1_000; after += 10) await write(after, 10)
  t.ok(after < 1_000, 'the log has its next level')
  t.equal((await listed(store, prefix)).length, 680 + after - 700)

  const keys = await listed(store, prefix)
  await store.deleteMany(keys.slice(0, -10).map(key => ({ key })))
  t.equal((await listed(store, prefix)).length, 10)
  t.equal(await lengthOf(first), long, 'what is gone a moment ago may be on its way')
  const { now } = Date
  Date.now = () => now() + 11 * 60_000
  t.teardown(() => (Date.now = now))
  t.equal((await listed(store, prefix)).length, 10)
  // The listing has it done behind it.
  while ((await lengthOf(first))! > 1_000) await pass(5)
  t.same(await listed(store, prefix), keys.slice(-10))
  await write(0, 3)
  t.equal((await listed(store, prefix)).length, 13, 'written again, listed again')
})

testOwn('keys that two processes write at once are all listed', async t => {
  await using server = await startCouchbase()
  const stores = await Promise.all(
    Array.from({ length: 4 }, () => openDatastore(server.url, { ...options, operationTimeoutMs: 10_000 })),
  )
  await Promise.all(
    stores.map(async (store, who) => {
      for (let i = 0; i < 25; i++) await store.put(`k:k:${i % 5}:${who}-${i}`, bytes('1'), { ifVersion: null })
    }),
  )
  t.equal((await listed(stores[0]!, 'k:k:')).length, 100)
  await Promise.all(stores.map(store => store[Symbol.asyncDispose]()))
})

testOwn('10,000 claims in one batch', async t => {
  await using server = await startCouchbase()
  await using store = await openDatastore(server.url, { ...options, operationTimeoutMs: 30_000 })
  await claimsAtOnce(t, store, 10_000)
})

testOwn('P49: after disposal nothing keeps the process, whether the server is there or not', async t => {
  await using server = await startCouchbase()
  await endsByItself(t, server)
})

testOwn('disposal with calls on their way lets them be answered, and ends nothing but the store', async t => {
  await using server = await startCouchbase()
  for (let round = 0; round < 5; round++) {
    const store = await openDatastore(server.url, options)
    const calls = Array.from({ length: 200 }, (_, i) =>
      store.put(`a${i}`, bytes('1'), i % 2 ? { ifVersion: null } : { ttlMs: 60_000 }),
    )
    const outcomes = Promise.allSettled(calls)
    await store[Symbol.asyncDispose]()
    t.ok((await outcomes).every(({ status }) => status === 'fulfilled'))
  }
})
