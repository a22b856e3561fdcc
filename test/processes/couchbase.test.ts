/** Whole peers on Couchbase, whose client is native code with threads of its own. */
import t from 'tap'
import { couchbaseMissing, startCouchbase } from '../support/couchbase-server.ts'
import { Child } from '../support/processes.ts'

const missing = couchbaseMissing()
if (missing) t.test('Couchbase', { skip: missing }, async () => {})

const times = { leaseMs: 3_000, renewEveryMs: 600, guardMs: 600 }
const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

if (!missing) {
  t.test('a busy peer is not a dead one; a killed one is, after its lease', async t => {
    await using server = await startCouchbase()
    const [one, two] = [new Child(t), new Child(t)]
    await Promise.all([one, two].map((child, i) => child.ask('peer', { identity: `peer-${i}`, store: server.url, ...times })))
    await one.ask('connect', 'alice')
    t.equal((await two.ask('send', 'alice', 'before')).status, 'delivered')
    const busy = one.ask('block', 2 * times.leaseMs)
    await pass(1.5 * times.leaseMs)
    const meanwhile = two.ask('send', 'alice', 'meanwhile')
    await busy
    t.equal((await meanwhile).status, 'delivered')
    t.same(await one.ask('got', 'alice'), ['before', 'meanwhile'])

    await one.kill()
    const killedMs = performance.now()
    for (;;) {
      const { status } = await two.ask('send', 'alice', 'anybody?', { deadlineMs: 100 })
      if (status === 'absent' || performance.now() - killedMs > 3 * times.leaseMs) break
    }
    const tookMs = performance.now() - killedMs
    t.ok(tookMs <= times.leaseMs + 2_000, `absent after ${Math.round(tookMs)} ms`)
  })
}
