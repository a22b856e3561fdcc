/** What a peer behind a broker makes of checks of what it holds that are answered, answered late, or not at all. */
import t, { type Test } from 'tap'
import { DirectoryClient } from '../../lib/broker/directory-client.ts'
import type { Answers, Question } from '../../lib/broker/directory-protocol.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import { HomingError, type ErrorCode } from '../../lib/errors.ts'
import type { Held, Member, Run } from '../../lib/sessions/directory.ts'
import { sessionOptions, trustedMs, type SessionOptions } from '../../lib/sessions/options.ts'

const self: Member = {
  identity: 'me',
  incarnation: '1',
  endpoints: [],
  via: 'hub',
  role: 'peer',
  state: 'up',
  version: '0.1.0',
  machine: 'm',
  metadata: {},
}
const hub: Run = { identity: 'hub', incarnation: 'h' }
const otherHub: Run = { identity: 'hub2', incarnation: 'h2' }

type Check = Question & { op: 'reassert' }
/** What becomes of a check: its answer, a failure at once, or nothing before its deadline. */
type Manner = 'answer' | 'fail' | 'silence'

/** How all brokers here behave, from now on. */
interface Brokers {
  manner: (check: Check) => Manner
  answer: Answers['reassert']
}

interface Options extends Partial<SessionOptions> {
  held?: number
}

/** A peer that has joined at `hub`; the brokers here are a stand-in for the router's way to them. */
async function setUp(t: Test, { held: count = 1, ...given }: Options = {}) {
  const options = sessionOptions(given)
  const time = new VirtualTime({ seed: 'directory client' })
  const env = virtualEnv(time, new MemoryNetwork(time.timers, time.random), 'here')
  const held: Held[] = Array.from({ length: count }, (_, at) => ({ address: `client${at}`, claim: at + 1 }))
  const told: string[] = []
  const checks: { atMs: number; broker: string; claims: readonly Held[] }[] = []
  /** Gives the checks that met silence their answers after all. */
  const late: (() => void)[] = []
  const brokers: Brokers = { manner: () => 'answer', answer: { elsewhere: [] } }

  const check = (question: Check, broker: Run, deadlineMs: number): Promise<unknown> => {
    checks.push({ atMs: time.nowMs, broker: broker.identity, claims: question.claims })
    const { answer } = brokers
    const manner = brokers.manner(question)
    if (manner === 'answer') return Promise.resolve(answer)
    if (manner === 'fail') return Promise.reject(new HomingError('LOST', 'the answer was lost'))
    return new Promise((resolve, reject) => {
      late.push(() => resolve(answer))
      env.timers.after(deadlineMs, () => reject(new HomingError('TIMEOUT', 'no answer')))
    })
  }
  const asked: string[] = []
  /** What becomes of claims and releases; absent: they are not asked for. */
  const answers: { claim?: () => Promise<unknown>; release?: () => Promise<unknown> } = {}
  const ask = (broker: Run, { op, claims, ...more }: Question & { op: 'claim' | 'release' }): Promise<unknown> => {
    const flag = 'withdrawn' in more ? ' withdrawn' : 'again' in more ? ' again' : ''
    asked.push(
      `${time.nowMs} ${broker.identity} ${op}${flag} ${claims.map(({ address, claim }) => `${address} ${claim}`).join()}`,
    )
    return answers[op]?.() ?? Promise.reject(new Error(`'${op}' is not asked for here`))
  }
  const client = new DirectoryClient({
    env,
    router: {
      serveProtocol: () => () => {},
      call: (broker, _, body, { deadlineMs } = {}) => {
        const question = body as Question
        if (question.op === 'join') return Promise.resolve({ members: [self] } satisfies Answers['join'])
        if (question.op === 'reassert') return check(question, broker, deadlineMs!)
        if (question.op === 'claim' || question.op === 'release') return ask(broker, question)
        return Promise.reject(new Error(`'${question.op}' is not asked for here`))
      },
    },
    self,
    options,
    handler: {
      held: () => held,
      displaced: (address, claim, by) => void told.push(`${time.nowMs} ${address} ${claim} by ${by?.identity}`),
      refused: (address, claim) => void told.push(`${time.nowMs} ${address} ${claim} refused`),
      memberUp() {},
      memberChanged() {},
      memberDown() {},
      storeDown: error => void told.push(`${time.nowMs} store down: ${error.message}`),
      storeUp: () => void told.push(`${time.nowMs} store up`),
      lease: (state, why) => void told.push(`${time.nowMs} ${state}${why ? ` ${why}` : ''}`),
      fenced: () => void told.push(`${time.nowMs} fenced`),
    },
    joinAgain: () => t.fail('asked to join again'),
    trouble: ({ code }) => void told.push(`${time.nowMs} trouble ${code}`),
  })
  t.teardown(() => client[Symbol.asyncDispose]())
  await client.brokerUp(hub)
  t.same(told.splice(0), ['0 sure'])
  t.same(
    checks.splice(0).flatMap(({ claims }) => claims),
    held,
    'all was checked with the joining',
  )
  return { time, client, options, held, told, checks, late, brokers, asked, answers }
}

t.test('as long as checks are answered the lease is sure; each is of a few, and in turns they are of all', async t => {
  const { time, client, told, checks } = await setUp(t, { held: 450 })
  await time.run(60_000)
  t.same(told, [])
  t.equal(client.lease, 'sure')
  t.equal(checks.length, 20, 'one a renewal')
  t.same(
    checks.slice(0, 4).map(({ atMs, claims }) => [atMs, claims[0]?.claim, claims.length]),
    [
      [3_000, 1, 200],
      [6_000, 201, 200],
      [9_000, 401, 50],
      [12_000, 1, 200],
    ],
  )
})

t.test('who holds nothing asks nothing, and is sure', async t => {
  const { time, client, told, checks } = await setUp(t, { held: 0 })
  await time.run(60_000)
  t.same(told, [])
  t.same(checks, [])
  t.equal(client.lease, 'sure')
})

t.test('what a check finds is told by its place', async t => {
  const { time, told, brokers } = await setUp(t, { held: 3 })
  brokers.answer = { elsewhere: [{ at: 1, owner: { identity: 'b', incarnation: 'x', claim: 9 } }], refused: [2] }
  await time.run(3_000)
  t.same(told, ['3000 client1 2 by b', '3000 client2 3 refused'])
})

for (const [whenStoreIsDown, unsureMs] of [
  // The check at 9 s is the first without an answer; trust lasts for 5 s, or 8, and a renewal's time had passed since the check before.
  ['stop', 11_000],
  ['serve', 14_000],
] as const) {
  t.test(`${whenStoreIsDown}: checks without an answer make the lease unsure in the time it is trusted for`, async t => {
    const { time, client, options, told, checks, brokers } = await setUp(t, { whenStoreIsDown })
    await time.run(6_000) // the last one that is answered
    brokers.manner = () => 'silence'
    t.ok(unsureMs <= 6_000 + trustedMs(options))
    await time.run(unsureMs - time.nowMs - 1)
    t.same(told, [])
    t.equal(client.lease, 'sure')
    await time.run(1)
    t.equal(told.pop(), `${unsureMs} unsure store`)
    t.equal(client.lease, 'unsure')
    t.match(checks, [{ atMs: 3_000 }, { atMs: 6_000 }, { atMs: 9_000 }])
  })

  t.test(`${whenStoreIsDown}: checks that fail do, as well as those without an answer`, async t => {
    const { time, client, told, brokers } = await setUp(t, { whenStoreIsDown })
    await time.run(6_000)
    brokers.manner = () => 'fail'
    await time.run(unsureMs - time.nowMs - 1)
    t.same(new Set(told.splice(0).map(line => line.split(' ').slice(1).join(' '))), new Set(['trouble LOST']))
    t.equal(client.lease, 'sure')
    await time.run(1)
    t.same(told, [`${unsureMs} unsure store`])
  })
}

t.test('a check that is answered after one that failed ends the doubt: the time is counted from the next that fails', async t => {
  const { time, client, told, checks, brokers } = await setUp(t)
  const failsAtMs: ReadonlySet<number> = new Set([9_000, 15_000, 18_000, 21_000])
  brokers.manner = () => (failsAtMs.has(time.nowMs) ? 'fail' : 'answer')
  await time.run(19_999)
  t.same(told.splice(0), ['9000 trouble LOST', '15000 trouble LOST', '18000 trouble LOST'])
  t.equal(checks.length, 6)
  t.equal(client.lease, 'sure')
  await time.run(1)
  t.same(told, ['20000 unsure store'])
})

t.test('answered again, all is checked before the lease is sure', async t => {
  const { time, client, told, checks, brokers } = await setUp(t, { held: 2_100, whenStoreIsDown: 'stop' })
  brokers.manner = () => (time.nowMs < 12_000 ? 'fail' : 'answer')
  await time.run(11_999)
  t.equal(client.lease, 'unsure')
  told.splice(0)
  checks.splice(0)
  await time.run(1)
  t.same(
    checks.map(({ atMs, claims }) => [atMs, claims[0]?.claim, claims.length]),
    [
      [12_000, 601, 200],
      [12_000, 1, 1_000],
      [12_000, 1_001, 1_000],
      [12_000, 2_001, 100],
    ],
  )
  t.same(told, ['12000 sure'])
})

t.test('where the check of all fails then, the lease stays unsure, and the next check tries again', async t => {
  const { time, client, told, brokers } = await setUp(t, { held: 300, whenStoreIsDown: 'stop' })
  // The few are answered, all are not.
  brokers.manner = ({ claims }) => (time.nowMs < 12_000 || (time.nowMs < 15_000 && claims.length > 200) ? 'fail' : 'answer')
  await time.run(14_999)
  t.equal(told.pop(), '12000 trouble LOST')
  t.equal(client.lease, 'unsure')
  await time.run(1)
  t.equal(told.pop(), '15000 sure')
})

t.test('who holds nothing any more then is sure with the next check: there is nothing to ask', async t => {
  const { time, client, told, brokers, held } = await setUp(t, { whenStoreIsDown: 'stop' })
  brokers.manner = () => 'fail'
  await time.run(11_999)
  t.equal(client.lease, 'unsure')
  held.splice(0)
  told.splice(0)
  await time.run(1)
  t.same(told, ['12000 sure'])
})

t.test('who holds nothing any more after a check failed is in doubt until the next check at most', async t => {
  const { time, told, brokers, held } = await setUp(t, { whenStoreIsDown: 'stop' })
  brokers.manner = () => 'fail'
  await time.run(3_500)
  held.splice(0)
  t.same(told.splice(0), ['3000 trouble LOST'])
  await time.run(30_000)
  t.same(told, ['5000 unsure store', '6000 sure'])
})

t.test(
  'a new broker has checked all: what the one before did not answer counts no more, nor does what it answers late',
  async t => {
    const { time, client, told, checks, late, brokers } = await setUp(t, { whenStoreIsDown: 'stop' })
    brokers.manner = () => 'silence'
    await time.run(3_500)
    const [answerLate] = late
    client.brokerDown()
    brokers.manner = () => 'answer'
    await client.brokerUp(otherHub)
    await time.run(2_000)
    t.same(told.splice(0), ['3500 unsure store', '3500 store down: no broker is linked', '3500 sure', '3500 store up'])
    brokers.manner = () => 'silence'
    await time.run(1_500)
    t.same(checks.at(-1), { atMs: 6_000, broker: 'hub2', claims: [{ address: 'client0', claim: 1 }] })
    answerLate!()
    await time.run(1_000)
    t.same(told, ['8000 unsure store'], 'two seconds after the check by the new one')
  },
)

const failing = (code: ErrorCode) => () => Promise.reject(new HomingError(code, 'on purpose'))
const alice = (claim: number): Held[] => [{ address: 'alice', claim }]

t.test('a claim whose answer did not come is said to be asked for again, by whichever broker there is then', async t => {
  const { time, client, asked, answers } = await setUp(t, { held: 0 })
  answers.claim = failing('LOST')
  const claiming = client.claim(alice(7), 10_000)
  await time.run(50)
  client.brokerDown()
  answers.claim = () => Promise.resolve({ previous: [null] } satisfies Answers['claim'])
  await client.brokerUp(otherHub)
  await time.run(1_000)
  await claiming
  const [first, ...more] = asked
  t.equal(first, '0 hub claim alice 7')
  t.same(
    more.map(line => line.replace(/^[0-9]+ /, '')),
    ['hub2 claim again alice 7'],
  )
})

t.test('a claim that failed is released by the broker that there is then', async t => {
  const { time, client, told, asked, answers } = await setUp(t, { held: 0 })
  answers.claim = failing('LOST')
  const rejected = t.rejects(client.claim(alice(7), time.nowMs + 150), { code: 'DATASTORE', outcome: 'unknown' })
  await time.run(50)
  client.brokerDown()
  await time.run(200)
  await rejected
  t.same(asked.splice(0), ['0 hub claim alice 7'])
  answers.release = () => Promise.resolve({ released: [{ at: 'released' }] } satisfies Answers['release'])
  await client.brokerUp(otherHub)
  await time.run(60_000)
  t.same(asked, ['250 hub2 release withdrawn alice 7'])
  t.notOk(told.some(line => line.includes('trouble')))
})

t.test(
  'a claim that succeeded in the end is not released, nor one that no broker was asked for, nor one that may not be',
  async t => {
    const { time, client, asked, answers } = await setUp(t, { held: 0 })
    answers.claim = failing('TIMEOUT')
    const claiming = client.claim(alice(1), 10_000)
    await time.run(50)
    answers.claim = () => Promise.resolve({ previous: [null] } satisfies Answers['claim'])
    await time.run(1_000)
    t.match(await claiming, [{ claim: 1 }])
    answers.claim = failing('REFUSED')
    await t.rejects(client.claim(alice(2), time.nowMs + 1_000), { code: 'REFUSED' })
    client.brokerDown()
    const rejected = t.rejects(client.claim(alice(3), time.nowMs + 1_000), { code: 'DATASTORE', outcome: 'not-delivered' })
    await time.run(1_000)
    await rejected
    asked.splice(0)
    await client.brokerUp(otherHub)
    await time.run(60_000)
    t.same(asked, [])
  },
)

t.test(
  'a release of a claim that failed is tried for a minute, and told as trouble then; a peer that closes asks no more',
  async t => {
    for (const closes of [false, true]) {
      const { time, client, told, asked, answers } = await setUp(t, { held: 0 })
      answers.claim = failing('DATASTORE')
      answers.release = failing('LOST')
      await t.rejects(client.claim(alice(1), 1_000), { code: 'DATASTORE' })
      await time.run(10_000)
      t.equal(asked.length, 101 + 1, 'again and again')
      t.same(told.splice(0), [])
      if (closes) {
        await client[Symbol.asyncDispose]()
        await time.run(100) // a pause that had begun
        t.equal(time.pending, 0)
        t.same(told, [])
      }
      asked.splice(0)
      await time.run(60_000)
      t.equal(asked.length === 0, closes)
      t.same(told, closes ? [] : ['59900 trouble DATASTORE'])
    }
  },
)
