import t from 'tap'
import { MemoryEngine, memoryDatastore } from '../../lib/datastores/memory.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { contractOf } from '../contract/datastore.ts'
import { memoryUnderTest } from '../contract/memory-driver.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const options = { operationTimeoutMs: 1_000, cluster: 'test' }

function turned() {
  let nowMs = 0
  return { clock: { monotonicMs: () => nowMs }, pass: async (ms: number) => void (nowMs += ms) }
}

contractOf(t, memoryUnderTest)

t.test('two peers of one engine see the same entries', async t => {
  const engine = new MemoryEngine(turned().clock)
  const [one, two] = [engine.connect(), engine.connect()]
  const version = await one.put('a', bytes('1'))
  t.equal((await two.get('a'))?.version, version)
  await one[Symbol.asyncDispose]()
  t.equal((await two.get('a'))?.version, version)
})

t.test('the same calls give the same versions and the same order, in each run', async t => {
  const run = async () => {
    const store = memoryDatastore({ clock: turned().clock })
    const said: unknown[] = []
    for (let i = 0; i < 100; i++) said.push(await store.put(`k${(i * 7) % 13}`, bytes(`${i}`), i % 3 ? {} : { ifVersion: null }))
    for await (const key of store.keys('')) said.push(key)
    return said
  }
  t.same(await run(), await run())
})

t.test('a lifetime ends at its millisecond, by the clock that was handed in', async t => {
  const { clock, pass } = turned()
  const store = memoryDatastore({ clock })
  await store.put('a', bytes('1'), { ttlMs: 10 })
  await pass(9)
  t.ok(await store.get('a'))
  await pass(1)
  t.equal(await store.get('a'), undefined)
})

t.test('entries that nobody asks for again do not stay for ever', async t => {
  const { clock, pass } = turned()
  const store = memoryDatastore({ clock })
  const value = new Uint8Array(10_000)
  for (let i = 0; i < 20_000; i++) {
    await store.put(`note/${i}`, value, { ttlMs: 10 })
    await pass(1)
  }
  const { arrayBuffers } = process.memoryUsage()
  t.ok(arrayBuffers < 100e6, `${arrayBuffers} bytes of 200,000,000 are left`)
})

t.test('memory:name is shared by those of this process that use the name, as long as one does', async t => {
  const one = await openDatastore('memory:here', options)
  const two = await openDatastore('memory:here', options)
  const other = await openDatastore('memory:elsewhere', options)
  await one.put('a', bytes('1'))
  t.ok(await two.get('a'))
  t.equal(await other.get('a'), undefined)
  await one[Symbol.asyncDispose]()
  await one[Symbol.asyncDispose]()
  t.ok(await two.get('a'))
  await two[Symbol.asyncDispose]()
  const again = await openDatastore('memory:here', options)
  t.equal(await again.get('a'), undefined)
})

t.test('memory: is nobody else’s', async t => {
  const one = await openDatastore('memory:', options)
  const two = await openDatastore('memory:', options)
  await one.put('a', bytes('1'))
  t.equal(await two.get('a'), undefined)
})
