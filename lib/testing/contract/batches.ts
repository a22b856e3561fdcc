/** Statements on batches: each part as it would be alone, in the order of the call. */

import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { valueBytesMax } from '../../datastores/limits.ts'
import { bytes, listed, freshBytes, refuses, states, text } from './scene.ts'
import type { Statement } from './statement.ts'

export const batchStatements: readonly Statement[] = [
  states('empty batches are empty', async ({ store }) => {
    deepStrictEqual(await store.getMany([]), [])
    deepStrictEqual(await store.putMany([]), [])
    deepStrictEqual(await store.deleteMany([]), [])
  }),

  states('getMany is in the order of the keys, holes and repeats included', async ({ store, key }) => {
    await store.putMany(['a', 'b', 'c'].map(name => ({ key: key(name), bytes: bytes(name) })))
    const found = await store.getMany(['c', 'no', 'a', 'c', 'b', 'nor'].map(key))
    deepStrictEqual(found.map(text), ['c', undefined, 'a', 'c', 'b', undefined])
    equal(found[0]?.version, (await store.get(key('c')))?.version)
  }),

  states('putMany resolves in the order of the writes, each with its own version', async ({ store, key }) => {
    const writes = Array.from({ length: 50 }, (_, i) => ({ key: key(`${i}`), bytes: bytes(`${i}`) }))
    const versions = await store.putMany(writes)
    equal(new Set(versions).size, 50)
    const entries = await store.getMany(writes.map(write => write.key))
    deepStrictEqual(
      entries.map(entry => entry?.version),
      versions,
    )
    deepStrictEqual(
      entries.map(text),
      writes.map((_, i) => String(i)),
    )
  }),

  states('putMany: a condition that fails stops only its own write', async ({ store, key }) => {
    const [a, , c] = await store.putMany(['a', 'b', 'c'].map(name => ({ key: key(name), bytes: bytes('old') })))
    const versions = await store.putMany([
      { key: key('a'), bytes: bytes('new'), ifVersion: a! },
      { key: key('b'), bytes: bytes('new'), ifVersion: null },
      { key: key('c'), bytes: bytes('new'), ifVersion: `${c}0` },
      { key: key('d'), bytes: bytes('new'), ifVersion: null },
      { key: key('e'), bytes: bytes('new') },
    ])
    deepStrictEqual(
      versions.map(version => typeof version),
      ['string', 'undefined', 'undefined', 'string', 'string'],
    )
    deepStrictEqual((await store.getMany(['a', 'b', 'c', 'd', 'e'].map(key))).map(text), ['new', 'old', 'old', 'new', 'new'])
  }),

  states('putMany: writes of one key take effect in their order', async ({ store, key }) => {
    const ifVersion = (await store.put(key('cas'), bytes('0')))!
    const versions = await store.putMany([
      { key: key('null'), bytes: bytes('1'), ifVersion: null },
      { key: key('null'), bytes: bytes('2'), ifVersion: null },
      { key: key('last'), bytes: bytes('1') },
      { key: key('last'), bytes: bytes('2') },
      { key: key('cas'), bytes: bytes('1'), ifVersion },
      { key: key('cas'), bytes: bytes('2'), ifVersion },
      { key: key('cas'), bytes: bytes('3') },
    ])
    deepStrictEqual(
      versions.map(version => version !== undefined),
      [true, false, true, true, true, false, true],
    )
    deepStrictEqual((await store.getMany(['null', 'last', 'cas'].map(key))).map(text), ['1', '2', '3'])
  }),

  states('putMany: an argument that is refused stops the whole batch before anything is written', async ({ store, key }) => {
    const good = { key: key('a'), bytes: bytes('1') }
    await refuses(store.putMany([good, { key: '', bytes: bytes('2') }]), 'BAD_OPTION')
    await refuses(store.putMany([good, { key: key('b'), bytes: bytes('2'), ttlMs: 0 }]), 'BAD_OPTION')
    await refuses(
      store.putMany([good, { key: key('b'), bytes: new Uint8Array(valueBytesMax + 1) }]),
      'TOO_LARGE',
      'not-delivered',
    )
    deepStrictEqual(await store.getMany([key('a'), key('b')]), [undefined, undefined])
  }),

  states('putMany: each write has its own lifetime', async ({ driver, store, key }) => {
    await store.putMany([
      { key: key('short'), bytes: bytes('1'), ttlMs: 30 },
      { key: key('long'), bytes: bytes('2'), ttlMs: 60_000 },
      { key: key('ever'), bytes: bytes('3'), ifVersion: null },
    ])
    await driver.pass(50)
    deepStrictEqual((await store.getMany(['short', 'long', 'ever'].map(key))).map(text), [undefined, '2', '3'])
  }),

  states('deleteMany: each by itself, in order', async ({ store, key }) => {
    const [a, b] = await store.putMany(['a', 'b', 'c', 'd'].map(name => ({ key: key(name), bytes: bytes('1') })))
    const gone = await store.deleteMany([
      { key: key('a'), ifVersion: a! },
      { key: key('b'), ifVersion: a! },
      { key: key('c') },
      { key: key('none'), ifVersion: a! },
      { key: key('none') },
      { key: key('b'), ifVersion: b! },
      { key: key('b'), ifVersion: b! },
    ])
    deepStrictEqual(gone, [true, false, true, false, true, true, false])
    deepStrictEqual((await store.getMany(['a', 'b', 'c', 'd'].map(key))).map(text), [undefined, undefined, undefined, '1'])
  }),

  states('a batch may have 5,000 writes, reads and removals', async ({ store, key, made }) => {
    const keys = Array.from({ length: 5_000 }, (_, i) => `${key('many/')}${i}`)
    const versions = await store.putMany(keys.map(each => ({ key: each, bytes: bytes(each), ifVersion: null })))
    equal(new Set(versions).size, 5_000)
    equal(versions.includes(undefined), false)
    deepStrictEqual((await store.getMany(keys)).map(text), keys)
    deepStrictEqual((await listed(store, key('many/'))).sort(), [...keys].sort())
    made(keys[0]!)
    const gone = await store.deleteMany(keys.map((each, i) => ({ key: each, ifVersion: versions[i]! })))
    ok(gone.every(Boolean))
    deepStrictEqual(await listed(store, key('many/')), [])
  }),

  states('a batch may have 8 MiB of values', async ({ store, key }) => {
    const value = freshBytes(256 << 10)
    const keys = Array.from({ length: 32 }, (_, i) => key(`large/${i}`))
    const versions = await store.putMany(keys.map(each => ({ key: each, bytes: value })))
    const found = await store.getMany(keys)
    deepStrictEqual(
      found.map(entry => entry?.version),
      versions,
    )
    for (const entry of found) ok(Buffer.from(entry!.bytes).equals(value))
  }),

  states('a hundred batches at once do not mix', async ({ store, key }) => {
    const batches = Array.from({ length: 100 }, (_, batch) =>
      Array.from({ length: 10 }, (_, i) => ({ key: key(`${batch}/${i}`), bytes: bytes(`${batch} ${i}`), ifVersion: null })),
    )
    const versions = await Promise.all(batches.map(batch => store.putMany(batch)))
    equal(new Set(versions.flat()).size, 1_000)
    const found = await Promise.all(batches.map(batch => store.getMany(batch.map(each => each.key))))
    deepStrictEqual(
      found.map(entries => entries.map(text)),
      batches.map(batch => batch.map(each => text(each))),
    )
  }),
]
