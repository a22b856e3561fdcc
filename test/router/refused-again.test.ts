/** Refusals that a break of the path makes come twice: whoever refuses until there is room owes the news of it each time. */
import t from 'tap'
import type { Env } from '../../lib/env/env.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { Channel, channelDefaults, type ChannelHandler } from '../../lib/mesh/channel.ts'
import type { Path } from '../../lib/mesh/path.ts'
import { Inbox } from '../../lib/router/inbox.ts'
import type { BytesMessage } from '../../lib/router/message.ts'
import { routerDefaults } from '../../lib/router/options.ts'
import { Router } from '../../lib/router/router.ts'
import type { Waiter } from '../../lib/mesh/channel.ts'
import type { Run } from '../../lib/sessions/directory.ts'
import { encodeBody } from '../../lib/wire/body.ts'
import { FULL, NOT_HERE, PREFIX, UNSURE } from '../../lib/wire/frame.ts'
import { MESSAGE } from '../../lib/wire/kinds.ts'
import { bodyDefaults } from '../../lib/wire/scan.ts'
import { Splitter } from '../../lib/wire/splitter.ts'

/** One direction of a path, which delivers when it is told to. */
class Way implements Path {
  readonly kind = 'direct'
  readonly name = 'way'
  readonly label = 0
  readonly pendingBytes = 0
  #frames: Buffer[] = []
  readonly #splitter = new Splitter(1 << 20, (buffer, start, end) => {
    this.#frames.push(Buffer.from(buffer.subarray(start - PREFIX, end)))
  })

  write(bytes: Uint8Array): void {
    this.#splitter.push(Buffer.from(bytes))
  }

  abandon(reason: string): void {
    throw new Error(`given up: ${reason}`)
  }

  deliver(to: Channel): number {
    const frames = this.#frames
    this.#frames = []
    for (const frame of frames) to.receive(frame, PREFIX, frame.length)
    to.afterBatch()
    return frames.length
  }
}

/** Two ends of one channel; only `b` has a router, with the client 'bob' that reads when the test does. */
class Pair {
  readonly #time = new VirtualTime({ seed: 'refused again' })
  readonly #env: Env = virtualEnv(this.#time, new MemoryNetwork(this.#time.timers, this.#time.randomOf('network')), 'here')
  readonly room: string[] = []
  readonly router: Router
  readonly inbox: Inbox
  readonly #a: Channel
  readonly #b: Channel
  #ab = new Way()
  #ba = new Way()

  constructor() {
    const [a, b]: Run[] = [
      { identity: 'a', incarnation: '1' },
      { identity: 'b', incarnation: '2' },
    ]
    const silent = { writable() {}, leaving() {}, down() {}, ended() {} }
    const asking: ChannelHandler = {
      ...silent,
      accept: () => 0,
      acknowledged() {},
      room: (_channel, to) => void this.room.push(to),
    }
    this.router = new Router({
      env: this.#env,
      self: b!,
      options: routerDefaults,
      limits: bodyDefaults,
      answers: () => false,
      answer: () => Promise.reject(new Error('nobody asks')),
      trouble: error => t.fail('trouble', { error }),
      handlerFailed: where => t.fail(where),
    })
    const taking: ChannelHandler = {
      ...silent,
      accept: (channel, kind, reader) => this.router.accept(channel, kind, reader),
      acknowledged: (channel, sequence) => this.router.acknowledged(channel, sequence),
      room() {},
    }
    const reader = { address: 'bob', hasReader: true, wake() {}, take: (_message: BytesMessage) => undefined }
    this.inbox = new Inbox(1, { ...this.router.inboxHost, inboxBytesMax: 1 }, reader)
    this.inbox.claimed('open')
    this.router.reception.claimed(this.inbox)
    this.#a = new Channel(this.#env, b!, channelDefaults, asking)
    this.#b = new Channel(this.#env, a!, channelDefaults, taking)
    this.connect()
  }

  connect(): void {
    this.#ab = new Way()
    this.#ba = new Way()
    this.#a.attach(this.#ab)
    this.#b.attach(this.#ba)
  }

  /** What is under way is lost. */
  cut(): void {
    this.#a.detach(this.#ab)
    this.#b.detach(this.#ba)
  }

  async run(): Promise<void> {
    await this.#time.run(120)
    this.#a.flush()
    this.#b.flush()
  }

  /** Until nothing is under way. */
  async settle(): Promise<void> {
    do await this.run()
    while (this.#ab.deliver(this.#b) + this.#ba.deliver(this.#a) > 0)
  }

  /** What one end has sent arrives at the other, and nothing of what that one answers leaves. */
  async arrive(from: 'a' | 'b'): Promise<void> {
    await this.run()
    if (from === 'a') this.#ab.deliver(this.#b)
    else this.#ba.deliver(this.#a)
  }

  send(number: number): () => string | undefined {
    let answer: string | undefined
    const waiter: Waiter = {
      accepted: () => void (answer = 'accepted'),
      refused: reason => void (answer = `refused ${reason}`),
      lost: () => void (answer = 'lost'),
    }
    const payload = Buffer.concat([Buffer.from('0003626f620000', 'hex'), Buffer.alloc(6, number), encodeBody(number)])
    this.#a.send(MESSAGE, payload, waiter)
    return () => answer
  }
}

/** Sends what was refused again; the path breaks before that arrives, and before the refuser can know that its refusal was read. */
async function sentAgainOverABreak(pair: Pair): Promise<() => string | undefined> {
  const again = pair.send(2)
  await pair.run()
  pair.cut()
  pair.connect()
  await pair.settle()
  return again
}

t.test('refused as full, told of room, sent again, and the path breaks', async t => {
  const pair = new Pair()
  await pair.settle()
  const [first, second] = [pair.send(1), pair.send(2)]
  await pair.arrive('a')
  t.equal(pair.inbox.next()?.body, 1)
  await pair.arrive('b')
  t.same([first(), second(), pair.room], ['accepted', `refused ${FULL}`, ['bob']])

  const again = await sentAgainOverABreak(pair)
  t.equal(again(), `refused ${FULL}`, 'it may have been sent before the refusal was read')
  t.same(pair.room, ['bob', 'bob'], 'there is room, and it is said once more')
  const last = pair.send(2)
  await pair.settle()
  t.equal(last(), 'accepted')
  t.equal(pair.inbox.next()?.body, 2)
})

t.test('refused as unsure, told that it is sure again, sent again, and the path breaks', async t => {
  const pair = new Pair()
  await pair.settle()
  pair.router.setSure(false)
  const first = pair.send(2)
  await pair.arrive('a')
  pair.router.setSure(true)
  await pair.arrive('b')
  t.same([first(), pair.room], [`refused ${UNSURE}`, ['bob']])

  const again = await sentAgainOverABreak(pair)
  t.equal(again(), `refused ${UNSURE}`)
  t.same(pair.room, ['bob', 'bob'])
  const last = pair.send(2)
  await pair.settle()
  t.equal(last(), 'accepted')
})

t.test('refused as unsure while it was being claimed: who waits is told when the claim fails', async t => {
  const pair = new Pair()
  await pair.settle()
  pair.router.reception.remove(pair.inbox)
  const claiming = new Inbox(2, pair.router.inboxHost, pair.inbox.consumer)
  pair.router.reception.claiming([claiming])
  pair.router.setSure(false)
  const first = pair.send(2)
  await pair.arrive('a')
  claiming.close(false)
  pair.router.reception.claimsEnded([claiming])
  await pair.arrive('b')
  t.same([first(), pair.room], [`refused ${UNSURE}`, ['bob']])
  const last = pair.send(2)
  await pair.settle()
  t.equal(last(), `refused ${NOT_HERE}`)
})

for (const breaks of [false, true]) {
  const how = breaks ? ', also over a break of the path' : ''
  t.test(`refused as unsure: who waits for it is told when the client leaves, and that it is not here${how}`, async t => {
    const pair = new Pair()
    await pair.settle()
    pair.router.setSure(false)
    const first = pair.send(2)
    await pair.arrive('a')
    pair.router.reception.remove(pair.inbox)
    await pair.arrive('b')
    t.same([first(), pair.room], [`refused ${UNSURE}`, ['bob']])
    if (breaks) {
      const again = await sentAgainOverABreak(pair)
      t.equal(again(), `refused ${UNSURE}`)
      t.same(pair.room, ['bob', 'bob'])
    }
    const last = pair.send(2)
    await pair.settle()
    t.equal(last(), `refused ${NOT_HERE}`)
  })
}
