/** Statements on listings: the keys with a prefix, each once. */

import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import { bytes, listed, states } from './scene.ts'
import type { Statement } from './statement.ts'

export const listingStatements: readonly Statement[] = [
  states('lists the keys with a prefix, each once, the prefix itself included', async ({ store, key }) => {
    const keys = ['p/', 'p/a', 'p/a/b', 'p/z'].map(key)
    for (const each of [...keys, key('p'), key('q/a'), key('P/a')]) await store.put(each, bytes('1'))
    deepStrictEqual((await listed(store, key('p/'))).sort(), keys)
  }),

  states('lists nothing where nothing has the prefix', async ({ store, key }) => {
    await store.put(key('a'), bytes('1'))
    deepStrictEqual(await listed(store, key('b')), [])
    deepStrictEqual(await listed(store, `${key('a')}/`), [])
  }),

  states('what was written or removed a moment ago is listed, or not, at once', async ({ driver, store, key }) => {
    await using other = await driver.open()
    for (let i = 0; i < 10; i++) {
      const version = await store.put(key(`now/${i}`), bytes('1'))
      deepStrictEqual(await listed(other, key('now/')), [key(`now/${i}`)])
      equal(await store.delete(key(`now/${i}`), { ifVersion: version! }), true)
      deepStrictEqual(await listed(other, key('now/')), [])
    }
  }),

  states('a prefix is plain text, whatever its characters mean elsewhere', async ({ store, key }) => {
    const names = ['*', '?', '[ab]', '[^a]', '\\', '\\*', ':', '{x}', '%', '_', '.', '^', '$', 'é', '日本', '👍', 'a\0b']
    await store.putMany(names.map(name => ({ key: key(`${name}/1`), bytes: bytes('1') })))
    for (const decoy of ['a/1', 'b/1', 'xx/1', '/1']) await store.put(key(decoy), bytes('1'))
    for (const name of names) deepStrictEqual(await listed(store, key(`${name}/`)), [key(`${name}/1`)], name)
  }),

  states('a prefix may end inside a character sequence, and may be empty', async ({ store, key }) => {
    await store.put(key('👩‍👧'), bytes('1'))
    deepStrictEqual(await listed(store, key('👩')), [key('👩‍👧')])
    ok((await listed(store, '')).includes(key('👩‍👧')))
  }),

  states('a listing may be left early, and the store goes on', async ({ store, key }) => {
    await store.putMany(Array.from({ length: 2_000 }, (_, i) => ({ key: key(`l/${i}`), bytes: bytes('1') })))
    for await (const each of store.keys(key('l/'))) {
      ok(each.startsWith(key('l/')))
      break
    }
    equal(typeof (await store.put(key('after'), bytes('1'))), 'string')
  }),

  states('two listings at once do not mix', async ({ store, key }) => {
    for (const half of ['l', 'r'])
      await store.putMany(Array.from({ length: 1_200 }, (_, i) => ({ key: key(`${half}/${i}`), bytes: bytes('1') })))
    const [left, right] = await Promise.all([listed(store, key('l/')), listed(store, key('r/'))])
    equal(new Set(left).size, 1_200)
    equal(new Set(right).size, 1_200)
    ok(left.every(each => each.startsWith(key('l/'))))
    ok(right.every(each => each.startsWith(key('r/'))))
  }),

  states('keys that are there throughout a listing are listed, while others come and go', async ({ store, key }) => {
    const lasting = Array.from({ length: 1_500 }, (_, i) => key(`w/${i}`))
    await store.putMany(lasting.map(each => ({ key: each, bytes: bytes('1') })))
    const found: string[] = []
    for await (const each of store.keys(key('w/'))) {
      found.push(each)
      if (found.length % 100 === 0) {
        await store.put(key(`w/x${found.length}`), bytes('1'))
        await store.delete(key(`w/x${found.length - 100}`))
      }
    }
    equal(new Set(found).size, found.length)
    const names = new Set(found)
    deepStrictEqual(
      lasting.filter(each => !names.has(each)),
      [],
    )
  }),
]
