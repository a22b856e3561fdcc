/** A statement on what a datastore is for: sessions that race for an address. */

import { deepStrictEqual, equal, ok } from 'node:assert/strict'
import type { Datastore } from '../../datastores/datastore.ts'
import { realEnv } from '../../env/real.ts'
import { HomingError } from '../../errors.ts'
import type { Claimed, Held, Run } from '../../sessions/directory.ts'
import { SessionStore } from '../../sessions/session-store.ts'
import { freshMark, nowMs, states } from './scene.ts'
import { roundsDefault, type Statement } from './statement.ts'

const claimersCount = 100
const connectionsCount = 10

/**
 * All rounds race at once, and everybody waits for everybody: the more there are, the longer. What was not answered in time could not be told
 * from what was lost.
 */
const timeoutMsMin = 300_000
const timeoutMsPerRound = 1_000

export const claimStatements: readonly Statement[] = [
  states(
    `of ${claimersCount} runs that claim an address at once, one owns it in the end, and each of the others was displaced`,
    async ({ driver, made }) => {
      const rounds = driver.rounds ?? roundsDefault
      const timeoutMs = Math.max(timeoutMsMin, rounds * timeoutMsPerRound)
      const stores = await Promise.all(
        Array.from({ length: connectionsCount }, () => driver.open({ operationTimeoutMs: timeoutMs })),
      )
      try {
        const cluster = `contract-${freshMark()}`
        const addresses = Array.from({ length: rounds }, (_, i) => `address-${i}`)
        for (const address of addresses) made(`homing:${cluster}:sessions:${address}`)
        await race(stores, cluster, addresses, timeoutMs)
      } finally {
        for (const store of stores) await store[Symbol.asyncDispose]()
      }
    },
    ['atomicPut'],
  ),
]

async function race(
  stores: readonly Datastore[],
  cluster: string,
  addresses: readonly string[],
  timeoutMs: number,
): Promise<void> {
  const env = realEnv()
  const claimers = Array.from({ length: claimersCount }, (_, i) => ({
    run: { identity: `peer-${i}`, incarnation: freshMark() },
    sessions: new SessionStore({ env, datastore: stores[i % stores.length]!, cluster }),
  }))
  try {
    const claims = addresses.map((address, i): Held => ({ address, claim: i + 1 }))
    const claimed = await Promise.all(claimers.map(({ run, sessions }) => claimedAll(sessions, run, claims, timeoutMs)))
    const owners = await claimers[0]!.sessions.readMany(addresses)
    for (const [i, address] of addresses.entries()) {
      const owner = owners[i]?.owner
      ok(owner && claimers.some(({ run }) => run.incarnation === owner.incarnation), `'${address}' has an owner`)
      // Each was told of one that it displaced: between them of everybody but the last, each once.
      const displaced = claimed.flatMap(results => results[i]!.previous ?? [])
      const told = displaced.map(previous => previous.incarnation).sort()
      const others = claimers.flatMap(({ run }) => (run.incarnation === owner.incarnation ? [] : [run.incarnation])).sort()
      equal(new Set(told).size, told.length, `nobody is displaced twice from '${address}'`)
      deepStrictEqual(told, others, `'${address}' is left by all but its owner`)
    }
  } finally {
    for (const { sessions } of claimers) await sessions[Symbol.asyncDispose]()
  }
}

async function claimedAll(
  sessions: SessionStore,
  run: Run,
  claims: readonly Held[],
  timeoutMs: number,
): Promise<Pick<Claimed, 'previous'>[]> {
  return Promise.all(claims.map(claim => claimedOne(sessions, run, claim, timeoutMs)))
}

/** A session store gives up a race that it lost too often, and says so: whoever is told `DATASTORE` asks again. */
async function claimedOne(sessions: SessionStore, run: Run, claim: Held, timeoutMs: number): Promise<Pick<Claimed, 'previous'>> {
  for (const untilMs = nowMs() + timeoutMs; ;) {
    try {
      const [claimed] = await sessions.claimMany(run, [claim], untilMs)
      return claimed!
    } catch (error) {
      if (!(error instanceof HomingError && error.code === 'DATASTORE') || nowMs() > untilMs) throw error
      equal(error.outcome, 'not-delivered')
    }
  }
}
