/** What a membership says of others by what it read, and when. */
import t from 'tap'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { Member } from '../../lib/sessions/directory.ts'
import { Membership } from '../../lib/sessions/membership.ts'
import { sessionOptions } from '../../lib/sessions/options.ts'
import type { PeerEntry, PeerRecords } from '../../lib/sessions/peer-records.ts'

const options = sessionOptions({})
const { leaseMs, renewEveryMs } = options

function member(identity: string): Member {
  return {
    identity,
    incarnation: `run-${identity}`,
    endpoints: [],
    role: 'peer',
    state: 'up',
    version: '0.1.0',
    machine: 'here',
    metadata: {},
  }
}

/** `us` knows of `ann`, whose beat stands still; `answersInMs`: how long a reading takes. */
async function silentAnn() {
  const time = new VirtualTime({ seed: 1 })
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'us')
  const world = { beat: 1, answersInMs: 0, underWay: 0, told: [] as string[] }
  const read = async (): Promise<Map<string, PeerEntry>> => {
    const entries = ['us', 'ann'].map(identity => ({ member: member(identity), beat: world.beat, version: '1' }))
    world.underWay++
    await new Promise<void>(resolve => void env.timers.after(world.answersInMs, resolve))
    world.underWay--
    return new Map(entries.map(entry => [entry.member.identity, entry]))
  }
  const membership = new Membership({
    env,
    records: { atomic: true, readAll: read, getMany: read } as unknown as PeerRecords,
    options,
    self: () => member('us'),
    handler: {
      memberUp: ({ identity }) => void world.told.push(`up ${identity}`),
      memberChanged: () => {},
      memberDown: ({ identity }, why) => void world.told.push(`down ${identity} ${why}`),
      selfSeen: () => {},
      trouble: error => t.error(error),
    },
  })
  membership.ownRenewed()
  const renewing = env.timers.every(renewEveryMs, () => membership.ownRenewed())
  void membership.begin()
  await time.run(leaseMs - renewEveryMs)
  t.same(world.told, ['up ann'])
  const end = async (): Promise<void> => {
    renewing.cancel()
    await membership.stop()
  }
  return { time, world, end }
}

t.test('F1: who is silent for a lease is judged by the next reading', async t => {
  const { time, world, end } = await silentAnn()
  await time.run(2 * renewEveryMs)
  t.same(world.told, ['up ann', 'down ann lapsed'])
  await end()
})

t.test('F11: nobody is judged by what was read before this machine slept', async t => {
  const { time, world, end } = await silentAnn()
  world.answersInMs = 50
  // The reading that would show the lapse is on its way when the machine falls asleep; ann has come back when it wakes.
  await time.until(() => world.underWay > 0 && time.nowMs >= leaseMs, 2 * leaseMs)
  t.same(world.told, ['up ann'])
  time.suspend('us', 2 * leaseMs)
  world.beat = 2
  await time.run(2 * leaseMs + 3 * renewEveryMs)
  t.same(world.told, ['up ann'])
  await end()
})
