/** Three servers of ZooKeeper, of which any may be behind, or gone. */
import t from 'tap'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { HomingError } from '../../lib/errors.ts'
import { ask, startZooKeeperEnsemble, type ZooKeeperServer, zooKeeperMissing } from '../support/zookeeper-server.ts'

const missing = zooKeeperMissing()
const options = { operationTimeoutMs: 2_000, cluster: 'test' }
const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)
/** FAULTS.md, F5. */
const recoveryMsMax = 2_000

async function isLeader({ port }: ZooKeeperServer): Promise<boolean> {
  return (await ask(port, 'srvr')).includes('Mode: leader')
}

async function answered<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof HomingError) || error.code !== 'DATASTORE') throw error
      await new Promise(resolve => setTimeout(resolve, 5)) // not back yet
    }
  }
}

async function listed(store: Datastore, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys(prefix)) keys.push(key)
  return keys
}

t.test('an ensemble', { skip: missing ?? false }, async t => {
  await using ensemble = await startZooKeeperEnsemble()
  const { servers } = ensemble

  await t.test('what any server has acknowledged, one that follows shows at once, to every kind of reading', async t => {
    const stores = await Promise.all(servers.map(({ url }) => openDatastore(url, options)))
    const leads = await Promise.all(servers.map(isLeader))
    const followers = stores.filter((_, i) => !leads[i])
    const stale: string[] = []
    for (let i = 0; i < 900; i++) {
      const writer = stores[i % 3]!
      const [one = writer, other = one] = followers.filter(store => store !== writer)
      const key = `homing:c:sessions:${i}`
      const version = (await writer.put(key, bytes(`${i}`), { ifVersion: null, ...(i % 2 && { ttlMs: 60_000 }) }))!
      if (text(await one.get(key)) !== `${i}`) stale.push(`${i}: get`)
      if (text((await other.getMany([key, 'nowhere']))[0]) !== `${i}`) stale.push(`${i}: getMany`)
      if (i % 30 === 0 && (await listed(one, key)).length !== 1) stale.push(`${i}: keys`)
      if (i % 3 === 0) {
        // Without a version there is a look first: what it does not see, it would not remove.
        await one.delete(key)
        if (await other.get(key)) stale.push(`${i}: delete`)
      } else if ((await one.put(key, bytes('next'), { ifVersion: version })) === undefined) stale.push(`${i}: put`)
    }
    t.same(stale, [])
    await Promise.all(stores.map(store => store[Symbol.asyncDispose]()))
  })

  await t.test('while one of three is away, the others are used, soon after', async t => {
    for (const which of ['follower', 'leader'] as const) {
      const leads = await Promise.all(servers.map(isLeader))
      const at = leads.indexOf(which === 'leader')
      // It goes first to the one that is going to be killed.
      const hosts = [servers[at]!, ...servers.filter((_, i) => i !== at)].map(({ port }) => `127.0.0.1:${port}`)
      const { random } = Math
      Math.random = () => 0
      await using store = await openDatastore(`zookeeper://${hosts.join(',')}/test`, { ...options, operationTimeoutMs: 1_000 })
      Math.random = random
      const version = await store.put(`homing:c:sessions:${which}`, bytes('1'))
      await servers[at]!.kill()
      if (which === 'leader') while (!(await Promise.all(servers.map(isLeader))).includes(true));
      const sinceMs = performance.now()
      t.equal((await answered(() => store.get(`homing:c:sessions:${which}`)))?.version, version)
      const tookMs = performance.now() - sinceMs
      t.ok(tookMs < recoveryMsMax, `${which}: ${Math.round(tookMs)} ms`)
      t.type(await answered(() => store.put(`homing:c:sessions:${which}`, bytes('2'), { ifVersion: version! })), 'string')
      await servers[at]!.restart()
    }
  })
})
