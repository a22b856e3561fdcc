/** A master, its replica and three sentinels that watch them, all real and on loopback. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { asking, until } from './redis-cluster.ts'
import { freePort } from './free-port.ts'
import { startRedisServer, type RedisServer } from './redis-server.ts'

export interface RedisBehindSentinels extends AsyncDisposable {
  readonly url: string
  readonly master: RedisServer
  readonly replica: RedisServer
  /** The port of whom the sentinels call the master. */
  masterPort(): Promise<number>
}

const masterName = 'main'

/** @param downAfterMs how long a master may be silent before the sentinels make its replica the master. */
export async function startRedisBehindSentinels({ downAfterMs = 1_000 } = {}): Promise<RedisBehindSentinels> {
  const folder = await mkdtemp(join(tmpdir(), 'homing-sentinel-'))
  const master = await startRedisServer('--repl-diskless-sync-delay', '0')
  const replica = await startRedisServer('--replicaof', '127.0.0.1', `${master.port}`)
  await asking(replica, admin =>
    until(
      () => admin.info('replication'),
      info => info.includes('master_link_status:up'),
    ),
  )
  const ports = [await freePort(), await freePort(), await freePort()]
  const sentinels: ChildProcess[] = []
  for (const port of ports) sentinels.push(await startSentinel(folder, port, master.port, downAfterMs))
  for (const port of ports) await untilInformed(port)
  return {
    url: `redis+sentinel://${ports.map(port => `127.0.0.1:${port}`).join(',')}/${masterName}`,
    master,
    replica,
    masterPort: async () => Number((await addressOf(ports[0]!))[1]),
    async [Symbol.asyncDispose]() {
      for (const sentinel of sentinels) await killed(sentinel)
      await replica[Symbol.asyncDispose]()
      await master[Symbol.asyncDispose]()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function startSentinel(folder: string, port: number, masterPort: number, downAfterMs: number): Promise<ChildProcess> {
  const file = join(folder, `sentinel-${port}.conf`) // they write into it what they learn
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor ${masterName} 127.0.0.1 ${masterPort} 2`,
    `sentinel down-after-milliseconds ${masterName} ${downAfterMs}`,
    `sentinel failover-timeout ${masterName} 3000`,
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  return spawn('redis-server', [file, '--sentinel'], { stdio: 'ignore' })
}

/** Until it knows the replica and the two other sentinels: before that it could not take part in a fail-over. */
async function untilInformed(port: number): Promise<void> {
  await asking({ port } as RedisServer, admin =>
    until(
      async () => String(await admin.call('INFO', 'sentinel')),
      info => /master0:.*status=ok.*slaves=1,sentinels=3/.test(info),
    ),
  )
}

async function addressOf(port: number): Promise<[string, string]> {
  const admin = new Redis(port, '127.0.0.1')
  try {
    return (await admin.call('SENTINEL', 'get-master-addr-by-name', masterName)) as [string, string]
  } finally {
    admin.disconnect()
  }
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  child.kill('SIGKILL')
  await gone
}
