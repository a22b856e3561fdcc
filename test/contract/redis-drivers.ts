/** Redis under the contract, in the four ways that its URLs have: a server, one with TLS, a master behind sentinels, a cluster. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openDatastore } from '../../lib/datastores/open.ts'
import type { OpenOptions } from '../../lib/testing/index.ts'
import { CertificateAuthority, withoutCertificates } from '../support/certificates.ts'
import { startRedisCluster } from '../support/redis-cluster.ts'
import { startRedisBehindSentinels } from '../support/redis-sentinels.ts'
import { hasRedisServer, startRedisServer, startTlsRedisServer, type RedisServer } from '../support/redis-server.ts'
import type { KnownDriver, StartedDriver } from './known-driver.ts'

const missing = () => (hasRedisServer() ? undefined : 'redis-server is not installed')

export const redisUnderTest: KnownDriver = {
  name: 'redis',
  missing,
  async start() {
    const server = await startRedisServer()
    return { ...driverOn(server.url), ...powerOver([server]), [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
  },
}

/** The same on a server that somebody else runs. */
export function redisGiven(url: string): KnownDriver {
  const ours = 'The server is not ours to stop.'
  return {
    name: 'redis, given',
    missing: () => undefined,
    lacks: { crash: ours, stall: ours },
    start: async () => ({ ...driverOn(url), async [Symbol.asyncDispose]() {} }),
  }
}

export const redisTlsUnderTest: KnownDriver = {
  name: 'rediss',
  missing: () => missing() ?? (withoutCertificates || undefined),
  async start() {
    const folder = await mkdtemp(join(tmpdir(), 'homing-tls-'))
    const ca = new CertificateAuthority(folder)
    const server = await startTlsRedisServer(ca, folder)
    await writeFile(join(folder, 'trusted.pem'), ca.cert)
    process.env['HOMING_STORE_CA'] = join(folder, 'trusted.pem')
    return {
      ...driverOn(server.url),
      ...powerOver([server]),
      async [Symbol.asyncDispose]() {
        delete process.env['HOMING_STORE_CA']
        await server[Symbol.asyncDispose]()
        await rm(folder, { recursive: true, force: true })
      },
    }
  },
}

export const redisSentinelUnderTest: KnownDriver = {
  name: 'sentinel',
  missing,
  async start() {
    // Patient sentinels: the master goes and comes back. That its replica takes over is a test of its own.
    const servers = await startRedisBehindSentinels({ downAfterMs: 600_000 })
    return {
      ...driverOn(servers.url),
      ...powerOver([servers.master]),
      [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose](),
    }
  },
}

export const redisClusterUnderTest: KnownDriver = {
  name: 'cluster',
  missing,
  async start() {
    const cluster = await startRedisCluster()
    return {
      ...driverOn(cluster.url),
      ...powerOver(cluster.nodes, () => cluster.whole()),
      [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
    }
  },
}

function driverOn(url: string): Pick<StartedDriver, 'open' | 'promises' | 'pass' | 'elsewhere'> {
  return {
    open: ({ operationTimeoutMs = 2_000 }: OpenOptions = {}) => openDatastore(url, { operationTimeoutMs, cluster: 'contract' }),
    promises: { atomicPut: true, durable: false, shared: true },
    pass: ms => new Promise(resolve => setTimeout(resolve, ms)), // the lifetimes are the servers', so their time has to go by
    elsewhere: { url },
  }
}

function powerOver(servers: readonly RedisServer[], ready = async () => {}): Pick<StartedDriver, 'crash' | 'stall'> {
  const signal = (name: NodeJS.Signals): void => servers.forEach(({ pid }) => void process.kill(pid, name))
  return {
    async crash() {
      await Promise.all(servers.map(server => server.kill()))
      return async () => {
        await Promise.all(servers.map(server => server.restart()))
        await ready()
      }
    },
    async stall() {
      signal('SIGSTOP')
      return async () => {
        signal('SIGCONT')
        await ready()
      }
    },
  }
}
