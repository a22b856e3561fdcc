import t from 'tap'
import { schedule } from '../../lib/cli/schedule.ts'

const words = (n: number, total: number) =>
  schedule(n, total).map(step =>
    step.does === 'send' ? `${step.atMs} ${step.from} -> ${step.to}: ${step.text}` : `${step.atMs} ${step.does} ${step.address}`,
  )

t.test('the table of the seed', async t => {
  t.same(words(2, 3), [
    '500 connect clientA2',
    '600 connect clientB2',
    '700 connect clientC2',
    '800 connect clientD2',
    '900 clientD2 -> clientA2: Hello from D to A!',
    '1000 clientA2 -> clientB2: Hello from A to B!',
    '1100 clientC2 -> clientB2: Hello from C to B!',
    '1900 disconnect clientB2',
    '2000 disconnect clientD2',
    '2500 clientA2 -> clientA3: Hello from A to A!',
    '2600 clientC2 -> clientC3: Hello from C to C!',
    '2700 clientA2 -> clientC3: Hello from A to C!',
    '2800 clientC2 -> clientA3: Hello from C to A!',
  ])
})

t.test('the ring is closed: the last talks to the first, one alone to itself', async t => {
  t.match(words(3, 3)[9], 'clientA3 -> clientA1')
  t.match(words(1, 1)[12], 'clientC1 -> clientA1')
})

t.test('steps are in the order of their times', async t => {
  const times = schedule(1, 2).map(({ atMs }) => atMs)
  t.same(
    times,
    [...times].sort((a, b) => a - b),
  )
})
