import t from 'tap'
import type { Presence } from '../../lib/datastores/datastore.ts'
import type { Probe } from '../../lib/sessions/directory.ts'
import { seed, whats, World, type PeerSettings, type TestPeer } from './world.ts'

t.comment(`seed ${seed}`)

/** An engine that tells of processes: each host has a session, and loses all it shows with it. */
class Sessions {
  readonly #world: World
  readonly #shown = new Map<string, Set<string>>()
  readonly #watches = new Set<{ prefix: string; changed: () => void }>()

  constructor(world: World) {
    this.#world = world
  }

  of(host: string): Presence {
    const shown = new Set<string>()
    this.#shown.set(host, shown)
    return {
      show: key => {
        shown.add(key)
        this.#world.engine.put(key, new Uint8Array(0), {})
        this.tell(key)
        return { [Symbol.asyncDispose]: async () => this.#remove(shown, key) }
      },
      watch: (prefix, changed) => {
        const watch = { prefix, changed }
        this.#watches.add(watch)
        queueMicrotask(changed)
        return { [Symbol.asyncDispose]: async () => void this.#watches.delete(watch) }
      },
    }
  }

  /** The host's session is over, whatever became of the host. */
  expire(host: string): void {
    const shown = this.#shown.get(host)!
    for (const key of shown) this.#remove(shown, key)
  }

  /** A key came or went. */
  tell(key: string): void {
    for (const { prefix, changed } of this.#watches) if (key.startsWith(prefix)) queueMicrotask(changed)
  }

  #remove(shown: Set<string>, key: string): void {
    if (!shown.delete(key)) return
    this.#world.engine.delete(key, undefined)
    this.tell(key)
  }
}

interface Pair {
  world: World
  sessions: Sessions
  a: TestPeer
  b: TestPeer
  /** Of whom `a` was asked to probe. */
  probed: string[]
}

/** `a` watches `b`, whose endpoints say `probe`. */
async function pair(probe: Probe | (() => Promise<Probe>), ofB: PeerSettings = {}, ofA: PeerSettings = {}): Promise<Pair> {
  const world = new World(seed)
  const sessions = new Sessions(world)
  const probed: string[] = []
  const a = await world.peer('a', {
    presence: sessions.of('a'),
    probe: async ({ identity }) => {
      probed.push(identity)
      return typeof probe === 'string' ? probe : probe()
    },
    ...ofA,
  })
  const b = await world.peer('b', { presence: sessions.of('b'), ...ofB })
  await world.time.run(3_000)
  return { world, sessions, a, b, probed }
}

t.test('whose session ended and where nobody listens is down at once, long before its lease is over', async t => {
  const { world, sessions, a, b, probed } = await pair('refused')
  await b.claim('bob')
  world.time.halt('b')
  await world.time.run(100)
  t.same(probed, [], 'nothing was told yet')
  sessions.expire('b')
  await world.time.run(50)
  t.same(whats(a), ['up b', 'down b lapsed'])
  t.same(probed, ['b'])
  t.equal(a.directory.member('b'), undefined)
  t.equal(await world.soon(a.directory.find('bob')), undefined)
  await world.time.run(60_000)
  t.same(whats(a), ['up b', 'down b lapsed'], 'once')
})

for (const probe of ['answers', 'silent'] as const) {
  t.test(`a session that ended condemns nobody who ${probe === 'answers' ? 'answers' : 'may be there'}`, async t => {
    const { world, sessions, a, probed } = await pair(probe)
    sessions.expire('b')
    await world.time.run(60_000)
    t.same(whats(a), ['up b'], 'b renews its lease')
    t.ok(probed.length >= 10 && probed.length <= 25, `asked again with each renewal, and no oftener: ${probed.length}`)
    world.time.halt('b')
    await world.time.run(8_000)
    t.same(whats(a), ['up b'], 'believed for one lease')
    await world.time.run(7_000)
    t.same(whats(a), ['up b', 'down b lapsed'])
  })
}

t.test('what was judged by mistake is undone by the next beat', async t => {
  const { world, sessions, a } = await pair('refused')
  sessions.expire('b')
  await world.time.run(50)
  t.same(whats(a), ['up b', 'down b lapsed'])
  await world.time.until(() => whats(a).length === 3, 7_000)
  t.same(whats(a), ['up b', 'down b lapsed', 'up b'])
})

t.test('an engine that lost all signs has lost nobody', async t => {
  const { world, sessions, a, probed } = await pair('refused')
  sessions.expire('a')
  sessions.expire('b')
  await world.time.run(60_000)
  t.same(whats(a), ['up b'])
  t.same(probed, [])
})

t.test('of who never showed a sign, its absence says nothing', async t => {
  const world = new World(seed)
  const sessions = new Sessions(world)
  const a = await world.peer('a', { presence: sessions.of('a'), probe: async () => 'refused' })
  await world.peer('b')
  await world.time.run(60_000)
  t.same(whats(a), ['up b'])
})

t.test('an endpoint on the loopback of another machine is not where the other one listens', async t => {
  for (const [endpoint, machine, down] of [
    ['tcp://127.0.0.1:1', 'elsewhere', false],
    ['tcp://127.0.0.1:1', undefined, true],
    ['tcp://b:1', 'elsewhere', true],
  ] as const) {
    const ofB = { endpoints: [endpoint], ...(machine === undefined ? {} : { machine }) }
    const { world, sessions, a } = await pair('refused', { machine: 'here', ...ofB }, { machine: 'here' })
    world.time.halt('b')
    sessions.expire('b')
    await world.time.run(50)
    t.equal(whats(a).includes('down b lapsed'), down, `${endpoint} ${machine}`)
  }
})

t.test('who joins and who says goodbye is known at once', async t => {
  const { world, sessions, a, b } = await pair('refused')
  const c = world.joining('c', { presence: sessions.of('c') })
  c.peer.directory = await world.soon(c.joining)
  sessions.tell('homing:test:peers:c')
  await world.time.run(10)
  t.same(whats(a), ['up b', 'up c'])
  await world.soon(b.directory.leave(b.env.clock.monotonicMs() + 1_000))
  sessions.tell('homing:test:peers:b')
  await world.time.run(10)
  t.same(whats(a), ['up b', 'up c', 'down b left'])
})

t.test('what changes while it is being read is read again', async t => {
  const { world, sessions, a } = await pair('refused')
  a.store.slowMs = 300
  const joining = ['c', 'd', 'e'].map(host => world.joining(host, { presence: sessions.of(host) }))
  sessions.tell('homing:test:peers:c')
  await world.time.run(100)
  await world.soon(Promise.all(joining.map(each => each.joining)))
  sessions.tell('homing:test:peers:d')
  sessions.tell('homing:test:peers:e')
  await world.time.run(1_300)
  t.same(whats(a).sort(), ['up b', 'up c', 'up d', 'up e'])
})

t.test('a probe that is under way when the peer leaves holds nothing up, and does nothing afterwards', async t => {
  let answer: ((probe: Probe) => void) | undefined
  const { world, sessions, a } = await pair(() => new Promise(resolve => (answer = resolve)))
  world.time.halt('b')
  sessions.expire('b')
  await world.time.run(50)
  t.ok(answer)
  await world.soon(a.directory.leave(a.env.clock.monotonicMs() + 1_000), 1_000)
  const { calls } = a.store
  answer!('refused')
  await world.time.run(10_000)
  t.equal(a.store.calls, calls)
  t.same(whats(a), ['up b'])
})

t.test('signs that cannot be read are a trouble that passes', async t => {
  const { world, sessions, a } = await pair('refused')
  a.store.down = true
  world.time.halt('b')
  sessions.expire('b')
  await world.time.run(500)
  t.ok(a.troubles.some(({ code }) => code === 'DATASTORE'))
  t.notOk(whats(a).includes('down b lapsed'))
  a.store.down = false
  await world.time.run(3_500)
  t.ok(whats(a).includes('down b lapsed'), 'seen with the next renewal')
})
