/** What statements are written with: an open store, keys of their own, and the few words that all of them use. */

import { deepStrictEqual, rejects } from 'node:assert/strict'
import type { Datastore } from '../../datastores/datastore.ts'
import { realClock } from '../../env/clock.ts'
import { realRandom } from '../../env/random.ts'
import { realTimers } from '../../env/timers.ts'
import { HomingError, type ErrorCode, type Outcome } from '../../errors.ts'
import type { DriverUnderTest, Need, Statement } from './statement.ts'

/** What a statement is checked with. */
export interface Scene {
  readonly driver: DriverUnderTest
  readonly store: Datastore
  /** A key that no other statement uses. */
  key(name: string): string
  /** Registers a key that was made without `key`, to be removed in the end. */
  made(key: string): string
}

/** FAULTS.md, F5: a datastore that is back is used again within two seconds. */
export const recoveryMsMax = 2_000

const random = realRandom()
const clock = realClock()
const timers = realTimers()

/** A statement that is given an open store, and keys of its own that are removed in the end. */
export function states(name: string, check: (scene: Scene) => Promise<void>, needs: readonly Need[] = []): Statement {
  return {
    name,
    needs,
    async check(driver) {
      const prefix = `contract/${freshMark()}/`
      const keys = new Set<string>()
      const made = (key: string): string => {
        keys.add(key)
        return key
      }
      await using store = await driver.open()
      await check({ driver, store, key: name => made(prefix + name), made })
      // Where the engine was away, this connection may still be on its way back.
      await untilAnswered(recoveryMsMax, () => store.deleteMany([...keys].map(key => ({ key }))))
    },
  }
}

/** Twelve characters that nobody else draws. */
export function freshMark(): string {
  return Buffer.from(random.bytes(6)).toString('hex')
}

export function freshBytes(count: number): Uint8Array {
  return random.bytes(count)
}

/** By this machine's clock. */
export function nowMs(): number {
  return clock.monotonicMs()
}

export function passing(ms: number): Promise<void> {
  return new Promise(resolve => void timers.after(ms, resolve))
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** The bytes of an entry as text; `undefined` where there is none. */
export function text(entry: { bytes: Uint8Array } | undefined): string | undefined {
  return entry && new TextDecoder().decode(entry.bytes)
}

export async function listed(store: Datastore, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys(prefix)) keys.push(key)
  return keys
}

/** Fails unless the call rejects with a `HomingError` of that code, and of that outcome if one is given. */
export async function refuses(call: Promise<unknown>, code: ErrorCode, outcome?: Outcome): Promise<void> {
  await rejects(call, error => {
    if (!(error instanceof HomingError)) throw error
    deepStrictEqual({ code: error.code, outcome: outcome && error.outcome }, { code, outcome }, error.message)
    return true
  })
}

/** What a caller does after an outage: tries until there is an answer, for `ms` at most. */
export async function untilAnswered<T>(ms: number, call: () => Promise<T>): Promise<T> {
  for (const untilMs = nowMs() + ms; ; await passing(5)) {
    try {
      return await call()
    } catch (error) {
      if (!(error instanceof HomingError) || error.code !== 'DATASTORE' || nowMs() > untilMs) throw error
    }
  }
}
