/** The checker, of histories that were good until one event was changed; and what it costs. Seeded: `HOMING_SEED` gives another world. */
import t from 'tap'
import { check, readHistory, type HistoryEvent, type RuleName } from '../../lib/testing/index.ts'
import { runWorld } from '../support/random-world.ts'

const seed = Number(process.env['HOMING_SEED'] ?? 1)

type Mutation = (event: HistoryEvent) => HistoryEvent[]

/** Whatever such an event is changed so, this rule sees it; `share`: of those changed, where something may excuse the others. */
interface Change {
  readonly name: string
  readonly rule: RuleName
  readonly share: number
  readonly of: (event: HistoryEvent) => boolean
  readonly mutation: Mutation
}

const drop: Mutation = () => []
const twice: Mutation = event => [event, event]
const isDelivery = (event: HistoryEvent): boolean => event.what === 'delivery'

function changes(events: readonly HistoryEvent[]): Change[] {
  const taken = new Set(events.flatMap(event => (event.what === 'delivery' ? [event.id] : [])))
  const delivered = new Set(events.flatMap(event => (event.what === 'receipt' && event.status === 'delivered' ? [event.id] : [])))
  const killed = new Set(events.flatMap(event => (event.what === 'fault' && event.fault === 'kill' ? [event.name] : [])))
  return [
    {
      name: 'a delivery is missing',
      rule: 'H1',
      share: 0.6,
      mutation: drop,
      of: event => event.what === 'delivery' && delivered.has(event.id),
    },
    { name: 'a delivery is there twice', rule: 'H3', share: 1, mutation: twice, of: isDelivery },
    {
      name: 'a delivery has other bytes',
      rule: 'H4',
      share: 1,
      mutation: event => [{ ...event, hash: 'x' } as HistoryEvent],
      of: isDelivery,
    },
    {
      name: 'what was taken is reported absent',
      rule: 'H5',
      share: 1,
      mutation: event => [{ ...event, status: 'absent' } as HistoryEvent],
      of: event => event.what === 'receipt' && taken.has(event.id),
    },
    {
      name: 'a receipt is missing, at a peer that lives',
      rule: 'H7',
      share: 1,
      mutation: drop,
      of: event => event.what === 'receipt' && !killed.has(event.peer),
    },
    {
      name: 'the end of a displaced client is missing',
      rule: 'H6',
      share: 0.3,
      mutation: drop,
      of: event => event.what === 'ended' && event.end === 'displaced',
    },
  ]
}

/** So many of them, spread over the history. */
function some(indexes: readonly number[], count: number): number[] {
  const step = Math.max(1, Math.floor(indexes.length / count))
  return indexes.filter((_, n) => n % step === 0).slice(0, count)
}

void t.test(`a change of one event is seen, by the rule that it breaks (seed ${seed})`, async t => {
  const { trace } = await runWorld(seed, 'brokerless')
  const events = readHistory(trace)
  const endMs = events.at(-1)!.atMs + 1_000
  t.same(check(events, { endMs }), [])
  for (const { name, rule, share, of, mutation } of changes(events)) {
    const chosen = some(
      events.flatMap((event, at) => (of(event) ? [at] : [])),
      15,
    )
    const seen = chosen.filter(at => {
      const changed = [...events.slice(0, at), ...mutation(events[at]!), ...events.slice(at + 1)]
      return check(changed, { endMs }).some(violation => violation.rule === rule)
    })
    t.ok(chosen.length > 0 && seen.length >= share * chosen.length, `${name}: ${rule} sees ${seen.length} of ${chosen.length}`)
  }
})

/** An address that goes to and fro between two peers, a message for each owner, none of which is taken. */
function moves(count: number): HistoryEvent[] {
  const events: HistoryEvent[] = []
  for (let n = 1; n <= count; n++) {
    const here = { atMs: n, peer: n % 2 ? 'a' : 'b', incarnation: n % 2 ? 'a1' : 'b1', address: 'bob', client: n }
    const there = { ...here, peer: n % 2 ? 'b' : 'a', incarnation: n % 2 ? 'b1' : 'a1', client: n - 1 }
    const id = `${here.peer}/${here.incarnation}/${n}`
    events.push(
      { ...here, what: 'connecting', dueMs: n + 10_000, reads: false },
      { ...here, what: 'connected', claim: n },
      { ...there, what: 'ended', end: 'displaced' },
      { ...here, what: 'send', call: n, dueMs: n + 10_000, level: 'delivered', hash: 'x' },
      { ...here, what: 'receipt', call: n, id, status: 'delivered' },
    )
  }
  return events
}

void t.test('time grows with the length of a history, not with its square', async t => {
  const costMs = (events: readonly HistoryEvent[]): number => {
    const before = process.cpuUsage()
    t.ok(check(events).length > events.length / 10, 'all of it is wrong')
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1_000
  }
  costMs(moves(2_000)) // so that what is measured is compiled
  const [few, many] = [costMs(moves(2_000)), costMs(moves(32_000))]
  t.ok(many < 80 * (few + 5), `${few} ms, and ${many} ms for 16 times as much`)
})
