import t from 'tap'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import type { Timer } from '../../lib/env/env.ts'
import { FaultyDatastore } from '../../lib/testing/faulty-datastore.ts'
import { contractOf } from '../contract/datastore.ts'
import { faultyUnderTest } from '../contract/memory-driver.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

/** Timers that fire when they are turned. */
function turned() {
  let nowMs = 0
  const waiting: { atMs: number; fn: () => void }[] = []
  return {
    clock: { monotonicMs: () => nowMs },
    timers: {
      after(ms: number, fn: () => void): Timer {
        const entry = { atMs: nowMs + ms, fn }
        waiting.push(entry)
        return { cancel: () => void waiting.splice(waiting.indexOf(entry), 1) }
      },
    },
    async turn(ms: number) {
      nowMs += ms
      for (const entry of waiting.splice(0)) {
        if (entry.atMs <= nowMs) entry.fn()
        else waiting.push(entry)
      }
    },
  }
}

contractOf(t, faultyUnderTest)

t.test('down: every call rejects with DATASTORE and does nothing; afterwards all is as before', async t => {
  const { clock, timers } = turned()
  const engine = new MemoryEngine(clock)
  const [beside, store] = [engine.connect(), new FaultyDatastore(engine.connect(), timers)]
  await store.put('a', bytes('1'))
  const listing = store.keys('')[Symbol.asyncIterator]()
  store.down = true
  const down = { name: 'HomingError', code: 'DATASTORE' }
  await t.rejects(store.get('a'), down)
  await t.rejects(store.getMany(['a']), down)
  await t.rejects(store.put('a', bytes('2')), down)
  await t.rejects(store.putMany([{ key: 'a', bytes: bytes('2') }]), down)
  await t.rejects(store.delete('a'), down)
  await t.rejects(store.deleteMany([{ key: 'a' }]), down)
  await t.rejects(listing.next(), down)
  t.same((await beside.get('a'))?.bytes, bytes('1'))
  store.down = false
  t.same((await store.get('a'))?.bytes, bytes('1'))
  t.equal(store.calls, 9)
})

t.test('slow: a call reaches the store later, with what was given to it at the call', async t => {
  const { clock, timers, turn } = turned()
  const engine = new MemoryEngine(clock)
  const [beside, store] = [engine.connect(), new FaultyDatastore(engine.connect(), timers)]
  store.slowMs = 500
  const value = bytes('1')
  const slow = store.put('a', value)
  value.fill(0)
  store.slowMs = 0
  await turn(499)
  t.equal(await beside.get('a'), undefined)
  await turn(1)
  const version = await slow
  t.same(await beside.get('a'), { bytes: bytes('1'), version })
})

t.test('ambiguous: writes are done and then reject; reads go on', async t => {
  const { clock, timers } = turned()
  const store = new FaultyDatastore(new MemoryEngine(clock).connect(), timers)
  store.ambiguous = true
  await t.rejects(store.put('a', bytes('1')), { code: 'DATASTORE', outcome: 'unknown' })
  t.same((await store.get('a'))?.bytes, bytes('1'))
  await t.rejects(store.putMany([{ key: 'b', bytes: bytes('1') }]), { code: 'DATASTORE', outcome: 'unknown' })
  await t.rejects(store.delete('a'), { code: 'DATASTORE', outcome: 'unknown' })
  t.equal(await store.get('a'), undefined)
  t.ok(await store.get('b'))
  await t.rejects(store.deleteMany([{ key: 'b' }]), { code: 'DATASTORE', outcome: 'unknown' })
  t.same(await store.getMany(['a', 'b']), [undefined, undefined])
})
