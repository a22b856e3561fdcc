import t, { type Test } from 'tap'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { realEnv } from '../../lib/env/real.ts'
import type { Claimed, Owner, Run } from '../../lib/sessions/directory.ts'
import { mergeRecords } from '../../lib/sessions/merge.ts'
import { SessionStore } from '../../lib/sessions/session-store.ts'
import { givenRiak } from '../contract/riak-driver.ts'
import { startRiakServer } from '../support/riak-server.ts'

// The full measure is ROUNDS=1000; it takes some minutes.
const rounds = Number(process.env['ROUNDS'] ?? 10)
const together = 5

const env = realEnv()
const soon = () => env.clock.monotonicMs() + 30_000
const passing = (ms: number) => new Promise<void>(resolve => void env.timers.after(ms, resolve))

interface Claimer {
  readonly run: Run
  readonly sessions: SessionStore
}

/** Peers that claim, each with a session store of its own; those of one process share its connection. */
async function claimersOn(t: Test, urls: readonly string[], each: number, cluster: string) {
  const opened = urls.map(url => openDatastore(url, { operationTimeoutMs: 10_000, cluster, merge: mergeRecords }))
  const datastores: readonly Datastore[] = await Promise.all(opened)
  const claimers = datastores.flatMap((datastore, at) =>
    Array.from({ length: each }, (_, i): Claimer => {
      const identity = `peer-${at}-${i}`
      const sessions = new SessionStore({ env, datastore, cluster, trouble: error => t.fail(String(error)) })
      return { run: { identity, incarnation: `${identity}-run` }, sessions }
    }),
  )
  const dispose = async () => {
    for (const { sessions } of claimers) await sessions[Symbol.asyncDispose]()
    for (const datastore of datastores) await datastore[Symbol.asyncDispose]()
  }
  return { claimers, dispose }
}

type Owners = (Owner | undefined)[]

async function ownersSeenBy(sessions: SessionStore, addresses: readonly string[]): Promise<Owners> {
  return (await sessions.readMany(addresses)).map(session => session?.owner)
}

t.test(`100 claimers race for one address, ${rounds} times: one owner, and all others are told`, async t => {
  const given = givenRiak()
  await using server = given === undefined ? await startRiakServer() : undefined
  const url = given ?? server!.url
  const cluster = `race-${Date.now()}`
  const processes = Array.from({ length: 20 }, () => url)
  const { claimers, dispose } = await claimersOn(t, processes, 5, cluster)
  const addresses = Array.from({ length: rounds }, (_, i) => `address-${i}`)
  const results = new Map<string, Claimed[]>()
  let siblings = 0
  for (let from = 0; from < rounds; from += together) {
    const racing = addresses.slice(from, from + together)
    await Promise.all(
      racing.map(async address => {
        const calls = claimers.map(({ run, sessions }) => sessions.claimMany(run, [{ address, claim: 1 }], soon()))
        results.set(address, (await Promise.all(calls)).flat())
      }),
    )
    for (const address of server ? racing : []) {
      const copy = server!.replicas.copyOf(0, 'default/homing', Buffer.from(`homing:${cluster}:sessions:${address}`))
      if (copy && copy.contents.length > 1) siblings++
    }
  }
  await passing(3_500) // second looks

  const owners = await ownersSeenBy(claimers[0]!.sessions, addresses)
  for (const { sessions } of claimers.filter((_, at) => at % 10 === 0)) t.same(await ownersSeenBy(sessions, addresses), owners)
  t.equal(owners.filter(Boolean).length, rounds)
  t.comment(`${siblings} of ${rounds} addresses were left with siblings`)

  // Whoever does not own an address was told: as the one that a claim displaced, or by a note.
  const displaced = new Set<string>()
  for (const [address, claims] of results)
    for (const { previous } of claims) if (previous) displaced.add(`${previous.identity} ${address}`)
  let noted = 0
  for (const { run, sessions } of claimers) {
    const stored = await sessions.readNotes(run.identity)
    for (const { address } of stored?.notes ?? []) if (displaced.size < displaced.add(`${run.identity} ${address}`).size) noted++
  }
  const untold = claimers.flatMap(({ run }) =>
    addresses.filter((address, i) => owners[i]!.identity !== run.identity && !displaced.has(`${run.identity} ${address}`)),
  )
  t.same(untold.length, 0)
  t.comment(`${noted} of ${100 * rounds} learnt of their loss by a note`)
  await dispose()
})

t.test(
  'claims on both sides of a partition: the later one stays when the sides have met, and the other is told when it looks',
  async t => {
    await using server = await startRiakServer()
    const [here, there] = [
      `riak://127.0.0.1:${server.ports[0]}`,
      `riak://127.0.0.1:${server.ports[1]},127.0.0.1:${server.ports[2]}`,
    ]
    const { claimers, dispose } = await claimersOn(t, [here, there], 1, 'split')
    const [one, other] = [claimers[0]!, claimers[1]!]
    const addresses = Array.from({ length: 20 }, (_, i) => `address-${i}`)
    const claims = addresses.map(address => ({ address, claim: 1 }))

    server.replicas.partition([[0], [1, 2]])
    await one.sessions.claimMany(one.run, claims, soon())
    await passing(5)
    await other.sessions.claimMany(other.run, claims, soon())
    t.same(
      (await ownersSeenBy(one.sessions, addresses)).map(owner => owner?.identity),
      addresses.map(() => one.run.identity),
      'each side sees its own',
    )
    t.same(
      (await ownersSeenBy(other.sessions, addresses)).map(owner => owner?.identity),
      addresses.map(() => other.run.identity),
    )

    server.replicas.heal()
    for (let looks = 0; ; looks++) {
      const seen = (await Promise.all(claimers.map(({ sessions }) => ownersSeenBy(sessions, addresses)))).flat()
      if (seen.every(owner => owner?.identity === other.run.identity)) break
      if (looks === 1_000) return t.fail('the sides do not agree')
    }
    // What an owner asks with each renewal.
    const rivals = await one.sessions.reassertMany(one.run, claims, soon())
    t.same(
      rivals.map(owner => owner?.identity),
      addresses.map(() => other.run.identity),
    )
    const kept = await other.sessions.reassertMany(other.run, claims, soon())
    t.same(
      kept,
      addresses.map(() => undefined),
    )
    const released = await other.sessions.releaseMany(other.run, claims, soon())
    t.ok(released.every(({ at }) => at === 'released'))
    t.same(
      await ownersSeenBy(one.sessions, addresses),
      addresses.map(() => undefined),
      'with all its siblings',
    )
    await dispose()
  },
)
