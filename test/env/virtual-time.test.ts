import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import type { Timer } from '../../lib/env/env.ts'
import { EventQueue, type QueuedEvent } from '../../lib/env/event-queue.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'

t.test('events run by time, then as they were set', async t => {
  const time = new VirtualTime({ seed: 1 })
  const trace: string[] = []
  const note = (what: string) => () => trace.push(`${what} at ${time.nowMs}`)
  time.timers.after(20, note('late'))
  time.timers.after(10, note('first'))
  time.timers.after(10, note('second'))
  time.timers.soon(note('soon'))
  time.timers.after(30, note('too late'))
  t.same(trace, [], 'nothing runs before the clock is turned')
  await time.run(29)
  t.same(trace, ['soon at 0', 'first at 10', 'second at 10', 'late at 20'])
  t.equal(time.nowMs, 29)
  t.equal(time.clock.monotonicMs(), 29)
})

t.test('between two events promises go as far as they can, however long the chain', async t => {
  const time = new VirtualTime({ seed: 1 })
  const trace: string[] = []
  time.timers.after(1, () => {
    void (async () => {
      for (let i = 0; i < 10_000; i++) await Promise.resolve()
      await new Promise<void>(resolve => process.nextTick(resolve))
      for (let i = 0; i < 100; i++) await Promise.resolve()
      trace.push('chain')
    })()
  })
  time.timers.after(1, () => trace.push('next'))
  await time.run(1)
  t.same(trace, ['chain', 'next'])
})

t.test('what a chain sets within the time still runs, and the last chain is finished too', async t => {
  const time = new VirtualTime({ seed: 1 })
  const sleep = (ms: number) => new Promise<void>(resolve => time.timers.after(ms, resolve))
  let done = false
  void (async () => {
    for (let i = 0; i < 10; i++) await sleep(10)
    for (let i = 0; i < 1_000; i++) await Promise.resolve()
    done = true
  })()
  await time.run(100)
  t.ok(done)
})

t.test('every repeats until cancelled, also from within', async t => {
  const time = new VirtualTime({ seed: 1 })
  const at: number[] = []
  const timer: Timer = time.timers.every(10, () => {
    at.push(time.nowMs)
    if (at.length === 3) timer.cancel()
  })
  await time.run(1_000)
  t.same(at, [10, 20, 30])
})

t.test('a cancelled timer never fires, cancelling again is nothing', async t => {
  const time = new VirtualTime({ seed: 1 })
  const fired: number[] = []
  const timers = Array.from({ length: 5_000 }, (_, i) => time.timers.after(i % 100, () => fired.push(i)))
  for (let i = 0; i < timers.length; i += 5) {
    timers[i]!.cancel()
    timers[i]!.cancel()
  }
  await time.run(1_000)
  t.equal(fired.length, 4_000)
  t.notOk(fired.some(i => i % 5 === 0))
  for (const timer of timers) timer.cancel()
})

t.test('the queue gives back in order what was not cancelled', async () => {
  const given = fc.array(fc.record({ atMs: fc.nat(20), cancel: fc.double({ min: 0, max: 1, noNaN: true }) }), {
    maxLength: 3_000,
    size: 'max',
  })
  fc.assert(
    fc.property(given, fc.double({ min: 0, max: 1, noNaN: true }), (records, share) => {
      const queue = new EventQueue<QueuedEvent>()
      const events = records.map(({ atMs }, order) => ({
        atMs,
        dueMs: atMs,
        order,
        run: (() => undefined) as (() => void) | undefined,
      }))
      for (const event of events) queue.push(event)
      events.forEach((event, i) => records[i]!.cancel < share && queue.cancel(event))
      const expected = events.filter(({ run }) => run).sort((a, b) => a.atMs - b.atMs || a.order - b.order)
      for (const event of expected) if (queue.first !== event || queue.shift() !== event) return false
      return queue.first === undefined
    }),
    { numRuns: 60 },
  )
})

t.test('until stops as soon as the predicate holds, and rejects with the time when it never does', async t => {
  const time = new VirtualTime({ seed: 77 })
  let count = 0
  time.timers.every(10, () => count++)
  await time.until(() => count === 5, 1_000)
  t.equal(time.nowMs, 50)
  await t.rejects(
    time.until(() => count === -1, 100),
    { message: /100 ms of virtual time \(seed 77, now 150 ms\)/ },
  )
  t.equal(time.nowMs, 150)
})

t.test('what an event or a predicate throws rejects the turn; time can be turned on', async t => {
  const time = new VirtualTime({ seed: 1 })
  time.timers.after(5, () => {
    throw new Error('in an event')
  })
  await t.rejects(time.run(10), { message: 'in an event' })
  t.equal(time.nowMs, 5)
  const throwing = (): boolean => {
    throw new Error('in a predicate')
  }
  await t.rejects(time.until(throwing, 10), { message: 'in a predicate' })
  await time.run(10)
  t.equal(time.nowMs, 15)
})

t.test('time has one hand that turns it', async t => {
  const time = new VirtualTime({ seed: 1 })
  const first = time.run(10)
  await t.rejects(time.run(10))
  await first
})

t.test('a stalled process does afterwards what was due, in order; its clocks run on', async t => {
  const time = new VirtualTime({ seed: 1 })
  const [a, b] = [time.timersOf('a'), time.timersOf('b')]
  const trace: string[] = []
  a.after(50, () => trace.push(`a50 at ${time.nowMs}`))
  a.after(20, () => trace.push(`a20 at ${time.nowMs}`))
  a.every(30, () => trace.push(`a every at ${time.nowMs}`))
  b.after(40, () => trace.push(`b40 at ${time.nowMs}`))
  time.stall('a', 100)
  await time.run(60)
  t.same(trace, ['b40 at 40'])
  t.equal(time.clockOf('a').monotonicMs(), 60)
  await time.run(75)
  t.same(trace.slice(1), ['a20 at 100', 'a every at 100', 'a50 at 100', 'a every at 130'])
})

t.test('a suspended process sleeps with its monotonic clock; boot and wall go on', async t => {
  const time = new VirtualTime({ seed: 1, wallMs: 1_000_000 })
  const clock = time.clockOf('a')
  const fired: number[] = []
  time.timersOf('a').after(100, () => fired.push(time.nowMs, clock.monotonicMs()))
  await time.run(40)
  time.suspend('a', 60_000)
  time.timersOf('a').soon(() => fired.push(time.nowMs))
  await time.run(30_000)
  t.same(fired, [])
  t.equal(clock.monotonicMs(), 40)
  t.equal(clock.bootMs(), 30_040)
  t.equal(clock.wallMs(), 1_030_040)
  await time.run(60_000)
  t.same(fired, [60_040, 60_100, 100])
  t.equal(clock.monotonicMs(), 30_040)
  time.suspend('a', 10)
  await time.run(20)
  t.equal(clock.bootMs() - clock.monotonicMs(), 60_010)
  t.equal(time.clockOf('b').monotonicMs(), time.nowMs, 'others do not sleep')
})

t.test('a halted process never does anything again; its name can live once more', async t => {
  const time = new VirtualTime({ seed: 1 })
  const old = time.timersOf('a')
  old.after(10, () => t.fail('of the dead'))
  old.every(10, () => t.fail('of the dead'))
  old.soon(() => t.fail('of the dead'))
  time.halt('a')
  old.soon(() => t.fail('of the dead'))
  let lived = false
  time.timersOf('a').after(10, () => (lived = true))
  await time.run(100)
  t.ok(lived)
})

t.test('wall clocks of processes may be wrong, and jump', async t => {
  const time = new VirtualTime({ seed: 1, wallMs: 1_000 })
  const clock = time.clockOf('a')
  t.equal(clock.wallMs(), 1_000)
  time.setWallOffset('a', 3_600_000)
  t.equal(clock.wallMs(), 3_601_000)
  time.halt('a')
  t.equal(time.clockOf('a').wallMs(), 3_601_000, 'it is the clock of the machine')
  t.equal(time.clock.wallMs(), 1_000)
})

t.test('with a spread, no two processes can compare clocks', async t => {
  const time = new VirtualTime({ seed: 1, clockSpreadMs: 1_000_000 })
  t.not(time.clockOf('a').monotonicMs(), time.clockOf('b').monotonicMs())
  t.not(time.clockOf('a').monotonicMs(), time.clockOf('a').bootMs())
  const before = time.clockOf('a').monotonicMs()
  await time.run(10)
  t.ok(Math.abs(time.clockOf('a').monotonicMs() - before - 10) < 1e-6)
})

t.test('clocks that run fast count more, and their timers fire sooner; the wall clock is another matter', async t => {
  const time = new VirtualTime({ seed: 1 })
  time.setClockRate('fast', 1.25)
  const fired: string[] = []
  for (const name of ['fast', 'usual']) time.timersOf(name).after(1_000, () => fired.push(`${name} at ${time.nowMs}`))
  const wallMs = time.clockOf('fast').wallMs()
  await time.run(1_000)
  t.same(fired, ['fast at 800', 'usual at 1000'])
  t.equal(time.clockOf('fast').monotonicMs(), 1_250)
  t.equal(time.clockOf('fast').bootMs(), 1_250)
  t.equal(time.clockOf('fast').wallMs() - wallMs, 1_000)
  t.throws(() => time.setClockRate('fast', 0))
})

t.test('what is pending is what will happen', async t => {
  const time = new VirtualTime({ seed: 1 })
  const [kept, cancelled] = [time.timersOf('a').after(10, () => {}), time.timersOf('a').after(20, () => {})]
  time.timersOf('b').every(5, () => {})
  t.equal(time.pending, 3)
  cancelled.cancel()
  t.equal(time.pending, 2)
  time.halt('b')
  t.equal(time.pending, 1)
  await time.run(10)
  t.equal(time.pending, 0)
  kept.cancel()
})

t.test('each life of a process has its own chance', async t => {
  const time = new VirtualTime({ seed: 1 })
  t.notSame(time.randomOf('a').bytes(16), time.randomOf('a').bytes(16))
  t.notSame(time.randomOf('b').bytes(16), time.randomOf('c').bytes(16))
})

/** A small world in which chance decides what happens next; the hash of all that happened. */
async function traceOf(seed: number): Promise<string> {
  const time = new VirtualTime({ seed })
  const hash = createHash('sha256')
  const names = ['a', 'b', 'c']
  for (const name of names) {
    const [timers, random] = [time.timersOf(name), time.randomOf(name)]
    const act = async (): Promise<void> => {
      hash.update(`${name} ${time.nowMs};`)
      for (let i = random.fraction() * 5; i > 0; i--) await Promise.resolve()
      timers.after(random.fraction() * 20, () => void act())
      if (random.fraction() < 0.05) time.stall(names[Math.floor(random.fraction() * 3)]!, 50)
      if (random.fraction() < 0.05) time.suspend(names[Math.floor(random.fraction() * 3)]!, 50)
    }
    void act()
  }
  await time.run(5_000)
  return hash.update(`${time.eventsRun}`).digest('hex')
}

t.test('the same seed gives the same run', async t => {
  const traces = [await traceOf(1), await traceOf(1), await traceOf(2)]
  t.equal(traces[0], traces[1])
  t.not(traces[0], traces[2])
})
