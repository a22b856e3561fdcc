/** F26: what strangers may take before they have proved themselves, and that others come in meanwhile. */
import t from 'tap'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { Visit } from '../../lib/env/env.ts'
import { Gate } from '../../lib/link/gate.ts'
import { linkOptions } from '../../lib/link/options.ts'

interface Caller {
  visit: Visit | undefined
  isCut: boolean
}

function world(given = {}) {
  const time = new VirtualTime({ seed: 1 })
  const gate = new Gate(time.clock, linkOptions(given))
  const call = (host: string): Caller => {
    const caller: Caller = { visit: undefined, isCut: false }
    caller.visit = gate.enter(host, () => (caller.isCut = true))
    return caller
  }
  return { time, gate, call }
}

t.test('F26: of one host so many at a time: the one that has taken longest makes room', async t => {
  const { gate, call } = world({ strangersPerHostMax: 3, handshakesPerSecondMax: 1_000 })
  const proven = call('a')
  proven.visit!.proved()
  const callers = ['a', 'a', 'a', 'a', 'b'].map(call)
  t.same(
    callers.map(({ isCut }) => isCut),
    [true, false, false, false, false],
  )
  t.equal(gate.strangers, 4)
  callers[1]!.visit!.left()
  callers[1]!.visit!.left()
  t.equal(gate.strangers, 3, 'it leaves once')
  t.equal(call('a').isCut || callers[2]!.isCut, false)
})

t.test('F26: of all together so many: the greediest host makes room', async t => {
  const { call } = world({ strangersMax: 10, strangersPerHostMax: 8 })
  const greedy = Array.from({ length: 7 }, () => call('greedy'))
  const modest = [call('m1'), call('m2'), call('m3')]
  const late = Array.from({ length: 5 }, (_, at) => call(`late-${at}`))
  t.equal(greedy.filter(({ isCut }) => isCut).length, 5)
  t.equal([...modest, ...late].filter(({ isCut, visit }) => isCut || !visit).length, 0)
  t.same(
    greedy.map(({ isCut }) => isCut),
    [true, true, true, true, true, false, false],
    'its oldest first',
  )
})

t.test('F26: a rate for all hosts of which nobody has proved himself, and one for each other', async t => {
  const { time, gate, call } = world({ handshakesPerSecondMax: 100, strangersPerHostMax: 10, strangersMax: 1_000 })
  const member = call('member')
  member.visit!.proved()
  const came = (hosts: string[]): number => hosts.map(call).filter(({ visit }) => visit).length
  const crowd = Array.from({ length: 500 }, (_, at) => `crowd-${at}`)
  t.equal(came(crowd), 99, 'one of the hundred was the member’s first')
  t.equal(gate.turnedAway, 401)
  t.equal(came(['stranger']), 0)
  t.equal(came(Array(500).fill('member') as string[]), 100, 'the member’s host has a rate of its own')
  await time.run(500)
  t.equal(came(crowd), 50)
  await time.run(10_000)
  t.equal(came(Array(500).fill('single') as string[]), 10, 'a single host takes no more in a second than it may have at a time')
  t.equal(came(crowd), 90)
})

t.test('F26: a host that nobody has heard of comes in beside hosts that come and go', async t => {
  const { time, call } = world({ handshakesPerSecondMax: 100, strangersPerHostMax: 10, strangersMax: 1_000 })
  const attack = (): void => {
    for (let at = 0; at < 300; at++) call(`bad-${at % 50}`).visit?.left()
  }
  attack()
  await time.run(2_000)
  for (let second = 0; second < 10; second++) {
    attack()
    const fresh = Array.from({ length: 5 }, (_, at) => call(`fresh-${second}-${at}`))
    t.equal(fresh.filter(({ visit }) => visit).length, 5)
    await time.run(1_000)
  }
})

t.test('networks of IPv6 count as one host, addresses of IPv4 each for itself', async t => {
  const { call } = world({ strangersPerHostMax: 2, handshakesPerSecondMax: 1_000 })
  const cut = (...hosts: string[]): number => {
    const callers = hosts.map(call)
    return callers.filter(({ isCut, visit }) => isCut || !visit).length
  }
  t.equal(cut('2001:db8:1:2::1', '2001:db8:1:2::2', '2001:db8:1:2:3:4:5:6'), 1)
  t.equal(cut('2001:db8:1:3::1', '2001:db8:1:3::2'), 0)
  t.equal(cut('::1', '::2', '0:0:0:0:9::'), 1)
  t.equal(cut('fe80::1%eth0', 'fe80::2%eth1', 'fe80::3'), 1)
  t.equal(cut('10.0.0.1', '10.0.0.2', '10.0.0.3'), 0)
})

t.test('hosts are remembered within bounds, those that proved themselves first of all', async t => {
  const { time, call } = world({ handshakesPerSecondMax: 1_000_000, strangersPerHostMax: 1_000_000 })
  call('member').visit!.proved()
  for (let at = 0; at < 20_000; at++) {
    call(`host-${at}`).visit?.left()
    if (at % 5_000 === 0) await time.run(1_000)
  }
  t.ok(call('member').visit)
})
