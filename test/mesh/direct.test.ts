import t from 'tap'
import { HomingError } from '../../lib/errors.ts'
import { Link, type LinkHandler } from '../../lib/link/link.ts'
import { DirectMesh } from '../../lib/mesh/direct.ts'
import { RESUME } from '../../lib/wire/kinds.ts'
import { meshContract } from '../contract/mesh.ts'
import { MeshPeer } from '../support/mesh-peer.ts'
import { DirectWorld, Hostile, TestBroker, words } from '../support/mesh-world.ts'
import { relayDefaults } from '../../lib/mesh/relay.ts'

meshContract(t, { open: options => new DirectWorld(options) })

t.test('a second dial of the same side replaces the first link, and the channel does not notice', async t => {
  const world = new DirectWorld()
  const b = await world.start('b')
  const run = world.newRun('a')
  const first = await Hostile.dial(world, 'memory:b', 0, run)
  first.frame(RESUME, words(7, 0, 0))
  await world.run(20)
  const channel = b.mesh.find(run)!
  const second = await Hostile.dial(world, 'memory:b', 0, run)
  second.frame(RESUME, words(7, channel.id, 0))
  await world.until(() => first.closed !== undefined)
  t.equal(first.closed, 'duplicate')
  await world.run(100)
  t.equal(b.mesh.find(run), channel)
  t.ok(channel.ready)
  t.equal(second.closed, undefined)
  t.equal(b.events.filter(event => event.startsWith('down')).length, 0)
})

t.test('an older incarnation is refused as fenced, the newer one replaces it', async t => {
  const world = new DirectWorld()
  const b = await world.start('b')
  const [old, young] = [world.newRun('a'), world.newRun('a')]
  world.current.set('a', old)
  const first = await Hostile.dial(world, 'memory:b', 0, old)
  world.current.set('a', young)
  const second = await Hostile.dial(world, 'memory:b', 0, young)
  await world.until(() => first.closed !== undefined)
  t.equal(first.closed, 'replaced')
  let refusal: HomingError | undefined
  Link.dial(world.envOf('a'), world.setup(old), 'memory:b', undefined, {
    opened: () => t.fail('the older one is let in'),
    frame: () => undefined,
    batch: () => undefined,
    closed: (_link, _reason, error) => (refusal = error),
  })
  await world.until(() => refusal !== undefined)
  t.equal(refusal?.code, 'FENCED')
  t.equal(second.closed, undefined)
  t.same(
    b.refusedLinks.map(({ code }) => code),
    ['FENCED'],
  )
})

t.test('a run that was replaced is back when it links again: who waited for it is told to look again', async t => {
  const world = new DirectWorld()
  const b = await world.start('b')
  const [run, other] = [world.newRun('a'), world.newRun('a')]
  world.current.set('a', run)
  await Hostile.dial(world, 'memory:b', 0, run)
  world.current.set('a', other)
  await Hostile.dial(world, 'memory:b', 0, other)
  await world.until(() => b.mesh.find(other) !== undefined)
  const waiting = b.mesh.channelTo(run)
  t.equal(b.mesh.channelTo(run), waiting, 'one for all who ask')
  t.notOk(waiting.hasEnded)
  // It was the other one that had no right to the identity.
  world.current.set('a', run)
  await Hostile.dial(world, 'memory:b', 0, run)
  await world.until(() => waiting.hasEnded)
  const back = b.mesh.find(run)
  t.ok(back)
  t.equal(b.mesh.channelTo(run), back)
  t.equal(b.mesh.find(other), undefined)
})

t.test('somebody else with our own identity is refused', async t => {
  const world = new DirectWorld()
  const b = await world.start('b')
  let refusal: HomingError | undefined
  Link.dial(world.envOf('other'), world.setup(world.newRun('b')), 'memory:b', undefined, {
    opened: () => t.fail('let in'),
    frame: () => undefined,
    batch: () => undefined,
    closed: (_link, _reason, error) => (refusal = error),
  })
  await world.until(() => refusal !== undefined)
  t.equal(refusal?.code, 'IDENTITY_IN_USE')
  t.equal(b.refusedLinks.length, 1)
})

t.test('who accepts and closes at once is dialled ever less often', async t => {
  const world = new DirectWorld()
  const a = await world.start('a')
  const run = world.newRun('b')
  let opened = 0
  const closes: LinkHandler = {
    opened: link => {
      opened++
      link.close('local')
    },
    frame: () => undefined,
    batch: () => undefined,
    closed: () => undefined,
  }
  const env = world.envOf('b')
  await env.transport.listen('memory:b', undefined, connection => Link.accept(env, world.setup(run), connection, closes))
  a.mesh.channelTo(run)
  await world.run(20_000)
  t.ok(opened > 3 && opened < 60, `${opened} links in 20 s`)
})

t.test('each link that came up goes down once, whatever ends it', async t => {
  for (const how of ['end', 'kill', 'close', 'cut'] as const) {
    const world = new DirectWorld()
    const [a, b] = [await world.start('a'), await world.start('b')]
    const sent = a.send(b.run)
    await world.until(() => sent.answer !== undefined)
    if (how === 'end') a.mesh.end(b.run, 'dead')
    if (how === 'kill') world.kill('b')
    if (how === 'close') void b.mesh.close(100)
    if (how === 'cut') world.cut('a', 'b')
    await world.run(7_000)
    const links = (word: string): number => a.events.filter(event => event.startsWith(`link ${word} b`)).length
    t.equal(links('down'), 1, how)
    // The other end, which was not told why, comes again.
    t.equal(links('up'), how === 'end' ? 2 : 1, how)
  }
})

t.test('dials that fail are told, and one that cannot be dialled at all does not throw', async t => {
  const world = new DirectWorld()
  const peer = new MeshPeer(world.newRun('a'), world.envOf('a'))
  const mesh = new DirectMesh({
    env: peer.env,
    link: world.setup(peer.run),
    channel: world.channel,
    handler: peer,
    self: peer.run,
    endpointsOf: ({ identity }) => (identity === 'odd' ? ['bluetooth:7'] : [`memory:${identity}`]),
    isCurrent: async () => true,
  })
  peer.mesh = mesh
  mesh.channelTo(world.newRun('odd'))
  const nobody = world.newRun('nobody')
  mesh.channelTo(nobody)
  await world.run(1_000)
  t.ok(peer.heard('dial failed odd') > 1)
  t.ok(peer.heard('dial failed nobody') > 1)
  t.match(mesh.explain(nobody).lastError, /ECONNREFUSED/)
  await t.rejects(mesh.listen('bluetooth:7'), { code: 'BAD_OPTION' })
  await mesh.listen('memory:x')
  await t.rejects(mesh.listen('memory:x'), { code: 'UNREACHABLE', message: /in use/ })
  await mesh.close(0)
})

t.test('thousands of sockets that say nothing take few descriptors, and keep nobody else out', async t => {
  const world = new DirectWorld()
  const b = await world.start('b')
  let open = 0
  const attack = world.time.timers.every(1, () => {
    for (let i = 0; i < 5; i++) {
      open++
      const idle = { data: () => undefined, closed: () => void open-- }
      world.network.transportOf(`evil-${i}`).dial('memory:b', undefined, 1_000, idle)
    }
  })
  await world.run(1_000)
  const a = await world.start('a')
  for (let i = 0; i < 5; i++) {
    const from = world.time.nowMs
    const sent = a.send(b.run)
    await world.until(() => sent.answer !== undefined, 1_000)
    t.equal(sent.answer, 'accepted', `${world.time.nowMs - from} ms`)
    world.reset('a', 'b')
    await world.run(300)
    t.ok(world.connections('b') <= 300, `${world.connections('b')} connections`)
  }
  attack.cancel()
  await world.run(4_000)
  t.equal(open, 0, 'all were closed')
  t.ok(world.connections('b') <= 1)
})

t.test('two brokers that dial each other at once keep forwarding over the link that stays', async t => {
  for (let seed = 0; seed < 20; seed++) {
    const world = new DirectWorld({ seed, network: { jitterMs: 4 } })
    const brokers = ['x', 'y'].map(name => {
      const broker = new TestBroker(world, world.newRun(name), relayDefaults, run => [`memory:${run.identity}`])
      return broker
    })
    const [x, y] = brokers as [TestBroker, TestBroker]
    await x.mesh.listen('memory:x')
    await y.mesh.listen('memory:y')
    x.mesh.channelTo(y.run)
    y.mesh.channelTo(x.run)
    await world.until(() => x.mesh.find(y.run)!.ready && y.mesh.find(x.run)!.ready)
    await world.run(1_000)
    t.ok(x.links.get('y')?.isOpen, `seed ${seed}: x knows its link to y`)
    t.ok(y.links.get('x')?.isOpen, `seed ${seed}: y knows its link to x`)
  }
})
