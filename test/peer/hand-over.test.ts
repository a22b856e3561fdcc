/** What goes from a former owner of an address to the next one, where three peers take it one after the other. */
import t from 'tap'
import { Access } from '../../lib/access/access.ts'
import { HomingError } from '../../lib/errors.ts'
import { HandOver, type GivenUp } from '../../lib/peer/hand-over.ts'
import type { Part, Take } from '../../lib/peer/hand-over-protocol.ts'
import { Budget } from '../../lib/router/budget.ts'
import { Inbox } from '../../lib/router/inbox.ts'
import { BytesMessage } from '../../lib/router/message.ts'
import type { ProtocolHandlers } from '../../lib/router/protocols.ts'
import type { Router } from '../../lib/router/router.ts'
import type { Directory, Held, Owner, Run } from '../../lib/sessions/directory.ts'
import { encodeBody } from '../../lib/wire/body.ts'
import { StillEnv } from '../fuzz/still-env.ts'

const us: Run = { identity: 'us', incarnation: '1' }
const ann: Owner = { identity: 'ann', incarnation: '2', claim: 1 }
const ben: Owner = { identity: 'ben', incarnation: '3', claim: 7 }

/** A peer that holds `alice` for the second time; what it asks others waits for their answer. */
class World {
  readonly env = new StillEnv()
  readonly got: unknown[] = []
  /** What a take of `alice` finds here. */
  givenUp: GivenUp = { left: [], opened: false }
  /** How often our client was ended for somebody. */
  ended = 0
  isOurs: () => Promise<boolean> = () => Promise.resolve(false)
  readonly unclaimed: { held: Held; missing: number | undefined }[] = []
  readonly handOver: HandOver
  /** By identity: the answer of a former owner. */
  readonly answers = new Map<string, PromiseWithResolvers>()
  readonly #budget = new Budget(100_000)
  #handlers!: ProtocolHandlers

  constructor() {
    const router = {
      budget: this.#budget,
      via: 'direct',
      serveProtocol: (_name: string, handlers: ProtocolHandlers) => void (this.#handlers = handlers),
      isBody: () => true,
      untilSure: () => undefined,
      tell: () => Promise.resolve(),
      call: ({ identity }: Run) => this.answerOf(identity).promise,
    }
    this.handOver = new HandOver({
      env: this.env,
      waitMs: 1_000,
      noteAfterMs: 500,
      router: router as unknown as Router,
      directory: { leaveNote: () => Promise.resolve() } as unknown as Directory,
      isGone: () => Promise.resolve(false),
      access: new Access(undefined, error => t.error(error)),
      trouble: error => t.error(error),
    })
    this.handOver.serve(
      () => {
        this.ended++
        return this.givenUp
      },
      () => undefined,
      () => this.isOurs(),
      ({ address, claim }, missing) => void this.unclaimed.push({ held: { address, claim }, missing }),
    )
  }

  answerOf(identity: string): PromiseWithResolvers {
    let answer = this.answers.get(identity)
    if (!answer) this.answers.set(identity, (answer = withResolvers()))
    return answer
  }

  inbox(claim: number): Inbox {
    const host = { inboxBytesMax: 10_000, requestsMax: 4, budget: this.#budget, timers: this.env.timers }
    const take = ({ body }: BytesMessage): undefined => void this.got.push(body)
    const inbox = new Inbox(claim, host, { address: 'alice', hasReader: false, wake() {}, take })
    inbox.claimed('held')
    return inbox
  }

  /** Somebody took `alice` from that claim of ours. */
  take(by: Owner, claim: number, signal = new AbortController().signal): Promise<unknown> {
    const take: Take = { address: 'alice', claim, by, part: 0 }
    return Promise.resolve(this.#handlers.call!(by, take, { signal, deadlineMs: 1_000 }))
  }
}

interface PromiseWithResolvers {
  promise: Promise<Part>
  resolve: (part: Part) => void
  reject: (error: Error) => void
}

function withResolvers(): PromiseWithResolvers {
  const made = {} as PromiseWithResolvers
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}

function handedOver(body: string): Part {
  return { messages: [{ from: 'bob', bytes: encodeBody(body), peer: 'bo', origin: 'bo/1', number: 1 }], left: 0 }
}

function message(body: string, number: number): BytesMessage {
  const bytes = encodeBody(body)
  const sender = { identity: 'bo', origin: 'bo/1', vouchedBy: undefined }
  return new BytesMessage('bob', 'alice', bytes, 0, bytes.length, sender, number, 'direct', undefined)
}

/** ann had it, then we, then ben, then we again: ben cannot be reached, and ann's answer comes late. Both clients of ours are there. */
async function twiceHere(): Promise<World> {
  const world = new World()
  const { handOver } = world
  const first = world.inbox(4)
  const filled = handOver.fillInbox({
    inbox: first,
    by: { ...us, claim: 4 },
    former: undefined,
    previous: ann,
    revalidate: () => undefined,
  })
  t.ok(first.offer(message('newer', 2)))
  const left = first.close(false)
  const second = world.inbox(5)
  const filledAgain = handOver.fillInbox({
    inbox: second,
    by: { ...us, claim: 5 },
    former: { inbox: first, left },
    previous: ben,
    revalidate: () => undefined,
  })
  world.answerOf('ann').resolve(handedOver('older'))
  await filled
  world.answerOf('ben').reject(new HomingError('TIMEOUT', 'it does not answer'))
  t.equal(await filledAgain, undefined)
  world.env.turn()
  return world
}

t.test('what a client here gave out is not preceded elsewhere by older messages of the client before it', async t => {
  const world = await twiceHere()
  t.same(world.got, ['newer'])
  // ben hears late that it may ask us, and not yet that it was displaced: it would give out `older` after `newer`.
  t.same(await world.take(ben, 4), { messages: [], left: 0 })
  t.same(world.unclaimed, [{ held: { address: 'alice', claim: 4 }, missing: 1 }])
  world.env.pass(10_000)
  t.equal(world.unclaimed.length, 1, 'reported once')
})

for (const order of ['before the next one has opened', 'after that']) {
  t.test(
    `what was on its way to a client that ended, and came ${order}, is not given out elsewhere after what the next one gave out`,
    async t => {
      const world = new World()
      const { handOver } = world
      // The application disconnects it; its release finds the next client's claim, so that it is not said to be released.
      const first = world.inbox(4)
      const filling = { inbox: first, by: { ...us, claim: 4 }, former: undefined, previous: ann, revalidate: () => undefined }
      const filled = handOver.fillInbox(filling)
      first.close(true)
      const come = async (): Promise<void> => {
        world.answerOf('ann').resolve(handedOver('older'))
        await filled
      }
      if (order === 'after that') {
        handOver.opened({ address: 'alice', claim: 5 })
        await come()
      } else {
        await come()
        t.same(world.unclaimed, [], 'whoever took the address from it may come for that')
        handOver.opened({ address: 'alice', claim: 5 })
      }
      t.same(await world.take(ben, 4), { messages: [], left: 0 })
      t.same(world.unclaimed, [{ held: { address: 'alice', claim: 4 }, missing: 1 }])
    },
  )
}

/** We had it, then ben, then we again. What our first client had not taken is `older`. */
async function backHere(answer: Part): Promise<World> {
  const world = new World()
  const { handOver } = world
  const first = world.inbox(4)
  t.ok(first.offer(message('older', 1)))
  const left = first.close(false)
  const filled = handOver.fillInbox({
    inbox: world.inbox(5),
    by: { ...us, claim: 5 },
    former: { inbox: first, left },
    previous: ben,
    revalidate: () => undefined,
  })
  world.answerOf('ben').resolve(answer)
  t.equal(await filled, 0)
  world.env.turn()
  return world
}

t.test('what a client here had not taken comes to the next one here, where who came between has given out nothing', async t => {
  const world = await backHere({ messages: [], left: 0 })
  t.same(world.got, ['older'])
  t.same(world.unclaimed, [])
})

t.test('who came between, has not asked, and has given out messages: older ones are reported, not given out', async t => {
  const world = await backHere({ messages: [], left: 0, opened: true })
  t.same(world.got, [])
  t.same(world.unclaimed, [{ held: { address: 'alice', claim: 4 }, missing: 1 }])
})

t.test('a former owner says whether its client had begun to give out messages', async t => {
  for (const opened of [false, true]) {
    const world = new World()
    world.givenUp = { left: [message('hi', 1)], opened }
    t.match(await world.take(ben, 4), { messages: [{ number: 1 }], left: 0, ...(opened && { opened }) })
  }
})

t.test(
  'who displaced the last of our clients asks by the one before, which it was written over as well: it gets what is left',
  async t => {
    for (const asksEarly of [false, true]) {
      const world = new World()
      const { handOver } = world
      const first = world.inbox(4)
      t.ok(first.offer(message('hi', 1)))
      const second = world.inbox(5)
      const filled = handOver.fillInbox({
        inbox: second,
        by: { ...us, claim: 5 },
        former: { inbox: first, left: first.close(false) },
        previous: undefined,
        revalidate: () => undefined,
      })
      handOver.keep({ address: 'alice', claim: 5 }, second.close(false), ben)
      const asked = asksEarly ? world.take(ben, 4) : filled.then(() => world.take(ben, 4))
      t.match(await asked, { messages: [{ number: 1 }], left: 0 })
      t.same(await world.take({ ...ann, claim: 9 }, 4), { messages: [], left: 0 }, 'nobody else')
      world.env.pass(10_000)
      t.same(world.unclaimed, [])
    }
  },
)

t.test('who displaced a claim that never had a client asks by it for what the client before it left', async t => {
  const world = new World()
  world.handOver.keep({ address: 'alice', claim: 4 }, [message('hi', 1)], ben)
  t.match(await world.take(ben, 5), { messages: [{ number: 1 }], left: 0 })
  world.env.pass(10_000)
  t.same(world.unclaimed, [])
})

t.test('who asks, and waits no more when the datastore does not say in time whose the address is, ends no client', async t => {
  const world = new World()
  const asker = new AbortController()
  let says!: (isOurs: boolean) => void
  world.isOurs = () => new Promise(resolve => (says = resolve))
  const taken = world.take(ben, 4, asker.signal)
  asker.abort()
  says(false) // nobody could be asked: whoever says otherwise would be believed
  await t.rejects(taken, { code: 'TIMEOUT' })
  t.equal(world.ended, 0)
  world.isOurs = () => Promise.resolve(false)
  await world.take(ben, 4)
  t.equal(world.ended, 1)
})
