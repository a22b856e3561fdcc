/** A peer that holds 100,000 clients. */
import t from 'tap'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'
import { Child } from '../support/processes.ts'

t.setTimeout(150_000)

t.test('100,000 clients connect in one call, one record each, and hold less than 64 MiB of heap', async t => {
  const folder = `${t.testdir()}/store`
  const child = new Child(t)
  await child.ask('peer', { identity: 'one', store: `lmdb:${folder}` })
  const { ms } = await child.ask('connectMany', 100_000)
  t.ok(ms < 10_000, `connected in ${Math.round(ms)} ms`)

  await using store = await lmdbDatastore({ folder, base: undefined, operationTimeoutMs: 5_000 })
  let records = 0
  for await (const _ of store.keys('homing:homing:sessions:')) records++
  t.equal(records, 100_000, 'one record each')

  const { heapBytes, residentBytes } = await child.ask('memory')
  t.ok(heapBytes < 64 * 2 ** 20, `${Math.round(heapBytes / 2 ** 20)} MiB of heap are held`)
  t.comment(`${Math.round(residentBytes / 2 ** 20)} MiB resident`)
})
