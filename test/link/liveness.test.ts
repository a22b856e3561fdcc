/** When a link is judged dead, and when it is not. */

import t from 'tap'
import { frameOf } from '../../lib/wire/frame.ts'
import { DATA, LinkWorld } from '../support/link-pair.ts'

t.test('an idle link stays, and its round trip is known', async t => {
  const world = new LinkWorld(1, {}, { latencyMs: 40 })
  const { near, far } = await world.pair()
  await world.time.run(60_000)
  t.ok(near.isOpen && far.isOpen)
  t.equal(near.roundTripMs, 80)
})

t.test('a link whose other end is silent is stale within 6 s, whatever the moment', async t => {
  for (let seed = 0; seed < 10; seed++) {
    const world = new LinkWorld(seed)
    await world.pair()
    await world.time.run(2_000 + seed * 173)
    const fromMs = world.time.nowMs
    world.network.cut('here', 'there')
    await world.time.until(() => world.near.reason !== undefined && world.far.reason !== undefined, 6_000)
    t.same([world.near.reason, world.far.reason], ['stale', 'stale'])
    t.ok(world.near.closedAtMs - fromMs >= 4_000, 'and not before')
    t.match(world.near.error?.message, /no sign of life for \d+ ms/)
  }
})

t.test('an idle link is one that is heard, at any moment, until two pings have gone unanswered', async t => {
  const world = new LinkWorld(1, { pingAfterMs: 1_000 }, { latencyMs: 40 })
  const { near, far } = await world.pair()
  for (let n = 0; n < 100; n++) {
    await world.time.run(97)
    t.ok(near.isHeard && far.isHeard)
  }
  world.network.cut('here', 'there')
  await world.time.run(2_100)
  t.notOk(near.isHeard || far.isHeard)
  t.ok(near.isOpen && far.isOpen)
})

t.test('with one direction cut, who hears nothing closes, and the other end hears that', async t => {
  const world = new LinkWorld()
  await world.pair()
  world.network.cut('here', 'there', { oneWay: true })
  await world.time.until(() => world.near.reason !== undefined && world.far.reason !== undefined, 6_000)
  t.equal(world.far.reason, 'stale')
  t.equal(world.near.reason, 'remote')
})

t.test('any byte is a sign of life, not only a pong', async t => {
  const world = new LinkWorld(1, { pingAfterMs: 1_000, staleAfterMs: 2_000, frameTimeoutMs: 60_000 })
  const { near, far } = await world.pair()
  world.tap.allowed = 0
  near.write(frameOf(DATA, Buffer.alloc(1_000)))
  world.time.timers.every(900, () => world.tap.allow(1))
  await world.time.run(30_000)
  t.ok(near.isOpen && far.isOpen)
  t.same(world.far.frames, [])
})

t.test('F26: a frame that drips is cut off as slow, and the end that sent it hears why', async t => {
  const world = new LinkWorld()
  const { near } = await world.pair()
  world.tap.allowed = 0
  near.write(frameOf(DATA, Buffer.alloc(1_000)))
  const fromMs = world.time.nowMs
  world.time.timers.every(500, () => world.tap.allow(1))
  await world.time.until(() => world.far.reason !== undefined, 12_000)
  t.equal(world.far.reason, 'slow')
  t.match(world.far.error?.message, /not whole after 10000 ms/)
  t.ok(world.time.nowMs - fromMs >= 10_000)
  await world.time.until(() => world.near.reason !== undefined, 100)
  t.equal(world.near.reason, 'slow')
})

t.test('many frames that are each cut for a while are not slow', async t => {
  const world = new LinkWorld(1, { frameTimeoutMs: 2_000 })
  const { near, far } = await world.pair()
  world.tap.allowed = 0
  for (let i = 0; i < 40; i++) near.write(frameOf(DATA, Buffer.alloc(100)))
  world.time.timers.every(500, () => world.tap.allow(77))
  await world.time.run(20_000)
  t.ok(far.isOpen)
  t.ok(world.far.frames.length > 20, 'pongs go in between')
})

t.test('a large frame on a slow line keeps both ends alive', async t => {
  const world = new LinkWorld(1, { bodyBytesMax: 4 << 20 }, { bytesPerMs: 500, kernelBytesMax: 100_000 })
  const { near, far } = await world.pair()
  near.write(frameOf(DATA, Buffer.alloc(4 << 20)))
  await world.time.until(() => world.far.frames.length === 1, 9_500)
  t.ok(world.time.nowMs > 8_000, 'longer than any silence is borne')
  await world.time.run(10_000)
  t.ok(near.isOpen && far.isOpen)
})

t.test('an end whose own loop stalled judges nobody: neither silence nor a cut frame', async t => {
  const world = new LinkWorld()
  const { near, far } = await world.pair()
  await world.time.run(3_000)
  world.tap.allowed = 50
  near.write(frameOf(DATA, Buffer.alloc(100)))
  await world.time.run(700)
  // Here it is stalled; what comes meanwhile waits in the kernel. The other end pings in vain for less than it bears.
  world.time.stall('there', 4_000)
  await world.time.run(1_000)
  world.tap.allow(Infinity)
  await world.time.run(10_000)
  t.ok(near.isOpen && far.isOpen)
  t.equal(world.far.frames.length, 1)
})

t.test('after a stall longer than the time of a frame the frame is not slow: nobody read', async t => {
  const world = new LinkWorld(1, { staleAfterMs: 60_000 })
  const { near, far } = await world.pair()
  world.tap.allowed = 50
  near.write(frameOf(DATA, Buffer.alloc(100)))
  await world.time.run(1_200)
  world.time.stall('there', 15_000)
  await world.time.run(500)
  world.tap.allow(Infinity)
  // The timers of the stalled end come first, then what arrived.
  await world.time.run(16_000)
  t.ok(far.isOpen && near.isOpen)
  t.equal(world.far.frames.length, 1)
})

t.test('after a stall beyond all silence that is borne, the stalled end waits for news before it judges', async t => {
  const world = new LinkWorld(1, { staleAfterMs: 5_000 })
  const { near } = await world.pair()
  await world.time.run(2_000)
  world.network.cut('here', 'there')
  world.time.stall('here', 30_000)
  await world.time.run(30_000)
  t.ok(near.isOpen, 'nothing was judged while it was stalled')
  const wokeMs = world.time.nowMs
  await world.time.until(() => world.near.reason !== undefined, 6_000)
  t.equal(world.near.reason, 'stale')
  t.ok(world.time.nowMs - wokeMs >= 3_500, 'a whole silence after it woke')
})

t.test('a closed link releases its descriptor within a second, also if the other end does not read', async t => {
  for (const reason of ['local', 'slow', 'bad-frame', 'stale'] as const) {
    const world = new LinkWorld(1, {}, { kernelBytesMax: 10_000 })
    const { near } = await world.pair()
    world.time.stall('there', 20_000)
    near.write(frameOf(DATA, Buffer.alloc(100_000)))
    await world.time.run(100)
    let released = false
    const isReleased = near.pendingBytes
    t.ok(isReleased > 0, 'words are left that nobody takes')
    near.close(reason)
    await world.time.until(() => (released = near.pendingBytes === 0), 1_050)
    t.ok(released, reason)
    t.equal(world.near.heard.filter(event => event === 'closed').length, 1)
  }
})

t.test('who sends and never reads is cut off before his answers fill our memory', async t => {
  const world = new LinkWorld(1, { staleAfterMs: 60_000 }, { kernelBytesMax: 10_000 })
  const { near, far } = await world.pair()
  // The near end takes nothing in any more; what it sends goes on, and is answered.
  world.network.cut('there', 'here', { oneWay: true })
  const answer = frameOf(DATA, Buffer.alloc(1 << 20))
  world.far.onFrame = () => far.write(answer)
  let most = 0
  for (let i = 0; i < 200 && far.isOpen; i++) {
    near.write(frameOf(DATA, Buffer.alloc(1)))
    await world.time.run(50)
    most = Math.max(most, far.pendingBytes)
  }
  t.equal(world.far.reason, 'slow')
  t.match(world.far.error?.message, /does not read/)
  t.ok(most < 80 << 20, `${most} bytes at most`)
})
