import { createServer, type AddressInfo } from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { openDatastore } from '../../lib/datastores/open.ts'
import type { HomingError } from '../../lib/errors.ts'
import { contractOf } from '../contract/datastore.ts'
import { redisSentinelUnderTest } from '../contract/redis-drivers.ts'
import { until } from '../support/redis-cluster.ts'
import { startRedisBehindSentinels } from '../support/redis-sentinels.ts'
import { startRedisServer } from '../support/redis-server.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const options = { operationTimeoutMs: 1_000, cluster: 'test' }
const skip = redisSentinelUnderTest.missing() ?? false

contractOf(t, redisSentinelUnderTest)

t.test('the master is killed: its replica is used as soon as the sentinels have made it the master', { skip }, async t => {
  await using servers = await startRedisBehindSentinels({ downAfterMs: 500 })
  await using store = await openDatastore(servers.url, options)
  const version = await store.put('a', bytes('1'))
  await until(
    () => store.put('replicated', bytes('1')),
    version => version !== undefined,
  )
  await servers.master.kill()
  await t.rejects(store.get('a'), { code: 'DATASTORE' })
  await until(servers.masterPort, port => port === servers.replica.port)
  const sinceMs = performance.now()
  const back = await until(
    () => store.put('a', bytes('2'), { ifVersion: version! }).catch((error: HomingError) => error.code),
    answer => answer !== 'DATASTORE',
  )
  t.ok(performance.now() - sinceMs < 2_000, `${performance.now() - sinceMs} ms after the sentinels had decided`)
  t.type(back, 'string', 'what the replica had received is there, with its version')
  await using other = await openDatastore(servers.url, options)
  t.equal((await other.get('a'))?.version, back)
})

t.test('sentinels that do not know the master, are none, or do not answer are DATASTORE in words', { skip }, async t => {
  await using server = await startRedisServer()
  await t.rejects(openDatastore(`redis+sentinel://127.0.0.1:${server.port}/main`, options), {
    code: 'DATASTORE',
    message: /sentinel.*unknown command/i,
  })
  await using servers = await startRedisBehindSentinels({ downAfterMs: 60_000 })
  await t.rejects(openDatastore(servers.url.replace('/main', '/another'), options), { code: 'DATASTORE', message: /sentinel/ })
  const dead = createServer().listen(0, '127.0.0.1')
  await once(dead, 'listening')
  const { port } = dead.address() as AddressInfo
  dead.close()
  await once(dead, 'close')
  await t.rejects(openDatastore(`redis+sentinel://127.0.0.1:${port}/main`, options), { code: 'DATASTORE', message: /sentinel/ })
  // One that is gone does not matter as long as another one is there.
  await using store = await openDatastore(servers.url.replace('://', `://127.0.0.1:${port},`), options)
  t.type(await store.put('a', bytes('1')), 'string')
})
