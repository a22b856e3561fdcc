/** What a broker answers where its datastore does not say all that it should know. */
import t from 'tap'
import { Access } from '../../lib/access/access.ts'
import { DirectoryServer, type DirectoryServerSetup } from '../../lib/broker/directory-server.ts'
import { HomingError } from '../../lib/errors.ts'
import type { RequestContext } from '../../lib/router/serving.ts'
import type { Claimed, Member, Owner } from '../../lib/sessions/directory.ts'
import { StillEnv } from '../fuzz/still-env.ts'

const from = { identity: 'a', incarnation: '1' }
const former: Owner = { identity: 'b', incarnation: '2', claim: 3 }
const by: Owner = { identity: 'c', incarnation: '3', claim: 9 }

/** Answers a claim of two addresses that were written so, where the look-up of a member ends so. */
async function claim(
  written: readonly Claimed[],
  lookUpMember: (identity: string) => Promise<Member | undefined>,
  member: (identity: string) => Partial<Member> | undefined = () => undefined,
) {
  const connected: string[] = []
  const setup = {
    env: new StillEnv(),
    directory: { member, lookUpMember },
    sessions: { claimMany: () => Promise.resolve(written) },
    peers: { confirm: () => Promise.resolve(), stay: () => ({ isConfirmed: () => true, hasLeft: () => false }) },
    access: new Access(undefined, error => t.error(error)),
    connected: (_: unknown, address: string) => void connected.push(address),
  }
  const server = new DirectoryServer(setup as unknown as DirectoryServerSetup)
  const claims = written.map(({ address }) => ({ address, claim: 1 }))
  const context = { signal: new AbortController().signal } as unknown as RequestContext
  return { answer: await server.answer(from, { op: 'claim', claims, ms: 1_000 }, context), connected }
}

t.test('a displaced owner of whom it cannot be said whether it lives is named; one that is gone is not', async t => {
  const written = [{ address: 'alice', claim: 1, previous: former }]
  const down = () => Promise.reject(new HomingError('DATASTORE', 'on purpose'))
  t.same((await claim(written, down)).answer, { previous: [former] })
  t.same((await claim(written, () => Promise.resolve(undefined))).answer, { previous: [null] })
})

t.test(
  'a displaced owner that has started again, which this broker has not heard of yet, is named; its former run is not',
  async t => {
    const known = { incarnation: '1' }
    let lookedUp = 0
    const read = () => {
      lookedUp++
      return Promise.resolve({ identity: 'b', incarnation: '2' } as Member)
    }
    const bob: Owner = { identity: 'b', incarnation: '2', claim: 4 }
    const gone: Owner = { identity: 'b', incarnation: '0', claim: 1 }
    const written = [
      { address: 'alice', claim: 1, previous: former },
      { address: 'bob', claim: 1, previous: bob },
      { address: 'carl', claim: 1, previous: gone },
    ]
    t.same((await claim(written, read, () => known)).answer, { previous: [former, bob, null] })
    t.equal(lookedUp, 2, 'once for each run')
    t.same((await claim(written.slice(0, 1), read, () => ({ incarnation: '2' }))).answer, { previous: [former] })
    t.equal(lookedUp, 2, 'who is known is not looked up')
  },
)

t.test('so it is where its broker has started just now; where that is gone, it is as if it were itself', async t => {
  const written = [{ address: 'alice', claim: 1, previous: former }]
  for (const lives of [true, false]) {
    const brokers = new Set<string>()
    const lookUp = (identity: string) => {
      if (lives) brokers.add(identity)
      return Promise.resolve(undefined)
    }
    const known = (identity: string) =>
      identity === 'b' ? { incarnation: '2', via: 'hub' } : brokers.has(identity) ? { incarnation: 'h' } : undefined
    t.same((await claim(written, lookUp, known)).answer, { previous: [lives ? former : null] })
  }
})

t.test('a claim that was overtaken before its answer is said to be, and counts as no client', async t => {
  const written = [
    { address: 'alice', claim: 1, previous: undefined },
    { address: 'bob', claim: 1, previous: undefined, overtakenBy: by },
  ]
  const { answer, connected } = await claim(written, () => Promise.resolve(undefined))
  t.same(answer, { previous: [null, null], overtaken: [{ at: 1, owner: by }] })
  t.same(connected, ['alice'])
})
