import type { Redis } from 'ioredis'
import t from 'tap'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { slotOf } from '../../lib/datastores/redis-cluster.ts'
import type { HomingError } from '../../lib/errors.ts'
import { contractOf } from '../contract/datastore.ts'
import { redisClusterUnderTest } from '../contract/redis-drivers.ts'
import { asking, startRedisCluster, until, type RedisClusterServers } from '../support/redis-cluster.ts'
import { startRedisServer, type RedisServer } from '../support/redis-server.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)
const options = { operationTimeoutMs: 1_000, cluster: 'test' }
const skip = redisClusterUnderTest.missing() ?? false

contractOf(t, redisClusterUnderTest)

/** The name under which the cluster has a session's key. */
const named = (key: string) => `{${key}}`

async function listed(store: Datastore, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys(prefix)) keys.push(key)
  return keys.sort()
}

t.test('a cluster without replicas', { skip }, async t => {
  const cluster = await startRedisCluster()
  t.teardown(() => cluster[Symbol.asyncDispose]())

  t.test('slots are those that the servers compute', async t => {
    const names = [
      '',
      'a',
      '123456789',
      '{a}b',
      'x{a}y{b}',
      '{}a',
      '{a',
      'a}',
      '{{a}}',
      '}{',
      'é{語}👍',
      '{homing:c:sessions:{}}',
    ]
    await asking(cluster.nodes[0]!, async admin => {
      for (const name of names) t.equal(slotOf(name), await admin.cluster('KEYSLOT', name), JSON.stringify(name))
      t.equal(slotOf('123456789'), 0x31c3, 'the check value of the specification')
    })
  })

  t.test('sessions are spread by their whole keys, records of peers lie together, and each is listed', async t => {
    await using store = await openDatastore(cluster.url, options)
    const sessions = Array.from({ length: 300 }, (_, i) => `homing:c:sessions:{same}${i}`)
    const peers = ['peers:1', 'peers:}', 'peers:{2}', 'notes:1'].map(name => `homing:c:${name}`)
    const odd = [
      'homing:c}:peers:x',
      'homing:c:peers',
      'homing:',
      'homing:c:peersx:1',
      '}',
      '{',
      '%',
      '%7D',
      '%25',
      '%257D',
      '{a}',
    ]
    await store.putMany([...sessions, ...peers, ...odd].map(key => ({ key, bytes: bytes(key) })))
    t.same((await store.getMany([...sessions, ...peers, ...odd])).map(text), [...sessions, ...peers, ...odd])
    const counts = await Promise.all(cluster.nodes.map(node => asking(node, admin => admin.keys('*'))))
    for (const names of counts) t.ok(names.length > 60, `${names.length} of 300`)
    const holders = counts.filter(names => names.some(name => /:(peers|notes):/.test(name) && !name.startsWith('{')))
    t.equal(holders.length, 1, 'all peers and their notes are on one node')
    for (const prefix of [
      '',
      'h',
      'homing:',
      'homing:c',
      'homing:c:',
      'homing:c:p',
      'homing:c:peers:',
      'homing:c:peers:{',
      'homing:c:notes:',
      'homing:c:s',
      'homing:c}',
      '}',
    ]) {
      const expected = [...sessions, ...peers, ...odd].filter(key => key.startsWith(prefix)).sort()
      t.same(await listed(store, prefix), expected, prefix)
    }
    await store.deleteMany([...sessions, ...peers, ...odd].map(key => ({ key })))
  })

  t.test('one node that answers is enough to find the others', async t => {
    await using store = await openDatastore(`redis+cluster://127.0.0.1:1,127.0.0.1:${cluster.nodes[2]!.port}`, options)
    const keys = Array.from({ length: 30 }, (_, i) => `k${i}`)
    await store.putMany(keys.map(key => ({ key, bytes: bytes(key) })))
    t.same((await store.getMany(keys)).map(text), keys)
    await store.deleteMany(keys.map(key => ({ key })))
  })

  t.test('what is used in the wrong way says so', async t => {
    await t.rejects(openDatastore(`redis://127.0.0.1:${cluster.nodes[0]!.port}`, options), {
      code: 'BAD_OPTION',
      message: /redis\+cluster:/,
    })
    await using alone = await startRedisServer()
    await t.rejects(openDatastore(`redis+cluster://127.0.0.1:${alone.port}`, options), { code: 'DATASTORE', message: /cluster/ })
    await t.rejects(openDatastore('redis+cluster://127.0.0.1:1', options), { code: 'DATASTORE', message: /ECONNREFUSED/ })
  })

  t.test('keys that move to another node while they are written lose no update, and none is done twice', async t => {
    await using store = await openDatastore(cluster.url, options)
    await using other = await openDatastore(cluster.url, options)
    const keys = ['moved/0', 'moved/1', 'moved/2']
    await store.putMany(keys.map(key => ({ key, bytes: bytes('0') })))
    let stop = false
    let rounds = 0
    const moving = (async () => {
      while (!stop) {
        for (const key of keys) await moveSlot(cluster, slotOf(named(key)))
        rounds++
      }
    })()
    const count = async (mine: Datastore, times: number) => {
      for (let added = 0; added < times;) {
        const entries = await mine.getMany(keys)
        const writes = entries.map((entry, i) => ({
          key: keys[i]!,
          bytes: bytes(String(Number(text(entry)) + 1)),
          ifVersion: entry!.version,
        }))
        const versions = await mine.putMany(writes)
        for (const version of versions) if (version !== undefined) added++
      }
      return times
    }
    const counts = [count(store, 900), count(other, 900)]
    const least = await Promise.all(counts)
    stop = true
    await moving
    const sum = (await store.getMany(keys)).reduce((total, entry) => total + Number(text(entry)), 0)
    t.ok(rounds > 3, `each slot was moved ${rounds} times`)
    t.ok(sum >= least[0]! + least[1]! && sum <= least[0]! + least[1]! + 4, `${sum} were counted`)
    await store.deleteMany(keys.map(key => ({ key })))
  })
})

/** Moves a slot from the node that has it to the next one, key by key, as an operator's tool does. */
async function moveSlot({ nodes }: RedisClusterServers, slot: number): Promise<void> {
  const ids = await Promise.all(nodes.map(node => asking(node, admin => admin.cluster('MYID'))))
  const from = await ownerOf(nodes, ids, slot)
  const to = (from + 1) % nodes.length
  const slotText = `${slot}`
  await asking(nodes[to]!, admin => admin.call('CLUSTER', 'SETSLOT', slotText, 'IMPORTING', ids[from]!))
  await asking(nodes[from]!, async admin => {
    await admin.call('CLUSTER', 'SETSLOT', slotText, 'MIGRATING', ids[to]!)
    const names = (await admin.call('CLUSTER', 'GETKEYSINSLOT', slotText, '100')) as string[]
    for (const name of names) await admin.call('MIGRATE', '127.0.0.1', `${nodes[to]!.port}`, name, '0', '5000')
  })
  // The new owner first: in between, the old one still says where to ask.
  for (const at of [to, from]) await asking(nodes[at]!, admin => admin.call('CLUSTER', 'SETSLOT', slotText, 'NODE', ids[to]!))
}

async function ownerOf(nodes: readonly RedisServer[], ids: readonly unknown[], slot: number): Promise<number> {
  for (const [at, node] of nodes.entries()) {
    const ranges = await asking(node, admin => ownRanges(admin))
    if (ranges.some(([from, to]) => slot >= from && slot <= to)) return at
  }
  throw new Error(`nobody of ${ids.length} says that slot ${slot} is its own`)
}

async function ownRanges(admin: Redis): Promise<[number, number][]> {
  const lines = String(await admin.call('CLUSTER', 'NODES')).split('\n')
  const own = lines.find(line => line.includes('myself'))!
  return own
    .split(' ')
    .slice(8)
    .filter(range => !range.startsWith('['))
    .map(range => range.split('-').map(Number))
    .map(([from, to = from]) => [from!, to!])
}

t.test('a master is killed: other keys go on, its own come back with its replica', { skip }, async t => {
  await using cluster = await startRedisCluster({ replicas: true })
  await using store = await openDatastore(cluster.url, options)
  const [lost, ...kept] = keysByNode()
  await store.putMany([lost!, ...kept].map(key => ({ key, bytes: bytes('1'), ifVersion: null })))
  await replicated(cluster)
  await cluster.nodes[0]!.kill()
  const sinceMs = performance.now()
  await t.rejects(store.get(lost!), { code: 'DATASTORE' })
  for (let i = 0; i < 20; i++) {
    t.same((await store.getMany(kept)).map(text), ['1', '1'])
    t.type(await store.put(`${kept[0]}`, bytes('1')), 'string')
  }
  const mixed = await store.getMany([kept[0]!, lost!, kept[1]!]).catch((error: unknown) => error)
  t.match(mixed, {
    code: 'DATASTORE',
    parts: [{ version: String }, { code: 'DATASTORE', outcome: 'not-delivered' }, { version: String }],
  })
  const writes = [lost!, kept[0]!].map(key => ({ key, bytes: bytes('1') }))
  const written = await store.putMany(writes).catch((error: unknown) => error)
  t.match(
    written,
    { code: 'DATASTORE', outcome: 'not-delivered', parts: [{ code: 'DATASTORE' }, String] },
    'nothing was sent for the one',
  )
  await t.rejects(store.deleteMany([{ key: lost! }]), { code: 'DATASTORE', outcome: 'not-delivered' })
  await t.rejects(listed(store, ''), { code: 'DATASTORE' }, 'a listing without one of the nodes is not taken for complete')
  await until(
    () => asking(cluster.nodes[3]!, admin => admin.info('replication')),
    info => info.includes('role:master'),
  )
  const takenOverMs = performance.now()
  const entry = await until(
    () => store.get(lost!).catch((error: HomingError) => (error.code === 'DATASTORE' ? undefined : Promise.reject(error))),
    found => found !== undefined,
  )
  t.comment(
    `taken over after ${(takenOverMs - sinceMs).toFixed()} ms, used ${(performance.now() - takenOverMs).toFixed()} ms later`,
  )
  t.ok(performance.now() - takenOverMs < 2_000)
  t.equal(text(entry), '1')
  t.type(await store.put(lost!, bytes('2'), { ifVersion: entry!.version }), 'string')
  t.same(await listed(store, ''), [lost, ...kept].sort())
})

/** One key for each master, by the shares of slots that they have at first. */
function keysByNode(): string[] {
  const keys: string[] = []
  for (let i = 0; keys.filter(Boolean).length < 3; i++) keys[Math.floor(slotOf(named(`k${i}`)) / 5_462)] ??= `k${i}`
  return keys
}

/** Until each replica has what its master has. */
async function replicated({ nodes }: RedisClusterServers): Promise<void> {
  for (const node of nodes.slice(0, 3)) {
    await asking(node, admin =>
      until(
        () => admin.info('replication'),
        info => /slave0:.*offset=(\d+)/.exec(info)?.[1] === /master_repl_offset:(\d+)/.exec(info)?.[1],
      ),
    )
  }
}
