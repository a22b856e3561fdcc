/** What every mesh does: channels between peers, whichever way they run. */

import type { Test } from 'tap'
import { seededRandom } from '../../lib/env/random.ts'
import type { Channel } from '../../lib/mesh/channel.ts'
import { FULL, NOT_HERE } from '../../lib/wire/frame.ts'
import { ACK, LEAVE, MESSAGE, REFUSE, RESUME, TELL } from '../../lib/wire/kinds.ts'
import type { MeshPeer, Sent } from '../support/mesh-peer.ts'
import { words, type Hostile, type MeshWorld, type WorldOptions } from '../support/mesh-world.ts'

/** A mesh under test. */
export interface MeshDriver {
  open: (options?: WorldOptions) => MeshWorld
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
const allAnswered = (sent: readonly Sent[]): boolean => sent.every(({ answers }) => answers.length > 0)
const answersOf = (sent: readonly Sent[]): string[][] => sent.map(({ answers }) => answers)
const allAccepted = (sent: readonly Sent[]): string[][] => sent.map(() => ['accepted'])

/** Two peers whose channels to each other are up. */
async function pair(world: MeshWorld): Promise<{ a: MeshPeer; b: MeshPeer }> {
  const [a, b] = [await world.start('a'), await world.start('b')]
  a.mesh.channelTo(b.run)
  await world.until(() => isUp(a, b))
  return { a, b }
}

function isUp(a: MeshPeer, b: MeshPeer): boolean {
  return [a.mesh.find(b.run), b.mesh.find(a.run)].every(channel => channel?.ready)
}

/** A message that both ends have answered: what came before it is over. */
async function calm(world: MeshWorld, a: MeshPeer, b: MeshPeer): Promise<void> {
  const sent = [a.send(b.run), b.send(a.run)]
  await world.until(() => allAnswered(sent))
}

export function meshContract(t: Test, { open }: MeshDriver): void {
  t.test('frames arrive once and in order, wherever reads end, of any size', async t => {
    for (const [seed, chunkBytesMax] of [1, 7, 1_400, 100_000].entries()) {
      const world = open({ seed, network: { chunkBytesMax, jitterMs: 3 } })
      const [a, b] = [await world.start('a'), await world.start('b')]
      const random = seededRandom(seed)
      const sizes = upTo(200).map(() => Math.floor(random.fraction() * 60))
      if (chunkBytesMax > 100) sizes.push(65_500, 65_537, 200_000, 0, 1 << 20, 1)
      const sent = [...sizes.map(bytes => a.send(b.run, bytes)), ...sizes.map(bytes => b.send(a.run, bytes))]
      await world.until(() => allAnswered(sent), 60_000)
      for (const [here, there] of [
        [a, b],
        [b, a],
      ] as const) {
        t.same(
          here.taken.map(({ number, bytes, from }) => [number, bytes, from]),
          sizes.map((bytes, number) => [number, bytes, there.run.identity]),
          `reads of up to ${chunkBytesMax} bytes`,
        )
      }
      t.same(answersOf(sent), allAccepted(sent))
    }
  })

  t.test('one channel a run: asked for twice it is the same, found once it was asked for', async t => {
    const world = open()
    const [a, b] = [await world.start('a'), await world.start('b')]
    t.equal(a.mesh.find(b.run), undefined)
    const channel = a.mesh.channelTo(b.run)
    t.equal(a.mesh.channelTo(b.run), channel)
    t.equal(a.mesh.find(b.run), channel)
    t.ok([...a.mesh.channels()].includes(channel))
    await world.until(() => isUp(a, b))
    t.equal(b.mesh.channelTo(a.run).remote.incarnation, a.run.incarnation)
    t.equal(a.mesh.explain(b.run).at, 'up')
    t.equal(a.mesh.explain(b.run).kind, world.kind)
  })

  t.test('nothing is admitted before the path is up; then writable comes', async t => {
    const world = open()
    const [a, b] = [await world.start('a'), await world.start('b')]
    const channel = a.mesh.channelTo(b.run)
    t.notOk(channel.ready)
    t.notOk(channel.admits(0))
    const sent = a.send(b.run)
    t.equal(a.waitingFor(b.run), 1)
    await world.until(() => sent.answer !== undefined)
    t.equal(sent.answer, 'accepted')
    t.ok(a.heard('writable b') > 0)
  })

  t.test('what was written before the path was up goes out when it comes', async t => {
    const world = open()
    const a = await world.start('a')
    const run = world.newRun('nobody')
    const lonely = a.write(a.mesh.channelTo(run), 70_000)
    await world.run(3_000)
    t.same(lonely.answers, [])
    a.mesh.end(run, 'dead')
    t.same(lonely.answers, ['lost'])

    const b = await world.start('b')
    const sent = [a.write(a.mesh.channelTo(b.run), 10), a.write(a.mesh.channelTo(b.run), 70_000)]
    await world.until(() => allAnswered(sent))
    t.same(answersOf(sent), allAccepted(sent))
    t.same(b.numbers, [1, 2])
  })

  t.test('a peer that starts late is reached without being asked for again', async t => {
    const world = open()
    const a = await world.start('a')
    const b = await world.start('b')
    world.cut('a', 'b')
    const sent = a.send(b.run)
    await world.run(9_000)
    t.same(sent.answers, [])
    world.heal('a', 'b')
    await world.until(() => sent.answer === 'accepted', 3_000)
    t.same(b.numbers, [0])
  })

  t.test('accepted is said after the other end has taken it, and in order', async t => {
    const world = open()
    const { a, b } = await pair(world)
    let early = 0
    const watch = (): boolean => {
      if (a.answered.length > b.taken.length) early++
      return a.answered.length === 500
    }
    a.sendMany(b.run, 500, index => index % 90)
    await world.until(watch)
    t.equal(early, 0)
    t.same(
      a.answered.map(({ number }) => number),
      upTo(500),
    )
  })

  t.test('frames are refused one by one, and given back as they were sent', async t => {
    const world = open()
    const { a, b } = await pair(world)
    b.refuses = ({ number }) => (number % 3 === 0 ? FULL : number % 5 === 0 ? NOT_HERE : 0)
    const sent = a.sendMany(b.run, 300, index => index * 7)
    await world.until(() => allAnswered(sent))
    for (const { number, answers, returned, bytes } of sent) {
      t.same(answers, [number % 3 === 0 ? `refused ${FULL}` : number % 5 === 0 ? `refused ${NOT_HERE}` : 'accepted'])
      if (!returned) continue
      t.equal(returned.kind, MESSAGE)
      t.ok(returned.payload.equals(Buffer.concat([words(0, number), Buffer.alloc(bytes, number & 0xff)])))
    }
    t.same(
      b.numbers,
      upTo(300).filter(number => number % 3 !== 0 && number % 5 !== 0),
    )
    await calm(world, a, b)
    t.equal(a.mesh.find(b.run)!.unacknowledgedBytes, 0)
  })

  t.test('the acknowledgement of a refusal comes behind all that was sent before the refusal was seen', async t => {
    for (const seed of upTo(5)) {
      const world = open({ seed, network: { chunkBytesMax: 300, jitterMs: 4 } })
      const { a, b } = await pair(world)
      let refusal = -1
      const late: number[] = []
      let forgottenAt = -1
      b.refuses = ({ number }, channel) => {
        if (number === 50) refusal = channel.nextSequence
        if (number > 50 && forgottenAt >= 0) late.push(number)
        return number === 50 ? FULL : 0
      }
      b.acknowledges = (_channel, sequence) => {
        if (refusal >= 0 && sequence >= refusal) forgottenAt = b.taken.length
      }
      let lastBefore = -1
      const sent = a.sendMany(b.run, 60)
      // More in each turn, until the refusal is seen; and a break in between.
      const feed = (): boolean => {
        if (sent[50]!.answer) return true
        if (a.sent.length < 3_000) sent.push(a.send(b.run))
        return false
      }
      world.time.timers.after(2, () => world.reset('a', 'b'))
      await world.until(feed)
      lastBefore = sent.filter(({ sequence }) => sequence >= 0).length - 1
      sent.push(a.send(b.run))
      await world.until(() => allAnswered(sent))
      await calm(world, b, a)
      await world.until(() => forgottenAt >= 0)
      const first = Math.min(...late)
      t.ok(late.length > 0, `seed ${seed}: something was sent after the refusal was seen`)
      t.ok(first > lastBefore, `seed ${seed}: ${first} came behind it, ${lastBefore} was the last before the refusal was seen`)
    }
  })

  t.test('what is written in answer to a refusal comes behind its acknowledgement', async t => {
    const world = open()
    const { a, b } = await pair(world)
    let refusal = -1
    let seen = -1
    const inTime: boolean[] = []
    b.refuses = ({ number }, channel) => {
      if (number % 2 === 1) {
        inTime.push(seen >= refusal)
        return 0
      }
      refusal = channel.nextSequence
      return FULL
    }
    b.acknowledges = (_channel, sequence) => (seen = sequence)
    a.learns = ({ answer }) => {
      if (answer === `refused ${FULL}`) a.write(a.mesh.find(b.run)!)
    }
    for (let i = 0; i < 20; i++) {
      a.write(a.mesh.find(b.run)!)
      await world.run(20)
    }
    t.same(
      inTime,
      Array.from({ length: 20 }, () => true),
    )
  })

  t.test('a broken path resumes without loss or duplicates, both ways', async t => {
    for (const seed of upTo(4)) {
      const world = open({ seed, network: { jitterMs: 2, chunkBytesMax: 5_000 } })
      const { a, b } = await pair(world)
      const sent = [...a.sendMany(b.run, 800, index => index % 1_500), ...b.sendMany(a.run, 800, index => (index * 7) % 1_300)]
      for (const atMs of [1.5, 3, 300, 305, 900]) world.time.timers.after(atMs, () => world.reset('a', 'b'))
      await world.run(1_000)
      const more = [...a.sendMany(b.run, 100), ...b.sendMany(a.run, 100)]
      await world.until(() => allAnswered([...sent, ...more]), 20_000)
      t.same(b.numbers, upTo(900), `seed ${seed}`)
      t.same(a.numbers, upTo(900), `seed ${seed}`)
      t.same(answersOf([...sent, ...more]), allAccepted([...sent, ...more]))
      t.ok(a.heard('down b') > 0 && b.heard('down a') > 0, 'the path did break')
      t.equal(a.events.filter(event => event.startsWith('ended')).length, 0)
      await calm(world, a, b)
      t.equal(a.mesh.find(b.run)!.unacknowledgedBytes, 0)
    }
  })

  t.test('refusals survive a break: each frame keeps its one answer', async t => {
    for (const seed of upTo(6)) {
      const world = open({ seed, network: { jitterMs: 2 } })
      const { a, b } = await pair(world)
      const refused = new Set<number>()
      const judged: number[] = []
      b.refuses = ({ number }) => {
        judged.push(number)
        if (number % 4 !== 1) return 0
        refused.add(number)
        return FULL
      }
      const sent = a.sendMany(b.run, 400, index => index % 300)
      for (const atMs of [1, 2, 3.5, 200, 400]) world.time.timers.after(atMs, () => world.reset('a', 'b'))
      await world.until(() => allAnswered(sent), 20_000)
      t.same(judged, upTo(400), 'each is judged once')
      for (const { number, answers } of sent) t.same(answers, [refused.has(number) ? `refused ${FULL}` : 'accepted'])
    }
  })

  t.test('a new incarnation inherits nothing: what was unanswered is lost, numbers begin anew', async t => {
    const world = open()
    const { a, b } = await pair(world)
    a.sendMany(b.run, 10)
    await world.until(() => allAnswered(a.sent))
    world.kill('b')
    const unanswered = [a.write(a.mesh.channelTo(b.run)), a.write(a.mesh.channelTo(b.run), 100_000)]
    const old = a.mesh.channelTo(b.run)
    const again = await world.start('b')
    const [there, back] = [a.send(again.run), again.send(a.run)]
    await world.until(() => allAnswered([there, back, ...unanswered]))
    t.same(answersOf(unanswered), [['lost'], ['lost']])
    t.same([there.answers, back.answers], [['accepted'], ['accepted']])
    t.same(again.numbers, [there.number])
    t.equal(there.sequence, 0)
    t.equal(a.heard('ended b replaced'), 1)
    t.ok(old.hasEnded)
    t.equal(a.mesh.find(b.run), undefined)
  })

  t.test('who comes back as another run before he was missed is known as that run', async t => {
    const world = open()
    const { a, b } = await pair(world)
    const waiting = a.write(a.mesh.channelTo(b.run))
    world.kill('b')
    const again = await world.start('b')
    const back = again.send(a.run)
    await world.until(() => allAnswered([back, waiting]))
    t.same(waiting.answers, ['lost'])
    t.equal(a.mesh.find(again.run)?.ready, true)
  })

  t.test('a run that was replaced does not come back by being asked for', async t => {
    for (const by of ['link', 'question'] as const) {
      const world = open()
      const { a, b } = await pair(world)
      // As flows do whose directory lags behind: they ask again for the former run, at once.
      a.hears = event => {
        if (event === 'ended b replaced') t.notOk(a.mesh.channelTo(b.run).ready)
      }
      const again = await world.start('b')
      const first = by === 'link' ? again.send(a.run) : a.send(again.run)
      await world.until(() => allAnswered([first]))
      const channel = a.mesh.find(again.run)!
      for (let i = 0; i < 3; i++) {
        t.notOk(a.mesh.channelTo(b.run).ready)
        await world.run(1_000)
      }
      t.equal(a.mesh.find(again.run), channel, by)
      t.ok(channel.ready)
      t.equal(a.mesh.find(b.run), undefined)
      t.equal(a.heard('ended b replaced'), 1)
    }
  })

  t.test('end tells everyone who waits that it is lost, then ended, once, and the other end is told', async t => {
    const world = open()
    const { a, b } = await pair(world)
    await calm(world, a, b)
    world.time.stall('b', 200)
    const channel = a.mesh.channelTo(b.run)
    const sent = upTo(40).map(() => a.write(channel, 10))
    a.hears = event => {
      if (event.startsWith('ended')) t.ok(allAnswered(sent), 'ended is the last')
    }
    a.mesh.end(b.run, 'dead')
    a.mesh.end(b.run, 'dead')
    t.same(
      answersOf(sent),
      sent.map(() => ['lost']),
    )
    t.equal(a.heard('ended b dead'), 1)
    t.equal(a.mesh.find(b.run), undefined)
    await world.until(() => b.heard('down a') + b.heard('ended a forgotten') > 0)
    await world.run(15_000)
    t.same(answersOf(sent), [...sent.map(() => ['lost'])], 'and nothing else ever')
  })

  t.test('a channel that the other end forgot begins anew: who waited is told lost, what comes next arrives', async t => {
    const world = open()
    const { a, b } = await pair(world)
    a.sendMany(b.run, 5)
    b.sendMany(a.run, 3)
    await world.until(() => allAnswered([...a.sent, ...b.sent]))
    world.cut('a', 'b')
    const lost = a.write(a.mesh.channelTo(b.run), 20)
    const old = a.mesh.channelTo(b.run)
    await world.run(7_000)
    b.mesh.end(a.run, 'dead')
    world.heal('a', 'b')
    const back = b.send(a.run)
    await world.until(() => allAnswered([lost, back]), 5_000)
    t.same(lost.answers, ['lost'])
    t.equal(a.heard('ended b forgotten'), 1)
    t.ok(old.hasEnded)
    const there = a.send(b.run, 5)
    await world.until(() => allAnswered([there]))
    t.same(answersOf([there, back]), [['accepted'], ['accepted']])
    t.equal(there.sequence, 0)
    t.equal(b.taken.at(-1)!.number, there.number)
    t.notOk(b.numbers.includes(lost.number))
  })

  t.test('who asks for a channel again while one ends gets one that works', async t => {
    for (const [how, seed] of [
      ['forgotten', 1],
      ['replaced', 2],
      ['dead', 3],
    ] as const) {
      const world = open({ seed })
      const { a, b } = await pair(world)
      await calm(world, a, b)
      let to = b.run
      let asked: Channel | undefined
      const again: Sent[] = []
      a.hears = event => {
        if (!event.startsWith('ended b')) return
        t.notOk(a.mesh.find(b.run)?.hasEnded, 'a channel that has ended is not found')
        asked = a.mesh.channelTo(to)
        again.push(a.send(to), a.send(to, 3))
      }
      if (how === 'dead') a.mesh.end(b.run, 'dead')
      else if (how === 'replaced') {
        world.kill('b')
        const other = await world.start('b')
        to = other.run
        other.send(a.run)
      } else {
        world.cut('a', 'b')
        await world.run(7_000)
        b.mesh.end(a.run, 'dead')
        world.heal('a', 'b')
        b.send(a.run)
      }
      await world.until(() => again.length > 0, 5_000)
      await world.until(() => allAnswered(again), 5_000)
      t.same(answersOf(again), [['accepted'], ['accepted']], how)
      const found = a.mesh.find(to)
      t.equal(found, asked)
      t.equal(found, again[0]!.channel)
      t.equal([...a.mesh.channels()].filter(({ remote }) => remote.identity === 'b').length, 1)
    }
  })

  t.test('a full window makes writers wait, and writable comes when there is room', async t => {
    const world = open({ channel: { windowBytes: 10_000 } })
    const { a, b } = await pair(world)
    const channel = a.mesh.find(b.run)!
    let most = 0
    const sent = a.sendMany(b.run, 100, () => 1_000)
    t.ok(a.waitingFor(b.run) >= 90, 'most wait')
    const watch = (): boolean => {
      most = Math.max(most, channel.unacknowledgedBytes)
      return allAnswered(sent)
    }
    await world.until(watch)
    t.ok(most <= 10_200, `${most} bytes under way at most`)
    t.same(b.numbers, upTo(100))
    t.equal(channel.unacknowledgedBytes, 0)
  })

  t.test('an empty window admits one frame of any size', async t => {
    const world = open({ channel: { windowBytes: 10_000, windowCapBytes: 20_000 } })
    const { a, b } = await pair(world)
    const channel = a.mesh.find(b.run)!
    t.ok(channel.admits(1 << 20))
    const sent = [a.send(b.run, 1 << 20), a.send(b.run, 1 << 20), a.send(b.run, 1)]
    t.equal(a.waitingFor(b.run), 2)
    await world.until(() => allAnswered(sent))
    t.same(b.numbers, [0, 1, 2])
  })

  t.test('answers may be given while one frame larger than every window is under way', async t => {
    const world = open({ channel: { windowBytes: 10_000, windowCapBytes: 20_000 } })
    const { a, b } = await pair(world)
    a.refuses = () => FULL
    const large = a.send(b.run, 300_000)
    const refused = b.sendMany(a.run, 50)
    await world.until(() => allAnswered([large, ...refused]))
    t.same(large.answers, ['accepted'])
    t.same(
      answersOf(refused),
      refused.map(() => [`refused ${FULL}`]),
    )
    t.notOk(a.mesh.find(b.run)!.hasEnded)
  })

  t.test('who only sends and never acknowledges is cut off before he fills our memory', async t => {
    const world = open({ channel: { windowBytes: 10_000, windowCapBytes: 20_000 } })
    const b = await world.start('b')
    b.refuses = () => FULL
    const evil = await world.hostile(b)
    evil.frame(RESUME, words(7, 0, 0))
    await world.run(50)
    const channel = b.mesh.find(evil.run)!
    for (let sequence = 0; sequence < 3_000; sequence++) evil.frame(MESSAGE, words(0, sequence), sequence)
    await world.until(() => channel.hasEnded)
    t.ok(channel.nextSequence < 20_000 / 17 + 40, `${channel.nextSequence} refusals were kept`)
    t.equal(b.heard('ended evil broken'), 1)
  })

  t.test('the full window of one channel does not slow another', async t => {
    const world = open({ channel: { windowBytes: 50_000 } })
    const { a, b } = await pair(world)
    const c = await world.start('c')
    await calm(world, a, c)
    world.time.stall('b', 3_000)
    const stuck = a.sendMany(b.run, 200, () => 1_000)
    t.ok(a.waitingFor(b.run) > 0)
    const times: number[] = []
    for (let i = 0; i < 50; i++) {
      const from = world.time.nowMs
      const sent = a.send(c.run, 500)
      await world.until(() => sent.answer === 'accepted', 100)
      times.push(world.time.nowMs - from)
    }
    t.ok(Math.max(...times) <= 10, `at most ${Math.max(...times)} ms`)
    t.notOk(allAnswered(stuck))
    await world.until(() => allAnswered(stuck))
    t.same(
      b.numbers.slice(-200),
      stuck.map(({ number }) => number),
    )
  })

  t.test('leave says goodbye and answers what is under way', async t => {
    const world = open()
    const { a, b } = await pair(world)
    const sent = [...a.sendMany(b.run, 200, () => 300), ...b.sendMany(a.run, 200, () => 300)]
    const closing = a.mesh.close(1_000)
    t.notOk(a.mesh.find(b.run)!.ready, 'nothing new')
    let closed = false
    void closing.then(() => (closed = true))
    await world.until(() => closed, 1_000)
    t.equal(b.heard('leaving a'), 1)
    await world.run(100)
    t.same(answersOf(sent), allAccepted(sent))
    t.same([a.taken.length, b.taken.length], [200, 200])
    t.equal(a.heard('ended b closed'), 1)
    await world.run(3_000)
    t.equal(world.connections('a'), 0)
    t.notOk(b.mesh.find(a.run)?.ready)
  })

  t.test('a goodbye survives a break of the path', async t => {
    for (const breakMs of [0.5, 1.5, 2.5, 3.5]) {
      const world = open()
      const { a, b } = await pair(world)
      const sent = [...a.sendMany(b.run, 20), ...b.sendMany(a.run, 20)]
      const [near, far] = [a.mesh.find(b.run)!, b.mesh.find(a.run)!]
      near.leave()
      await world.run(breakMs)
      world.reset('a', 'b')
      await world.until(() => near.remoteIsLeaving && far.remoteIsLeaving, 5_000)
      t.equal(b.heard('leaving a'), 1, `broken after ${breakMs} ms`)
      await world.until(() => allAnswered(sent))
      t.same(answersOf(sent), allAccepted(sent))
    }
  })

  t.test('who is on its way back to somebody that has forgotten it closes at once', async t => {
    const world = open()
    const { a, b } = await pair(world)
    const c = await world.start('c')
    await calm(world, a, b)
    await calm(world, a, c)
    b.mesh.end(a.run, 'left')
    // As c has to answer, it comes up once more: to a channel that b has just begun, which is to answer a goodbye too, or hears that nobody is there.
    await world.until(() => b.mesh.find(a.run) !== undefined)
    let closed = false
    void a.mesh.close(1_000).then(() => (closed = true))
    await world.until(() => closed, 500)
    t.equal(c.heard('leaving a'), 1)
    if (world.kind === 'direct') t.same([a.heard('ended b forgotten'), b.heard('leaving a')], [1, 1])
    await world.run(3_000)
    t.equal(world.connections('a'), 0)
  })

  t.test('both may leave at once', async t => {
    const world = open()
    const { a, b } = await pair(world)
    const sent = [...a.sendMany(b.run, 20), ...b.sendMany(a.run, 20)]
    let closed = 0
    for (const peer of [a, b]) void peer.mesh.close(1_000).then(() => closed++)
    await world.until(() => closed === 2, 1_100)
    t.same(answersOf(sent), allAccepted(sent))
    await world.run(3_000)
    t.same([world.connections('a'), world.connections('b')], [0, 0])
  })

  t.test('a mesh that cannot say goodbye closes in time', async t => {
    const world = open()
    const { a, b } = await pair(world)
    world.cut('a', 'b')
    const sent = a.write(a.mesh.find(b.run)!)
    let closed = false
    void a.mesh.close(700).then(() => (closed = true))
    await world.until(() => closed, 750)
    t.same(sent.answers, ['lost'])
    await world.run(1_100)
    t.equal(world.connections('a'), 0, 'descriptors are released within a second')
  })

  t.test('both ask for each other at once: one channel, one path, no failure', async t => {
    for (const seed of upTo(25)) {
      const world = open({ seed, network: { jitterMs: seed % 5, chunkBytesMax: 200 } })
      const [a, b] = [await world.start('a'), await world.start('b')]
      if (world.kind === 'broker') await world.run(50)
      const sent = [...a.sendMany(b.run, 20), ...b.sendMany(a.run, 20)]
      await world.until(() => allAnswered(sent), 2_000)
      t.same(answersOf(sent), allAccepted(sent), `seed ${seed}`)
      t.same([a.numbers, b.numbers], [upTo(20), upTo(20)], `seed ${seed}`)
      await world.run(1_500)
      t.same([world.connections('a'), world.connections('b')], [1, 1], `seed ${seed}: one connection each`)
      t.same([a.dialErrors, b.dialErrors, a.refusedLinks, b.refusedLinks], [[], [], [], []], `seed ${seed}: no failure`)
      t.notOk(
        [...a.events, ...b.events].some(event => event.startsWith('ended')),
        `seed ${seed}: the channels live`,
      )
      const ups = a.heard('link up b')
      await world.run(10_000)
      t.equal(a.heard('link up b'), ups, `seed ${seed}: and it stays so`)
    }
  })

  t.test('a cut in one direction closes both ends within 6 s, and does not flap', async t => {
    for (const [from, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const world = open()
      const { a, b } = await pair(world)
      await world.run(3_210)
      world.cut(from, to, { oneWay: true })
      await world.until(() => !a.mesh.find(b.run)!.ready && !b.mesh.find(a.run)!.ready, 6_000)
      await world.run(20_000)
      t.ok(a.heard('down b') <= 3, `${a.heard('down b')} breaks at a`)
      t.ok(b.heard('down a') <= 3, `${b.heard('down a')} breaks at b`)
      world.heal(from, to)
      const sent = [a.send(b.run), b.send(a.run)]
      await world.until(() => allAnswered(sent), 3_000)
      t.same(answersOf(sent), allAccepted(sent))
    }
  })

  t.test('a silent cut closes both ends within 6 s, descriptors too', async t => {
    const world = open()
    const { a, b } = await pair(world)
    await world.run(1_700)
    world.cut('a', 'b')
    world.cut('b', 'a')
    t.same([world.connections('a'), world.connections('b')], [1, 1])
    await world.until(() => !a.mesh.find(b.run)!.ready && !b.mesh.find(a.run)!.ready, 6_000)
    // Dials that get nowhere do not count: they never open.
    await world.until(() => world.connections('a') + world.connections('b') === 0, 1_000)
  })

  t.test('after a heal the first message is across within 3 s, in order with what waited', async t => {
    for (const seed of upTo(12)) {
      const world = open({ seed, network: { resumeMsMax: 200 } })
      const { a, b } = await pair(world)
      const first = a.sendMany(b.run, 10)
      await world.run(1)
      world.cut('a', 'b')
      const waiting = a.sendMany(b.run, 10)
      await world.run(8_000 + seed * 1_333)
      world.heal('a', 'b')
      const after = [a.send(b.run), b.send(a.run)]
      await world.until(() => allAnswered([...first, ...waiting, ...after]), 3_000)
      t.same(b.numbers, upTo(21), `seed ${seed}`)
    }
  })

  t.test('after a long cut, asking hurries the path', async t => {
    for (const seed of upTo(6)) {
      const world = open({ seed })
      const { a, b } = await pair(world)
      world.cut('a', 'b')
      await world.run(120_000 + seed * 777)
      world.heal('a', 'b')
      const sent = a.send(b.run)
      // As flows do that find their channel down: they ask again.
      const asking = world.time.timers.every(250, () => void a.mesh.channelTo(b.run))
      await world.until(() => sent.answer === 'accepted', 3_000)
      asking.cancel()
      t.same(sent.answers, ['accepted'])
    }
  })

  t.test('what was given up is not delivered after a resume; all else is', async t => {
    const world = open()
    const { a, b } = await pair(world)
    await calm(world, a, b)
    const before = b.taken.length
    const channel = a.mesh.find(b.run)!
    world.cut('a', 'b')
    const kinds = [MESSAGE, TELL, MESSAGE, TELL, MESSAGE, MESSAGE]
    const sent = kinds.map((kind, index) => a.write(channel, index * 20, kind))
    for (const index of [0, 1, 3, 5]) channel.abandon(sent[index]!.sequence)
    await world.run(7_000)
    world.heal('a', 'b')
    const last = a.send(b.run)
    await world.until(() => last.answer === 'accepted')
    t.same(b.numbers.slice(before), [sent[2]!.number, sent[4]!.number, last.number])
    t.same(answersOf(sent), [[], [], ['accepted'], [], ['accepted'], []], 'who was given up hears nothing')
    t.equal(channel.unacknowledgedBytes, 0)
    t.equal(b.heard('ended a broken'), 0)
  })

  t.test('addresses that a given-up frame gave numbers keep them', async t => {
    const world = open()
    const { a, b } = await pair(world)
    const channel = a.mesh.find(b.run)!
    const names: string[] = []
    const reads = b.accept.bind(b)
    b.accept = (to, kind, reader) => {
      if (kind !== MESSAGE) return reads(to, kind, reader)
      names.push(to.numbersIn.read(reader), to.numbersIn.read(reader))
      return 0
    }
    const write = (to: string, from: string): number => {
      let at = channel.begin(MESSAGE, 100)
      at = channel.numbersOut.write(channel.buffer, at, to)
      return channel.commit(channel.numbersOut.write(channel.buffer, at, from))
    }
    world.cut('a', 'b')
    const given = write('alice', 'bob')
    write('carol', 'alice')
    channel.abandon(given)
    await world.run(7_000)
    world.heal('a', 'b')
    await world.until(() => names.length === 2)
    t.same(names, ['carol', 'alice'])
  })

  t.test('what arrived before it was given up was delivered, once', async t => {
    const world = open()
    const { a, b } = await pair(world)
    const channel = a.mesh.find(b.run)!
    const sent = a.write(channel)
    await world.until(() => b.taken.length === 1)
    channel.abandon(sent.sequence)
    world.reset('a', 'b')
    const last = a.send(b.run)
    await world.until(() => last.answer !== undefined)
    t.same(b.numbers, [0, 1])
  })

  t.test('a large frame on a slow line is not taken for silence', async t => {
    const world = open({ network: { bytesPerMs: 150, kernelBytesMax: 64 * 1024 } })
    const { a, b } = await pair(world)
    const sent = a.send(b.run, 1 << 20)
    await world.until(() => sent.answer !== undefined, 30_000)
    t.same(sent.answers, ['accepted'])
    t.equal(a.heard('down b') + b.heard('down a'), 0)
  })

  t.test('frames of the largest size pass, several at once, also across a break', async t => {
    const world = open({ link: { bodyBytesMax: 12 << 20 } })
    const { a, b } = await pair(world)
    const sizes = [12 << 20, 70_000, 12 << 20, 1]
    const sent = sizes.map(bytes => a.send(b.run, bytes))
    world.time.timers.after(3, () => world.reset('a', 'b'))
    await world.until(() => allAnswered(sent), 20_000)
    t.same(
      b.taken.map(({ bytes }) => bytes),
      sizes,
    )
  })

  t.test('an own loop that was stalled judges nobody', async t => {
    const world = open()
    const { a, b } = await pair(world)
    await world.run(2_000)
    for (const stallMs of [3_000, 4_500]) {
      world.time.stall('a', stallMs)
      await world.run(stallMs + 2_000)
    }
    t.equal(a.heard('down b') + b.heard('down a'), 0, 'and 4.5 s are not too long for the others')
    const sent = a.send(b.run)
    await world.until(() => sent.answer === 'accepted', 100)
  })

  // Hostile ends

  const offences: Record<string, (evil: Hostile) => void> = {
    'a gap': evil => {
      evil.frame(MESSAGE, words(0, 0), 0)
      evil.frame(MESSAGE, words(0, 1), 2)
    },
    'an acknowledgement of what was never sent': evil => evil.frame(ACK, words(5)),
    'an acknowledgement without a number': evil => evil.frame(ACK, []),
    'a refusal of what is not under way': evil => evil.frame(REFUSE, [...words(3), FULL], 0),
    'a kind of the channel that is none': evil => evil.frame(40, words(0)),
    'a message that ends within its address': evil => evil.frame(MESSAGE, [0x40, 9, 0], 0),
    'a number that stands for nothing': evil => evil.frame(MESSAGE, [0x80, 9, 0, 0, ...words(0)], 0),
    'RESUME with the id 0': evil => evil.frame(RESUME, words(0, 0, 0)),
    'RESUME twice on one way': evil => {
      evil.frame(RESUME, words(7, 0, 0))
      evil.frame(RESUME, words(7, 0, 0))
    },
    'RESUME that is cut': evil => evil.frame(RESUME, words(7)),
    'RESUME of a new channel that expects more than the first frame': evil => evil.frame(RESUME, words(7, 0, 3)),
  }
  for (const [what, commit] of Object.entries(offences)) {
    t.test(`${what}: that channel ends as broken, all others live`, async t => {
      const world = open()
      const { a, b } = await pair(world)
      const evil = await world.hostile(b)
      if (!what.startsWith('RESUME')) evil.frame(RESUME, words(7, 0, 0))
      await world.run(20)
      commit(evil)
      await world.until(() => b.heard('ended evil broken') === 1, 1_000)
      t.equal(b.mesh.find(evil.run), undefined)
      t.ok(isUp(a, b))
      await calm(world, a, b)
    })
  }

  t.test('a frame that comes twice is taken once, and acknowledged again', async t => {
    const world = open()
    const b = await world.start('b')
    const evil = await world.hostile(b)
    evil.frame(RESUME, words(7, 0, 0))
    await world.run(20)
    const before = evil.kinds.filter(kind => kind === ACK).length
    for (const sequence of [0, 0, 1, 0, 1]) {
      evil.frame(MESSAGE, words(0, sequence), sequence)
      await world.run(20)
    }
    t.same(b.numbers, [0, 1])
    t.equal(evil.kinds.filter(kind => kind === ACK).length - before, 5)
  })

  t.test('RESUME that claims a past which was not begins a channel anew, and it works', async t => {
    for (const resume of [words(7, 99, 0), words(7, 0, 0), words(8, 0, 0), words(9, 0, 0)]) {
      const world = open()
      const b = await world.start('b')
      const evil = await world.hostile(b)
      evil.frame(RESUME, resume)
      await world.run(20)
      evil.frame(RESUME, words(10, 0, 0))
      await world.run(20)
      t.equal(b.mesh.find(evil.run)?.ready, true)
      evil.frame(MESSAGE, words(0, 0), 0)
      await world.until(() => b.taken.length === 1)
    }
  })

  t.test('bytes that are no frames close the link they came on, and no other', async t => {
    for (const seed of upTo(10)) {
      const world = open({ seed })
      const { a, b } = await pair(world)
      const evil = await world.hostile(b)
      evil.frame(RESUME, words(7, 0, 0))
      await world.run(20)
      t.equal(b.mesh.find(evil.run)?.ready, true)
      evil.raw(Buffer.concat([words(0xffff_ffff), Buffer.from(seededRandom(seed).bytes(5_000))]))
      await world.until(() => evil.closed !== undefined)
      t.equal(evil.closed, 'bad-frame')
      await world.until(() => !b.mesh.find(evil.run)?.ready)
      t.ok(isUp(a, b))
      await calm(world, a, b)
    }
  })

  t.test('a goodbye before the channel is up is dropped', async t => {
    const world = open()
    const { a, b } = await pair(world)
    const evil = await world.hostile(b)
    evil.frame(LEAVE, [])
    await world.run(50)
    t.equal(b.heard('leaving evil'), 0)
    t.ok(isUp(a, b))
    await calm(world, a, b)
  })

  t.test('under breaks, refusals and an end at any moment every waiter gets exactly one answer', async t => {
    for (const seed of upTo(12)) {
      const world = open({ seed, network: { jitterMs: 3, chunkBytesMax: 2_000 }, channel: { windowBytes: 20_000 } })
      const { a, b } = await pair(world)
      const random = seededRandom(`one answer ${seed}`)
      b.refuses = () => (random.fraction() < 0.2 ? FULL : 0)
      const sent = a.sendMany(b.run, 300, () => Math.floor(random.fraction() * 900))
      for (let i = 0; i < 3; i++) world.time.timers.after(random.fraction() * 600, () => world.reset('a', 'b'))
      await world.run(random.fraction() * 700)
      a.mesh.end(b.run, 'dead')
      await world.run(3_000)
      const written = sent.filter(({ sequence }) => sequence >= 0)
      t.ok(
        written.every(({ answers }) => answers.length === 1),
        `seed ${seed}: ${written.length} written`,
      )
      const accepted = written.filter(({ answer }) => answer === 'accepted').map(({ number }) => number)
      t.ok(
        accepted.every(number => b.numbers.includes(number)),
        `seed ${seed}: what was said to be accepted was`,
      )
      t.equal(new Set(b.numbers).size, b.numbers.length, `seed ${seed}: nothing twice`)
    }
  })
}
