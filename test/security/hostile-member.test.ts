/** F27: a member with a valid secret that does what no peer would. Of each thing it tries: it is refused, or closed, and nobody else is touched. */
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { createBroker, createPeer, type Broker, type Message, type Peer } from '../../lib/index.ts'
import { encodeBody } from '../../lib/wire/body.ts'
import { BAD_BODY, closeFrame, NO_HANDLER, NOT_ALLOWED, NOT_HERE, pingFrame, routeFrame } from '../../lib/wire/frame.ts'
import { MESSAGE, PING } from '../../lib/wire/kinds.ts'
import { CertificateAuthority, withoutCertificates } from '../support/certificates.ts'
import { RawBody, RawMember } from '../support/raw-member.ts'

const secret = 'a secret for this test only'
const secrets = [Buffer.from(secret)]
const prototype = JSON.stringify(Object.getOwnPropertyNames(Object.prototype))

interface World {
  broker: Broker
  one: Peer
  two: Peer
  mallory: RawMember
  /** What bob, a client of two, has got. */
  got: Message[]
  ends: string[]
}

/** A broker, two peers behind it, bob at the second; and mallory, who has joined as a peer does. */
async function world(t: Test): Promise<World> {
  const broker = await createBroker({ identity: 'hub', store: 'memory:', listen: 'tcp://127.0.0.1:0', secret })
  t.teardown(() => broker.close())
  const [one, two] = await Promise.all(
    ['one', 'two'].map(identity => createPeer({ identity, broker: broker.endpoints[0]!, secret })),
  )
  t.teardown(() => one!.close())
  t.teardown(() => two!.close())
  const got: Message[] = []
  const bob = await two!.connectClient('bob', message => void got.push(message))
  const ends: string[] = []
  void bob.ended.then(end => ends.push(end))
  const mallory = await RawMember.dial(broker.endpoints[0]!, { identity: 'mallory', secrets })
  t.teardown(() => mallory.close())
  t.match(await mallory.join(), { answer: { members: Array } })
  return { broker, one: one!, two: two!, mallory, got, ends }
}

/** All is as it was: bob is where he was, and gets what is sent to him. */
async function unharmed(t: Test, { one, two, got, ends }: World): Promise<void> {
  const before = got.length
  t.match(await one.sendMessage('bob', 'unharmed'), { status: 'delivered' })
  t.same([got.length - before, got.at(-1)!.body, got.at(-1)!.peer], [1, 'unharmed', 'one'])
  t.match(await one.whereIs('bob'), { identity: 'two' })
  t.same([ends, two.client('bob')?.end], [[], undefined])
  t.equal(JSON.stringify(Object.getOwnPropertyNames(Object.prototype)), prototype, 'prototypes are as they were')
}

t.test('F27: what others hold: it cannot be given back, moved, or ended in their name', async t => {
  const here = await world(t)
  const { mallory, one, two } = here
  const located = (await mallory.call('directory/1', { op: 'find', addresses: ['bob'] })) as {
    answer: { located: { owner: { identity: string; incarnation: string; claim: number } }[] }
  }
  const bobs = located.answer.located[0]!.owner
  t.equal(bobs.identity, 'two')
  const claims = [{ address: 'bob', claim: bobs.claim }]
  const own = { ...mallory.run, claim: 1 }

  t.match(await mallory.call('directory/1', { op: 'release', claims, ms: 500 }), {
    answer: { released: [{ at: 'elsewhere', owner: { identity: 'two' } }] },
  })
  t.match(await mallory.call('directory/1', { op: 'moving', claims, ms: 500 }), { answer: null })
  for (const by of [own, { ...own, identity: 'one', incarnation: one.incarnation }, bobs]) {
    t.match(await mallory.call('directory/1', { op: 'note', to: bobs, address: 'bob', by }), { code: 'homing:REFUSED' }, 'a note')
  }
  const way = await mallory.way({ identity: 'two', incarnation: two.incarnation })
  const take = { address: 'bob', claim: bobs.claim, by: own, part: 0 }
  for (const part of [1, 0]) {
    const answer = await mallory.call('sessions/1', { ...take, part }, way)
    t.same(answer, { answer: { messages: [], left: 0 } }, 'the datastore says otherwise')
  }
  for (const by of [
    { ...own, identity: 'one' },
    { ...own, incarnation: 'another' },
    { ...own, identity: 7 },
    { identity: 'mallory' },
    null,
  ]) {
    t.match(await mallory.call('sessions/1', { ...take, by }, way), { code: 'REFUSED' })
  }
  const questions = [
    { address: 'bob' },
    { ...take, address: 7 },
    { ...take, part: -1 },
    { ...take, claim: 'x' },
    { ...take, claim: -1 },
  ]
  for (const bad of [null, 5, 'bob', [], ...questions]) {
    t.match(await mallory.call('sessions/1', bad, way), { code: 'REFUSED' })
  }
  await unharmed(t, here)
})

t.test('F27: questions that are for brokers, or for who has joined, or that are none', async t => {
  const here = await world(t)
  const { broker, mallory, one } = here
  t.match(await mallory.call('alive/1', { identity: 'one', incarnation: one.incarnation }), { code: 'homing:REFUSED' })
  t.match(await mallory.call('alive/1', null), { code: 'homing:REFUSED' })
  const member = { identity: 'one', incarnation: one.incarnation, endpoints: ['tcp://evil:1'], via: 'evil', role: 'broker' }
  const rest = { state: 'up', version: 'x', machine: 'x', metadata: JSON.parse('{"__proto__": {"polluted": true}}') as object }
  t.match(await mallory.call('directory/1', { op: 'update', member: { ...member, ...rest } }), { answer: null })
  const members = await one.broadcast('see who is there')
  t.same(members.peers.map(({ identity }) => identity).sort(), ['mallory', 'two'])
  t.match(
    broker.members().find(({ identity }) => identity === 'mallory'),
    { role: 'peer', endpoints: [], via: 'hub', incarnation: mallory.run.incarnation },
    'it describes nobody but itself',
  )
  const stranger = await RawMember.dial(broker.endpoints[0]!, { identity: 'not-joined', secrets })
  for (const question of [
    { op: 'find', addresses: ['bob'] },
    { op: 'claim', claims: [{ address: 'bob', claim: 1 }], ms: 500 },
    { op: 'leave' },
  ]) {
    t.match(await stranger.call('directory/1', question), { code: 'homing:FENCED' })
  }
  await stranger.close()
  for (const question of [null, {}, { op: 'shutdown' }, { op: 'claim', claims: 'all', ms: 1 }, { op: '__proto__' }]) {
    t.match(await mallory.call('directory/1', question), { code: 'homing:REFUSED' })
  }
  for (const protocol of ['control/1', 'sessions/1', '__proto__', 'constructor']) {
    t.same(await mallory.call(protocol, { op: 'stop' }), { refused: NO_HANDLER }, protocol)
    t.equal(await mallory.tell(protocol, { op: 'stop' }), NO_HANDLER)
  }
  await unharmed(t, here)
})

t.test('F27: who calls himself a broker speaks for nobody, unless the datastore says that he is one', async t => {
  const here = await world(t)
  const { broker, one, two } = here
  await t.rejects(RawMember.dial(broker.endpoints[0]!, { identity: 'hub-2', role: 'broker', secrets }), {
    code: 'REFUSED',
    message: /is no broker/,
  })
  await t.rejects(RawMember.dial(broker.endpoints[0]!, { identity: 'hub', role: 'broker', secrets }), { code: 'IDENTITY_IN_USE' })
  // A peer may not name another as the source of a way, whatever it calls itself.
  const second = await RawMember.dial(broker.endpoints[0]!, { identity: 'mallory-2', secrets })
  const from = { identity: 'one', incarnation: one.incarnation }
  second.link.write(routeFrame({ label: 1, pair: 1, from, to: { identity: 'two', incarnation: two.incarnation } }))
  t.equal((await second.ended).reason, 'bad-frame')
  await unharmed(t, here)
})

/** Bodies that nobody may look at: they claim what is not there, or nest without end. */
const malformed: Readonly<Record<string, Buffer>> = {
  'an array of 4 thousand million items': Buffer.from('ddffffffff', 'hex'),
  'a map of 4 thousand million': Buffer.from('dfffffffff', 'hex'),
  'text beyond its end': Buffer.from('dbffffffff41', 'hex'),
  'ten thousand arrays in each other': Buffer.alloc(10_000, 0x91),
  'two values': Buffer.from('0102', 'hex'),
  nothing: Buffer.alloc(0),
  'an unknown extension': Buffer.from('d40500', 'hex'),
  'a byte that begins nothing': Buffer.from('c1', 'hex'),
  'a map without its value': Buffer.from('8101', 'hex'),
}

t.test('F24: a body within a body is checked too: of a broadcast, and of what is handed over', async t => {
  const here = await world(t)
  const { mallory, one, two, got } = here
  const before = process.memoryUsage.rss()
  const way = await mallory.way({ identity: 'two', incarnation: two.incarnation })
  for (const [what, bytes] of Object.entries(malformed)) {
    t.equal(await mallory.send('bob', undefined, { channel: way, raw: bytes }), BAD_BODY, `a message: ${what}`)
    const copy = { from: '', number: 1, bytes }
    t.match(await mallory.call('broadcast/1', copy, way), { code: 'REFUSED' }, `a broadcast: ${what}`)
  }
  for (const copy of [
    null,
    'all',
    {},
    { from: 1, number: 1, bytes: encodeBody(1) },
    { from: '', number: -0.5, bytes: encodeBody(1) },
  ]) {
    t.match(await mallory.call('broadcast/1', copy, way), { code: 'REFUSED' })
  }
  t.same(got, [], 'nothing of it came to a client')

  // Mallory holds an address. Whoever connects it next asks mallory what was left.
  const answers: [what: string, answer: unknown][] = [
    ...Object.entries(malformed).map(([what, bytes]): [string, unknown] => [what, { messages: [moved(bytes)], left: 0 }]),
    ['null', null],
    ['no messages', { left: 0 }],
    ['a message that is none', { messages: [null], left: 0 }],
    ['bytes that are text', { messages: [{ ...moved(encodeBody(1)), bytes: 'text' }], left: 0 }],
    ['an identity that is none', { messages: [{ ...moved(encodeBody(1)), peer: '' }], left: 0 }],
    ['a number that is none', { messages: [{ ...moved(encodeBody(1)), number: NaN }], left: 0 }],
    ['more to come, for ever', { messages: [], left: 1 }],
    ['not even a body', new RawBody(Buffer.from('c1', 'hex'))],
  ]
  const rejections: unknown[] = []
  const note = (error: unknown): void => void rejections.push(error)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  let claim = 0
  for (const [what, answer] of answers) {
    mallory.answers = () => answer
    const claimed = await mallory.call('directory/1', { op: 'claim', claims: [{ address: 'prize', claim: ++claim }], ms: 1_000 })
    t.match(claimed, { answer: { previous: Array } })
    const taken: Message[] = []
    const incomplete = once(one, 'handOverIncomplete')
    await one.connectClient('prize', message => void taken.push(message))
    t.match(await incomplete, [{ address: 'prize', from: { identity: 'mallory' } }], what)
    t.match(await two.sendMessage('prize', what), { status: 'delivered' })
    t.same(
      taken.map(({ body }) => body),
      [what],
    )
  }
  await new Promise(resolve => setImmediate(resolve))
  t.same(rejections, [], 'no promise of the library is left to itself')
  t.ok(
    process.memoryUsage.rss() - before < 128 * 2 ** 20,
    `${Math.round((process.memoryUsage.rss() - before) / 2 ** 20)} MiB more`,
  )
  await unharmed(t, here)
})

function moved(bytes: Uint8Array): object {
  return { from: '', bytes, peer: 'one', origin: 'one/1', number: 1 }
}

t.test('F27: what was handed over is from whom its former owner says, and says so', async t => {
  const { mallory, one } = await world(t)
  mallory.answers = () => ({ messages: [moved(encodeBody('forged'))], left: 0 })
  await mallory.call('directory/1', { op: 'claim', claims: [{ address: 'prize', claim: 1 }], ms: 1_000 })
  const taken = await new Promise<Message>(resolve => void one.connectClient('prize', resolve))
  t.match(taken, { body: 'forged', peer: 'one', vouchedBy: 'mallory' })
})

t.test(
  'F27: frames said again are taken once; frames ahead of their turn, of a size that none has, or twice at the start end the link',
  async t => {
    const here = await world(t)
    const { broker, mallory, two, got } = here
    const to = { identity: 'two', incarnation: two.incarnation }
    const way = await mallory.way(to)
    t.equal(await mallory.send('bob', 'once', { channel: way }), 'accepted')
    const frame = numbered(
      MESSAGE,
      way.path!.label,
      0,
      Buffer.concat([Buffer.from([0, 3]), Buffer.from('bob'), Buffer.alloc(8), encodeBody('once')]),
    )
    for (let i = 0; i < 100; i++) mallory.link.write(frame)
    t.equal(await mallory.send('bob', 'after', { channel: way }), 'accepted')
    t.same(
      got.map(({ body, peer }) => [body, peer]),
      [
        ['once', 'mallory'],
        ['after', 'mallory'],
      ],
    )
    // Behind a broker the channel ends, and nothing else.
    mallory.link.write(numbered(MESSAGE, way.path!.label, 1_000, Buffer.alloc(20)))
    t.equal(await mallory.send('bob', 'too late', { channel: way }), 'lost')
    t.equal(await mallory.send('bob', 'on a new way', { channel: await mallory.way(to) }), 'accepted')

    const offences: [string, Buffer][] = [
      ['a ping of another size', Buffer.concat([Buffer.from([0, 0, 0, 6, PING]), Buffer.alloc(5)])],
      ['a frame for the broker ahead of its turn', numbered(MESSAGE, 0, 77, Buffer.alloc(20))],
      ['a frame of 4 GiB by claim', Buffer.from('ffffffff30', 'hex')],
      ['a frame of nothing', Buffer.alloc(4)],
      ['a handshake again', Buffer.from('000000020180', 'hex')],
    ]
    for (const [what, bytes] of offences) {
      const offender = await RawMember.dial(broker.endpoints[0]!, {
        identity: 'offender',
        incarnation: what.slice(0, 20),
        secrets,
      })
      offender.link.write(bytes)
      t.equal((await offender.ended).reason, 'bad-frame', what)
    }
    await unharmed(t, here)
  },
)

function numbered(kind: number, label: number, sequence: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(12)
  head[4] = kind
  head.writeUIntBE(label, 5, 3)
  head.writeUInt32BE(sequence, 8)
  const frame = Buffer.concat([head, payload])
  closeFrame(frame, 0, frame.length)
  return frame
}

t.test('F27: floods of pings, of ways and of messages to a client that takes none: others go on', async t => {
  const here = await world(t)
  const { broker, mallory, one, two } = here
  await two.connectClient('stuck', () => new Promise(() => {}))
  const flooder = await RawMember.dial(broker.endpoints[0]!, { identity: 'flooder', secrets })
  t.teardown(() => flooder.close())
  t.match(await flooder.join(), { answer: Object })
  const way = await mallory.way({ identity: 'two', incarnation: two.incarnation })
  const before = process.memoryUsage.rss()
  let flooding = true
  const flood = async (): Promise<void> => {
    const pings = Buffer.concat(Array.from({ length: 500 }, (_, nonce) => pingFrame(PING, nonce)))
    const body = Buffer.alloc(8 * 1024, 1)
    for (let label = 1; flooding; label++) {
      flooder.link.write(pings)
      for (let i = 0; i < 50; i++) {
        const to = { identity: 'two', incarnation: two.incarnation }
        flooder.link.write(routeFrame({ label: 50 * label + i, pair: label, from: flooder.run, to }))
      }
      if (way.unacknowledgedBytes < 2 ** 21) for (let i = 0; i < 20; i++) void mallory.send('stuck', body, { channel: way })
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  const flooded = flood()
  const latencies: number[] = []
  for (let sent = 0; sent < 300; sent++) {
    const began = performance.now()
    t.equal((await one.sendMessage('bob', sent, { deadlineMs: 2_000 })).status, 'delivered')
    latencies.push(performance.now() - began)
  }
  flooding = false
  await flooded
  latencies.sort((a, b) => a - b)
  const grown = process.memoryUsage.rss() - before
  t.comment(`p50 ${latencies[150]!.toFixed(1)} ms, p99 ${latencies[297]!.toFixed(1)} ms, ${Math.round(grown / 2 ** 20)} MiB more`)
  t.ok(latencies[297]! < 1_000)
  t.ok(grown < 256 * 2 ** 20)
  await unharmed(t, here)
})

t.test('F27: under mutual TLS nobody is anybody else, in no role', { skip: withoutCertificates }, async t => {
  const authority = new CertificateAuthority(t.testdir())
  const ca = authority.cert
  const tlsOf = (name: string) => ({ ...authority.certify(name), ca, requireClientCertificate: true })
  const broker = await createBroker({ identity: 'hub', store: 'memory:', listen: 'tcp://127.0.0.1:0', tls: tlsOf('hub') })
  t.teardown(() => broker.close())
  await using one = await createPeer({ identity: 'one', broker: broker.endpoints[0]!, tls: tlsOf('one') })
  const tls = tlsOf('mallory')
  for (const role of ['peer', 'broker', 'pulse', 'probe'] as const) {
    for (const identity of ['one', 'hub', 'nobody']) {
      const dialling = RawMember.dial(broker.endpoints[0]!, { identity, role, tls, incarnation: one.incarnation })
      await t.rejects(dialling, { code: 'REFUSED', message: /the certificate is of 'mallory'/ }, `${identity} as ${role}`)
    }
  }
  await t.rejects(RawMember.dial(broker.endpoints[0]!, { identity: 'mallory', role: 'broker', tls }), {
    code: 'REFUSED',
    message: /no broker/,
  })
  await t.rejects(createPeer({ identity: 'one', broker: broker.endpoints[0]!, tls, startTimeoutMs: 2_000 }), { code: 'REFUSED' })
  const mallory = await RawMember.dial(broker.endpoints[0]!, { identity: 'mallory', tls })
  t.match(await mallory.join(), { answer: Object }, 'as itself it is a member')
  await mallory.close()
  t.equal(broker.peerCount, 2)
})

t.test('F27: an allow-list holds against who keeps to no rule', async t => {
  const allow = [
    { who: ['one', 'two'], actions: '*', addresses: '*' } as const,
    { who: 'mallory', actions: ['send', 'connect'], addresses: 'm-*' } as const,
  ]
  const store = 'memory:hostile-allow'
  await using two = await createPeer({ identity: 'two', store, secret, allow })
  const got: Message[] = []
  await two.connectClients(['bob', 'm-1'], message => void got.push(message))
  const mallory = await RawMember.dial(two.endpoints[0]!, { identity: 'mallory', secrets })
  t.teardown(() => mallory.close())
  t.equal(await mallory.send('bob', 1, { from: 'one' }), NOT_ALLOWED, 'whatever it says in `from`')
  t.match(await mallory.request('bob', 1), { refused: NOT_ALLOWED })
  t.match(await mallory.request('m-1', 1), { refused: NOT_ALLOWED })
  t.equal(await mallory.send('nobody', 1), NOT_HERE)
  t.equal(await mallory.send('m-1', 1, { from: 'one' }), 'accepted')
  t.match(await mallory.call('broadcast/1', { from: '', number: 1, bytes: encodeBody('all') }), {
    answer: { reached: 1, full: 0, refused: 1 },
  })
  const take = { address: 'bob', claim: 1, by: { ...mallory.run, claim: 1 }, part: 0 }
  t.match(await mallory.call('sessions/1', take), { code: 'REFUSED' }, 'what waits for bob is not for mallory')
  t.same(
    got.map(({ to, from, peer }) => [to, from, peer]),
    [
      ['m-1', 'one', 'mallory'],
      ['m-1', undefined, 'mallory'],
    ],
  )
  t.equal(two.client('bob')?.end, undefined)
  two.setAllow([])
  t.equal(await mallory.send('m-1', 2), NOT_HERE, 'its client is gone as soon as the list is')
})
