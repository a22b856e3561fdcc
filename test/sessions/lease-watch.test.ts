import t from 'tap'
import fc from 'fast-check'
import { LeaseWatch } from '../../lib/sessions/lease-watch.ts'

const leaseMs = 10_000
const everyMs = 3_000
const a = { identity: 'a', incarnation: 'run-1' }

/** An observer that renews and reads each interval, from time 0 on; `beat` says what it reads. */
function observer() {
  const watch = new LeaseWatch({ leaseMs, freshMs: 2 * everyMs + 1_000 })
  return {
    watch,
    interval(nowMs: number, beat: number | undefined, renews = true) {
      if (renews) watch.renewed(nowMs)
      else watch.failed()
      if (beat !== undefined) watch.saw(a, beat, nowMs, nowMs + 5)
    },
  }
}

t.test('a run whose beat stands still for a lease has lapsed, not before', async t => {
  const { watch, interval } = observer()
  for (let ms = 0; ms <= 9_000; ms += everyMs) interval(ms, 1)
  t.equal(watch.judge(a, 9_999), 'live')
  t.equal(watch.dueMs(), 10_005)
  t.same(watch.dueAt(10_004), [])
  t.same(watch.dueAt(10_005), ['a'])
  t.equal(watch.judge(a, 10_005), 'unknown', 'it was not read since')
  watch.saw(a, 1, 10_005, 10_010)
  t.equal(watch.judge(a, 10_010), 'lapsed')
  watch.saw(a, 2, 20_000, 20_005)
  t.equal(watch.judge(a, 20_005), 'live', 'and came back')
})

t.test('another incarnation, or one never seen, is unknown', async t => {
  const { watch, interval } = observer()
  interval(0, 1)
  t.equal(watch.judge({ ...a, incarnation: 'run-2' }, 1), 'unknown')
  t.equal(watch.judge({ identity: 'b', incarnation: 'x' }, 1), 'unknown')
})

t.test('an outage of our own: nobody is judged, and afterwards everybody has a fresh lease', async t => {
  const { watch, interval } = observer()
  interval(0, 1)
  for (let ms = 3_000; ms <= 60_000; ms += everyMs) interval(ms, undefined, false)
  t.equal(watch.judge(a, 60_000), 'unknown')
  t.equal(watch.dueMs(), Infinity)
  for (let ms = 63_000; ms <= 72_000; ms += everyMs) interval(ms, 1)
  t.equal(watch.judge(a, 72_005), 'unknown', 'nine seconds of the new lease are over')
  interval(73_000, 1)
  t.equal(watch.judge(a, 73_000), 'lapsed')
})

t.test('a gap between our own renewals counts as a failure, reported or not', async t => {
  const { watch, interval } = observer()
  interval(0, 1)
  interval(20_000, 1)
  t.equal(watch.judge(a, 20_005), 'unknown')
})

t.test('renewals that went on without a reading prove nothing', async t => {
  const { watch, interval } = observer()
  interval(0, 1)
  for (let ms = 3_000; ms <= 30_000; ms += everyMs) interval(ms, undefined)
  t.equal(watch.judge(a, 30_000), 'unknown')
  watch.saw(a, 2, 30_000, 30_005)
  t.equal(watch.judge(a, 30_005), 'live')
})

t.test('an observer that was late starts everybody afresh', async t => {
  const { watch, interval } = observer()
  for (let ms = 0; ms <= 9_000; ms += everyMs) interval(ms, 1)
  watch.late(9_500)
  watch.saw(a, 1, 12_000, 12_005)
  watch.renewed(12_000)
  t.equal(watch.judge(a, 12_005), 'unknown')
  for (let ms = 15_000; ms <= 21_000; ms += everyMs) interval(ms, 1)
  t.equal(watch.judge(a, 19_505), 'lapsed')
})

t.test('property: a run that beats is never judged lapsed, whatever happens to the observer', async () => {
  const steps = fc.array(
    fc.record({
      passMs: fc.integer({ min: 1, max: 8_000 }),
      what: fc.constantFrom('renewed', 'failed', 'late', 'read', 'slow read', 'judge'),
    }),
    { maxLength: 200 },
  )
  fc.assert(
    fc.property(steps, fc.integer({ min: 0, max: 2_900 }), (events, offsetMs) => {
      const watch = new LeaseWatch({ leaseMs, freshMs: 7_000 })
      const beatAt = (ms: number): number => Math.floor((ms + offsetMs) / everyMs)
      let nowMs = 0
      let slow: { startedMs: number; beat: number } | undefined
      for (const { passMs, what } of events) {
        // A slow reading began before this time passed, and the record was read at its beginning: the worst case.
        if (what === 'slow read') slow = { startedMs: nowMs, beat: beatAt(nowMs) }
        nowMs += passMs
        if (slow) watch.saw(a, slow.beat, slow.startedMs, nowMs)
        slow = undefined
        if (what === 'renewed') watch.renewed(nowMs)
        if (what === 'failed') watch.failed()
        if (what === 'late') watch.late(nowMs)
        if (what === 'read') watch.saw(a, beatAt(nowMs), nowMs, nowMs)
        if (watch.judge(a, nowMs) === 'lapsed') return false
      }
      return true
    }),
    { numRuns: 2_000 },
  )
})

t.test('property: a dead run is judged within a lease and an interval once the observer is well', async () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 20 }), intervals => {
      const { watch, interval } = observer()
      let nowMs = 0
      for (const well of intervals) interval((nowMs += everyMs), 1, well)
      const fromMs = nowMs
      while (watch.judge(a, nowMs) !== 'lapsed') {
        nowMs = Math.min(nowMs + everyMs, Math.max(nowMs + 1, watch.dueMs()))
        interval(nowMs, 1)
        if (nowMs > fromMs + leaseMs + everyMs + 10) return false
      }
      return true
    }),
  )
})
