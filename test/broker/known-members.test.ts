/** Whom a peer behind a broker takes for members, in whatever order news and answers come. */
import t from 'tap'
import type { MemberNews } from '../../lib/broker/directory-protocol.ts'
import { KnownMembers } from '../../lib/broker/known-members.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { HomingError } from '../../lib/errors.ts'
import type { Member } from '../../lib/sessions/directory.ts'
import { sessionOptions } from '../../lib/sessions/options.ts'

const member = (identity: string, incarnation = '1'): Member => ({
  identity,
  incarnation,
  endpoints: [],
  via: 'hub',
  role: 'peer',
  state: 'up',
  version: '0.1.0',
  machine: 'm',
  metadata: {},
})
const up = (identity: string, incarnation: string, told?: number): MemberNews => ({
  op: 'memberUp',
  member: member(identity, incarnation),
  ...(told !== undefined && { told }),
})
const down = (identity: string, incarnation: string, told?: number): MemberNews => ({
  op: 'memberDown',
  run: { identity, incarnation },
  why: 'lapsed',
  ...(told !== undefined && { told }),
})

function setUp(lookUp: (identity: string) => Member | undefined = () => undefined) {
  const time = new VirtualTime({ seed: 'known members' })
  const told: string[] = []
  const troubles: string[] = []
  let readings = 0
  let readable = true
  const known: KnownMembers = new KnownMembers({
    env: virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here'),
    options: sessionOptions({}),
    self: () => member('me'),
    handler: {
      memberUp: ({ identity, incarnation }) => void told.push(`up ${identity} ${incarnation}`),
      memberChanged: ({ identity, incarnation }) => void told.push(`changed ${identity} ${incarnation}`),
      memberDown: ({ identity, incarnation }, why) => void told.push(`down ${identity} ${incarnation} ${why}`),
    },
    lookUp: async identity => lookUp(identity),
    readAll: async () => {
      readings++
      if (!readable) throw new HomingError('DATASTORE', 'down')
    },
    trouble: ({ code }) => void troubles.push(code),
  })
  const names = (): string => known.members().map(({ identity, incarnation }) => identity + incarnation).join() // prettier-ignore
  return { time, known, told, troubles, names, readings: () => readings, reach: (now: boolean) => (readable = now) }
}

t.test('news that overtook the answer to a join are not undone by it', async t => {
  const { known, names, told } = setUp()
  known.joining()
  known.hear(up('d', '2', 5)) // after the broker had put its answer together
  known.joined([member('d', '1'), member('me')], 4)
  t.equal(names(), 'me1,d2')
  t.same(told, ['up d 1', 'down d 1 replaced', 'up d 2'])
  known.joining()
  known.hear(down('d', '2', 6))
  known.joined([member('d', '2'), member('e')], 5)
  t.equal(names(), 'me1,e1')
})

t.test('news that an answer includes say nothing new', async t => {
  const { known, names } = setUp()
  known.joining()
  known.hear(up('d', '1', 3))
  known.hear(down('d', '1', 4))
  known.joined([member('d', '2')], 5)
  known.hear(down('d', '2', 5)) // sent again, after a break
  t.equal(names(), 'me1,d2')
})

t.test('a list that is older than what was heard since is passed over; one of a time in which it joins again, too', async t => {
  const { known, names } = setUp()
  known.joining()
  known.joined([], 1)
  known.hear(up('d', '1', 2))
  known.listed([], 1, known.question)
  t.equal(names(), 'me1,d1')
  known.listed([member('d'), member('e')], 2, known.question)
  t.equal(names(), 'me1,d1,e1')
  known.joining()
  known.listed([member('x')], 9, known.question)
  t.equal(names(), 'me1,d1,e1')
})

t.test('who is named in an answer that has been told to be gone stays gone', async t => {
  const { known, names } = setUp()
  known.joining()
  known.joined([member('c')], 1)
  known.hear(down('c', '1', 2))
  known.met(member('c'))
  t.equal(names(), 'me1')
})

t.test('after a gap all are asked for, once, and until it succeeds', async t => {
  const { known, time, readings, reach, troubles, names } = setUp()
  known.joining()
  known.joined([], 1)
  reach(false)
  known.hear(up('d', '1', 3))
  known.hear(up('e', '1', 5))
  known.unheard()
  t.equal(names(), 'me1,d1,e1')
  t.equal(readings(), 1)
  await time.run(3_500)
  t.equal(readings(), 2)
  reach(true)
  await time.run(3_000)
  t.equal(readings(), 3)
  await time.run(30_000)
  t.equal(readings(), 3)
  t.same(troubles, ['DATASTORE', 'DATASTORE'])
  known.unheard()
  t.equal(readings(), 4)
})

t.test('who is missing at the next broker is looked for a lease later', async t => {
  const { known, time, names, told } = setUp(identity => (identity === 'd' ? member('d') : undefined))
  known.joining()
  known.joined([member('d'), member('e')], 7)
  known.joining()
  known.joined([], 1)
  await time.run(9_900)
  t.equal(names(), 'me1,d1,e1')
  await time.run(200)
  t.equal(names(), 'me1,d1')
  t.equal(told.at(-1), 'down e 1 left')
})

t.test('a broker that does not number its news is believed as it comes', async t => {
  const { known, names } = setUp()
  known.joining()
  known.hear(up('d', '2'))
  known.joined([member('d', '1')], undefined)
  t.equal(names(), 'me1,d1')
  known.met(member('e'))
  known.hear(up('d', '2'))
  known.hear(down('d', '1'))
  t.equal(names(), 'me1,e1,d2')
  known.listed([member('e'), member('f')], undefined, known.question)
  t.equal(names(), 'me1,e1,d2,f1')
})

t.test('after a standstill nothing counts that was told before all were asked for', async t => {
  const { known, time, readings, reach, names, told } = setUp()
  known.joining()
  known.joined([member('c'), member('d'), member('e')], 1)
  const { question } = known
  reach(false) // what is asked is answered below
  known.stoodStill()
  t.equal(readings(), 1)
  known.hear(down('c', '1', 2)) // was true when it was told
  known.hear(up('c', '1', 3))
  known.hear(down('e', '1', 4))
  known.listed([member('d')], 2, question) // asked for before
  known.hear(down('d', '1', 6)) // after the broker had put its answer together
  t.equal(names(), 'me1,c1,d1,e1')
  known.listed([member('c'), member('d')], 5, known.question)
  t.equal(names(), 'me1,c1')
  t.same(
    told.filter(each => each.startsWith('down')),
    ['down e 1 lapsed', 'down d 1 lapsed'],
  )
  reach(true)
  await time.run(3_000)
  t.equal(readings(), 2)
})

t.test('after a standstill within a join its answer may be old, too; another join puts all right', async t => {
  const { known, readings, reach, names } = setUp()
  known.joining()
  known.joined([member('c')], 1)
  reach(false)
  known.joining()
  known.hear(down('c', '1', 7))
  known.stoodStill()
  t.equal(readings(), 0)
  known.joined([member('c')], 6)
  t.equal(readings(), 1)
  t.equal(names(), 'me1,c1')
  known.joining()
  known.joined([member('c')], 3)
  known.hear(down('c', '1', 4))
  t.equal(names(), 'me1')
})

t.test('ended, it asks no more', async t => {
  const { known, time, readings, reach } = setUp()
  reach(false)
  known.joining()
  known.joined([], 1)
  known.unheard()
  known.end()
  await time.run(30_000)
  known.unheard()
  t.equal(readings(), 1)
})
