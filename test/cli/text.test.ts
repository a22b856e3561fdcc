import t from 'tap'
import { Latencies } from '../../lib/cli/latencies.ts'
import { receivedHere, receivedPacket } from '../../lib/cli/seed-lines.ts'
import { jsonText, readBody } from '../../lib/cli/text.ts'

t.test('any body has a text, on one line', async t => {
  const table: [unknown, string][] = [
    ['a\nb', '"a\\nb"'],
    [
      { at: new Date(0), big: 12n, bytes: Buffer.from('hi') },
      '{"at":"1970-01-01T00:00:00.000Z","big":"12","bytes":{"base64":"aGk="}}',
    ],
    [undefined, 'null'],
    ['\u009b2J', '"\\u009b2J"'],
  ]
  for (const [value, text] of table) t.equal(jsonText(value), text)
})

t.test('a body is JSON if it can be read as such', async t => {
  t.same(readBody('{"a":1}'), { a: 1 })
  t.equal(readBody('12 o clock'), '12 o clock')
})

t.test('the lines of the seed: local from network, and no way to steer the terminal', async t => {
  t.equal(receivedHere('clientD1', 'clientA1', 'Hello from D to A!'), 'Received: clientD1 clientA1 Hello from D to A!')
  t.equal(
    receivedPacket(['clientA3', 'clientA1', 'Hello from A to A!']),
    "Received: [ 'clientA3', 'clientA1', 'Hello from A to A!' ]",
  )
  t.equal(receivedPacket([4, 'clientA3', 'clientA1', 'text']), "Received: [ 4, 'clientA3', 'clientA1', 'text' ]")
  t.equal(receivedHere('a', 'b', '\u001b[2J'), 'Received: a b \\u001b[2J')
  t.notMatch(receivedPacket(['a', 'b', 'x'.repeat(500)]), '\n')
})

t.test('quantiles are those of all that was added, in whatever order', async t => {
  const latencies = new Latencies(2)
  t.equal(latencies.quantile(0.5), undefined)
  for (let ms = 1_000; ms >= 1; ms--) latencies.add(ms)
  t.equal(latencies.quantile(0.5), 500)
  t.equal(latencies.quantile(0.99), 990)
  latencies.add(2_000)
  t.equal(latencies.quantile(1), 2_000)
})
