/** A Redis Cluster of a test's own: real servers on loopback, with or without replicas. */

import { Redis } from 'ioredis'
import { freePort } from './free-port.ts'
import { startRedis, type RedisServer } from './redis-server.ts'

export interface RedisClusterServers extends AsyncDisposable {
  readonly url: string
  /** The first three are masters at first, those behind them their replicas in the same order. */
  readonly nodes: readonly RedisServer[]
  /** Resolves when all that live agree that all slots are held. */
  whole(): Promise<void>
}

const mastersCount = 3
const slotsCount = 16_384

/** @param nodeTimeoutMs how long a node may be silent before the others think of taking over. */
export async function startRedisCluster({ replicas = false, nodeTimeoutMs = 1_000 } = {}): Promise<RedisClusterServers> {
  const nodes: RedisServer[] = []
  const dispose = async (): Promise<void> => {
    for (const node of nodes) await node[Symbol.asyncDispose]()
  }
  try {
    for (let i = 0; i < (replicas ? 2 * mastersCount : mastersCount); i++) nodes.push(await startNode(nodeTimeoutMs))
    const whole = (): Promise<void> => untilWhole(nodes)
    await join(nodes)
    await whole()
    return {
      url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
      nodes,
      whole,
      [Symbol.asyncDispose]: dispose,
    }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function startNode(nodeTimeoutMs: number): Promise<RedisServer> {
  const busPort = await freePort()
  return startRedis(port => [
    ...['--port', `${port}`, '--save', '', '--appendonly', 'no'],
    ...['--cluster-enabled', 'yes', '--cluster-port', `${busPort}`, '--cluster-node-timeout', `${nodeTimeoutMs}`],
    ...['--cluster-config-file', 'nodes.conf', '--repl-diskless-sync-delay', '0'],
  ])
}

async function join(nodes: readonly RedisServer[]): Promise<void> {
  const [first] = nodes
  const share = Math.ceil(slotsCount / mastersCount)
  for (const [i, node] of nodes.entries()) {
    await asking(node, async admin => {
      await admin.call('CLUSTER', 'SET-CONFIG-EPOCH', `${i + 1}`)
      if (i < mastersCount)
        await admin.call('CLUSTER', 'ADDSLOTSRANGE', `${i * share}`, `${Math.min((i + 1) * share, slotsCount) - 1}`)
      if (i > 0) await admin.call('CLUSTER', 'MEET', '127.0.0.1', `${first!.port}`, await busPortOf(first!))
    })
  }
  for (const [i, node] of nodes.entries()) {
    const master = nodes[i - mastersCount]
    if (!master) continue
    const id = await asking(master, admin => admin.call('CLUSTER', 'MYID'))
    await asking(node, admin =>
      until(
        async () => (await admin.call('CLUSTER', 'NODES')) as string,
        nodesText => nodesText.includes(String(id)),
      ),
    )
    await asking(node, admin => admin.call('CLUSTER', 'REPLICATE', String(id)))
    await asking(node, admin =>
      until(
        () => admin.info('replication'),
        info => info.includes('master_link_status:up'),
      ),
    )
  }
}

async function busPortOf(node: RedisServer): Promise<string> {
  const [, busPort] = (await asking(node, admin => admin.config('GET', 'cluster-port'))) as string[]
  return busPort!
}

async function untilWhole(nodes: readonly RedisServer[]): Promise<void> {
  for (const node of nodes) {
    await asking(node, admin =>
      until(
        async () => (await admin.call('CLUSTER', 'INFO')) as string,
        info => info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${nodes.length}`),
      ),
    )
  }
}

/** One connection for one purpose. */
export async function asking<T>(server: RedisServer, work: (admin: Redis) => Promise<T>, password?: string): Promise<T> {
  const admin = new Redis(server.port, '127.0.0.1', password === undefined ? {} : { password })
  admin.on('error', () => {}) // it is tried again; what fails for good, fails the work
  try {
    return await work(admin)
  } finally {
    admin.disconnect()
  }
}

/** Asks again until the answer is right: servers tell each other in their own time. Fails after a minute. */
export async function until<T>(ask: () => Promise<T>, right: (answer: T) => boolean): Promise<T> {
  for (const untilMs = performance.now() + 60_000; ;) {
    const answer = await ask()
    if (right(answer)) return answer
    if (performance.now() > untilMs) throw new Error(`still not right after a minute: ${String(answer)}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
