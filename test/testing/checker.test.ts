/** The checker: of histories made by hand, each bad one is caught by the rule that it breaks, and by no other. */
import t from 'tap'
import { check, mergeHistories, readHistory, History, type HistoryEvent } from '../../lib/testing/index.ts'
import { bad as badOnes } from '../histories/bad.ts'
import { good as goodOnes } from '../histories/good.ts'
import { badHandOvers, goodHandOvers } from '../histories/hand-overs.ts'
import { World, type Story } from '../histories/story.ts'

const good = [...goodOnes, ...goodHandOvers]
const bad = [...badOnes, ...badHandOvers]
const rules = ['H1', 'H2', 'H3', 'H4', 'H5', 'H6', 'H7', 'H8', 'H9', 'H10']

function eventsOf(story: Story): HistoryEvent[] {
  const world = new World()
  story.tell(world.cast, world)
  return world.events
}

for (const story of good) {
  void t.test(`good: ${story.name}`, async t => t.same(check(eventsOf(story), story.options), []))
}

for (const story of bad) {
  void t.test(`bad: ${story.name}`, async t => {
    const violations = check(eventsOf(story), story.options)
    t.ok(violations.length > 0)
    for (const { rule, text } of violations) t.equal(rule, story.rule, text)
  })
}

void t.test('there are 20 of each, and a bad one for each rule', async t => {
  t.ok(good.length >= 20 && bad.length >= 20, `${good.length} and ${bad.length}`)
  t.same(
    rules.filter(rule => !bad.some(story => story.rule === rule)),
    [],
  )
})

void t.test('a history is the same when it has been written and read', async t => {
  for (const story of [...good, ...bad]) {
    const events = eventsOf(story)
    const text = events.map(event => `${JSON.stringify(event)}\n`).join('')
    t.same(readHistory(text), events)
  }
})

void t.test('what is no event is refused, and its line named', async t => {
  const history = new History(() => 1)
  history.add({ what: 'fault', text: 'nothing', fault: 'other' })
  const line = history.toString()
  t.throws(() => readHistory(`${line}\n${line.slice(0, 20)}\n`), /^line 2: /)
  t.throws(() => readHistory(`${line}\n\n{"atMs":1,"what":"constructor"}`), /line 3: no event is called "constructor"/)
  t.throws(() => readHistory('{"atMs":"1","what":"closed"}'), /line 1: atMs is not a number/)
  t.throws(() => readHistory('{"atMs":1,"what":"closed","peer":"a"}'), /line 1: incarnation of 'closed' is not a text/)
  t.throws(() => readHistory('null'), /line 1: not an object/)
  t.equal(readHistory(`${line}\n${line.slice(0, 20)}`, { tornTail: true }).length, 1)
  t.throws(() => readHistory(`${line}\n${line.slice(0, 20)}\n${line}`, { tornTail: true }), /line 2/)
})

void t.test('histories of several processes are put together by time, and one that goes back is refused', async t => {
  const fault = (atMs: number, text: string): HistoryEvent => ({ atMs, what: 'fault', text, fault: 'other' })
  const merged = mergeHistories([[fault(1, 'a'), fault(3, 'b')], [fault(2, 'c'), fault(3, 'd')], []])
  t.equal(merged.map(event => (event.what === 'fault' ? event.text : '')).join(''), 'acbd')
  t.throws(() => check([fault(2, 'a'), fault(1, 'b')]), /event 2 \(fault\) is before the one ahead of it/)
  t.throws(() => check([], { leaseMs: -1 }), { code: 'BAD_OPTION' })
})
