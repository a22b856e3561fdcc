/** Statements on an engine that goes, stands still and comes back: calls settle, and nothing is done twice. */

import { equal, notEqual, ok } from 'node:assert/strict'
import type { Datastore } from '../../datastores/datastore.ts'
import { HomingError } from '../../errors.ts'
import { ContractProcess } from './process.ts'
import { bytes, listed, nowMs, recoveryMsMax, refuses, states, text, untilAnswered, type Scene } from './scene.ts'
import type { Need, Statement } from './statement.ts'

/** What a busy machine may add to any time, ms. */
const busyMs = 1_000

/** Of the stores that meet an engine that is away: a client may take all of it. */
const outageTimeoutMs = 1_000

/** Of the stores that meet an engine that stands still. */
const stallTimeoutMs = 400

export const outageStatements: readonly Statement[] = [
  outage('while the engine is away every call rejects with DATASTORE, soon, and may be tried again', async ({ store, key }) => {
    const sinceMs = nowMs()
    await everyCallFails(store, key)
    ok(nowMs() - sinceMs < outageTimeoutMs + busyMs, 'each call settles by its time')
    const error = await store.get(key('a')).then(
      () => undefined,
      (failure: unknown) => failure,
    )
    ok(error instanceof HomingError && error.retryable)
    ok(error.message.length > 0)
  }),

  states(
    'when the engine is back it is used again within 2 s, without being opened again',
    async ({ driver, key }) => {
      await using store = await driver.open({ operationTimeoutMs: outageTimeoutMs })
      for (let round = 0; round < 2; round++) {
        await store.put(key('a'), bytes('1'))
        const restore = await driver.crash!()
        await refuses(store.get(key('a')), 'DATASTORE')
        await restore()
        const backMs = nowMs()
        await untilAnswered(recoveryMsMax, () => store.get(key('a')))
        ok(nowMs() - backMs < recoveryMsMax + busyMs)
        await untilAnswered(recoveryMsMax, () => store.delete(key('a')))
        const first = await untilAnswered(recoveryMsMax, () => store.put(key('a'), bytes('3')))
        equal(typeof (await store.put(key('a'), bytes('4'), { ifVersion: first! })), 'string')
        equal(text((await store.getMany([key('a')]))[0]), '4')
        ok((await listed(store, key(''))).includes(key('a')))
      }
    },
    ['crash'],
  ),

  states(
    'calls that are under way when the engine goes settle, and what they say is so',
    async ({ driver, store, key }) => {
      await store.put(key('known'), bytes('1'))
      const calls = Array.from({ length: 50 }, (_, i) => store.put(key(`${i}`), bytes(`${i}`), { ifVersion: null }))
      const settled = Promise.allSettled(calls)
      const restore = await driver.crash!()
      const outcomes = await settled
      await restore()
      const entries = await untilAnswered(recoveryMsMax, () => store.getMany(outcomes.map((_, i) => key(`${i}`))))
      for (const [i, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') notEqual(outcome.value, undefined, 'nobody else wrote it')
        else ok(outcome.reason instanceof HomingError && outcome.reason.code === 'DATASTORE')
        if (outcome.status === 'rejected' && (outcome.reason as HomingError).outcome === 'not-delivered')
          equal(entries[i], undefined)
        const entry = entries[i]
        if (entry) equal(text(entry), `${i}`, 'one that is there is one that was written')
        if (entry && outcome.status === 'fulfilled') equal(entry.version, outcome.value)
      }
    },
    ['crash'],
  ),

  states(
    'a listing that the engine does not finish rejects: it does not end as if it were complete',
    async ({ driver, store, key }) => {
      const keys = Array.from({ length: 3_000 }, (_, i) => key(`l/${i}`))
      await store.putMany(keys.map(each => ({ key: each, bytes: bytes('1') })))
      await using reading = await driver.open({ operationTimeoutMs: outageTimeoutMs })
      const found: string[] = []
      let restore: (() => Promise<void>) | undefined
      const listing = (async () => {
        for await (const each of reading.keys(key('l/'))) {
          found.push(each)
          restore ??= await driver.crash!()
        }
        equal(found.length, keys.length)
      })()
      const failure = await listing.then(
        () => undefined,
        (error: unknown) => error,
      )
      await restore!()
      if (failure !== undefined) ok(failure instanceof HomingError && failure.code === 'DATASTORE', String(failure))
      await untilAnswered(recoveryMsMax, () => reading.get(key('a')))
    },
    ['crash'],
  ),

  states(
    'versions are not used again after the engine was away',
    async ({ driver, store, key }) => {
      const before = await store.put(key('a'), bytes('same'))
      const restore = await driver.crash!()
      await restore()
      await untilAnswered(recoveryMsMax, () => store.delete(key('a')))
      const after = await store.put(key('a'), bytes('same'), { ifVersion: null })
      equal(typeof after, 'string')
      notEqual(after, before)
      equal(await store.delete(key('a'), { ifVersion: before! }), false)
      equal((await store.get(key('a')))?.version, after)
    },
    ['crash'],
  ),

  states(
    'an engine that is back without what it had acknowledged says so, before it is believed',
    async ({ driver, key }) => {
      const writes = Array.from({ length: 50 }, (_, i) => ({ key: key(`${i}`), bytes: bytes(`${i}`) }))
      await using store = await driver.open()
      let lost = 0
      store.onLoss?.(() => void lost++)
      const versions = await store.putMany(writes)
      equal(lost, 0)
      const restore = await driver.crash!()
      await restore()
      for (const [i, write] of writes.entries()) {
        const entry = await untilAnswered(recoveryMsMax, () => store.get(write.key))
        if (entry?.version !== versions[i]) ok(lost > 0, `'${write.key}' is gone, and nothing was said`)
      }
    },
    ['crash'],
  ),

  states(
    'opening while the engine is away fails with DATASTORE in time, and works when it is back',
    async ({ driver, key }) => {
      const restore = await driver.crash!()
      const sinceMs = nowMs()
      await refuses(driver.open({ operationTimeoutMs: 500 }), 'DATASTORE')
      ok(nowMs() - sinceMs < 500 + busyMs)
      await restore()
      await using late = await untilAnswered(recoveryMsMax, () => driver.open())
      equal(typeof (await late.put(key('a'), bytes('1'))), 'string')
    },
    ['crash'],
  ),

  states(
    'a process whose datastore cannot be opened, or is closed while the engine is away, ends by itself',
    async ({ driver, key }) => {
      await using closing = await ContractProcess.start(driver, { operationTimeoutMs: 500 })
      await using opening = ContractProcess.idle(driver)
      await closing.ask('put', key('a'), '1')
      const restore = await driver.crash!()
      await refuses(opening.ask('open', { operationTimeoutMs: 500 }), 'DATASTORE')
      equal(await opening.exit(), 0)
      await closing.ask('close')
      equal(await closing.exit(), 0)
      await restore()
    },
    ['crash', 'processes'],
  ),

  states(
    'disposal while the engine is away ends in time',
    async ({ driver, key }) => {
      const closing = await driver.open({ operationTimeoutMs: 500 })
      await closing.put(key('a'), bytes('1'))
      const restore = await driver.crash!()
      const sinceMs = nowMs()
      await closing[Symbol.asyncDispose]()
      ok(nowMs() - sinceMs < 1_000 + busyMs)
      await refuses(closing.get(key('a')), 'CLOSED')
      await restore()
    },
    ['crash'],
  ),

  stalled('an engine that stands still costs each call its time and no more', async ({ store, key }, resume) => {
    const sinceMs = nowMs()
    const calls = [
      store.get(key('a')),
      store.getMany([key('a'), key('b')]),
      store.put(key('a'), bytes('2')),
      store.putMany([{ key: key('b'), bytes: bytes('2') }]),
      store.delete(key('c')),
      store.deleteMany([{ key: key('d') }]),
      listed(store, key('')),
    ]
    const settled = await Promise.allSettled(calls)
    ok(nowMs() - sinceMs < stallTimeoutMs + busyMs, `${nowMs() - sinceMs} ms`)
    for (const outcome of settled)
      if (outcome.status === 'rejected') ok(outcome.reason instanceof HomingError && outcome.reason.code === 'DATASTORE')
    // An engine may go on reading while it cannot write.
    ok(settled.some(outcome => outcome.status === 'rejected'))
    await resume()
    equal(typeof (await untilAnswered(recoveryMsMax, () => store.put(key('a'), bytes('3')))), 'string')
    equal(text(await untilAnswered(recoveryMsMax, () => store.get(key('a')))), '3')
  }),

  stalled('a write that was not answered is unknown, and reading back says what became of it', async ({ store, key }, resume) => {
    const claims = ['claim', 'batch/0', 'batch/1'].map(key)
    const [one, ...batch] = claims.map(each => ({ key: each, bytes: bytes('mine'), ifVersion: null }))
    await Promise.all([
      refuses(store.put(one!.key, one!.bytes, { ifVersion: null }), 'DATASTORE', 'unknown'),
      refuses(store.putMany(batch), 'DATASTORE', 'unknown'),
    ])
    await resume()
    for (const each of claims) {
      const found = await untilAnswered(recoveryMsMax, () => store.get(each))
      if (found) equal(text(found), 'mine', 'it happened, as it was asked for')
      // Whether it happened or not, from here on the entry is what its reader may build upon.
      const version = await untilAnswered(recoveryMsMax, () =>
        store.put(each, bytes('next'), { ifVersion: found?.version ?? null }),
      )
      if (version === undefined) equal(text(await store.get(each)), 'mine', 'only the late write itself can have come between')
    }
  }),

  stalled(
    'a removal that was not answered is unknown, and reading back says what became of it',
    async ({ store, key }, resume) => {
      await refuses(store.delete(key('a')), 'DATASTORE', 'unknown')
      await resume()
      const found = await untilAnswered(recoveryMsMax, () => store.get(key('a')))
      if (found) equal(text(found), '1')
    },
  ),

  stalled(
    'calls that wait for an engine that stands still are bounded in number or in time, not in luck',
    async ({ store, key }, resume) => {
      const sinceMs = nowMs()
      const calls = Array.from({ length: 2_000 }, (_, i) => store.put(key(`many/${i % 10}`), bytes(`${i}`)))
      const settled = await Promise.allSettled(calls)
      ok(nowMs() - sinceMs < stallTimeoutMs + 2 * busyMs, `${nowMs() - sinceMs} ms`)
      for (const outcome of settled) {
        ok(outcome.status === 'rejected' && outcome.reason instanceof HomingError)
        equal(outcome.reason.code, 'DATASTORE')
      }
      await resume()
      await untilAnswered(recoveryMsMax, () => store.put(key('many/0'), bytes('last')))
      equal(text(await untilAnswered(recoveryMsMax, () => store.get(key('many/0')))), 'last')
    },
  ),
]

async function everyCallFails(store: Datastore, key: (name: string) => string): Promise<void> {
  await Promise.all([
    refuses(store.get(key('a')), 'DATASTORE'),
    refuses(store.getMany([key('a')]), 'DATASTORE'),
    refuses(store.put(key('a'), bytes('2')), 'DATASTORE'),
    refuses(store.putMany([{ key: key('a'), bytes: bytes('2') }]), 'DATASTORE'),
    refuses(store.delete(key('a')), 'DATASTORE'),
    refuses(store.deleteMany([{ key: key('a') }]), 'DATASTORE'),
    refuses(listed(store, key('')), 'DATASTORE'),
  ])
}

/** The engine is away during the check, and back afterwards. */
function outage(name: string, check: (scene: Scene) => Promise<void>): Statement {
  return states(
    name,
    async scene => {
      await using store = await scene.driver.open({ operationTimeoutMs: outageTimeoutMs })
      const restore = await scene.driver.crash!()
      try {
        await check({ ...scene, store })
      } finally {
        await restore()
      }
      await untilAnswered(recoveryMsMax, () => scene.store.get(scene.key('a')))
    },
    ['crash'],
  )
}

/** The engine stands still until `resume`, and goes on afterwards in any case; `a` holds 1. */
function stalled(name: string, check: (scene: Scene, resume: () => Promise<void>) => Promise<void>): Statement {
  const needs: readonly Need[] = ['stall']
  return states(
    name,
    async scene => {
      await using store = await scene.driver.open({ operationTimeoutMs: stallTimeoutMs })
      await store.put(scene.key('a'), bytes('1'))
      const resumes = await scene.driver.stall!()
      let stalling = true
      const resume = async (): Promise<void> => {
        if (stalling) await resumes()
        stalling = false
      }
      try {
        await check({ ...scene, store }, resume)
      } finally {
        await resume()
      }
      // The connection of the scene may have been given up meanwhile.
      await untilAnswered(recoveryMsMax, () => scene.store.get(scene.key('a')))
    },
    needs,
  )
}
