import t from 'tap'
import { readOrder, type Order } from '../../lib/cli/script-line.ts'

t.test('what a line asks for', async t => {
  const table: [string, Order][] = [
    ['connect alice', { does: 'connect', address: 'alice' }],
    ['  disconnect   alice  ', { does: 'disconnect', address: 'alice' }],
    ['connect "my address"', { does: 'connect', address: 'my address' }],
    ['send bob hello there', { does: 'send', from: undefined, to: 'bob', body: 'hello there' }],
    ['send bob {"json": 1}', { does: 'send', from: undefined, to: 'bob', body: { json: 1 } }],
    ['send bob "12"', { does: 'send', from: undefined, to: 'bob', body: '12' }],
    ['send bob {half', { does: 'send', from: undefined, to: 'bob', body: '{half' }],
    ['from alice send bob hello', { does: 'send', from: 'alice', to: 'bob', body: 'hello' }],
    ['from from request bob [1, 2]', { does: 'request', from: 'from', to: 'bob', body: [1, 2] }],
    ['broadcast to all of you', { does: 'broadcast', from: undefined, body: 'to all of you' }],
    ['where bob', { does: 'where', address: 'bob' }],
    ['explain bob', { does: 'explain', address: 'bob' }],
    ['members', { does: 'members' }],
    ['quit', { does: 'quit' }],
    ['', { does: 'nothing' }],
    ['  # a comment', { does: 'nothing' }],
  ]
  for (const [line, order] of table) t.same(readOrder(line), order, line)
})

t.test('what cannot be read is said', async t => {
  const table: [string, RegExp][] = [
    ['dance', /no command 'dance'/],
    ['connect', /address is missing/],
    ['connect a b', /'b' is too much/],
    ['send bob', /body is missing/],
    ['from alice', /command is missing/],
    ['from alice connect bob', /followed by send, request or broadcast/],
    ['quit now', /too much/],
  ]
  for (const [line, message] of table) t.throws(() => readOrder(line), { name: 'UsageError', message }, line)
})
