import t from 'tap'
import { HomingError } from '../../lib/errors.ts'
import type { CloseReason } from '../../lib/link/link.ts'
import { probeRun } from '../../lib/link/probe.ts'
import { frameOf, pingFrame } from '../../lib/wire/frame.ts'
import { CLOSE, HELLO, PING, PONG } from '../../lib/wire/kinds.ts'
import { handshakeBytesMax } from '../../lib/wire/limits.ts'
import { DATA, LinkWorld } from '../support/link-pair.ts'

t.test('both ends open, know each other, and frames go both ways in order', async t => {
  const world = new LinkWorld()
  const { near, far } = await world.pair()
  t.equal(near.remote.identity, 'there')
  t.equal(far.remote.identity, 'here')
  t.ok(near.dialled && !far.dialled)
  for (const [from, to] of [
    [near, world.far],
    [far, world.near],
  ] as const) {
    for (let i = 0; i < 100; i++) from.write(frameOf(DATA, Buffer.alloc(i, i)))
    await world.time.until(() => to.frames.length === 100, 1_000)
    t.same(
      to.frames.map(({ length }) => length),
      Array.from({ length: 100 }, (_, index) => index),
    )
  }
  t.equal(world.near.heard[0], 'opened')
  t.equal(world.near.heard.at(-1), 'batch')
})

t.test('the remote is not to be asked for before the handshake ended', async t => {
  const world = new LinkWorld()
  const near = world.dial(await world.listen())
  t.throws(() => near.remote)
  t.notOk(near.wasOpen)
  near.write(frameOf(DATA, Buffer.alloc(1)))
  await world.time.run(100)
  t.same(world.far.frames, [], 'what is written before is dropped')
})

t.test('F26: a socket that says nothing is closed when the time of the handshake is over, and released', async t => {
  const world = new LinkWorld()
  const raw = await world.raw(await world.listen())
  await world.time.until(() => world.far.reason !== undefined, world.options.handshakeTimeoutMs + 10)
  t.equal(world.far.reason, 'slow')
  t.match(world.far.error?.message, /no handshake within 2000 ms/)
  await world.time.until(() => raw.isClosed, 1_000)
})

t.test('F26: a handshake that drips is closed at the same time', async t => {
  const world = new LinkWorld()
  const raw = await world.raw(await world.listen())
  const drip = world.time.timers.every(100, () => raw.connection.write(Uint8Array.of(0, 0, 15, 0)))
  const hello = frameOf(HELLO, Buffer.alloc(3_000))
  raw.connection.write(hello.subarray(0, 20))
  await world.time.until(() => raw.isClosed, 3_100)
  drip.cancel()
  t.equal(world.far.reason, 'slow')
})

t.test('a listener that never answers is given up by its dialler', async t => {
  const world = new LinkWorld()
  const listener = await world.there.transport.listen('memory:mute', undefined, () => ({
    data: () => undefined,
    closed: () => undefined,
  }))
  world.dial(listener.endpoint)
  await world.time.until(() => world.near.reason !== undefined, 2_100)
  t.equal(world.near.reason, 'slow')
  t.same(world.near.heard, ['closed'])
})

t.test('a dial that finds nobody, or gets nowhere, is closed with the cause', async t => {
  const world = new LinkWorld()
  world.dial('memory:there99')
  await world.time.until(() => world.near.reason !== undefined, 100)
  t.equal(world.near.reason, 'unreachable')
  t.match(world.near.error, { code: 'UNREACHABLE', cause: { code: 'ECONNREFUSED' } })

  const cut = new LinkWorld()
  const endpoint = await cut.listen()
  cut.network.cut('here', 'there')
  cut.dial(endpoint)
  await cut.time.until(() => cut.near.reason !== undefined, cut.options.dialTimeoutMs + 10)
  t.match(cut.near.error, { code: 'UNREACHABLE', cause: { code: 'ETIMEDOUT' } })
  t.throws(() => cut.dial('bluetooth:1'), { code: 'BAD_OPTION' })
})

t.test('more bytes than a handshake may have close the socket before they are kept', async t => {
  const world = new LinkWorld()
  const raw = await world.raw(await world.listen())
  const claim = Buffer.alloc(5)
  claim.writeUInt32BE(handshakeBytesMax + 1)
  raw.connection.write(claim)
  await world.time.until(() => world.far.reason !== undefined, 100)
  t.equal(world.far.reason, 'bad-frame')
  await world.time.until(() => raw.isClosed, 1_100)
})

t.test('close reasons travel, with their text', async t => {
  const reasons: [CloseReason, CloseReason][] = [
    ['local', 'remote'],
    ['duplicate', 'duplicate'],
    ['bad-frame', 'bad-frame'],
    ['slow', 'slow'],
    ['leaving', 'leaving'],
    ['replaced', 'replaced'],
  ]
  for (const [said, heard] of reasons) {
    const world = new LinkWorld()
    const { near } = await world.pair()
    near.write(frameOf(DATA, Buffer.alloc(3)))
    near.close(said, new HomingError('UNREACHABLE', `because\u0007 of\nthis: ${'x'.repeat(600)}`))
    near.close('stale')
    t.equal(world.near.reason, said, 'at once, once')
    await world.time.until(() => world.far.reason !== undefined, 100)
    t.equal(world.far.reason, heard)
    t.match(world.far.error?.message, /^here closed the link: because  of this: x{400}/)
    t.ok(world.far.error!.message.length < 560)
    t.equal(world.far.frames.length, 1, 'behind what was written before')
    await world.time.run(3_000)
    t.equal(world.near.heard.filter(event => event === 'closed').length, 1)
    t.equal(world.far.heard.filter(event => event === 'closed').length, 1)
  }
})

t.test('a link that is closed hears nothing more, also from the chunk in hand', async t => {
  const world = new LinkWorld()
  const { near, far } = await world.pair()
  world.near.onFrame = () => near.close('local')
  far.write(Buffer.concat([frameOf(DATA, Buffer.alloc(1)), frameOf(DATA, Buffer.alloc(2)), frameOf(DATA, Buffer.alloc(3))]))
  await world.time.run(2_000)
  t.equal(world.near.frames.length, 1)
  t.equal(world.near.heard.at(-1), 'closed')
})

t.test('a connection that just ends is closed as remote; one that breaks says why', async t => {
  const world = new LinkWorld()
  await world.pair()
  world.network.reset('here', 'there')
  await world.time.until(() => world.near.reason !== undefined && world.far.reason !== undefined, 100)
  for (const ear of [world.near, world.far]) {
    t.equal(ear.reason, 'remote')
    t.match(ear.error, { code: 'UNREACHABLE', cause: { code: 'ECONNRESET' } })
  }

  const killed = new LinkWorld(2)
  await killed.pair()
  killed.network.kill('there')
  await killed.time.until(() => killed.near.reason !== undefined, 250)
  t.equal(killed.near.reason, 'remote', 'a killed process is noticed within 250 ms')
})

t.test('closed while dialling: the other end hears of no link, and the late end changes nothing', async t => {
  for (const afterMs of [0, 0.5, 1.5, 2.5, 3.5, 4.5]) {
    const world = new LinkWorld()
    const near = world.dial(await world.listen())
    await world.time.run(afterMs)
    near.close('local')
    t.equal(world.near.reason, 'local', `after ${afterMs} ms`)
    await world.time.run(4_000)
    t.equal(world.near.heard.filter(event => event === 'closed').length, 1)
    t.equal(world.near.heard.at(-1), 'closed')
    if (world.accepted) t.ok(world.accepted.isClosed)
    t.notOk(near.isOpen)
  }
})

t.test('an admission that comes after the end is nobody’s', async t => {
  for (const how of ['admitted', 'refused'] as const) {
    const world = new LinkWorld()
    let decide: () => void = () => undefined
    world.far.admits = () =>
      new Promise<void>((resolve, reject) => {
        decide = () => (how === 'admitted' ? resolve() : reject(new HomingError('REFUSED', 'no')))
      })
    const near = world.dial(await world.listen())
    await world.time.run(100)
    near.close('local')
    await world.time.run(100)
    t.ok(world.accepted?.isClosed)
    decide()
    await world.time.run(100)
    t.same(world.far.heard, ['closed'])
  }
})

t.test('an admission that never ends is ended with the time of the handshake', async t => {
  const world = new LinkWorld()
  world.far.admits = () => new Promise(() => undefined)
  world.dial(await world.listen())
  await world.time.until(() => world.near.reason !== undefined && world.far.reason !== undefined, 2_200)
  t.equal(world.far.reason, 'slow')
})

t.test('a refusal travels from either side, with its code', async t => {
  const world = new LinkWorld()
  world.far.admits = () => Promise.reject(new HomingError('FENCED', 'somebody newer is here'))
  world.dial(await world.listen())
  await world.time.until(() => world.near.reason !== undefined && world.far.reason !== undefined, 100)
  t.same([world.near.reason, world.far.reason], ['refused', 'refused'])
  t.match(world.near.error, { code: 'FENCED', message: /somebody newer is here/ })

  const dialler = new LinkWorld()
  dialler.dial(await dialler.listen(), { secrets: [Buffer.from('a secret of 16 bytes')] })
  await dialler.time.until(() => dialler.near.reason !== undefined && dialler.far.reason !== undefined, 100)
  t.match(dialler.near.error, { code: 'REFUSED', message: /has a secret/ })
  t.match(
    dialler.far.error,
    { code: 'REFUSED', message: /'here' has a secret and 'there' has none/ },
    'the listener hears what was wrong',
  )

  const bug = new LinkWorld()
  bug.far.admits = () => Promise.reject(new Error('a bug'))
  bug.dial(await bug.listen())
  await bug.time.until(() => bug.near.reason !== undefined, 100)
  t.equal(bug.near.error?.code, 'REFUSED')
})

t.test('frames of the link itself that are wrong close it', async t => {
  const wrong: [string, Uint8Array][] = [
    ['a ping of another size', frameOf(PING, Buffer.alloc(3))],
    ['a pong of another size', frameOf(PONG, Buffer.alloc(5))],
    ['a close without a reason', frameOf(CLOSE, Buffer.alloc(0))],
    ['a close for a reason that is none', frameOf(CLOSE, Buffer.from([99]))],
    ['a frame of no bytes', Buffer.alloc(4)],
    ['a frame beyond the limit', Buffer.from([0x7f, 0xff, 0xff, 0xff, 1])],
  ]
  for (const [what, bytes] of wrong) {
    const world = new LinkWorld()
    const { near } = await world.pair()
    near.write(bytes)
    await world.time.until(() => world.far.reason !== undefined && world.near.reason !== undefined, 100)
    t.same([world.far.reason, world.near.reason], ['bad-frame', 'bad-frame'], what)
    t.equal(world.far.error?.code, 'BAD_FRAME')
  }
})

t.test('a handler that throws ends its link, not the process, and the bug is not hidden', async t => {
  const world = new LinkWorld()
  const { near } = await world.pair()
  const bug = new TypeError('a bug of ours')
  world.far.onFrame = () => {
    throw bug
  }
  near.write(frameOf(DATA, Buffer.alloc(1)))
  await world.time.until(() => world.far.reason !== undefined, 100)
  t.equal(world.far.reason, 'bad-frame')
  t.equal(world.far.error?.cause, bug)
})

t.test('pings are answered with their nonce, also many, and an unknown pong is nothing', async t => {
  const world = new LinkWorld()
  const { near, far } = await world.pair()
  near.write(pingFrame(PONG, 77))
  for (let i = 0; i < 500; i++) near.write(pingFrame(PING, i))
  await world.time.run(1_600)
  t.ok(near.isOpen && far.isOpen)
  t.ok(near.roundTripMs !== undefined && near.roundTripMs >= 2, `${near.roundTripMs} ms`)
})

t.test('the age of a link is how long it is or was open', async t => {
  const world = new LinkWorld()
  const { near } = await world.pair()
  await world.time.run(1_234)
  t.ok(Math.abs(near.ageMs - 1_234) < 5)
  near.close('local')
  await world.time.run(5_000)
  t.ok(Math.abs(near.ageMs - 1_234) < 5, 'and stays so')
  const never = world.dial('memory:there99')
  await world.time.run(100)
  t.equal(never.ageMs, 0)
})

t.test('a probe tells a run that answers from another one, from nobody and from silence', async t => {
  const world = new LinkWorld()
  const endpoint = await world.listen()
  const probe = (run: { identity: string; incarnation: string }, ...endpoints: string[]): Promise<string> => {
    const result = probeRun(world.here, world.setup('prober'), run, endpoints)
    let settled: string | undefined
    void result.then(value => (settled = value))
    return world.time.until(() => settled !== undefined, 4_500).then(() => settled!)
  }
  const there = { identity: 'there', incarnation: '1' }
  t.equal(await probe(there, endpoint), 'answers')
  t.equal(await probe({ ...there, incarnation: '2' }, endpoint), 'refused')
  t.equal(await probe(there, 'memory:there98'), 'refused')
  t.equal(await probe(there, 'memory:there98', endpoint), 'answers')
  t.equal(await probe(there), 'silent')
  t.equal(await probe(there, 'bluetooth:1'), 'silent')
  world.network.cut('here', 'there')
  t.equal(await probe(there, endpoint), 'silent')
  t.equal(await probe(there, endpoint, 'memory:here-nobody'), 'silent', 'one that cannot be told is enough to say so')
})
