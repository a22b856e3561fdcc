/** The datastores of simulated worlds do what is said of the real ones, good and bad. */
import t from 'tap'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import type { Env } from '../../lib/env/env.ts'
import { HomingError } from '../../lib/errors.ts'
import { AmnesicEngine } from '../../lib/testing/simulation/amnesic-engine.ts'
import { EventualEngine } from '../../lib/testing/simulation/eventual-engine.ts'
import { RemoteEngine } from '../../lib/testing/simulation/remote-engine.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (entry: { bytes: Uint8Array } | undefined): string | undefined => entry && new TextDecoder().decode(entry.bytes)

class World {
  readonly time = new VirtualTime({ seed: 1 })
  readonly #network = new MemoryNetwork(this.time.timers, this.time.random)

  env(name: string): Env {
    return virtualEnv(this.time, this.#network, name)
  }

  async soon<T>(promise: Promise<T>): Promise<T> {
    let settled = false
    const done = (): void => void (settled = true)
    promise.then(done, done)
    await this.time.until(() => settled, 60_000)
    return promise
  }

  async failure(promise: Promise<unknown>): Promise<HomingError> {
    return this.soon(
      promise.then(
        () => Promise.reject(new Error('it did not fail')),
        error => error as HomingError,
      ),
    )
  }
}

t.test('a fail-over loses the last writes, says so before it answers, and versions are those of before', async t => {
  const world = new World()
  const engine = new AmnesicEngine(world.time)
  const store = engine.connect('a', world.env('a'))
  const old = await store.put('k', bytes('old'))
  await store.put('gone', bytes('gone'))
  await world.time.run(1_000)
  await store.put('k', bytes('new'))
  await store.put('fresh', bytes('fresh'))
  await store.delete('gone')
  let told = 0
  store.onLoss!(() => told++)
  engine.failOver(500)
  t.equal((await world.failure(store.get('k'))).code, 'DATASTORE')
  t.equal(told, 0)
  await world.time.run(1_000)
  t.equal(told, 1)
  t.same(await store.get('k'), { bytes: bytes('old'), version: old })
  t.equal(await store.get('fresh'), undefined)
  t.equal(textOf(await store.get('gone')), 'gone')
  t.not(await store.put('k', bytes('newer'), { ifVersion: old! }), undefined, 'a condition on it holds')
})

const latest = (_: string, a: Uint8Array, b: Uint8Array): Uint8Array => (Buffer.compare(a, b) >= 0 ? a : b)

t.test(
  'of two conditional writes at one moment both hold; all read the merge of them, and only its author has its version',
  async t => {
    const world = new World()
    const engine = new EventualEngine(world.time, { merge: latest, spreadMsMax: 20 })
    const [one, two] = [engine.connect('a'), engine.connect('b')]
    const [first, second] = await world.soon(
      Promise.all([one.put('k', bytes('1'), { ifVersion: null }), two.put('k', bytes('2'), { ifVersion: null })]),
    )
    t.ok(first !== undefined && second !== undefined)
    const read = await one.get('k')
    t.equal(textOf(read), '2')
    t.equal(await one.put('k', bytes('3'), { ifVersion: first! }), undefined, 'what was overtaken is no version of anything')
    t.ok(await world.soon(two.put('k', bytes('3'), { ifVersion: read!.version })))
    t.equal(textOf(await one.get('k')), '3')
  },
)

t.test('what was acknowledged is read by all; what is under way, by some', async t => {
  const world = new World()
  const engine = new EventualEngine(world.time, { merge: latest, spreadMsMax: 20 })
  const [one, two] = [engine.connect('a'), engine.connect('b')]
  let seen = 0
  for (let n = 0; n < 50; n++) {
    const writing = one.put(`k${n}`, bytes('x'))
    if (await two.get(`k${n}`)) seen++
    await world.soon(writing)
    t.equal(textOf(await two.get(`k${n}`)), 'x')
  }
  t.ok(seen > 5 && seen < 45, `${seen} of 50`)
})

t.test(
  'both sides of a split go on; afterwards siblings meet, and what one side removed stays unless the other wrote it anew',
  async t => {
    const world = new World()
    const engine = new EventualEngine(world.time, { merge: latest, spreadMsMax: 2 })
    const [one, two] = [engine.connect('a'), engine.connect('b')]
    for (const key of ['both', 'removed', 'kept']) await world.soon(one.put(key, bytes('0')))
    engine.split(['b'])
    await world.soon(one.put('both', bytes('1')))
    await world.soon(two.put('both', bytes('2')))
    await world.soon(two.delete('removed'))
    await world.soon(two.delete('kept'))
    await world.soon(one.put('kept', bytes('1')))
    t.equal(textOf(await one.get('both')), '1')
    t.equal(textOf(await two.get('both')), '2')
    t.equal(textOf(await one.get('removed')), '0')
    engine.heal()
    for (const store of [one, two]) {
      t.equal(textOf(await store.get('both')), '2')
      t.equal(await store.get('removed'), undefined)
      t.equal(textOf(await store.get('kept')), '1')
    }
  },
)

t.test('a road: calls end in time, what was lost is unknown, and questions of one connection keep their order', async t => {
  const world = new World()
  const usual = { thereMs: 10, backMs: 10, jitterMs: 0, unanswered: 0, down: false }
  const roads = new RemoteEngine(new MemoryEngine(world.time.clock), world.time, usual, 1_000)
  const store = roads.connect('a', world.env('a'))
  t.ok(await world.soon(store.put('k', bytes('1'))))
  t.equal(world.time.nowMs, 20)

  roads.change({ unanswered: 1 })
  let done = 0
  for (let n = 0; n < 40; n++) {
    const failed = await world.failure(store.put(`k${n}`, bytes('x')))
    t.equal(failed.outcome, 'unknown')
  }
  roads.change({ unanswered: 0 })
  for (let n = 0; n < 40; n++) if (await world.soon(store.get(`k${n}`))) done++
  t.ok(done > 5 && done < 35, `${done} of 40 unanswered writes were done`)

  roads.change({ thereMs: 5_000 })
  const slow = store.put('late', bytes('x'))
  roads.change({ thereMs: 0 })
  t.equal((await world.failure(slow)).code, 'DATASTORE')
  const startedMs = world.time.nowMs
  const read = world.failure(store.get('late'))
  t.equal((await read).outcome, 'not-delivered', 'it waits behind the write, in vain')
  t.ok(world.time.nowMs - startedMs <= 1_000)
  await world.time.run(4_000)
  t.equal(textOf(await world.soon(store.get('late'))), 'x')

  roads.change({ down: true })
  t.equal((await world.failure(store.get('k'))).code, 'DATASTORE')
  t.throws(() => roads.connect('b', world.env('b')), { code: 'DATASTORE' })
})
