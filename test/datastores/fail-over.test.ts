/** Fail-overs of real servers that lose acknowledged writes: owners put back what is missing, and messages go on. */
import t, { type Test } from 'tap'
import { openDatastore } from '../../lib/datastores/open.ts'
import { slotOf } from '../../lib/datastores/redis-cluster.ts'
import { createBroker, createPeer, type Peer } from '../../lib/index.ts'
import { asking, startRedisCluster, until } from '../support/redis-cluster.ts'
import { startRedisBehindSentinels } from '../support/redis-sentinels.ts'
import { hasRedisServer, type RedisServer } from '../support/redis-server.ts'

const skip = hasRedisServer() ? false : 'redis-server is not installed'

/** Short times, in the proportions of the real ones. */
const times = { leaseMs: 6_000, renewEveryMs: 700, guardMs: 1_000, operationTimeoutMs: 700 }

/** Two peers, and what a fail-over must not do to them. */
interface Pair {
  readonly sender: Peer
  readonly holder: Peer
  readonly told: string[]
  readonly got: unknown[]
  close(): Promise<void>
}

async function pairOf(cluster: string, store: string, mode: 'brokerless' | 'broker'): Promise<Pair> {
  const hub =
    mode === 'broker' ? await createBroker({ identity: 'hub', cluster, store, listen: 'tcp://127.0.0.1:0', ...times }) : undefined
  const way = hub ? { broker: hub.endpoints[0]! } : { store }
  const sender = await createPeer({ identity: 'sender', cluster, ...way, ...times })
  const holder = await createPeer({ identity: 'holder', cluster, ...way, ...times })
  const told: string[] = []
  for (const peer of [sender, holder]) {
    peer.on('memberDown', ({ identity, why }) => told.push(`${peer.identity} was told that ${identity} is ${why}`))
    peer.on('displaced', ({ address, by }) => told.push(`${peer.identity} was told that ${by?.identity} has ${address}`))
  }
  const got: unknown[] = []
  await holder.connectClient('bob', message => void got.push(message.body))
  // So many that what is missing among them would not be found soon by looking at some now and then.
  await holder.connectClients(
    Array.from({ length: 4_000 }, (_, i) => `client-${i}`),
    () => {},
  )
  return {
    sender,
    holder,
    told,
    got,
    async close() {
      await sender.close()
      await holder.close()
      await hub?.close()
    },
  }
}

const late = Array.from({ length: 60 }, (_, i) => `late-${i}`)

/** From here on its replica hears nothing of what `master` acknowledges, and cannot come back to it. */
async function stopReplicating(master: RedisServer): Promise<void> {
  await asking(master, async admin => {
    await admin.config('SET', 'requirepass', 'nobody-knows')
    await admin.call('CLIENT', 'KILL', 'TYPE', 'replica')
  })
}

/**
 * `master` is killed after it acknowledged claims that its replica has not received. `takenOver` resolves when that one is the master.
 */
async function failOver(
  t: Test,
  url: string,
  master: RedisServer,
  takenOver: () => Promise<void>,
  meanwhile: (pair: Pair) => Promise<void> = async () => {},
): Promise<void> {
  const pairs = { brokerless: await pairOf('direct', url, 'brokerless'), broker: await pairOf('hub', url, 'broker') }
  try {
    await stopReplicating(master)
    for (const { holder } of Object.values(pairs)) await holder.connectClients(late, () => {})
    t.ok((await lateAt(master, 'nobody-knows')) > 0, 'the master has acknowledged late claims')
    await master.kill()
    const sends = Object.entries(pairs).map(([mode, pair]) => keepSending(t, mode, pair))
    await meanwhile(pairs.brokerless)
    await takenOver()
    const sinceMs = performance.now()
    for (const [mode, pair] of Object.entries(pairs)) {
      const receipts = await Promise.all(late.map(address => pair.sender.sendMessage(address, mode, { deadlineMs: 8_000 })))
      t.same(
        receipts.filter(({ status }) => status !== 'delivered'),
        [],
        `${mode}: what was lost is put back, and found: ${(performance.now() - sinceMs).toFixed()} ms`,
      )
    }
    for (const stop of sends) await stop()
    await using store = await openDatastore(url, { operationTimeoutMs: 1_000, cluster: 'test' })
    for (const cluster of ['direct', 'hub']) {
      const entries = await store.getMany(['bob', ...late].map(address => `homing:${cluster}:sessions:${address}`))
      t.equal(entries.filter(Boolean).length, late.length + 1, 'all of it is in the datastore again')
    }
    for (const [mode, { told }] of Object.entries(pairs)) t.same(told, [], `${mode}: nobody was judged`)
  } finally {
    for (const pair of Object.values(pairs)) await pair.close()
  }
}

/** A message each 20 ms to an address that is known, throughout. Stops when asked, and then says what became of them. */
function keepSending(t: Test, mode: string, { sender, got }: Pair): () => Promise<void> {
  const receipts: Promise<{ status: string }>[] = []
  const timer = setInterval(() => receipts.push(sender.sendMessage('bob', receipts.length)), 20)
  return async () => {
    clearInterval(timer)
    const statuses = (await Promise.all(receipts)).map(({ status }) => status)
    t.ok(statuses.length > 50)
    t.same(
      statuses.filter(status => status !== 'delivered'),
      [],
      `${mode}: ${statuses.length} messages flow throughout`,
    )
    t.same(
      got,
      statuses.map((_, i) => i),
      `${mode}: each once, in order`,
    )
  }
}

/** While a node is away, what the others hold is claimed and found, among claims and look-ups of what it held. */
async function elsewhereGoesOn(t: Test, { sender, holder }: Pair): Promise<void> {
  const addresses = Array.from({ length: 30 }, (_, i) => `new-${i}`)
  const atFirstNode = (address: string): boolean => slotOf(`{homing:direct:sessions:${address}}`) < 5_462
  const sinceMs = performance.now()
  const claims = addresses.map(address => holder.connectClients([address], () => {}, { deadlineMs: 20_000 }))
  await Promise.all(claims.filter((_, i) => !atFirstNode(addresses[i]!)))
  const near = addresses.filter(address => !atFirstNode(address))
  const receipts = await Promise.all(near.map(address => sender.sendMessage(address, 1)))
  t.ok(
    receipts.every(({ status }) => status === 'delivered'),
    `${near.length} of ${addresses.length}, on other nodes: ${(performance.now() - sinceMs).toFixed()} ms`,
  )
  void Promise.all(claims).then(() => t.comment(`the others ${(performance.now() - sinceMs).toFixed()} ms after`))
}

/** How many of the late claims a server knows. */
async function lateAt(server: RedisServer, password?: string): Promise<number> {
  const names = await asking(server, admin => admin.keys('*late-*'), password)
  return names.length
}

t.test('F2: sentinels make the replica the master', { skip, timeout: 60_000 }, async t => {
  await using servers = await startRedisBehindSentinels({ downAfterMs: 1_000 })
  await failOver(t, servers.url, servers.master, async () => {
    t.equal(await lateAt(servers.replica), 0, 'the replica knows none of the late claims')
    await until(servers.masterPort, port => port === servers.replica.port)
  })
})

t.test('F2: a replica takes over from its master in a cluster', { skip, timeout: 60_000 }, async t => {
  await using cluster = await startRedisCluster({ replicas: true, nodeTimeoutMs: 2_000 })
  const [master] = cluster.nodes
  const replica = cluster.nodes[3]!
  const takenOver = async (): Promise<void> => {
    t.equal(await lateAt(replica), 0, 'the replica knows none of the late claims')
    await until(
      () => asking(replica, admin => admin.info('replication')),
      info => info.includes('role:master'),
    )
  }
  await failOver(t, cluster.url, master!, takenOver, async pair => {
    await elsewhereGoesOn(t, pair)
    t.match(await asking(replica, admin => admin.info('replication')), /role:slave/, 'before the replica took over')
  })
})
