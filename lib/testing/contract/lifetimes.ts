/** Statements on lifetimes: what is forgotten is absent to everything. */

import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { bytes, listed, refuses, states, text } from './scene.ts'
import type { Statement } from './statement.ts'

export const lifetimeStatements: readonly Statement[] = [
  states('an entry with a lifetime is there before its end and forgotten after it', async ({ driver, store, key }) => {
    await store.put(key('short'), bytes('1'), { ttlMs: 60 })
    await store.put(key('long'), bytes('2'), { ttlMs: 60_000 })
    await store.put(key('ever'), bytes('3'))
    equal(text(await store.get(key('long'))), '2')
    await driver.pass(80)
    equal(await store.get(key('short')), undefined)
    deepStrictEqual((await store.getMany([key('short'), key('long'), key('ever')])).map(text), [undefined, '2', '3'])
  }),

  states('a lifetime of a minute, of 40 days and of ten years are kept for now', async ({ store, key }) => {
    const days = [1 / 1_440, 40, 3_650]
    for (const each of days) await store.put(key(`${each}`), bytes(`${each}`), { ttlMs: each * 86_400_000 })
    deepStrictEqual((await store.getMany(days.map(each => key(`${each}`)))).map(text), days.map(String))
  }),

  states('a forgotten entry is absent to every condition', async ({ driver, store, key }) => {
    const names = ['put', 'cas', 'delete', 'plain']
    const versions = await store.putMany(names.map(name => ({ key: key(name), bytes: bytes('old'), ttlMs: 20 })))
    await driver.pass(40)
    equal(typeof (await store.put(key('put'), bytes('new'), { ifVersion: null })), 'string')
    equal(text(await store.get(key('put'))), 'new')
    equal(await store.put(key('cas'), bytes('new'), { ifVersion: versions[1]! }), undefined)
    equal(await store.get(key('cas')), undefined)
    equal(await store.delete(key('delete'), { ifVersion: versions[2]! }), false)
    equal(await store.delete(key('plain')), true)
  }),

  states(
    'of 50 that claim a forgotten key at once, one gets it',
    async ({ driver, store, key }) => {
      await store.put(key('a'), bytes('old'), { ttlMs: 20 })
      await driver.pass(40)
      const claims = await Promise.all(
        Array.from({ length: 50 }, (_, i) => store.put(key('a'), bytes(`${i}`), { ifVersion: null })),
      )
      equal(claims.filter(version => version !== undefined).length, 1)
    },
    ['atomicPut'],
  ),

  states('a forgotten entry is not listed', async ({ driver, store, key }) => {
    await store.putMany([
      { key: key('list/short'), bytes: bytes('1'), ttlMs: 20 },
      { key: key('list/ever'), bytes: bytes('2') },
    ])
    await driver.pass(40)
    deepStrictEqual(await listed(store, key('list/')), [key('list/ever')])
  }),

  states('a version of a forgotten entry is not used again', async ({ driver, store, key }) => {
    const old = await store.put(key('a'), bytes('same'), { ttlMs: 20 })
    await driver.pass(40)
    const next = await store.put(key('a'), bytes('same'), { ifVersion: null })
    equal(typeof next, 'string')
    equal(await store.delete(key('a'), { ifVersion: old! }), false)
    equal((await store.get(key('a')))?.version, next)
  }),

  states('writing again replaces the lifetime, or takes it away', async ({ driver, store, key }) => {
    // Long enough that all of it is written before the first ones end, on a slow machine as well.
    for (const name of ['longer', 'none', 'cas']) await store.put(key(name), bytes('1'), { ttlMs: 400 })
    await store.put(key('longer'), bytes('2'), { ttlMs: 60_000 })
    await store.put(key('none'), bytes('2'))
    const { version } = (await store.get(key('cas')))!
    equal(typeof (await store.put(key('cas'), bytes('2'), { ifVersion: version })), 'string')
    const shorter = await store.put(key('shorter'), bytes('1'))
    await store.put(key('shorter'), bytes('2'), { ifVersion: shorter!, ttlMs: 20 })
    await driver.pass(420)
    deepStrictEqual((await store.getMany(['longer', 'none', 'cas', 'shorter'].map(key))).map(text), ['2', '2', '2', undefined])
  }),

  states('a write whose condition failed leaves the lifetime as it was', async ({ driver, store, key }) => {
    await store.put(key('ends'), bytes('1'), { ttlMs: 200 })
    await store.put(key('stays'), bytes('1'))
    equal(await store.put(key('ends'), bytes('2'), { ifVersion: null }), undefined)
    equal(await store.put(key('stays'), bytes('2'), { ifVersion: null, ttlMs: 20 }), undefined)
    equal(await store.put(key('stays'), bytes('2'), { ifVersion: 'no such version', ttlMs: 20 }), undefined)
    await driver.pass(220)
    deepStrictEqual((await store.getMany(['ends', 'stays'].map(key))).map(text), [undefined, '1'])
  }),

  states(
    'a lifetime may be a fraction of a millisecond; zero, less and infinity are BAD_OPTION',
    async ({ driver, store, key }) => {
      await store.put(key('a'), bytes('1'), { ttlMs: 0.25 })
      await driver.pass(20)
      equal(await store.get(key('a')), undefined)
      for (const ttlMs of [0, -1, NaN, Infinity]) {
        await refuses(store.put(key('a'), bytes('1'), { ttlMs }), 'BAD_OPTION')
        await refuses(store.putMany([{ key: key('a'), bytes: bytes('1'), ttlMs }]), 'BAD_OPTION')
      }
      ok(!(await store.get(key('a'))))
    },
  ),
]
