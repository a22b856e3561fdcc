import t from 'tap'
import type { Timer, Timers } from '../../lib/env/env.ts'
import { realTimers } from '../../lib/env/timers.ts'

const timers: Timers = realTimers()
const turn = (): Promise<void> => new Promise(resolve => timers.soon(resolve))

t.test('after fires once, never early', async t => {
  for (let i = 0; i < 20; i++) {
    const startMs = performance.now()
    await new Promise<void>(resolve => timers.after(i / 2, resolve))
    t.ok(performance.now() - startMs >= i / 2)
  }
})

t.test('soon comes after this turn, in order', async t => {
  const trace: number[] = []
  timers.soon(() => trace.push(1))
  timers.soon(() => trace.push(2))
  await Promise.resolve()
  t.same(trace, [])
  await turn()
  t.same(trace, [1, 2])
})

t.test('a cancelled timer never fires', async t => {
  const cancelled = timers.after(1, () => t.fail('fired'))
  cancelled.cancel()
  cancelled.cancel()
  await new Promise<void>(resolve => timers.after(5, resolve))
})

t.test('every repeats until cancelled', async t => {
  let count = 0
  await new Promise<void>(resolve => {
    const timer: Timer = timers.every(1, () => {
      if (++count < 3) return
      timer.cancel()
      resolve()
    })
  })
  await new Promise<void>(resolve => timers.after(5, resolve))
  t.equal(count, 3)
})

t.test('what is too long for Node waits', async t => {
  const long = [
    timers.after(2 ** 40, () => t.fail('fired')),
    timers.after(Infinity, () => t.fail('fired')),
    timers.every(2 ** 40, () => t.fail('fired')),
  ]
  await new Promise<void>(resolve => timers.after(5, resolve))
  for (const timer of long) timer.cancel()
})
