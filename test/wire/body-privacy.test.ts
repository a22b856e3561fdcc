import { addExtension, Packr, pack, unpack } from 'msgpackr'
import t from 'tap'
import { decodeBody, encodeBody, encodeBodyInto } from '../../lib/wire/body.ts'

const value = { text: 'ours', big: 2n ** 80n, when: new Date(1500), list: [1, -1, 1.5] }
const through = (buffer: Buffer) => decodeBody(buffer, 0, buffer.length)

// msgpackr keeps its buffer, position and extensions for the whole process. An application in this process may use all of them.
t.test('an application’s msgpackr and our codec do not meet', async t => {
  const expected = Buffer.from(encodeBody(value))
  const app = new Packr({ useRecords: true })
  const theirs = Buffer.alloc(4096)
  app.useBuffer(theirs)
  const first = app.pack({ secret: 'theirs' })

  const ours = Buffer.alloc(4096, 0xee)
  const end = encodeBodyInto(value, ours, 100)
  const second = app.pack({ secret: 'more' })
  const third = pack({ secret: 'default' })
  t.ok(ours.subarray(100, end).equals(expected))
  t.ok(ours.subarray(0, 100).equals(Buffer.alloc(100, 0xee)), 'nothing of theirs lands in our buffer')
  t.ok(ours.subarray(end).every(byte => byte === 0xee || byte === 0) && !ours.includes('secret'))
  t.notOk(theirs.includes('ours'), 'and nothing of ours in theirs')
  t.strictSame(app.unpack(first), { secret: 'theirs' })
  t.strictSame(app.unpack(second), { secret: 'more' })
  t.strictSame(unpack(third), { secret: 'default' })
})

t.test('an application’s extensions do not change what we write or read', async t => {
  const expected = encodeBody(value)
  class Mine {}
  addExtension({ type: 0x42, Class: Mine, pack: () => Buffer.from('mine'), unpack: () => 'mine' })
  addExtension({ type: 0xff, Class: Date, pack: () => Buffer.from('when'), unpack: () => 'when' })
  t.equal(unpack(pack(new Date(0))), 'when', 'theirs are in force for them')
  t.same(encodeBody(value), expected)
  t.strictSame(through(expected), value)
})

t.test('in the midst of an application’s packing', async t => {
  const app = new Packr({ useRecords: false })
  let inner: Buffer | undefined
  const packed = app.pack({ before: 1, get during() { inner = encodeBody(value); return through(inner) === undefined }, after: 2 }) // prettier-ignore
  t.strictSame(through(inner!), value)
  t.strictSame(app.unpack(packed), { before: 1, during: false, after: 2 })
  const ours = encodeBody({ get theirs() { return pack({ a: 1 }) } }) // prettier-ignore
  t.strictSame(through(ours), { theirs: Buffer.from(pack({ a: 1 })) })
})
