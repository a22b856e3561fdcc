/** What of all that a peer holds is checked against the datastore, and when. */
import t from 'tap'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { HeldAudit } from '../../lib/sessions/held-audit.ts'
import { SessionStore } from '../../lib/sessions/session-store.ts'

t.test('a few are checked with each renewal, also where notes come with each of them', async t => {
  const time = new VirtualTime({ seed: 1 })
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  await using sessions = new SessionStore({ env, datastore: new MemoryEngine(time.clock).connect(), cluster: 'test' })
  const run = { identity: 'a', incarnation: 'run-a' }
  const bob = { address: 'bob', claim: 1 }
  const untilMs = env.clock.monotonicMs() + 1_000
  // Whoever takes it says nothing: it has died since.
  const claims = [run, { identity: 'b', incarnation: 'run-b' }].map(by => sessions.claimMany(by, [bob], untilMs))
  await time.run(100)
  await Promise.all(claims)
  const displaced: string[] = []
  const failed: unknown[] = []
  let done = 0
  const audit = new HeldAudit({
    env,
    sessions,
    run,
    batchTimeoutMs: 1_000,
    held: () => [bob],
    displaced: (address, _, by) => displaced.push(`${address} by ${by?.identity}`),
    done: () => done++,
    failed: error => failed.push(error),
  })
  audit.checkNoted()
  audit.checkSome()
  await time.run(100)
  t.same(displaced, ['bob by b'])
  t.same(failed, [])
  t.equal(done, 1)
  t.ok(audit.idle)
  await audit.stop()
})
