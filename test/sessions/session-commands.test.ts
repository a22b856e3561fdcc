/** Claims and leases as commands against a model: every driver says what a map would say, whichever of two connections is used. */
import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import { realEnv } from '../../lib/env/real.ts'
import type { Held, Member, Owner, Run } from '../../lib/sessions/directory.ts'
import { PeerRecords } from '../../lib/sessions/peer-records.ts'
import { Keys, sameClaim, sameRun } from '../../lib/sessions/records.ts'
import { SessionStore } from '../../lib/sessions/session-store.ts'
import { knownDrivers } from '../contract/drivers.ts'
import { started, type KnownDriver } from '../contract/known-driver.ts'

const seed = Number(process.env['HOMING_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
t.comment(`seed ${seed} (HOMING_SEED repeats it; HOMING_DRIVERS=redis,couchbase,... tries these drivers, HOMING_RUNS more runs)`)

/** Those whose engines start in a moment; the others are tried on demand. */
const usual: Readonly<Record<string, number>> = { memory: 80, lmdb: 25, redis: 25, riak: 3 }
const asked = process.env['HOMING_DRIVERS']?.split(',')
const runs = process.env['HOMING_RUNS']

const callMs = 20_000
const env = realEnv()
const addresses = ['alice', 'bob', 'carol', 'ä/%é']
/** Two incarnations of one identity among them. */
const people: readonly Run[] = [
  { identity: 'a', incarnation: 'a1' },
  { identity: 'a', incarnation: 'a2' },
  { identity: 'b', incarnation: 'b1' },
]

interface Session {
  readonly owner: Owner
  readonly previous: Owner | undefined
  readonly moving: boolean
}

/** What should be there. */
interface Model {
  readonly sessions: Map<string, Session>
  readonly peers: Map<string, { incarnation: string; beat: number }>
  /** Claims are counted for each run by itself. */
  readonly claims: Map<Run, number>
  /** Identities that were left a note. */
  readonly noted: Set<string>
}

/** One connection of two, as two machines have them. */
interface Connection {
  readonly datastore: Datastore
  readonly sessions: SessionStore
  readonly records: PeerRecords
}

interface Real {
  readonly connections: readonly [Connection, Connection]
  readonly keys: Keys
}

type Command = fc.AsyncCommand<Model, Real>

/** Equal, whether a field that says nothing is there or not. */
function expect(actual: unknown, expected: unknown): void {
  const [found, wanted] = [actual, expected].map(value => JSON.parse(JSON.stringify(value ?? null)) as unknown)
  deepStrictEqual(found, wanted)
}

function command(name: string, run: (model: Model, real: Real) => Promise<void>): Command {
  return { check: () => true, run, toString: () => name }
}

function until(): number {
  return env.clock.monotonicMs() + callMs
}

function nextClaim({ claims }: Model, run: Run): number {
  const claim = (claims.get(run) ?? 0) + 1
  claims.set(run, claim)
  return claim
}

/** Writes the claim into the model; returns what its caller is told. */
function claimed(
  model: Model,
  run: Run,
  { address, claim }: Held,
): { address: string; claim: number; previous: Owner | undefined } {
  const found = model.sessions.get(address)
  model.sessions.set(address, { owner: { ...run, claim }, previous: found?.owner, moving: false })
  return { address, claim, previous: found && found.owner.identity !== run.identity ? found.owner : undefined }
}

const connection = fc.constantFrom(0, 1)
const person = fc.constantFrom(...people)
const address = fc.constantFrom(...addresses)
const some = fc.uniqueArray(address, { minLength: 1 })

const commands: fc.Arbitrary<Command>[] = [
  fc.tuple(connection, person, some).map(([via, run, which]) =>
    command(`claim ${which.join()} for ${run.incarnation} by ${via}`, async (model, real) => {
      const claims = which.map(each => ({ address: each, claim: nextClaim(model, run) }))
      const expected = claims.map(held => claimed(model, run, held))
      expect(await real.connections[via]!.sessions.claimMany(run, claims, until()), expected)
    }),
  ),
  // Calls of one connection for one address take effect in the order they were made.
  fc.tuple(connection, person, person, address).map(([via, one, other, which]) =>
    command(`claim ${which} for ${one.incarnation}, then for ${other.incarnation} by ${via}, at once`, async (model, real) => {
      const held = [one, other].map(run => ({ run, claim: nextClaim(model, run) }))
      const expected = held.map(({ run, claim }) => claimed(model, run, { address: which, claim }))
      const { sessions } = real.connections[via]!
      const calls = held.map(({ run, claim }) => sessions.claimMany(run, [{ address: which, claim }], until()))
      expect((await Promise.all(calls)).flat(), expected)
    }),
  ),
  // Over two connections one of them is the first, whichever.
  address.map(which =>
    command(`claim ${which} by both at once`, async (model, real) => {
      if (!real.connections[0].datastore.promises.atomicPut) return
      const [a, b] = [people[0]!, people[2]!]
      const [first, second] = [nextClaim(model, a), nextClaim(model, b)]
      const before = model.sessions.get(which)
      const told = await Promise.all([
        real.connections[0].sessions.claimMany(a, [{ address: which, claim: first }], until()),
        real.connections[1].sessions.claimMany(b, [{ address: which, claim: second }], until()),
      ])
      const outcomes = [
        [a, b],
        [b, a],
      ].map(order => {
        const sessions = new Map(before ? [[which, before]] : [])
        const trial: Model = { ...model, sessions }
        const answers = order.map(run => claimed(trial, run, { address: which, claim: run === a ? first : second }))
        return { after: sessions.get(which)!, told: order[0] === a ? answers : answers.toReversed() }
      })
      const stored = await real.connections[0].sessions.read(which)
      const outcome = outcomes.find(({ after }) => stored && sameClaim(after.owner, stored.owner))
      if (!outcome) throw new Error(`after two claims nobody's is there: ${JSON.stringify(stored)}`)
      expect(told.flat(), outcome.told)
      model.sessions.set(which, outcome.after)
    }),
  ),
  fc.tuple(connection, person, address, fc.boolean()).map(([via, run, which, old]) =>
    command(`release ${which} for ${run.incarnation}${old ? ', an old claim,' : ''} by ${via}`, async (model, real) => {
      const found = model.sessions.get(which)
      const ours = found && sameRun(found.owner, run) ? found.owner.claim : 1_000_000
      const claim = old ? Math.max(1, ours - 1) : ours
      const carries = found !== undefined && sameRun(found.owner, run) && found.owner.claim === claim
      if (carries) model.sessions.delete(which)
      const expected = carries ? { at: 'released' } : found ? { at: 'elsewhere', owner: found.owner } : { at: 'absent' }
      expect(await real.connections[via]!.sessions.releaseMany(run, [{ address: which, claim }], until()), [expected])
    }),
  ),
  fc.tuple(connection, person, address).map(([via, run, which]) =>
    command(`mark ${which} for ${run.incarnation} by ${via}`, async (model, real) => {
      const found = model.sessions.get(which)
      const claim = found && sameRun(found.owner, run) ? found.owner.claim : 1
      if (found && sameClaim(found.owner, { ...run, claim })) model.sessions.set(which, { ...found, moving: true })
      await real.connections[via]!.sessions.markMoving(run, [{ address: which, claim }], until())
    }),
  ),
  fc.tuple(connection, person, address).map(([via, run, which]) =>
    command(`reassert ${which} for ${run.incarnation} by ${via}`, async (model, real) => {
      const found = model.sessions.get(which)
      const claim = found && sameRun(found.owner, run) ? found.owner.claim : nextClaim(model, run)
      if (!found) model.sessions.set(which, { owner: { ...run, claim }, previous: undefined, moving: false })
      const elsewhere = found && !sameRun(found.owner, run) ? found.owner : undefined
      expect(await real.connections[via]!.sessions.reassertMany(run, [{ address: which, claim }], until()), [elsewhere])
    }),
  ),
  address.map(which =>
    command(`lose ${which}`, async (model, real) => {
      model.sessions.delete(which)
      await real.connections[0].datastore.delete(real.keys.session(which))
    }),
  ),
  fc.tuple(connection, address).map(([via, which]) =>
    command(`damage ${which} by ${via}`, async (model, real) => {
      await real.connections[via]!.datastore.put(real.keys.session(which), Buffer.from('c1', 'hex'))
      const { sessions } = real.connections[1 - via]!
      const refused = await sessions.read(which).then(() => '', (error: { code: string }) => error.code) // prettier-ignore
      expect(refused, 'DATASTORE')
      // What cannot be read holds nobody out.
      const run = people[2]!
      const claim = nextClaim(model, run)
      model.sessions.set(which, { owner: { ...run, claim }, previous: undefined, moving: false })
      expect(await sessions.claimMany(run, [{ address: which, claim }], until()), [
        { address: which, claim, previous: undefined },
      ])
    }),
  ),
  connection.map(via => command(`look by ${via}`, (model, real) => look(model, real.connections[via]!))),

  // Leases
  fc.tuple(connection, person).map(([via, run]) =>
    command(`join as ${run.incarnation} by ${via}`, async (model, real) => {
      const { records } = real.connections[via]!
      const found = await records.get(run.identity)
      const known = model.peers.get(run.identity)
      expect(found && { incarnation: found.member.incarnation, beat: found.beat }, known)
      const beat = (known?.beat ?? 0) + 1
      const version = await records.put({ member: memberOf(run), beat }, found?.version ?? null)
      if (version === undefined) throw new Error('a record that nobody else wrote was not written over')
      expect(await records.put({ member: memberOf(run), beat: beat + 1 }, found?.version ?? null), undefined)
      model.peers.set(run.identity, { incarnation: run.incarnation, beat })
    }),
  ),
  fc.tuple(connection, fc.uniqueArray(person, { minLength: 1, selector: ({ identity }) => identity })).map(([via, which]) =>
    command(`renew ${which.map(({ incarnation }) => incarnation).join()} by ${via}`, async (model, real) => {
      const expected = which.map(run => {
        const found = model.peers.get(run.identity)
        if (!found) return { at: 'missing' }
        if (found.incarnation !== run.incarnation)
          return { at: 'fenced', by: { ...run, incarnation: found.incarnation }, beat: found.beat }
        found.beat++
        return { at: 'renewed', beat: found.beat, member: memberOf(run), noted: model.noted.has(run.identity) }
      })
      const renewals = await real.connections[via]!.records.renewMany(which.map(run => ({ run })))
      expect(renewals, expected)
    }),
  ),
  fc.tuple(connection, person).map(([via, run]) =>
    command(`leave as ${run.incarnation} by ${via}`, async (model, real) => {
      const ours = model.peers.get(run.identity)?.incarnation === run.incarnation
      expect(await real.connections[via]!.records.remove(run), ours)
      if (!ours) return
      model.peers.delete(run.identity)
      // Notes for that very run go with it, those for another one stay.
      if (!(await real.connections[via]!.sessions.readNotes(run.identity))) model.noted.delete(run.identity)
    }),
  ),
  fc.tuple(connection, person, address).map(([via, run, which]) =>
    command(`leave ${run.incarnation} a note of ${which} by ${via}`, async (model, real) => {
      const by = { ...people[2]!, claim: 7 }
      await real.connections[via]!.sessions.leaveNote({ ...run, claim: 3 }, which, by)
      model.noted.add(run.identity)
      const stored = await real.connections[1 - via]!.sessions.readNotes(run.identity)
      const found = stored?.notes.find(note => note.address === which && note.incarnation === run.incarnation)
      expect(found, { address: which, incarnation: run.incarnation, claim: 3, by, withdrawn: false })
    }),
  ),
  fc.tuple(connection, person).map(([via, run]) =>
    command(`read the notes of ${run.identity} by ${via}`, async (model, real) => {
      const { sessions } = real.connections[via]!
      const stored = await sessions.readNotes(run.identity)
      expect(stored !== undefined, model.noted.has(run.identity))
      if (!stored) return
      expect(await sessions.dropNotes(run.identity, stored), true)
      model.noted.delete(run.identity)
    }),
  ),
]

function memberOf(run: Run): Member {
  return {
    ...run,
    endpoints: ['tcp://h:1'],
    role: 'peer',
    state: 'up',
    version: '1',
    machine: 'm',
    metadata: { 'x/1': [run.incarnation] },
  }
}

/** All that is there, address by address, and as a list. */
async function look(model: Model, { sessions, datastore }: Connection): Promise<void> {
  const found = await sessions.readMany(addresses)
  for (const [at, which] of addresses.entries()) {
    const { owner, previous, moving } = found[at] ?? {}
    const expected = model.sessions.get(which)
    expect(found[at] && { owner, previous, moving }, expected && { owner: expected.owner, previous: expected.previous, moving: expected.moving }) // prettier-ignore
  }
  if (!datastore.promises.atomicPut) return // there a listing may lag for a moment
  const listed: string[] = []
  for await (const session of sessions.list()) listed.push(session.address)
  expect(listed.sort(), [...model.sessions.keys()].sort())
}

let worlds = 0

async function open(driver: Awaited<ReturnType<typeof started>>): Promise<Real & AsyncDisposable> {
  const cluster = `commands${process.pid}-${++worlds}`
  const connections = await Promise.all(
    [0, 1].map(async () => {
      const datastore = await driver.open()
      return { datastore, sessions: new SessionStore({ env, datastore, cluster }), records: new PeerRecords(datastore, cluster) }
    }),
  )
  const keys = new Keys(cluster)
  return {
    connections: connections as [Connection, Connection],
    keys,
    async [Symbol.asyncDispose]() {
      for (const { datastore, sessions } of connections) {
        await sessions[Symbol.asyncDispose]()
        await datastore[Symbol.asyncDispose]()
      }
    },
  }
}

async function tries(known: KnownDriver, numRuns: number): Promise<void> {
  await using driver = await started(known)
  const property = fc.asyncProperty(fc.commands(commands, { maxCommands: 40, size: 'max' }), async list => {
    await using real = await open(driver)
    const model: Model = { sessions: new Map(), peers: new Map(), claims: new Map(), noted: new Set() }
    await fc.asyncModelRun(() => ({ model, real }), list)
    for (const each of real.connections) await look(model, each)
  })
  await fc.assert(property, { seed, numRuns })
}

for (const known of knownDrivers) {
  const word = known.name.split(' ')[0]!
  if (!(asked ?? Object.keys(usual)).includes(word)) continue
  const missing = known.missing()
  t.test(`${known.name}: sessions, leases and notes are what a map would say`, { skip: missing ?? false }, async t => {
    const numRuns = runs === undefined ? (usual[word] ?? 10) : Number(runs)
    await tries(known, numRuns)
    t.pass(`${numRuns} runs`)
  })
}
