/** Options are checked at the door: what gets in is a number where a number is relied on, a text where a text is. */
import t from 'tap'
import { createBroker, createPeer } from '../lib/index.ts'
import { readOptions, type PeerOptions } from '../lib/options.ts'

const defaults = { listen: 'tcp://127.0.0.1:0' }
const read = (given: Record<string, unknown>) => readOptions(given as PeerOptions, defaults)

const numbers = [
  ...['pingAfterMs', 'handshakeTimeoutMs', 'bodyBytesMax', 'windowBytes', 'windowCapBytes', 'leaseMs', 'renewEveryMs', 'guardMs'],
  ...[
    'operationTimeoutMs',
    'startTimeoutMs',
    'stallMs',
    'waitPollMs',
    'noteAfterMs',
    'deadlineMs',
    'inboxBytesMax',
    'locationsMax',
  ],
]

t.test('a number that is none is refused, and named', async t => {
  for (const name of numbers) {
    for (const value of [NaN, Infinity, 0, -1, '5', null, {}, [1], true, 5n]) {
      t.throws(() => read({ [name]: value }), { code: 'BAD_OPTION', message: new RegExp(name) }, `${name} ${typeof value}`)
    }
  }
})

t.test('what is of another kind is refused, and named', async t => {
  const odd = { toString: 1, valueOf: 1 }
  for (const [name, values] of Object.entries({
    cluster: [7, '', 'a b', odd],
    identity: [7, '', 'a\nb', odd],
    store: [7, null, odd],
    listen: [7, null, odd],
    advertise: [7, null],
    broker: [7, null, {}, [7], [null], ',', []],
    secret: [7, null, {}, 'short', [7], [new Uint8Array(3)]],
    openStore: ['memory:', 7],
    tls: ['pem', null],
    logger: ['console', null],
    env: [7, null],
    insecure: ['yes', 1],
    strictFrom: ['yes', 1, odd],
    whenStoreIsDown: ['serves', 1, odd],
    colour: ['blue'],
  })) {
    for (const value of values)
      t.throws(() => read({ [name]: value }), { code: 'BAD_OPTION', message: new RegExp(name) }, `${name} ${typeof value}`)
  }
  for (const given of [7, null, 'memory:']) t.throws(() => readOptions(given as PeerOptions, defaults), { code: 'BAD_OPTION' })
})

t.test('numbers that do not go together are refused, and both are named', async t => {
  t.throws(() => read({ windowBytes: 20, windowCapBytes: 10 }), { code: 'BAD_OPTION', message: /windowBytes.*windowCapBytes/ })
  t.throws(() => read({ leaseMs: 1_000, renewEveryMs: 500 }), { code: 'BAD_OPTION', message: /renewEveryMs.*leaseMs/ })
  t.throws(() => read({ pingAfterMs: 9_000 }), { code: 'BAD_OPTION', message: /staleAfterMs.*pingAfterMs/ })
})

t.test('what may be given is taken as it is', async t => {
  const given = {
    cluster: 'c',
    store: 'memory:',
    broker: undefined,
    secret: ['x'.repeat(16), new Uint8Array(16)],
    strictFrom: true,
  }
  t.match(read(given), { cluster: 'c', store: 'memory:', brokers: [], router: { strictFrom: true } })
  t.same(read({ broker: ' tcp://a:1 , tcp://b:2,' }).brokers, ['tcp://a:1', 'tcp://b:2'])
  t.same(read({ broker: ['tcp://a:1'] }).brokers, ['tcp://a:1'])
})

t.test('a peer and a broker reject with it, before any I/O', async t => {
  await t.rejects(createPeer({ leaseMs: NaN }), { code: 'BAD_OPTION' })
  await t.rejects(createBroker({ listen: 7 as unknown as string }), { code: 'BAD_OPTION' })
})
