/** Histories in which one promise is broken, each by one rule alone. Several differ from a good one by a moment only. */
import { diesBehindABroker, forgetsNewer, givenUpAndTaken, type Story } from './story.ts'

export const bad: readonly Story[] = [
  {
    name: 'a delivered message is taken by nobody',
    rule: 'H1',
    tell({ a, b }, world) {
      b.connects(10, 'bob')
      a.sends(20, 'bob', 'hello').gets(24, 'delivered')
      world.until(20_000)
    },
  },
  {
    name: 'a delivered message is taken by nobody, and the idle owner is killed long after',
    rule: 'H1',
    tell({ a, b }, world) {
      b.connects(10, 'bob')
      a.sends(5_000, 'bob', 'hello').gets(5_002, 'delivered')
      world.kill(6_000, b)
      world.until(20_000)
    },
  },
  {
    name: 'a busy client took a later message before it was disconnected, and not this one',
    rule: 'H1',
    tell({ a, b }, world) {
      const bob = b.connects(10, 'bob')
      bob.takes(5_001, a.sends(5_000, 'bob', 'one').gets(5_002, 'delivered')).isBusy(5_001, 5_200)
      a.sends(5_100, 'bob', 'two').gets(5_102, 'delivered')
      bob.takes(5_200, a.sends(5_110, 'bob', 'three').gets(5_112, 'delivered')).isBusy(5_200)
      bob.ends(6_000, 'disconnected')
      world.until(20_000)
    },
  },
  {
    name: 'a hand-over left one behind, as it said, and two are missing',
    rule: 'H1',
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob').isBusyWithOneOf(a, 'two', 'three')
      c.connects(6_000, 'bob').lacks(6_101, former, 1)
      former.ends(6_002, 'displaced')
      world.until(20_000)
    },
  },
  {
    name: 'a message is lost that was sent after the hand-over which left some behind',
    rule: 'H1',
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob').isBusyWithOneOf(a)
      const newer = c.connects(6_000, 'bob').lacks(7_001, former)
      a.sends(7_100, 'bob', 'two').gets(7_102, 'delivered')
      former.ends(9_000, 'displaced')
      newer.takes(9_101, a.sends(9_100, 'bob', 'three').gets(9_102, 'delivered'))
      world.until(20_000)
    },
  },
  {
    name: 'an acknowledged record is never read, although somebody reads on',
    rule: 'H1',
    tell({ a, b }, world) {
      a.fills('news', ['zero', 'one', 'two'])
      b.reads(100, 'news', ['zero', 'one'])
      world.until(20_000)
    },
  },
  {
    name: 'a request is answered that no handler was called for',
    rule: 'H1',
    tell({ a, b }) {
      b.connects(10, 'bob')
      a.tells(20, { what: 'request', call: 1, address: 'bob', dueMs: 10_020, hash: 'how are you' })
      a.tells(24, { what: 'reply', call: 1, address: 'bob', ok: true })
    },
  },
  {
    name: 'a client whose connect fails accepts a message, and nobody takes it',
    rule: 'H1',
    tell({ a, b }, world) {
      a.sends(20, 'bob', 'hello').gets(24, 'delivered')
      b.failsToConnect(10, 'bob', { tookMs: 9_000 })
      world.until(20_000)
    },
  },
  {
    name: 'work is completed twice',
    rule: 'H2',
    tell({ a, b }) {
      a.asks(10, 'letter', 31, 'sent it')
      for (const worker of [a, b]) worker.tells(30, { what: 'serviceCompleted', type: 'mail', id: 'letter', hash: 'sent it' })
    },
  },
  {
    name: 'who asks again for work gets another result',
    rule: 'H2',
    tell({ a, b }) {
      a.asks(10, 'letter', 31, 'sent it')
      b.asks(40, 'letter', 41, 'did not send it')
      a.tells(30, { what: 'serviceCompleted', type: 'mail', id: 'letter', hash: 'sent it' })
    },
  },
  {
    name: 'a client takes two messages of one sender the wrong way round',
    rule: 'H3',
    tell({ a, b }) {
      const bob = b.connects(10, 'bob')
      const one = a.sends(20, 'bob', 'one').gets(24, 'unknown')
      const two = a.sends(21, 'bob', 'two').gets(24, 'delivered')
      bob.takes(22, two).takes(23, one)
    },
  },
  {
    name: 'a message is taken by the former owner and again by the new one',
    rule: 'H3',
    tell({ a, b, c }) {
      const message = a.sends(20, 'bob', 'one').gets(40, 'delivered')
      b.connects(10, 'bob').takes(22, message).ends(31, 'displaced')
      c.connects(30, 'bob').takes(35, message)
    },
  },
  {
    name: 'the new owner takes an earlier message after it took a later one, which the former owner had first',
    rule: 'H3',
    tell({ a, b, c }) {
      const [one, two] = [a.sends(20, 'bob', 'one').gets(26, 'delivered'), a.sends(21, 'bob', 'two').gets(26, 'delivered')]
      b.connects(10, 'bob').takes(22, two).ends(31, 'displaced')
      c.connects(30, 'bob').takes(40, one)
    },
  },
  {
    name: 'the former owner accepts an earlier message long after the new one, which took a later one, has gone',
    rule: 'H3',
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      const one = a.sends(1_000, 'bob', 'one').gets(9_001, 'delivered')
      const newer = c.connects(1_010, 'bob')
      newer.takes(1_051, a.sends(1_050, 'bob', 'two').gets(1_052, 'delivered')).ends(1_100, 'disconnected')
      former.takes(9_000, one)
      world.until(20_000)
    },
  },
  {
    name: 'a broadcast comes twice to a client that has just connected, to an address that nobody had before',
    rule: 'H3',
    tell({ a, b }) {
      const bob = b.connects(10, 'bob')
      const notice = a.broadcasts(100, 'restart at 5').reaches(110, 1)
      bob.takes(101, notice).takes(105, notice)
    },
  },
  {
    name: 'a message arrives with other bytes',
    rule: 'H4',
    tell({ a, b }) {
      const { id } = a.sends(20, 'bob', 'I owe you 5').gets(24, 'delivered')
      b.connects(10, 'bob').takes(22, { id, hash: 'I owe you 500' })
    },
  },
  {
    name: 'a client takes what nobody sent',
    rule: 'H4',
    tell({ a, b }) {
      b.connects(10, 'bob').takes(22, { id: `a/${a.incarnation}/17`, hash: 'forged' })
    },
  },
  {
    name: 'a message comes once more, under the number of another',
    rule: 'H4',
    tell({ a, b }) {
      const message = a.sends(20, 'bob', 'hello').gets(24, 'delivered')
      b.connects(10, 'bob')
        .takes(22, message)
        .takes(23, { id: `a/${a.incarnation}/2`, hash: 'hello' })
    },
  },
  {
    name: 'a message to one address is taken by another',
    rule: 'H4',
    tell({ a, b }) {
      b.connects(10, 'ben').takes(22, a.sends(20, 'bob', 'for your eyes only').gets(24, 'delivered'))
    },
  },
  {
    name: 'a message that was reported absent is taken',
    rule: 'H5',
    tell({ a, b }) {
      const message = a.sends(20, 'bob', 'hello').gets(21, 'absent')
      b.connects(30, 'bob').takes(40, message)
    },
  },
  {
    name: 'a message that expired is taken',
    rule: 'H5',
    tell({ a, b }) {
      const message = a.sends(20, 'bob', 'hello', 500).gets(520, 'expired')
      b.connects(10, 'bob').takes(900, message)
    },
  },
  {
    name: 'two own an address for twenty seconds, with nothing in their way',
    rule: 'H6',
    tell({ b, c }, world) {
      const former = b.connects(10, 'bob')
      c.connects(1_000, 'bob')
      former.ends(21_000, 'displaced')
      world.until(60_000)
    },
  },
  {
    name: 'a former owner still holds the address ten seconds after the datastore was back',
    rule: 'H6',
    tell({ b, c }, world) {
      const former = b.connects(10, 'bob')
      c.connects(1_000, 'bob')
      world.fault(1_100, { fault: 'storeDown' })
      world.fault(31_100, { fault: 'storeUp' })
      former.ends(41_100, 'displaced')
      world.until(60_000)
    },
  },
  {
    name: 'a handler takes a message after its client was displaced',
    rule: 'H6',
    tell({ a, b, c }) {
      const former = b.connects(10, 'bob')
      c.connects(30, 'bob')
      former.ends(31, 'displaced').takes(45, a.sends(40, 'bob', 'late').gets(46, 'delivered'))
    },
  },
  {
    name: 'two clients have one claim',
    rule: 'H6',
    tell({ b }) {
      b.connects(10, 'bob', { claim: 7 })
      b.connects(20, 'ben', { claim: 7 })
    },
  },
  {
    name: 'with "stop", a former owner without a datastore takes what was sent six seconds after the newer connect',
    rule: 'H6',
    options: { whenStoreIsDown: 'stop' },
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      world.fault(900, { fault: 'storeDown', name: 'b' })
      c.connects(1_000, 'bob')
      former.takes(7_001, a.sends(7_000, 'bob', 'hello').gets(7_002, 'delivered'))
      world.fault(30_000, { fault: 'storeUp', name: 'b' })
      former.ends(32_000, 'displaced')
    },
  },
  {
    name: 'with "stop", both owners take what is sent long after the datastore lost the newer claim',
    rule: 'H6',
    options: { whenStoreIsDown: 'stop' },
    tell({ a, b, c }, world) {
      const newer = c.connects(1_000, 'bob')
      forgetsNewer(b.connects(10, 'bob'), newer, a, world)
      newer.takes(9_011, a.sends(9_010, 'bob', 'hello again').gets(9_012, 'delivered'))
    },
  },
  {
    name: 'with "stop", a former owner that is not sure takes what is sent to the newer one, before that one ends',
    rule: 'H6',
    options: { whenStoreIsDown: 'stop' },
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      world.fault(900, { fault: 'storeDown', name: 'b' })
      c.connects(1_000, 'bob').ends(20_000, 'displaced')
      b.tells(5_000, { what: 'lease', state: 'unsure' })
      former.takes(19_995, a.sends(19_990, 'bob', 'hello').gets(19_996, 'delivered'))
      world.fault(30_000, { fault: 'storeUp', name: 'b' })
      b.tells(30_100, { what: 'lease', state: 'sure' })
      world.until(40_000)
    },
  },
  {
    name: 'with "stop", a former owner without a datastore takes what was sent two leases after a split was over',
    rule: 'H6',
    options: { whenStoreIsDown: 'stop' },
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      world.fault(800, { fault: 'storeSplit' })
      world.fault(900, { fault: 'storeDown', name: 'b' })
      c.connects(1_000, 'bob')
      world.fault(2_000, { fault: 'storeWhole' })
      former.takes(22_001, a.sends(22_000, 'bob', 'hello').gets(22_002, 'delivered'))
      world.fault(30_000, { fault: 'storeUp', name: 'b' })
      former.ends(32_000, 'displaced')
    },
  },
  {
    name: 'a send never settles',
    rule: 'H7',
    tell({ a }, world) {
      a.sends(20, 'bob', 'hello', 500)
      world.until(20_000)
    },
  },
  {
    name: 'a send settles a second late, its process having stood still before',
    rule: 'H7',
    tell({ a }, world) {
      a.sends(1_000, 'nobody', 'hello', 5_000).gets(7_000, 'expired')
      world.fault(2_000, { fault: 'stall', name: 'a', forMs: 3_000 })
      world.until(20_000)
    },
  },
  {
    name: 'a connect settles after its deadline, and its process is killed only then',
    rule: 'H7',
    tell({ b }, world) {
      b.connects(10, 'bob', { tookMs: 12_000 })
      world.kill(15_000, b)
      world.until(20_000)
    },
  },
  {
    name: 'two records have one offset',
    rule: 'H8',
    tell({ a, b }) {
      a.appends(10, 'news', 'one', 0)
      b.appends(12, 'news', 'two', 0)
    },
  },
  {
    name: 'a reader goes from the first record to the third',
    rule: 'H8',
    tell({ a, b }) {
      a.fills('news', ['zero', 'one', 'two'])
      b.reads(100, 'news', ['zero'])
      b.reads(110, 'news', ['two'], 2)
    },
  },
  {
    name: 'a site takes in a record twice',
    rule: 'H8',
    tell({ a, b }) {
      a.tells(10, { what: 'siteExported', source: 'oslo', seq: 1, hash: 'one' })
      for (const atMs of [100, 200]) b.tells(atMs, { what: 'siteImported', site: 'rome', source: 'oslo', seq: 1, hash: 'one' })
    },
  },
  {
    name: 'a server is judged dead while it stood still for three seconds',
    rule: 'H9',
    tell({ a, b }, world) {
      a.judges(3_000, b, 'up')
      world.fault(20_000, { fault: 'stall', name: 'b', forMs: 3_000 })
      a.judges(24_000, b, 'lapsed')
      world.until(60_000)
    },
  },
  {
    name: 'a server is judged dead eleven seconds after the datastore was whole again',
    rule: 'H9',
    tell({ a, b }, world) {
      a.judges(3_000, b, 'up')
      world.fault(5_000, { fault: 'storeSplit' })
      world.fault(7_000, { fault: 'storeWhole' })
      a.judges(18_000, b, 'lapsed')
      world.until(60_000)
    },
  },
  {
    name: 'a killed server is still a member sixteen seconds later, and its broker heard of its end at once',
    rule: 'H9',
    tell: (_, world) => diesBehindABroker(world, 5_010),
  },
  {
    name: 'a killed server is still a member twenty seconds later',
    rule: 'H9',
    tell({ a, b }, world) {
      a.judges(3_000, b, 'up')
      world.kill(5_000, b)
      a.judges(25_000, b, 'lapsed')
    },
  },
  {
    name: 'a killed server is still a member twenty seconds later, and the datastore was slow in between, for a read and a write not too slow',
    rule: 'H9',
    tell({ a, b }, world) {
      a.judges(3_000, b, 'up')
      world.kill(5_000, b)
      world.fault(8_000, { fault: 'storeSlow', slowMs: 499 })
      world.fault(15_000, { fault: 'storeSlow', slowMs: 1 })
      a.judges(25_000, b, 'lapsed')
    },
  },
  {
    name: 'a promise is rejected that nobody handles',
    rule: 'H10',
    tell({ a }) {
      a.tells(10, { what: 'unhandledRejection', text: 'Error: oh' })
    },
  },
  {
    name: 'a process exits with 1, that nobody had killed',
    rule: 'H10',
    tell({ a }, world) {
      world.exit(1_000, a, 1)
    },
  },
  {
    name: 'memory grows above its bound',
    rule: 'H10',
    tell({ a }) {
      a.tells(10, { what: 'measured', of: 'heap', value: 100e6, valueMax: 64e6 })
    },
  },
  {
    name: 'a message is reported absent while the datastore cannot be asked',
    rule: 'H5',
    options: { atomicPut: true },
    tell({ a, b }, world) {
      b.connects(10, 'bob')
      world.fault(5_000, { fault: 'storeDown' })
      a.sends(5_100, 'bob', 'hello').gets(5_200, 'absent')
      world.fault(6_000, { fault: 'storeUp' })
      world.until(20_000)
    },
  },
  {
    name: 'a message is reported absent while a client holds its address',
    rule: 'H5',
    options: { atomicPut: true },
    tell({ a, b, c }, world) {
      b.connects(10, 'bob').ends(1_010, 'displaced')
      c.connects(1_000, 'bob')
      a.sends(40_000, 'bob', 'hello').gets(40_010, 'absent')
      world.until(50_000)
    },
  },
  {
    name: 'a message is reported absent while its address moves from a draining peer',
    rule: 'H5',
    tell({ a, b, c }, world) {
      const former = b.connects(10, 'bob')
      b.tells(5_000, { what: 'draining' })
      former.ends(5_010, 'disconnected')
      c.connects(5_011, 'bob', { tookMs: 400 })
      a.sends(5_100, 'bob', 'hello').gets(5_200, 'absent')
      world.until(20_000)
    },
  },
  {
    name: 'a message that was given up arrives seven seconds later',
    rule: 'H5',
    tell(cast, world) {
      givenUpAndTaken(cast, world, 12_103)
    },
  },
  {
    name: 'a message that was given up arrives seven seconds later, over a line that dripped before',
    rule: 'H5',
    tell(cast, world) {
      world.fault(3_000, { fault: 'drip', from: 'a', to: 'b' })
      world.fault(4_999, { fault: 'heal', from: 'a', to: 'b' })
      givenUpAndTaken(cast, world, 12_103)
    },
  },
  {
    name: 'a message that was given up arrives seven seconds later, over a line that takes a window in five, and was slower before',
    rule: 'H5',
    tell(cast, world) {
      world.fault(3_000, { fault: 'narrow', bytesPerMs: 60 })
      world.fault(4_999, { fault: 'narrow', bytesPerMs: 900 })
      givenUpAndTaken(cast, world, 12_103)
    },
  },
  {
    name: 'a newer client is displaced by the one that it displaced',
    rule: 'H6',
    options: { atomicPut: true },
    tell({ b, c }, world) {
      b.connects(10, 'bob')
      c.connects(5_000, 'bob').ends(6_000, 'displaced')
      world.until(20_000)
    },
  },
]
