/** Questions that wait for a broker, with a signal that outlives them. */
import { getEventListeners } from 'node:events'
import t from 'tap'
import { BrokerCalls } from '../../lib/broker/broker-calls.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'

t.test('who waited for a broker leaves nothing at its signal, whether one came or not', async t => {
  const time = new VirtualTime({ seed: 1 })
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  const router = { call: () => Promise.resolve(null) }
  const calls = new BrokerCalls({ env, router, joinAgain: () => {} })
  const { signal } = new AbortController()
  const inVain = t.rejects(calls.present(time.nowMs + 100, signal), { code: 'DATASTORE' })
  const comes = calls.present(time.nowMs + 1_000, signal)
  t.equal(getEventListeners(signal, 'abort').length, 2)
  await time.run(200)
  await inVain
  t.equal(getEventListeners(signal, 'abort').length, 1)
  const hub = { identity: 'hub', incarnation: '1' }
  calls.linkUp(hub)
  calls.joins()
  calls.wake()
  t.equal(await comes, hub)
  t.equal(getEventListeners(signal, 'abort').length, 0)
})
