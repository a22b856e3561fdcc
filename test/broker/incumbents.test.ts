/** Whom a broker asks whether the incumbent of an identity lives, and what it takes for an answer. */
import t from 'tap'
import { Incumbents } from '../../lib/broker/incumbents.ts'
import { HomingError } from '../../lib/errors.ts'
import type { Member, Run } from '../../lib/sessions/directory.ts'

type Answer = string | Error | Promise<unknown>

const alice: Run = { identity: 'alice', incarnation: 'run-alice' }
const behind = (via: string | undefined): Member => ({ ...alice, via }) as Member
const down = new HomingError('UNREACHABLE', 'on purpose')

/** The broker 'hub' among others, each of which answers as said; `asked` says who was, and how long each had. */
function hub(answers: Record<string, Answer>) {
  const asked: string[] = []
  const brokers = Object.keys(answers).filter(identity => identity !== 'hub')
  const incumbents = new Incumbents({
    identity: 'hub',
    otherBrokers: () => brokers.map(identity => ({ identity, incarnation: `run-${identity}` }) as Member),
    isBroker: ({ identity }) => brokers.includes(identity),
    ask: async ({ identity }) => {
      asked.push(`${identity} here`)
      return answers['hub'] === 'answers' ? 'answers' : answers['hub'] === 'refused' ? 'refused' : 'silent'
    },
    dial: async ({ identity }) => {
      asked.push(`${identity} itself`)
      return 'answers'
    },
    call: async (broker, protocol, run, { deadlineMs }) => {
      t.same([protocol, run], ['alive/1', alice])
      asked.push(`${broker.identity} ${deadlineMs}`)
      const answer = await answers[broker.identity]
      if (answer instanceof Error) throw answer
      return answer
    },
  })
  return { incumbents, asked }
}

t.test('a run that is behind no broker is asked itself', async t => {
  const { incumbents, asked } = hub({ hub: 'silent', two: 'silent' })
  t.equal(await incumbents.probe(behind(undefined)), 'answers')
  t.same(asked, ['alice itself'])
})

t.test('the broker of a run is asked first, and alone where it knows', async t => {
  for (const [via, says, found] of [
    ['hub', 'answers', 'answers'],
    ['hub', 'silent', 'silent'],
    ['two', 'answers', 'answers'],
    ['two', 'silent', 'silent'],
    ['two', 'a word of later', 'silent'],
    ['two', down, 'silent'],
  ] as const) {
    const { incumbents, asked } = hub({ hub: 'silent', two: 'silent', three: 'answers', [via]: says })
    t.equal(await incumbents.probe(behind(via)), found, `${via} says ${String(says)}`)
    t.same(asked, [via === 'hub' ? 'alice here' : 'two 2000'])
  }
})

t.test('of a broker that is not known any more nothing is known', async t => {
  const { incumbents, asked } = hub({ hub: 'answers', two: 'answers' })
  t.equal(await incumbents.probe(behind('three')), 'silent')
  t.same(asked, [])
})

t.test('who hung up at its broker is gone, unless it answers at another one', async t => {
  const gone = hub({ hub: 'refused', two: 'silent', three: down })
  t.equal(await gone.incumbents.probe(behind('hub')), 'refused')
  t.same(gone.asked, ['alice here', 'two 1000', 'three 1000'])
  const never = new Promise(() => {})
  const there = hub({ hub: 'refused', two: never, three: 'answers' })
  t.equal(await there.incumbents.probe(behind('hub')), 'answers', 'nobody else is waited for')
  const here = hub({ hub: 'answers', two: 'refused', three: never })
  t.equal(await here.incumbents.probe(behind('two')), 'answers')
  t.same(here.asked, ['two 2000', 'three 1000', 'alice here'])
})

t.test('an error that is a bug is one', async t => {
  const { incumbents } = hub({ hub: 'refused', two: new TypeError('on purpose') })
  await t.rejects(incumbents.probe(behind('hub')), TypeError)
})

t.test('only brokers may ask, since it may end links, and only about a run', async t => {
  const { incumbents, asked } = hub({ hub: 'answers', two: 'silent' })
  await t.rejects(incumbents.answer(alice, alice), { message: "'alice' is no broker" })
  const two: Run = { identity: 'two', incarnation: 'run-two' }
  for (const body of [undefined, null, {}, { identity: 'alice' }, { identity: 'a\nb', incarnation: '1' }, 'alice'])
    await t.rejects(incumbents.answer(two, body), { message: 'not a question of alive/1' })
  t.same(asked, [])
  t.equal(await incumbents.answer(two, alice), 'answers')
})
