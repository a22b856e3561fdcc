import t from 'tap'
import { answerTo } from '../../bench/kit/answer.ts'
import type { Outcome, Question } from '../../bench/kit/contestant.ts'
import { documentWith } from '../../bench/kit/document.ts'
import type { Machine } from '../../bench/kit/machine.ts'
import { pictureOf } from '../../bench/kit/picture.ts'
import { answerText, marksText } from '../../bench/kit/table.ts'
import { chosenOf, questions } from '../../bench/questions.ts'

const question: Question = {
  name: 'speed',
  title: 'how fast',
  unit: 'messages',
  contestants: () => [],
  charts: [{ title: 'speed & size', figure: 'rate', of: ['bare', 'homing', 'absent'] }],
  comparisons: [
    { of: 'homing', to: 'bare', figure: 'rate', atLeast: 0.5 },
    { of: 'homing', figure: 'loopP99Ms sender', atMost: 20 },
    { of: 'homing', to: 'absent', figure: 'rate', atLeast: 2 },
  ],
}

const outcome = (rate: number, loopP99Ms: number, faults = {}): Outcome => ({
  figures: { rate, 'cpuUs sender': 1 / rate, 'loopP99Ms sender': loopP99Ms },
  faults,
})

const answer = answerTo(
  question,
  { rounds: 3, seconds: 1 },
  new Map([
    ['bare', [outcome(1_000, 1), outcome(2_000, 1), outcome(4_000, 1)]],
    ['homing', [outcome(600, 10), outcome(1_100, 30), outcome(1_200, 25, { lost: 3 })]],
  ]),
  { leftOut: ['absent (to have it: npm ci --prefix bench)'], failed: [] },
)

const machine: Machine = {
  cpus: 2,
  model: 'a <fast> one',
  memoryGiB: 4,
  kernel: 'Linux 6',
  node: 'v20',
  homing: '0',
  congestionControl: 'reno',
  loadBefore: 0,
  peers: {},
}
const result = { command: 'npm run bench -- speed', day: '2026-01-31', machine, answers: [answer] }

t.test('a ratio is that of the medians, its spread that of the rounds, and a mark is reached or not', async t => {
  const [speed, loop, absent] = answer.comparisons
  t.same(speed?.value, { median: 1_100 / 2_000, min: 0.3, max: 0.6 })
  t.equal(speed?.reached, true)
  t.same(loop?.value, { median: 25, min: 10, max: 30 })
  t.equal(loop?.reached, false)
  t.equal(absent, undefined, 'nothing is said of who did not take part')
})

t.test('the table names who is not valid, and who is missing', async t => {
  const text = answerText(answer, false)
  t.match(text, /\n {2}homing +1,100 +\(600\.\.1,200\) /)
  t.match(text, 'NOT VALID: homing: lost 3 times')
  t.match(text, 'left out: absent (to have it: npm ci --prefix bench)')
  t.match(marksText([answer]), /speed +homing \/ bare +0\.55 +\(0\.30\.\.0\.60\) +at least 0\.5 +reached/)
})

t.test('the figures of a document are replaced, and nothing else of it', async t => {
  const begin = '<!-- figures: written by the bench, see above -->'
  const end = '<!-- end of figures -->'
  const written = documentWith(`before\n${begin}\nold\n${end}\nafter\n`, result)
  t.match(written, new RegExp(`^before\\n${begin}\\n\\n`))
  t.match(written, new RegExp(`\\n\\n${end}\\nafter\\n$`))
  t.notMatch(written, 'old')
  t.match(written, '| homing / bare | 0.55 | (0.30..0.60) | at least 0.5 | reached |')
  t.match(written, 'Not valid: homing: lost 3 times.')
  t.equal(documentWith(written, result), written)
  t.throws(() => documentWith('no marks', result), /no place for figures/)
})

t.test('the picture has a bar for each who took part, the longest for the greatest, and text that is text', async t => {
  const picture = pictureOf(result)
  const bars = [...picture.matchAll(/<rect class="(bare|homing|peer)" .*? width="(\d+)"/g)].map(([, kind, length]) => [
    kind,
    length,
  ])
  t.same(bars, [
    ['bare', '200'],
    ['homing', '110'],
  ])
  t.match(picture, 'speed &amp; size')
  t.match(picture, 'a &lt;fast&gt; one')
  t.match(picture, 'prefers-color-scheme: dark')
  t.notMatch(picture, /https?:\/\/(?!www\.w3\.org)/)
})

t.test('what a bench compares and draws takes part in it', async t => {
  for (const { name, contestants, comparisons, charts = [] } of questions()) {
    const names = new Set(contestants('folder').map(({ name }) => name))
    t.equal(names.size, contestants('folder').length, `${name}: each has a name of its own`)
    for (const { of, to } of comparisons) t.ok(names.has(of) && (to === undefined || names.has(to)), `${name}: ${of}, ${to}`)
    for (const { of } of charts) for (const one of of) t.ok(names.has(one), `${name}: ${one}`)
  }
})

t.test('all, none and a name', async t => {
  const all = questions()
  t.equal(chosenOf(all, []).length, all.length - 1, 'without the guard')
  t.same(chosenOf(all, ['all']), chosenOf(all, []))
  t.same(
    chosenOf(all, ['guard', 'fair']).map(({ name }) => name),
    ['guard', 'fair'],
  )
  t.throws(() => chosenOf(all, ['speed']), /there is no bench 'speed'; there are one-way, /)
  t.throws(() => questions('mongo://x'), /--store/)
})
