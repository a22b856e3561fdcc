/** The test server against the official client: the measure has to be true before anything is measured with it. */

import { createRequire } from 'node:module'
import t, { type Test } from 'tap'
import { startRiakServer, type RiakServer, type RiakServerOptions } from '../support/riak-server.ts'

interface Stored {
  vclock: Buffer
  values: { value: Buffer; isTombstone?: boolean }[]
  isNotFound?: boolean
}
type Call<T> = (options: object, callback: (error: string | Error | null, response: T) => void) => void

/** What is used of the client's own pool and calls here; it has no types. */
interface Client {
  ping(callback: (error: string | null, alive: boolean) => void): void
  storeValue: Call<Stored>
  fetchValue: Call<Stored>
  deleteValue: Call<boolean>
  listKeys: Call<{ keys: string[] }>
  secondaryIndexQuery: Call<{ values: { indexKey: string; objectKey: string }[]; continuation: Buffer | null }>
  fetchBucketProps: Call<{ allowMult: boolean; nVal: number; r: number }>
  storeBucketProps: Call<boolean>
  stop(callback: () => void): void
  readonly cluster: { readonly nodes: { _createNewConnection: () => void }[] }
}
interface Package {
  Client: new (nodes: string[], started: (error: unknown, client: Client) => void) => Client
  Commands: { KV: { RiakObject: new () => { setValue(v: Buffer): void; addToIndex(index: string, term: string): void } } }
}

const require = createRequire(import.meta.url)
// Its logger writes to stdout, where this test's results go.
;(require('winston') as { level: string }).level = 'none'
const riak = require('basho-riak-client') as Package

/** A call as a promise that rejects with what Riak said. */
function ask<T>(client: Client, call: keyof Client, options: object): Promise<T> {
  const command = client[call] as unknown as Call<T>
  return new Promise((resolve, reject) => {
    command.call(client, options, (error, response) => {
      if (error) reject(error instanceof Error ? error : new Error(error))
      else resolve(response)
    })
  })
}

function clientOf(server: RiakServer, node: number): Promise<Client> {
  return new Promise((resolve, reject) => {
    const started = (error: unknown, client: Client) => (error ? reject(error as Error) : resolve(client))
    return new riak.Client([`127.0.0.1:${server.ports[node]}`], started)
  })
}

async function stopped(client: Client): Promise<void> {
  await new Promise<void>(resolve => client.stop(resolve))
  // A pool that has ever looked for a lost server goes on doing so after it was stopped.
  for (const node of client.cluster.nodes) node._createNewConnection = () => {}
}

const key = { bucket: 'b', key: 'k' }

/** On a cluster of its own, with a client for each node. */
function testOn(name: string, given: RiakServerOptions, fn: (t: Test, clients: Client[], server: RiakServer) => Promise<void>) {
  t.test(name, async t => {
    await using server = await startRiakServer({ types: { many: {} }, ...given })
    const clients = await Promise.all(server.ports.map((_, node) => clientOf(server, node)))
    try {
      await fn(t, clients, server)
    } finally {
      await Promise.all(clients.map(stopped))
    }
  })
}

const store = (client: Client, value: string, more: object = {}) =>
  ask<Stored>(client, 'storeValue', { ...key, bucketType: 'many', value: Buffer.from(value), returnBody: true, ...more })
const fetch = (client: Client, more: object = {}) =>
  ask<Stored>(client, 'fetchValue', { ...key, bucketType: 'many', notFoundOk: true, ...more })
const remove = (client: Client, more: object = {}) => ask<boolean>(client, 'deleteValue', { ...key, bucketType: 'many', ...more })
const valuesOf = ({ values }: Stored) =>
  values.map(({ value, isTombstone }) => (isTombstone ? 'tombstone' : String(value))).sort()
const clockOf = async (client: Client) => (await fetch(client, { returnDeletedVClock: true })).vclock

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let looks = 0; !(await holds()); looks++) {
    if (looks > 1_000) throw new Error(`in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

testOn('values come and go', {}, async (t, [client]) => {
  t.equal(await new Promise(resolve => client!.ping((_, alive) => resolve(alive))), true)
  t.equal((await fetch(client!)).isNotFound, true)
  t.same(valuesOf(await store(client!, 'one')), ['one'])
  t.same(valuesOf(await fetch(client!)), ['one'])
  t.equal(await remove(client!), true)
  t.equal((await fetch(client!)).isNotFound, true)
  t.equal(await remove(client!), true, 'twice')
  const head = await store(client!, 'two', { returnBody: false, returnHead: true })
  t.same(valuesOf(head), ['', 'tombstone'], 'a blind write beside what is left of the removal')
  t.ok(head.vclock.length > 0)
  t.same(valuesOf(await fetch(client!, { headOnly: true })), ['', 'tombstone'])
})

testOn('blind writes lie side by side where siblings are kept, and replace each other where not', {}, async (t, [client]) => {
  await store(client!, 'one')
  t.same(valuesOf(await store(client!, 'two')), ['one', 'two'])
  const { vclock } = await fetch(client!)
  t.same(valuesOf(await store(client!, 'both', { vclock })), ['both'])
  await store(client!, 'one', { bucketType: 'default' })
  t.same(valuesOf(await store(client!, 'two', { bucketType: 'default' })), ['two'])
})

testOn(
  'a write replaces the siblings that its writer had seen, where values know which write made them',
  { types: { many: {}, old: { dotted: false } } },
  async (t, [client]) => {
    for (const [bucketType, values] of [
      ['many', ['other', 'second']],
      ['old', ['first', 'other', 'second']],
    ] as const) {
      const { vclock } = await store(client!, 'before', { bucketType })
      const first = await store(client!, 'first', { bucketType, vclock })
      await store(client!, 'other', { bucketType, vclock })
      t.same(valuesOf(await store(client!, 'second', { bucketType, vclock: first.vclock })), values)
    }
  },
)

testOn('conditions', {}, async (t, [client, other]) => {
  const first = await store(client!, 'one', { ifNoneMatch: true })
  await t.rejects(store(other!, 'two', { ifNoneMatch: true }), { message: 'match_found' })
  await store(other!, 'two', { vclock: first.vclock, ifNotModified: true })
  await t.rejects(store(client!, 'three', { vclock: first.vclock, ifNotModified: true }), { message: 'modified' })
  await t.rejects(store(client!, 'three', { key: 'none', vclock: first.vclock, ifNotModified: true }), { message: 'notfound' })
  await remove(client!)
  t.type(await store(client!, 'again', { ifNoneMatch: true }), 'object', 'a tombstone is nothing')
})

testOn('a condition is judged before the write: of some at once, several hold', {}, async (t, clients) => {
  const stored = await Promise.allSettled(clients.map((client, i) => store(client, `${i}`, { ifNoneMatch: true })))
  t.equal(stored.filter(({ status }) => status === 'fulfilled').length, 3)
  t.same(valuesOf(await fetch(clients[0]!)), ['0', '1', '2'])
})

testOn('a removal leaves what was written since, beside its tombstone', {}, async (t, [client, other]) => {
  const { vclock } = await store(client!, 'one')
  await store(other!, 'two', { vclock })
  await remove(client!, { vclock })
  t.same(valuesOf(await fetch(other!)), ['tombstone', 'two'])
  await remove(client!, { vclock: await clockOf(client!) })
  t.equal((await fetch(client!)).isNotFound, true)
})

testOn('a tombstone has a clock and is listed, until it is cleared away', { deleteMode: 60 }, async (t, [client]) => {
  await store(client!, 'one')
  await remove(client!)
  t.equal((await fetch(client!)).isNotFound, true)
  const tombstone = await fetch(client!, { returnDeletedVClock: true })
  t.same(valuesOf(tombstone), ['tombstone'])
  const listed = () => ask<{ keys: string[] }>(client!, 'listKeys', { bucketType: 'many', bucket: 'b', stream: false })
  t.same((await listed()).keys, ['k'])
  await until('it is cleared away', async () => (await listed()).keys.length === 0)
  t.equal((await fetch(client!, { returnDeletedVClock: true })).isNotFound, true)
  const { vclock } = await store(client!, 'anew')
  t.notSame(vclock, tombstone.vclock, 'a clock is not used again')
})

testOn('tombstones may go at once', { deleteMode: 'immediate' }, async (t, [client]) => {
  await store(client!, 'one')
  await remove(client!)
  await until('it is gone', async () => (await fetch(client!, { returnDeletedVClock: true })).isNotFound === true)
  t.pass()
})

testOn(
  'a write reaches a node that was away when it is back, and a read repairs what it finds behind',
  {},
  async (t, [client], server) => {
    await server.kill(2)
    t.same(valuesOf(await store(client!, 'one', { w: 3 })), ['one'], 'another node took its place')
    await t.rejects(store(client!, 'two', { pw: 3 }), { message: '{pw_val_unsatisfied,3,2}' })
    await t.rejects(fetch(client!, { pr: 3 }), { message: '{pr_val_unsatisfied,3,2}' })
    const held = () => server.replicas.copyOf(2, 'many/b', Buffer.from('k'))
    t.notOk(held())
    await server.restart(2)
    await until('it is handed over', () => held() !== undefined)

    server.replicas.lag(2, 50)
    await store(client!, 'two', { vclock: await clockOf(client!) })
    t.equal(String(held()!.contents[0]!.value), 'one', 'not yet')
    server.replicas.lag(2, 0)
    t.same(valuesOf(await fetch(client!)), ['two'])
    await until('it is repaired', () => String(held()!.contents[0]!.value) === 'two')
  },
)

testOn('sides of a partition write both, and have siblings when it is over', {}, async (t, [here, there], server) => {
  const { vclock } = await store(here!, 'one')
  server.replicas.partition([[0], [1, 2]])
  await store(here!, 'here', { vclock })
  await store(there!, 'there', { vclock })
  t.same(valuesOf(await fetch(here!)), ['here'])
  t.same(valuesOf(await fetch(there!)), ['there'])
  server.replicas.heal()
  await until('both have both', async () => (await fetch(here!)).values.length === 2 && (await fetch(there!)).values.length === 2)
  t.same(valuesOf(await fetch(there!)), ['here', 'there'])
})

testOn('an index is read in pages, in the order of its terms, without tombstones', {}, async (t, [client]) => {
  for (let i = 0; i < 25; i++) {
    const value = new riak.Commands.KV.RiakObject()
    value.setValue(Buffer.from('x'))
    value.addToIndex('i_bin', `term ${String(i % 5)}`)
    await ask(client!, 'storeValue', { bucketType: 'many', bucket: 'b', key: `k${i}`, value })
  }
  await remove(client!, { key: 'k3' })
  const query = {
    bucketType: 'many',
    bucket: 'b',
    indexName: 'i_bin',
    rangeStart: 'term 1',
    rangeEnd: 'term 3',
    returnKeyAndIndex: true,
  }
  const found: string[] = []
  let continuation: Buffer | null = null
  do {
    const page: { values: { indexKey: string; objectKey: string }[]; continuation: Buffer | null } = await ask(
      client!,
      'secondaryIndexQuery',
      { ...query, stream: false, maxResults: 4, ...(continuation && { continuation }) },
    )
    found.push(...page.values.map(({ indexKey, objectKey }) => `${indexKey} ${objectKey}`))
    continuation = page.continuation
  } while (continuation)
  t.equal(found.length, 14)
  t.equal(new Set(found).size, 14)
  t.same(found, [...found].sort())
  const keys = await ask<{ values: { objectKey: string }[] }>(client!, 'secondaryIndexQuery', {
    ...query,
    indexName: '$key',
    rangeStart: 'k1',
    rangeEnd: 'k2',
    returnKeyAndIndex: false,
    stream: false,
  })
  t.ok(keys.values.some(({ objectKey }) => objectKey === 'k17'))
})

testOn('properties of a bucket, and types that there are not', { gossipMs: 20 }, async (t, [client, other]) => {
  const bucket = { bucketType: 'default', bucket: 'b' }
  const propsOf = (of: Client) => ask<{ allowMult: boolean; nVal: number; r: number }>(of, 'fetchBucketProps', bucket)
  t.match(await propsOf(client!), { allowMult: false, nVal: 3, r: 4_294_967_293 })
  await ask(client!, 'storeBucketProps', { ...bucket, allowMult: true })
  t.equal((await propsOf(client!)).allowMult, true)
  t.equal((await propsOf(other!)).allowMult, false, 'not yet')
  await until('the other node has heard of it', async () => (await propsOf(other!)).allowMult)
  await t.rejects(fetch(client!, { bucketType: 'none' }), { message: /No bucket-type named 'none'/ })
})
