/** Histories as they should be: most look wrong to a rule that does not know what is promised. */
import { diesBehindABroker, forgetsNewer, givenUpAndTaken, type Story } from './story.ts'

export const good: readonly Story[] = [
  {
    name: 'a message is sent, delivered and taken',
    tell({ a, b }) {
      const bob = b.connects(10, 'bob')
      const message = a.sends(20, 'bob', 'hello').gets(24, 'delivered')
      bob.takes(22, message)
    },
  },
  {
    name: 'what waited for a busy client died with its process',
    tell({ a, b }, world) {
      b.connects(10, 'bob').isBusyWithOneOf(a, 'two')
      world.kill(6_000, b)
      world.until(20_000)
    },
  },
  {
    name: 'what waited for a turn of the loop died with its process, which had stood still until right before',
    tell({ a, b }, world) {
      b.connects(10, 'bob')
      a.sends(5_001, 'bob', 'hello').gets(5_002, 'delivered')
      world.fault(5_010, { fault: 'block', name: 'b', forMs: 2_000 })
      world.kill(7_013, b)
      world.until(20_000)
    },
  },
  {
    name: 'what waited for a busy client went with it when it was disconnected',
    tell({ a, b }, world) {
      b.connects(10, 'bob').isBusyWithOneOf(a, 'two').ends(6_000, 'disconnected')
      world.until(20_000)
    },
  },
  {
    name: 'the only broker died before it could say who lost the address',
    tell({ a, b }, world) {
      const hub = world.broker('hub')
      a.connects(10_000, 'bob')
      const newer = b.connects(20_000, 'bob')
      world.kill(20_001, hub)
      a.tells(25_500, { what: 'storeDown' })
      b.tells(25_500, { what: 'storeDown' })
      newer.ends(27_000, 'disconnected')
      world.until(28_000)
    },
  },
  {
    name: 'a hand-over left one behind, and said so',
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob').isBusyWithOneOf(a, 'two')
      const newer = c.connects(6_000, 'bob').lacks(7_001, former, 1)
      former.ends(9_000, 'displaced')
      newer.takes(7_101, a.sends(7_100, 'bob', 'three').gets(7_102, 'delivered'))
      world.until(20_000)
    },
  },
  {
    name: 'what a busy client had moved on with the address, and died at the new owner',
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob').isBusyWithOneOf(a, 'two')
      c.connects(6_000, 'bob')
      former.ends(6_002, 'displaced')
      world.kill(6_004, c)
      world.until(20_000)
    },
  },
  {
    name: 'what was left behind came late to one that had been displaced before, from one whose connect was answered late',
    tell({ a, b, c, d }, world) {
      const late = b.connects(4_900, 'bob', { tookMs: 1_000 })
      const between = c.connects(5_100, 'bob')
      between.ends(5_300, 'displaced')
      const last = d.connects(5_200, 'bob').lacks(6_210, between)
      a.sends(6_000, 'bob', 'one').gets(6_002, 'delivered')
      late.ends(6_010, 'displaced')
      last.takes(6_301, a.sends(6_300, 'bob', 'two').gets(6_302, 'delivered'))
      world.until(20_000)
    },
  },
  {
    name: 'nobody reads what a client without a handler has',
    tell({ a, b }, world) {
      b.connects(10, 'bob', { reads: true })
      a.sends(20, 'bob', 'hello').gets(24, 'delivered')
      world.until(20_000)
    },
  },
  {
    name: 'work that is asked for twice is completed once, with one result',
    tell({ a, b }) {
      a.asks(10, 'letter', 30, 'sent it')
      b.asks(15, 'letter', 31, 'sent it')
      b.tells(29, { what: 'serviceCompleted', type: 'mail', id: 'letter', hash: 'sent it' })
    },
  },
  {
    name: 'after ten minutes an id is new work',
    tell({ a }) {
      for (const atMs of [1_000, 700_000]) {
        a.asks(atMs, 'letter', atMs + 20, `sent it at ${atMs}`)
        a.tells(atMs + 19, { what: 'serviceCompleted', type: 'mail', id: 'letter', hash: `sent it at ${atMs}` })
      }
    },
  },
  {
    name: 'while two own the address, the former one takes late what it had accepted early',
    tell({ a, b, c }) {
      const former = b.connects(10, 'bob')
      const first = a.sends(1_000, 'bob', 'one').gets(1_002, 'delivered')
      const newer = c.connects(1_010, 'bob').lacks(2_020, former)
      newer.takes(2_031, a.sends(2_030, 'bob', 'two').gets(2_032, 'delivered'))
      former.takes(2_050, first).ends(4_000, 'displaced')
    },
  },
  {
    name: 'an unknown message reaches the former owner after a later one has reached the new owner',
    tell({ a, b, c }) {
      const former = b.connects(10, 'bob')
      const first = a.sends(1_000, 'bob', 'one', 500).gets(1_500, 'unknown')
      const newer = c.connects(1_600, 'bob')
      newer.takes(2_701, a.sends(2_700, 'bob', 'two').gets(2_702, 'delivered'))
      former.takes(2_800, first).ends(4_000, 'displaced')
    },
  },
  {
    name: 'a broadcast comes twice to a client that moved meanwhile',
    tell({ a, b, c }) {
      const notice = a.broadcasts(100, 'restart at 5').reaches(110, 2)
      const former = b.connects(10, 'bob').takes(101, notice)
      const newer = c.connects(102, 'bob')
      former.ends(104, 'displaced')
      newer.takes(105, notice)
    },
  },
  {
    name: 'what was sent last by a process that was killed is taken after its death',
    tell({ a, b }, world) {
      const bob = b.connects(10, 'bob')
      const last = a.sends(20, 'bob', 'famous last words')
      world.kill(21, a)
      bob.takes(22, last)
      world.until(30_000)
    },
  },
  {
    name: 'what is unknown may have been taken, or not',
    tell({ a, b }) {
      const bob = b.connects(10, 'bob')
      bob.takes(25, a.sends(20, 'bob', 'one', 500).gets(520, 'unknown'))
      a.sends(30, 'bob', 'two', 500).gets(530, 'unknown')
    },
  },
  {
    name: 'a former owner learns late of the new one, because the datastore was down',
    tell({ b, c }, world) {
      const former = b.connects(10, 'bob')
      c.connects(1_000, 'bob')
      world.fault(1_100, { fault: 'storeDown' })
      world.fault(31_100, { fault: 'storeUp' })
      former.ends(35_000, 'displaced')
      world.until(60_000)
    },
  },
  {
    name: 'a server is judged dead across a split of the datastore that goes on when an outage of it ends',
    tell({ a, b }, world) {
      a.judges(3_000, b, 'up')
      world.fault(5_000, { fault: 'storeSplit' })
      world.fault(6_000, { fault: 'storeDown' })
      world.fault(7_000, { fault: 'storeUp' })
      a.judges(18_000, b, 'lapsed')
      world.fault(19_000, { fault: 'storeWhole' })
      a.judges(19_100, b, 'up')
      world.until(60_000)
    },
  },
  {
    name: 'with "stop", what came while the former owner was not sure waits, until the address is its own again',
    options: { whenStoreIsDown: 'stop' },
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      world.fault(900, { fault: 'storeDown', name: 'b' })
      c.connects(1_000, 'bob').ends(20_000, 'displaced')
      b.tells(5_000, { what: 'lease', state: 'unsure' })
      b.tells(5_001, { what: 'storeDown' })
      b.tells(19_000, { what: 'storeUp' })
      const waits = a.sends(19_990, 'bob', 'hello').gets(25_120, 'delivered')
      world.fault(25_000, { fault: 'storeUp', name: 'b' })
      b.tells(25_100, { what: 'lease', state: 'sure' })
      former.takes(25_110, waits)
      world.until(40_000)
    },
  },
  {
    name: 'with "stop", both owners go on as long as each has a part of a split datastore',
    options: { whenStoreIsDown: 'stop' },
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      world.fault(900, { fault: 'storeSplit' })
      c.connects(1_000, 'bob')
      former.takes(21_001, a.sends(21_000, 'bob', 'hello').gets(21_002, 'delivered'))
      world.fault(30_000, { fault: 'storeWhole' })
      former.ends(32_000, 'displaced')
    },
  },
  {
    name: 'with "stop", the former owner has the address again where the datastore lost the newer claim, and the newer one stopped',
    options: { whenStoreIsDown: 'stop' },
    tell({ a, b, c }, world) {
      forgetsNewer(b.connects(10, 'bob'), c.connects(1_000, 'bob'), a, world)
    },
  },
  {
    name: 'a claim whose owner was killed goes to the next one at once',
    tell({ b, c }, world) {
      b.connects(10, 'bob')
      world.kill(1_000, b)
      c.connects(1_001, 'bob')
      world.until(60_000)
    },
  },
  {
    name: 'who stood still at a deadline answers right after, who slept by its own clock, who died not at all',
    tell({ a, b, c }, world) {
      a.sends(1_000, 'nobody', 'still', 2_000).gets(9_050, 'expired')
      world.fault(2_000, { fault: 'stall', name: 'a', forMs: 7_000 })
      b.sends(1_000, 'nobody', 'asleep', 2_000).gets(8_050, 'expired')
      world.fault(2_000, { fault: 'suspend', name: 'b', forMs: 5_000 })
      c.sends(1_000, 'nobody', 'dead', 2_000)
      world.kill(2_000, c)
      world.until(60_000)
    },
  },
  {
    name: 'a killed server is still a member twenty seconds later: in the datastore a read, and a write over it, took longer than a renewal may',
    tell({ a, b }, world) {
      a.judges(3_000, b, 'up')
      world.kill(5_000, b)
      world.fault(8_000, { fault: 'storeSlow', slowMs: 500 })
      world.fault(15_000, { fault: 'storeSlow', slowMs: 1 })
      a.judges(25_000, b, 'lapsed')
    },
  },
  {
    name: 'one that is stopped asks before and is killed where it stands: its deadline passed in its sleep, and it lapsed before it died',
    tell({ a, b }, world) {
      a.judges(500, b, 'up')
      b.sends(1_000, 'nobody', 'hello', 2_000)
      world.fault(2_000, { fault: 'stall', name: 'b' })
      a.judges(13_000, b, 'lapsed')
      world.kill(20_000, b)
      world.until(60_000)
    },
  },
  {
    name: 'two readers of a topic, one of them with a gap that it is told of',
    tell({ a, b, c }, world) {
      a.fills('news', ['zero', 'one', 'two', 'three'])
      b.reads(100, 'news', ['zero', 'one', 'two', 'three'])
      c.reads(100, 'news', ['zero'])
      c.tells(110, { what: 'topicGap', topic: 'news', reader: 1, offset: 3 })
      c.reads(120, 'news', ['three'], 3)
      world.until(1_000)
    },
  },
  {
    name: 'two sites take in what a third one accepted, each once and in order',
    tell({ a, b }) {
      for (const seq of [1, 2, 3]) {
        a.tells(seq, { what: 'siteExported', source: 'oslo', seq, hash: `record ${seq}` })
        b.tells(100 + seq, { what: 'siteImported', site: 'rome', source: 'oslo', seq, hash: `record ${seq}` })
        b.tells(200 + seq, { what: 'siteImported', site: 'wien', source: 'oslo', seq, hash: `record ${seq}` })
      }
    },
  },
  {
    name: 'a killed server, and one that stood still for longer than its lease, are judged dead; one that closed has left',
    tell({ a, b, c, d }, world) {
      for (const other of [b, c, d]) a.judges(3_000, other, 'up')
      world.kill(5_000, b)
      a.judges(16_000, b, 'lapsed')
      world.fault(20_000, { fault: 'stall', name: 'c', forMs: 30_000 })
      a.judges(31_000, c, 'lapsed')
      d.tells(60_000, { what: 'closing' })
      a.judges(60_010, d, 'left')
      d.tells(60_020, { what: 'closed' })
      world.until(90_000)
    },
  },
  {
    name: 'a machine that lost its power is a member until a lease after its broker found the link silent',
    tell: (_, world) => diesBehindABroker(world, 9_500),
  },
  {
    name: 'one process is killed and exits by that, another closes and exits with 0, within its bound of memory',
    tell({ a, b }, world) {
      world.kill(1_000, a)
      world.exit(1_005, a, null)
      b.tells(1_500, { what: 'measured', of: 'heap', value: 50e6, valueMax: 64e6 })
      b.tells(2_000, { what: 'closing' })
      b.tells(2_010, { what: 'closed' })
      world.exit(2_020, b, 0)
    },
  },
  {
    name: 'who was displaced has not heard of it yet, and who displaced it has left again: absent',
    options: { atomicPut: true },
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      c.connects(40_000, 'bob').ends(40_100, 'disconnected')
      a.sends(40_200, 'bob', 'hello').gets(40_210, 'absent')
      former.ends(41_500, 'displaced')
      world.until(50_000)
    },
  },
  {
    name: 'nobody holds the address: it is reported absent before an outage, at its begin, and after it',
    options: { atomicPut: true },
    tell({ a }, world) {
      a.sends(4_000, 'bob', 'one').gets(4_010, 'absent')
      a.sends(4_995, 'bob', 'two').gets(5_005, 'absent')
      world.fault(5_000, { fault: 'storeDown' })
      a.sends(5_100, 'bob', 'three').gets(6_010, 'absent')
      world.fault(6_000, { fault: 'storeUp' })
      world.until(20_000)
    },
  },
  {
    name: 'an address leaves a draining peer, and comes nowhere for longer than it is waited for',
    options: { atomicPut: true },
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      b.tells(5_000, { what: 'draining' })
      former.ends(5_010, 'disconnected')
      a.sends(5_100, 'bob', 'hello').gets(10_100, 'absent')
      c.connects(10_050, 'bob', { tookMs: 400 })
      world.until(20_000)
    },
  },
  {
    name: 'a message that was given up was on its way over a line that drips',
    tell(cast, world) {
      world.fault(3_000, { fault: 'drip', from: 'a', to: 'b' })
      world.fault(13_000, { fault: 'heal', from: 'a', to: 'b' })
      givenUpAndTaken(cast, world, 12_103)
    },
  },
  {
    name: 'a message that was given up was on its way over a line on which a window takes a minute',
    tell(cast, world) {
      world.fault(3_000, { fault: 'narrow', bytesPerMs: 60 })
      world.fault(13_000, { fault: 'narrow' })
      givenUpAndTaken(cast, world, 12_103)
    },
  },
  {
    name: 'a message that was given up was on its way over a path that was not known to be broken',
    options: { atomicPut: true },
    tell(cast, world) {
      givenUpAndTaken(cast, world, 9_103)
    },
  },
  {
    name: 'two connect at once: the one that asked first is written last, and stays',
    options: { atomicPut: true },
    tell({ b, c }, world) {
      b.connects(5_000, 'bob', { tookMs: 50 })
      c.connects(5_010, 'bob').ends(5_060, 'displaced')
      world.until(20_000)
    },
  },
]
