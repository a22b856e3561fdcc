/** A peer that holds 100,000 clients. */
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'
import { Child } from '../support/processes.ts'

t.setTimeout(150_000)

const mib = 2 ** 20
/** Node gives memory back when the process has been idle for some seconds. */
const untilIdleMs = 60_000

t.test('100,000 clients connect in one call, one record each, and take less than 150 MiB of memory', async t => {
  const folder = `${t.testdir()}/store`
  const child = new Child(t)
  await child.ask('peer', { identity: 'one', store: `lmdb:${folder}` })
  const { ms } = await child.ask('connectMany', 100_000)
  t.ok(ms < 10_000, `connected in ${Math.round(ms)} ms`)
  const { peakBytes } = await child.ask('memory')
  t.ok(peakBytes < 200 * mib, `${Math.round(peakBytes / mib)} MiB resident at most while they connected`)

  await using store = await lmdbDatastore({ folder, base: undefined, operationTimeoutMs: 5_000 })
  let records = 0
  for await (const _ of store.keys('homing:homing:sessions:')) records++
  t.equal(records, 100_000, 'one record each')

  const endMs = performance.now() + untilIdleMs
  let { residentBytes } = await child.ask('memory')
  while (residentBytes >= 150 * mib && performance.now() < endMs) {
    await setTimeout(1_000)
    ;({ residentBytes } = await child.ask('memory'))
  }
  t.ok(residentBytes < 150 * mib, `${Math.round(residentBytes / mib)} MiB resident`)
})
