import t from 'tap'
import { Link, type LinkHandler } from '../../lib/link/link.ts'
import { ROUTE_FULL, ROUTE_GONE, routeFrame, unrouteFrame } from '../../lib/wire/frame.ts'
import { MESSAGE, RESUME, ROUTE, UNROUTE } from '../../lib/wire/kinds.ts'
import { meshContract } from '../contract/mesh.ts'
import { RelayedMesh } from '../../lib/mesh/relayed.ts'
import { MeshPeer, type Sent } from '../support/mesh-peer.ts'
import { Hostile, RelayedWorld, words } from '../support/mesh-world.ts'

meshContract(t, { open: options => new RelayedWorld(options) })

const answered = (sent: readonly Sent[]): boolean => sent.every(({ answer }) => answer !== undefined)
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)

async function pair(world: RelayedWorld): Promise<{ a: MeshPeer; b: MeshPeer }> {
  const [a, b] = [await world.start('a'), await world.start('b')]
  const sent = [a.send(b.run), b.send(a.run)]
  await world.until(() => answered(sent))
  return { a, b }
}

t.test('a broker that is killed and restarted loses nothing: channels resume over the new one', async t => {
  for (const seed of upTo(5)) {
    const world = new RelayedWorld({ seed, network: { jitterMs: 2 } })
    const { a, b } = await pair(world)
    const sent = [...a.sendMany(b.run, 300, index => index), ...b.sendMany(a.run, 300)]
    await world.run(seed)
    world.kill('broker')
    await world.run(2_000)
    await world.startBroker()
    await world.until(() => answered(sent), 4_000)
    t.ok(
      sent.every(({ answer }) => answer === 'accepted'),
      `seed ${seed}`,
    )
    t.same([a.numbers, b.numbers], [upTo(301), upTo(301)])
    t.equal(a.heard('ended b replaced') + a.heard('ended b forgotten'), 0)
    t.equal(a.heard('ended broker replaced'), 1, 'the channel to the broker itself is a new one')
  }
})

for (const [count, withinMs] of [
  [100, 3_000],
  [1_000, 10_000],
] as const) {
  t.test(`${count} peers are back within ${withinMs} ms of the restart of their broker`, async t => {
    const world = new RelayedWorld({ network: { latencyMs: 10, jitterMs: 10 } })
    const peers: MeshPeer[] = []
    for (const index of upTo(count)) peers.push(await world.start(`p${index}`))
    const ring = (): Sent[] => peers.map((peer, index) => peer.send(peers[(index + 1) % count]!.run))
    const before = ring()
    await world.until(() => answered(before))
    world.kill('broker')
    const during = ring()
    await world.run(15_000)
    await world.startBroker()
    await world.until(() => answered(during), withinMs)
    t.ok(during.every(({ answer }) => answer === 'accepted'))
  })
}

t.test('an outbox that is full is refused to its sender, who sends again: nothing is lost, others do not wait', async t => {
  const world = new RelayedWorld({ relay: { outboxBytesMax: 100_000 }, network: { kernelBytesMax: 50_000 } })
  const { a, b } = await pair(world)
  const c = await world.start('c')
  const hello = a.send(c.run)
  await world.until(() => answered([hello]))
  world.time.stall('b', 2_500)
  const sent = a.sendMany(b.run, 60, () => 10_000)
  for (const index of upTo(20)) {
    const from = world.time.nowMs
    const other = a.send(c.run)
    await world.until(() => answered([other]), 200)
    if (index === 0) t.comment(`${world.time.nowMs - from} ms`)
  }
  t.notOk(answered(sent))
  await world.until(() => answered(sent), 15_000)
  t.same(b.numbers.length, 61)
  t.ok(a.heard('down b') > 0, 'the way was refused')
})

t.test('what waits for all who do not read is bounded together; who reads goes on', async t => {
  const relay = { outboxBytesMax: 2_000_000, outboxesBytesMax: 3_000_000 }
  const world = new RelayedWorld({ relay, network: { kernelBytesMax: 50_000 } })
  const a = await world.start('a')
  const names = upTo(8).map(n => `slow${n}`)
  const slow = await Promise.all(names.map(name => world.start(name)))
  const c = await world.start('c')
  const hello = [...slow, c].map(peer => a.send(peer.run))
  await world.until(() => answered(hello))
  for (const name of names) world.time.stall(name, 3_000)
  const sent = slow.flatMap(peer => a.sendMany(peer.run, 60, () => 20_000))
  let mostBytes = 0
  let prompt = 0
  for (let n = 0; n < 100; n++) {
    const other = a.send(c.run)
    await world.until(() => answered([other]), 300)
    prompt++
    let bytes = 0
    for (const link of world.broker.links.values()) bytes += link.pendingBytes
    mostBytes = Math.max(mostBytes, bytes)
    await world.run(10)
  }
  t.equal(prompt, 100)
  t.ok(mostBytes > 1_000_000, 'the test fills them')
  // Beyond the sum what is under way in one turn of the loop, and a little for each.
  t.ok(mostBytes <= 3_000_000 + 8 * 262_144 + 1_000_000, `${mostBytes} bytes waited`)
  await world.until(() => answered(sent), 30_000)
  for (const peer of slow) t.equal(peer.numbers.length, 61)
})

t.test('runs that prove themselves under ever new names and go again are forgotten', async t => {
  const world = new RelayedWorld()
  const { a, b } = await pair(world)
  for (let n = 0; n < 200; n++) {
    const hostile = await Hostile.dial(world, 'memory:broker', 0, world.newRun(`passing ${n}`))
    hostile.link.close('local')
  }
  await world.run(1_000)
  const known = (): number => [...world.broker.mesh.channels()].length
  t.ok(known() >= 200)
  await world.run(90_000)
  t.equal(known(), 2, 'those that are linked')
  const sent = [a.send(b.run), b.send(a.run)]
  await world.until(() => answered(sent))
  t.equal(a.heard('ended b dead'), 0)
})

t.test('who was forgotten so and comes back begins anew', async t => {
  const world = new RelayedWorld()
  const { a } = await pair(world)
  world.cut('a', 'broker')
  await world.run(100_000)
  t.equal(world.broker.mesh.find(a.run), undefined)
  world.heal('a', 'broker')
  await world.run(12_000)
  const toBroker = a.send(world.broker.run)
  await world.until(() => answered([toBroker]))
  t.equal(toBroker.answer, 'accepted')
})

t.test('a frame larger than every outbox passes an empty one', async t => {
  const world = new RelayedWorld({ relay: { outboxBytesMax: 100_000 } })
  const { a, b } = await pair(world)
  const sent = a.sendMany(b.run, 3, () => 1 << 20)
  await world.until(() => answered(sent), 5_000)
  t.equal(b.taken.length, 4)
})

t.test('a way that breaks after it had stood is opened again at once, however often it broke before', async t => {
  const world = new RelayedWorld()
  const { a, b } = await pair(world)
  const waits: number[] = []
  for (let i = 0; i < 15; i++) {
    await world.run(40_000)
    const { label } = a.mesh.find(b.run)!.path!
    // As if a had given it up: b is told, and gives its direction up too; both wait before they ask again.
    const unroute = unrouteFrame(label, true, ROUTE_FULL)
    world.broker.relay.frame(world.broker.links.get('a')!, unroute, 4, unroute.length)
    const from = world.time.nowMs
    await world.run(5)
    const sent = a.send(b.run)
    await world.until(() => answered([sent]), 20_000)
    waits.push(world.time.nowMs - from)
  }
  t.equal(a.heard('down b'), 15)
  t.ok(Math.max(...waits) <= world.link.redialMs + 10, `${Math.max(...waits)} ms at most`)
})

t.test('a broker that accepts and closes at once is dialled ever less often', async t => {
  const world = new RelayedWorld()
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
  const run = world.newRun('broker')
  const a = await world.start('a')
  await world.run(50)
  world.kill('broker')
  const env = world.envOf('broker')
  await env.transport.listen('memory:broker', undefined, connection =>
    Link.accept(env, world.setup(run, 'broker'), connection, closes),
  )
  await world.run(20_000)
  t.ok(opened > 3 && opened < 60, `${opened} links in 20 s`)
  await a.mesh.close(0)
})

t.test('a peer at the address of the broker is no broker', async t => {
  const world = new RelayedWorld()
  const run = world.newRun('broker')
  const quiet: LinkHandler = { opened: () => undefined, frame: () => undefined, batch: () => undefined, closed: () => undefined }
  await world.start('a').then(a => a.mesh.close(0))
  world.kill('broker')
  const env = world.envOf('broker')
  await env.transport.listen('memory:broker', undefined, connection => Link.accept(env, world.setup(run), connection, quiet))
  const mesh = (await world.start('a')).mesh
  const other = world.newRun('b')
  mesh.channelTo(other)
  await world.run(500)
  t.match(mesh.explain(other).lastError, /is a peer, not a broker/)
  await mesh.close(0)
})

t.test('a broker’s endpoint that cannot be read is told, and the next one is tried', async t => {
  const world = new RelayedWorld()
  await world.start('b').then(b => b.mesh.close(0))
  const peer = new MeshPeer(world.newRun('a'), world.envOf('a'))
  let ups = 0
  const mesh = new RelayedMesh({
    env: peer.env,
    link: world.setup(peer.run),
    channel: world.channel,
    handler: peer,
    self: peer.run,
    brokers: ['memory:nobody', 'bluetooth:7', 'memory:broker'],
    brokerUp: () => ups++,
    brokerDown: () => undefined,
    brokerFailed: error => void peer.dialErrors.push(error),
  })
  mesh.start()
  await world.until(() => ups === 1, 2_000)
  t.same(
    peer.dialErrors.map(({ code }) => code),
    ['UNREACHABLE', 'BAD_OPTION'],
  )
  await mesh.close(0)
})

t.test('a way to somebody unknown is tried again until he comes', async t => {
  const world = new RelayedWorld()
  const a = await world.start('a')
  const b = await world.start('b')
  world.kill('b')
  const sent = a.send(b.run)
  await world.run(1_000)
  t.equal(a.mesh.explain(b.run).at, 'waiting')
  t.equal(sent.answer, undefined)
  const again = await world.start('b')
  const second = a.send(again.run)
  await world.until(() => answered([second]), 3_000)
  t.equal(second.answer, 'accepted')
})

// The relay, byte by byte

const run = (identity: string): { identity: string; incarnation: string } => ({ identity, incarnation: '?' })

t.test('nobody opens a way in the name of another', async t => {
  const world = new RelayedWorld()
  const { a, b } = await pair(world)
  const evil = await Hostile.dial(world, 'memory:broker', 1)
  evil.raw(routeFrame({ label: 1, pair: 9, from: a.run, to: b.run }))
  await world.until(() => evil.closed !== undefined)
  t.equal(evil.closed, 'bad-frame')
  t.ok(b.mesh.find(a.run)!.ready)
})

t.test('the relay answers what it cannot forward, and stays as it was', async t => {
  const offences: [string, (evil: Hostile) => void][] = [
    ['a label 0', evil => evil.raw(routeFrame({ label: 0, pair: 9, from: evil.run, to: run('a') }))],
    [
      'a route that is cut',
      evil =>
        evil.raw(
          routeFrame({ label: 1, pair: 9, from: evil.run, to: run('a') })
            .fill(0, 3, 4)
            .fill(9, 3, 4)
            .subarray(0, 13),
        ),
    ],
    ['a frame of the channel without a label', evil => evil.raw(Buffer.from([0, 0, 0, 1, MESSAGE]))],
    ['an unknown kind', evil => evil.raw(Buffer.from([0, 0, 0, 5, 20, 0, 0, 0, 0]))],
  ]
  for (const [what, commit] of offences) {
    const world = new RelayedWorld()
    const { a, b } = await pair(world)
    const evil = await Hostile.dial(world, 'memory:broker', 1)
    commit(evil)
    await world.until(() => evil.closed !== undefined, 1_000)
    t.equal(evil.closed, 'bad-frame', what)
    const sent = [a.send(b.run), b.send(a.run)]
    await world.until(() => answered(sent))
  }
})

t.test('frames under labels that lead nowhere are dropped; a label given anew ends what it stood for', async t => {
  const world = new RelayedWorld()
  const { b } = await pair(world)
  const evil = await Hostile.dial(world, 'memory:broker', 5)
  evil.frame(MESSAGE, words(0, 0), 0)
  evil.raw(unrouteFrame(77, true, ROUTE_GONE))
  evil.raw(unrouteFrame(77, false, ROUTE_GONE))
  evil.raw(routeFrame({ label: 5, pair: 9, from: evil.run, to: run('nobody') }))
  await world.run(20)
  t.ok(evil.kinds.includes(UNROUTE), 'nobody is there')
  evil.raw(routeFrame({ label: 5, pair: 9, from: evil.run, to: b.run }))
  await world.run(20)
  t.ok(evil.kinds.includes(ROUTE), 'b answers')
  evil.raw(routeFrame({ label: 5, pair: 10, from: evil.run, to: b.run }))
  evil.frame(RESUME, words(7, 0, 0))
  evil.frame(MESSAGE, words(0, 0), 0)
  await world.until(() => b.taken.some(({ from }) => from === 'evil'))
  t.equal(evil.closed, undefined)
  await world.run(500)
  t.same(
    evil.kinds.filter(kind => kind === ROUTE || kind === UNROUTE),
    [UNROUTE, ROUTE, UNROUTE, UNROUTE, ROUTE],
    'nobody; b answers; both directions of the first way end; b answers the second, which stays',
  )
})

t.test('the same way opened under label after label costs the other end nothing', async t => {
  const world = new RelayedWorld()
  const { b } = await pair(world)
  const evil = await Hostile.dial(world, 'memory:broker', 2_000)
  for (const label of upTo(2_000)) evil.raw(routeFrame({ label: label + 1, pair: 9, from: evil.run, to: b.run }))
  evil.frame(RESUME, words(7, 0, 0))
  evil.frame(MESSAGE, words(0, 0), 0)
  await world.until(() => b.taken.some(({ from }) => from === 'evil'))
  t.equal(evil.closed, undefined)
})

t.test('one link opens so many ways and no more', async t => {
  const world = new RelayedWorld()
  const { b } = await pair(world)
  const evil = await Hostile.dial(world, 'memory:broker', 1)
  world.time.stall('b', 1_000)
  const all = Buffer.concat(upTo(70_000).map(label => routeFrame({ label: label + 1, pair: label, from: evil.run, to: b.run })))
  evil.raw(all)
  await world.run(500)
  t.ok(evil.kinds.filter(kind => kind === UNROUTE).length >= 70_000 - 65_536)
  t.equal(ROUTE_FULL, 2)
})
