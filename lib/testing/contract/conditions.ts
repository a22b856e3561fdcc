/** Statements on conditions: who writes over a version, and who does not. */

import { deepStrictEqual, equal, notEqual } from 'node:assert/strict'
import type { Datastore } from '../../datastores/datastore.ts'
import { bytes, states, text } from './scene.ts'
import { roundsDefault, type Statement } from './statement.ts'

export const conditionStatements: readonly Statement[] = [
  states('null: writes where nothing is, and not where something is', async ({ store, key }) => {
    const version = await store.put(key('a'), bytes('first'), { ifVersion: null })
    equal(typeof version, 'string')
    equal(await store.put(key('a'), bytes('second'), { ifVersion: null }), undefined)
    equal(text(await store.get(key('a'))), 'first')
    equal((await store.get(key('a')))?.version, version)
  }),

  states('null: writes again after a removal', async ({ store, key }) => {
    const seen = new Set<string | undefined>()
    for (let i = 0; i < 5; i++) {
      seen.add(await store.put(key('a'), bytes(`${i}`), { ifVersion: null }))
      equal(await store.delete(key('a')), true)
    }
    equal(seen.size, 5)
    equal(seen.has(undefined), false)
  }),

  states('compare-and-set: writes over the version it names, once', async ({ store, key }) => {
    const first = await store.put(key('a'), bytes('1'))
    const second = await store.put(key('a'), bytes('2'), { ifVersion: first! })
    equal(typeof second, 'string')
    notEqual(second, first)
    equal(await store.put(key('a'), bytes('3'), { ifVersion: first! }), undefined)
    equal(text(await store.get(key('a'))), '2')
    equal((await store.get(key('a')))?.version, second)
  }),

  states('compare-and-set: a chain of a hundred, each over the version before it', async ({ store, key }) => {
    let version = await store.put(key('a'), bytes('0'), { ifVersion: null })
    for (let i = 1; i <= 100; i++) {
      version = await store.put(key('a'), bytes(`${i}`), { ifVersion: version! })
      equal(typeof version, 'string')
    }
    equal(text(await store.get(key('a'))), '100')
  }),

  states('compare-and-set: a version from put and one from get are the same to it', async ({ driver, store, key }) => {
    await using other = await driver.open()
    const put = await store.put(key('a'), bytes('1'))
    const [read] = await other.getMany([key('a')])
    equal(read?.version, put)
    const second = await other.put(key('a'), bytes('2'), { ifVersion: put! })
    equal(typeof (await store.put(key('a'), bytes('3'), { ifVersion: second! })), 'string')
  }),

  states('compare-and-set: does not write where nothing is', async ({ store, key }) => {
    const version = await store.put(key('a'), bytes('1'))
    await store.delete(key('a'))
    equal(await store.put(key('a'), bytes('2'), { ifVersion: version! }), undefined)
    equal(await store.get(key('a')), undefined)
  }),

  states('compare-and-set: texts that are no version fulfil nothing', async ({ store, key }) => {
    await store.put(key('a'), bytes('1'))
    for (const odd of ['', '0', '-1', '1.5', ' ', 'NaN', '1e400', 'no such version', '*', '\0', 'x'.repeat(300)]) {
      equal(await store.put(key('a'), bytes('2'), { ifVersion: odd }), undefined)
      equal(await store.put(key('b'), bytes('2'), { ifVersion: odd }), undefined)
      equal(await store.delete(key('a'), { ifVersion: odd }), false)
      equal(await store.delete(key('b'), { ifVersion: odd }), false)
    }
    equal(text(await store.get(key('a'))), '1')
    equal(await store.get(key('b')), undefined)
  }),

  states("compare-and-set: another key's version fulfils nothing", async ({ store, key }) => {
    const a = await store.put(key('a'), bytes('a'))
    await store.put(key('b'), bytes('b'))
    equal(await store.put(key('b'), bytes('c'), { ifVersion: a! }), undefined)
    equal(await store.delete(key('b'), { ifVersion: a! }), false)
    equal(text(await store.get(key('b'))), 'b')
  }),

  states('a write whose condition failed changes neither the entry nor its version', async ({ store, key }) => {
    const old = await store.put(key('a'), bytes('1'))
    const version = await store.put(key('a'), bytes('2'))
    for (const ifVersion of [null, old!]) equal(await store.put(key('a'), bytes('3'), { ifVersion }), undefined)
    const entry = await store.get(key('a'))
    deepStrictEqual({ text: text(entry), version: entry?.version }, { text: '2', version })
    equal(typeof (await store.put(key('a'), bytes('4'), { ifVersion: version! })), 'string')
  }),

  states('delete removes, and deleting nothing is true as well', async ({ store, key }) => {
    await store.put(key('a'), bytes('1'))
    equal(await store.delete(key('a')), true)
    equal(await store.get(key('a')), undefined)
    equal(await store.delete(key('a')), true)
  }),

  states('compare-and-delete: removes the version it names', async ({ store, key }) => {
    const version = await store.put(key('a'), bytes('1'))
    equal(await store.delete(key('a'), { ifVersion: version! }), true)
    equal(await store.get(key('a')), undefined)
  }),

  states('compare-and-delete: leaves any other version', async ({ store, key }) => {
    const old = await store.put(key('a'), bytes('1'))
    await store.put(key('a'), bytes('2'))
    equal(await store.delete(key('a'), { ifVersion: old! }), false)
    equal(text(await store.get(key('a'))), '2')
  }),

  states('compare-and-delete: false where nothing is', async ({ store, key }) => {
    const version = await store.put(key('a'), bytes('1'))
    await store.delete(key('a'))
    equal(await store.delete(key('a'), { ifVersion: version! }), false)
  }),

  states('versions are not used again when a key is deleted and made anew', async ({ driver, store, key }) => {
    const seen = new Set<string>()
    for (let i = 0; i < 40; i++) {
      await using other = await driver.open()
      const version = await (i % 2 ? other : store).put(key('a'), bytes('same'), { ifVersion: null })
      seen.add(version!)
      for (const old of seen) if (old !== version) equal(await store.delete(key('a'), { ifVersion: old }), false)
      equal(await store.delete(key('a')), true)
    }
    equal(seen.size, 40)
  }),

  states(
    'of 100 that claim a key at once on one connection, one gets it',
    async ({ driver, store, key }) => {
      for (let round = 0; round < (driver.rounds ?? roundsDefault); round++) {
        const name = key(`${round}`)
        const claims = await Promise.all(
          Array.from({ length: 100 }, (_, i) => store.put(name, bytes(`${i}`), { ifVersion: null })),
        )
        const won = claims.flatMap((version, i) => (version === undefined ? [] : [{ version, i }]))
        equal(won.length, 1)
        const entry = await store.get(name)
        equal(entry?.version, won[0]?.version)
        equal(text(entry), String(won[0]?.i))
      }
    },
    ['atomicPut'],
  ),

  states(
    'of 100 that claim a key at once on ten connections, one gets it',
    async ({ driver, key }) => {
      const stores = await Promise.all(Array.from({ length: 10 }, () => driver.open()))
      try {
        const claims = await Promise.all(
          Array.from({ length: 100 }, (_, i) => stores[i % 10]!.put(key('a'), bytes(`${i}`), { ifVersion: null })),
        )
        const won = claims.flatMap((version, i) => (version === undefined ? [] : [{ version, i }]))
        equal(won.length, 1)
        for (const store of stores) equal(text(await store.get(key('a'))), String(won[0]?.i))
      } finally {
        for (const store of stores) await store[Symbol.asyncDispose]()
      }
    },
    ['atomicPut'],
  ),

  states(
    'of 100 that overwrite or remove the same version at once, one does',
    async ({ store, key }) => {
      const ifVersion = (await store.put(key('a'), bytes('0')))!
      const tries = await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          i % 2 ? store.put(key('a'), bytes(`${i}`), { ifVersion }) : store.delete(key('a'), { ifVersion }),
        ),
      )
      equal(tries.filter(Boolean).length, 1)
    },
    ['atomicPut'],
  ),

  states(
    'ten writers that count together to 1,000 lose no update',
    async ({ driver, store, key }) => {
      await using other = await driver.open()
      await store.put(key('count'), bytes('0'))
      await Promise.all(Array.from({ length: 10 }, (_, i) => count(i % 2 ? other : store, key('count'), 100)))
      equal(text(await store.get(key('count'))), '1000')
    },
    ['atomicPut'],
  ),
]

/** Adds one to the number under `key`, `times` times, each by compare-and-set until it is won. */
export async function count(store: Datastore, key: string, times: number): Promise<void> {
  for (let added = 0; added < times;) {
    const entry = (await store.get(key))!
    const next = bytes(String(Number(text(entry)) + 1))
    if ((await store.put(key, next, { ifVersion: entry.version })) !== undefined) added++
  }
}
