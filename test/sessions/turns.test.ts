/** Calls that share an address end in the order in which they were made; others do not wait for each other. */
import fc from 'fast-check'
import t from 'tap'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { Turns } from '../../lib/sessions/turns.ts'
import { settle } from './stepped-datastore.ts'

const calls = fc.array(fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1 }), { minLength: 1, maxLength: 8 })

t.test('in any order in which calls get their answers', async t => {
  await fc.assert(
    fc.asyncProperty(calls, fc.infiniteStream(fc.nat()), async (addresses, picks) => {
      const time = new VirtualTime({ seed: 'turns' })
      const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
      const turns = new Turns()
      const pick = picks[Symbol.iterator]()
      const ended: number[] = []
      const waiting = addresses.map((of, number) => ({ of, number, turn: turns.enter(of) }))
      while (waiting.length > 0) {
        const [{ number, turn }] = waiting.splice(pick.next().value % waiting.length, 1) as [(typeof waiting)[number]]
        // Its answer is there: it ends as soon as its turn comes.
        void turn.come(env, env.clock.monotonicMs() + 1_000).then(() => {
          ended.push(number)
          turn.leave()
        })
        await settle()
        // Whoever has its answer and shares no address with an earlier call that has none, has ended.
        const blocked = new Set<number>()
        for (const [at, of] of addresses.entries()) {
          const earlier = addresses.slice(0, at).some((other, k) => blocked.has(k) && other.some(address => of.includes(address)))
          if (earlier || waiting.some(one => one.number === at)) blocked.add(at)
        }
        for (const at of addresses.keys()) if (ended.includes(at) === blocked.has(at)) return false
      }
      return addresses.every((of, at) =>
        addresses.slice(0, at).every((other, k) => !other.some(a => of.includes(a)) || ended.indexOf(k) < ended.indexOf(at)),
      )
    }),
    { numRuns: 300 },
  )
  t.pass('held for all')
})

t.test('a call that never ends holds up those behind it until their deadline, and no longer', async t => {
  const time = new VirtualTime({ seed: 'turns' })
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  const turns = new Turns()
  turns.enter(['a', 'b'])
  let came = false
  void turns
    .enter(['b'])
    .come(env, env.clock.monotonicMs() + 500)
    .then(() => (came = true))
  await time.run(400)
  t.notOk(came)
  await time.run(200)
  t.ok(came)
})

t.test('a call that fails before its turn does not let those behind it pass those before it', async t => {
  const time = new VirtualTime({ seed: 'turns' })
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  const turns = new Turns()
  const [first, failed, last] = [turns.enter(['a', 'b']), turns.enter(['a']), turns.enter(['a'])]
  let came = false
  void last.come(env, env.clock.monotonicMs() + 1_000).then(() => (came = true))
  failed.leave()
  await settle()
  t.notOk(came)
  await first.come(env, env.clock.monotonicMs() + 1_000)
  first.leave()
  await settle()
  t.ok(came)
})
