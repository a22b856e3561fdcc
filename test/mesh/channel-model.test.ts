/** A pair of channels against an ideal queue: paths break at any byte, receivers refuse, senders give up. */

import fc from 'fast-check'
import t from 'tap'
import { Channel, channelDefaults, type ChannelHandler, type ChannelOptions, type Waiter } from '../../lib/mesh/channel.ts'
import type { Path } from '../../lib/mesh/path.ts'
import { segmentBytes } from '../../lib/mesh/send-buffer.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { FULL, labelAt, type Reader } from '../../lib/wire/frame.ts'
import { CALL, MESSAGE, TELL } from '../../lib/wire/kinds.ts'
import { Splitter } from '../../lib/wire/splitter.ts'

const seed = Number(process.env.HOMING_SEED ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it)`)

const kinds = [MESSAGE, TELL, CALL]

/** Somebody who waits, and what he heard. */
class Sent implements Waiter {
  readonly number: number
  readonly refuse: boolean
  readonly answers: string[] = []
  sequence = -1
  gaveUp = false

  constructor(number: number, refuse: boolean) {
    this.number = number
    this.refuse = refuse
  }
  accepted(): void {
    this.answers.push('accepted')
  }
  refused(reason: number, _kind: number, payload: Buffer): void {
    this.answers.push(reason === FULL && payload.readUInt32BE(4) === this.number ? 'refused' : 'refused wrongly')
  }
  lost(): void {
    this.answers.push('lost')
  }
}

/** One end: the channel, the path that it has now, and what came. */
class End implements ChannelHandler {
  readonly channel: Channel
  readonly sent: Sent[] = []
  /** Numbers in the order in which they came, refused ones too. */
  readonly judged: number[] = []
  readonly taken: number[] = []
  /** Those longer than a segment. */
  large = 0
  path: Pipe | undefined
  ups = 0

  constructor(world: World, identity: string, options: ChannelOptions) {
    this.channel = new Channel(world.env, { identity, incarnation: '1' }, options, this)
  }

  accept(channel: Channel, kind: number, reader: Reader): number {
    if (kind === MESSAGE) {
      channel.numbersIn.read(reader)
      channel.numbersIn.read(reader)
    } else reader.u32()
    const number = reader.u32()
    const refuse = reader.u8() === 1
    const { buffer, at, end } = reader
    if (!buffer.subarray(at, end).equals(Buffer.alloc(end - at, number))) throw new Error(`${number} came changed`)
    this.judged.push(number)
    if (end - at > segmentBytes) this.large++
    if (refuse) return FULL
    this.taken.push(number)
    return 0
  }
  room(): void {}
  writable(): void {
    this.ups++
  }
  acknowledged(): void {}
  leaving(): void {}
  down(): void {
    this.ups++
  }
  ended(_channel: Channel, why: string): void {
    throw new Error(`the channel ended: ${why}`)
  }

  write(bytes: number, refuse: boolean): void {
    const sent = new Sent(this.sent.length, refuse)
    this.sent.push(sent)
    const kind = kinds[sent.number % kinds.length]!
    const at = this.channel.begin(kind, 9 + bytes)
    const { buffer } = this.channel
    buffer.writeUInt32BE(kind === MESSAGE ? 0 : 0xffff_ffff, at)
    buffer.writeUInt32BE(sent.number, at + 4)
    buffer[at + 8] = refuse ? 1 : 0
    buffer.fill(sent.number & 0xff, at + 9, at + 9 + bytes)
    sent.sequence = this.channel.commit(at + 9 + bytes, sent)
  }

  giveUp(sent: Sent): void {
    this.channel.abandon(sent.sequence)
    sent.gaveUp = true
  }
}

/** One direction of a path: bytes on their way, and the splitter at their end. */
class Pipe implements Path {
  readonly kind = 'direct'
  readonly name = 'pipe'
  readonly label: number
  readonly #to: End
  readonly #splitter: Splitter
  #bytes: Buffer[] = []
  /** The receiver has given it up. */
  closed = false

  constructor(label: number, to: End) {
    this.label = label
    this.#to = to
    this.#splitter = new Splitter(2 << 20, (buffer, start, end) => {
      if (labelAt(buffer, start) !== label) throw new Error('a frame with the label of another path')
      if (!this.closed && to.channel.receive(buffer, start, end) === 'forgotten') throw new Error('forgotten')
    })
  }

  get pendingBytes(): number {
    return this.#bytes.reduce((sum, { length }) => sum + length, 0)
  }

  write(bytes: Uint8Array): void {
    this.#bytes.push(Buffer.from(bytes)) // a copy: what is written again later must not change it
  }

  abandon(reason: string): void {
    throw new Error(`the path was given up: ${reason}`)
  }

  /** Hands over at most `count` bytes, as one read. */
  deliver(count: number): void {
    if (this.#bytes.length === 0 || count === 0) return
    const all = this.#bytes.length === 1 ? this.#bytes[0]! : Buffer.concat(this.#bytes)
    this.#bytes = count < all.length ? [all.subarray(count)] : []
    this.#splitter.push(Buffer.from(all.subarray(0, count)))
    if (!this.closed) this.#to.channel.afterBatch()
  }
}

class World {
  readonly env = this.#env()
  readonly a: End
  readonly b: End
  #soon: (() => void)[] = []
  #label = 0

  constructor(options: Partial<ChannelOptions> = {}) {
    this.a = new End(this, 'b', { ...channelDefaults, ...options })
    this.b = new End(this, 'a', { ...channelDefaults, ...options })
  }

  #env(): ReturnType<typeof virtualEnv> {
    const time = new VirtualTime({ seed: 'channel' })
    const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
    return { ...env, timers: { ...env.timers, soon: fn => void this.#soon.push(fn) } }
  }

  turn(): void {
    for (const fn of this.#soon.splice(0)) fn()
  }

  /** Gives one end a new path; the other end reads on from the old one until it gets its own. */
  attach(end: End): void {
    const other = end === this.a ? this.b : this.a
    const path = new Pipe(++this.#label, other)
    path.closed = true // until the other end is attached too
    end.path = path
    end.channel.attach(path)
  }

  /** Both ends have given up what they had, and meet on a new path. `late` bytes of the old one still reach the second. */
  reconnect(first: End, late: number): void {
    const second = first === this.a ? this.b : this.a
    const [oldIn, oldOut] = [second.path, first.path]
    if (oldIn) oldIn.closed = true // what the second still sends, the first does not read
    if (oldIn && first.channel.path === oldOut && oldOut) first.channel.detach(oldOut)
    this.attach(first)
    oldOut?.deliver(late)
    if (oldOut) oldOut.closed = true
    if (oldIn) second.channel.detach(oldIn)
    this.attach(second)
    first.path!.closed = second.path!.closed = false
  }

  cut(): void {
    for (const end of [this.a, this.b]) {
      if (!end.path) continue
      end.path.closed = true
      end.channel.detach(end.path)
      end.path = undefined
    }
  }

  /** Until nothing moves any more. */
  settle(): void {
    if (!this.a.path) this.reconnect(this.a, 0)
    for (let quiet = 0; quiet < 2; quiet++) {
      this.turn()
      for (const { path } of [this.a, this.b]) {
        if (path!.pendingBytes === 0) continue
        path!.deliver(Infinity)
        quiet = -1
      }
    }
  }
}

type Step = (world: World) => void

const side = fc.boolean().map(
  (isA): ((world: World) => End) =>
    world =>
      isA ? world.a : world.b,
)
const bytes = fc.oneof(
  { arbitrary: fc.nat(200), weight: 30 },
  { arbitrary: fc.integer({ min: 16_000, max: 17_000 }), weight: 2 },
  { arbitrary: fc.integer({ min: segmentBytes - 40, max: segmentBytes + 40 }), weight: 2 },
  { arbitrary: fc.integer({ min: 100_000, max: 1 << 20 }), weight: 1 },
)
const chunk = fc.oneof(fc.nat(20), fc.nat(3_000), fc.nat(300_000), fc.constant(Infinity))
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    arbitrary: fc.tuple(side, bytes, fc.nat(4)).map(([of, size, luck]): Step => world => {
      const end = of(world)
      if (end.channel.admits(size + 9)) end.write(size, luck === 0)
    }),
    weight: 12,
  },
  // Small ones whatever the channel says, as answers are.
  {
    arbitrary: side.map(
      (of): Step =>
        world =>
          of(world).sent.length < 500 && of(world).write(3, false),
    ),
    weight: 2,
  },
  {
    arbitrary: fc.tuple(side, chunk).map(
      ([of, count]): Step =>
        world =>
          of(world).path?.deliver(count),
    ),
    weight: 12,
  },
  { arbitrary: fc.constant<Step>(world => world.turn()), weight: 6 },
  { arbitrary: fc.constant<Step>(world => world.cut()), weight: 1 },
  {
    arbitrary: fc.tuple(side, chunk).map(
      ([of, late]): Step =>
        world =>
          world.reconnect(of(world), late),
    ),
    weight: 3,
  },
  {
    arbitrary: fc.tuple(side, fc.nat(1_000)).map(([of, index]): Step => world => {
      const waiting = of(world).sent.filter(({ answers, gaveUp }) => answers.length === 0 && !gaveUp)
      if (waiting.length > 0) of(world).giveUp(waiting[index % waiting.length]!)
    }),
    weight: 1,
  },
)

function check(from: End, to: End): void {
  const fail = (what: string): never => {
    throw new Error(what)
  }
  for (let i = 1; i < to.judged.length; i++)
    if (to.judged[i]! <= to.judged[i - 1]!) fail(`${to.judged[i]} came behind ${to.judged[i - 1]}`)
  const judged = new Set(to.judged)
  for (const { number, refuse, answers, gaveUp } of from.sent) {
    const right = refuse ? 'refused' : 'accepted'
    if (gaveUp) {
      if (answers.length > 0) fail(`${number} was given up and heard ${answers}`)
    } else if (answers.length !== 1 || answers[0] !== right) fail(`${number} heard ${answers.join()} instead of ${right}`)
    else if (!judged.has(number)) fail(`${number} was answered and never came`)
  }
  if (from.channel.unacknowledgedBytes !== 0) fail(`${from.channel.unacknowledgedBytes} bytes are unacknowledged for ever`)
  if (from.channel.unacknowledgedFrames !== 0) fail('frames are unacknowledged for ever')
  if (from.channel.heldBytes > segmentBytes) fail(`${from.channel.heldBytes} bytes are held`)
}

t.test('order, no loss among what is accepted, no duplicates, one answer each, and the memory is given back', async t => {
  const seen = { runs: 0, taken: 0, refused: 0, gaveUp: 0, blanks: 0, large: 0, breaks: 0 }
  fc.assert(
    fc.property(
      fc.array(step, { minLength: 5, maxLength: 150, size: 'max' }),
      fc.constantFrom(5_000, 4 << 20),
      (steps, windowBytes) => {
        const world = new World({ windowBytes })
        for (const act of steps) act(world)
        world.settle()
        // A break when nothing is under way changes nothing.
        world.reconnect(world.b, 0)
        world.settle()
        check(world.a, world.b)
        check(world.b, world.a)
        seen.runs++
        for (const [from, to] of [
          [world.a, world.b],
          [world.b, world.a],
        ] as const) {
          const judged = new Set(to.judged)
          seen.taken += to.taken.length
          seen.large += to.large
          seen.refused += to.judged.length - to.taken.length
          seen.gaveUp += from.sent.filter(({ gaveUp }) => gaveUp).length
          seen.blanks += from.sent.filter(({ gaveUp, number }) => gaveUp && !judged.has(number)).length
          seen.breaks += to.ups
        }
      },
    ),
    { seed, numRuns: 2_500 },
  )
  t.comment(JSON.stringify(seen))
  for (const what of ['taken', 'refused', 'gaveUp', 'blanks', 'large', 'breaks'] as const)
    t.ok(seen[what] > 50, `${seen[what]} ${what}`)
})

t.test('a long run in one direction keeps no acknowledgements', async t => {
  const world = new World()
  const { a, b } = world
  world.reconnect(a, 0)
  world.settle()
  let most = 0
  for (let i = 0; i < 200_000; i++) {
    a.write(20, false)
    a.sent.pop() // numbers stay small, memory too
    world.turn()
    a.path!.deliver(Infinity)
    world.turn()
    b.path!.deliver(Infinity)
    most = Math.max(most, a.channel.heldBytes, b.channel.heldBytes)
    b.judged.length = b.taken.length = 0
  }
  t.equal(a.channel.unacknowledgedBytes, 0)
  t.ok(most <= 2 * segmentBytes, `${most} bytes at most`)
  t.ok(a.channel.heldBytes <= segmentBytes && b.channel.heldBytes <= segmentBytes)
})

t.test('acknowledgements behind a frame that is not acknowledged are not kept', async t => {
  const world = new World()
  const { a, b } = world
  world.reconnect(a, 0)
  world.settle()
  b.write(3, false) // a never gets it, and so never acknowledges it
  for (let i = 0; i < 30_000; i++) {
    a.write(20, false)
    a.sent.pop()
    world.turn()
    a.path!.deliver(Infinity)
    b.judged.length = b.taken.length = 0
    if (i % 1_000 === 0) t.ok(b.channel.heldBytes <= 3 * segmentBytes, `${b.channel.heldBytes} bytes after ${i}`)
  }
  world.settle()
  t.same(b.sent[0]!.answers, ['accepted'])
})

t.test('one large frame is not kept when it was acknowledged', async t => {
  const world = new World()
  world.reconnect(world.a, 0)
  world.settle()
  world.a.write(1 << 20, false)
  t.ok(world.a.channel.heldBytes > 1 << 20)
  world.settle()
  t.ok(world.a.channel.heldBytes <= segmentBytes, `${world.a.channel.heldBytes} bytes`)
})

t.test('a frame shorter than two addresses can be given up too', async t => {
  const world = new World()
  const { a, b } = world
  world.reconnect(a, 0)
  world.settle()
  world.cut()
  for (const payload of [[], [1], [0x80, 1, 2]]) {
    const sequence = a.channel.send(TELL, Uint8Array.from(payload), new Sent(0, false))
    a.channel.abandon(sequence)
  }
  a.write(10, false)
  world.settle()
  t.same(b.taken, [0])
  t.equal(a.channel.unacknowledgedBytes, 0)
})

t.test('what is given up is not sent again but for its addresses', async t => {
  const world = new World()
  const { a } = world
  world.reconnect(a, 0)
  world.settle()
  for (let i = 0; i < 6; i++) a.write(100_000, false)
  for (const sent of a.sent.slice(0, 5)) a.giveUp(sent)
  const before = a.channel.unacknowledgedBytes
  world.cut()
  world.reconnect(a, 0)
  world.b.path!.deliver(Infinity)
  world.turn()
  t.ok(before > 600_000)
  t.ok(a.path!.pendingBytes < 101_000, `${a.path!.pendingBytes} bytes`)
  t.ok(a.channel.unacknowledgedBytes < 101_000, `${a.channel.unacknowledgedBytes} bytes count`)
  world.settle()
  t.same(world.b.taken, [5])
  t.equal(a.channel.unacknowledgedBytes, 0)
})
