/** A peer that holds 100,000 clients. */
import t from 'tap'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'
import { Child } from '../support/processes.ts'

t.setTimeout(150_000)

t.test('100,000 clients connect in one call, one record each, and take less than 150 MiB', async t => {
  const folder = `${t.testdir()}/store`
  const child = new Child(t)
  await child.ask('peer', { identity: 'one', store: `lmdb:${folder}` })
  const { ms } = await child.ask('connectMany', 100_000)
  t.ok(ms < 10_000, `connected in ${Math.round(ms)} ms`)

  await using store = await lmdbDatastore({ folder, base: undefined, operationTimeoutMs: 5_000 })
  let records = 0
  for await (const _ of store.keys('homing:homing:sessions:')) records++
  t.equal(records, 100_000, 'one record each')

  // What it holds: the garbage of the connecting itself, some 100 MiB, Node gives back when it is idle or in need.
  let mebibytes = Infinity
  for (let look = 0; look < 20 && mebibytes >= 150; look++) {
    await new Promise(resolve => setTimeout(resolve, 500))
    mebibytes = (await child.ask('resident')) / 2 ** 20
  }
  t.ok(mebibytes < 150, `${Math.round(mebibytes)} MiB resident`)
})
