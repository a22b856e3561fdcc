/** Statements on the end of a datastore: everything settles, and nothing is kept. */

import { equal, ok } from 'node:assert/strict'
import { HomingError } from '../../errors.ts'
import { ContractProcess } from './process.ts'
import { bytes, listed, refuses, states } from './scene.ts'
import type { Statement } from './statement.ts'

export const endStatements: readonly Statement[] = [
  states('after disposal every call rejects with CLOSED, and disposing again is nothing', async ({ driver, key }) => {
    const store = await driver.open()
    await store.put(key('a'), bytes('1'))
    await store[Symbol.asyncDispose]()
    await refuses(store.get(key('a')), 'CLOSED')
    await refuses(store.getMany([key('a')]), 'CLOSED')
    await refuses(store.put(key('a'), bytes('2')), 'CLOSED')
    await refuses(store.putMany([{ key: key('a'), bytes: bytes('2') }]), 'CLOSED')
    await refuses(store.delete(key('a')), 'CLOSED')
    await refuses(store.deleteMany([{ key: key('a') }]), 'CLOSED')
    await refuses(listed(store, key('')), 'CLOSED')
    await store[Symbol.asyncDispose]()
  }),

  states('disposing twice at once is disposing once', async ({ driver, key }) => {
    const store = await driver.open()
    await store.put(key('a'), bytes('1'))
    await Promise.all([store[Symbol.asyncDispose](), store[Symbol.asyncDispose]()])
    await refuses(store.get(key('a')), 'CLOSED')
  }),

  states('calls that are under way at disposal settle', async ({ driver, store, key }) => {
    const closing = await driver.open()
    const calls = Array.from({ length: 20 }, (_, i) => closing.put(key(`${i}`), bytes('1'), { ttlMs: 60_000 }))
    await closing[Symbol.asyncDispose]()
    const settled = await Promise.allSettled(calls)
    const entries = await store.getMany(settled.map((_, i) => key(`${i}`)))
    for (const [i, outcome] of settled.entries()) {
      if (outcome.status === 'fulfilled') equal(entries[i]?.version, outcome.value)
      else ok(outcome.reason instanceof HomingError && ['CLOSED', 'DATASTORE'].includes(outcome.reason.code))
    }
  }),

  states('a listing that is under way at disposal rejects with CLOSED, or has been complete', async ({ driver, store, key }) => {
    const keys = Array.from({ length: 1_500 }, (_, i) => key(`l/${i}`))
    await store.putMany(keys.map(each => ({ key: each, bytes: bytes('1') })))
    const closing = await driver.open()
    const found: string[] = []
    const listing = (async () => {
      for await (const each of closing.keys(key('l/'))) {
        found.push(each)
        if (found.length === 1) await closing[Symbol.asyncDispose]()
      }
      equal(found.length, keys.length)
    })()
    await listing.catch(error => {
      if (!(error instanceof HomingError && error.code === 'CLOSED')) throw error
    })
  }),

  states('disposing one connection leaves the others', async ({ driver, store, key }) => {
    const goes = await driver.open()
    await goes.put(key('a'), bytes('1'))
    await goes[Symbol.asyncDispose]()
    equal(typeof (await store.put(key('b'), bytes('1'))), 'string')
    ok(await store.get(key('a')))
  }),

  states('fifty connections may be opened and closed', async ({ driver, key }) => {
    for (let i = 0; i < 10; i++) {
      const stores = await Promise.all(Array.from({ length: 5 }, () => driver.open()))
      await Promise.all(stores.map((store, j) => store.put(key(`${j}`), bytes('1'))))
      await Promise.all(stores.map(store => store[Symbol.asyncDispose]()))
    }
  }),

  states(
    'after disposal nothing of it keeps the process alive',
    async ({ driver, key }) => {
      await using other = await ContractProcess.start(driver)
      await other.ask('put', key('a'), '1')
      await other.ask('close')
      equal(await other.exit(), 0)
    },
    ['processes'],
  ),
]
