/**
 * H2: work that is named by (type, id) is completed once at most, and whoever asks for it again gets the same result.
 *
 * Excuse: a service remembers what was done for a time, and for so many ids of a type; after that the same id is new work.
 */
import type { EventOf } from '../history-event.ts'
import type { Facts } from './facts.ts'
import type { Violation } from './violation.ts'

interface Completion {
  readonly event: EventOf<'serviceCompleted'>
  /** How many of its type were completed before it. */
  readonly before: number
}

export function* completions(facts: Facts): Generator<Violation> {
  const { workRememberedMs, workRememberedMax } = facts.bounds
  const ofType = new Map<string, number>()
  const done = new Map<string, Completion>()
  for (const event of facts.events) {
    if (event.what !== 'serviceCompleted') continue
    const { type, id, atMs, peer } = event
    const before = ofType.get(type) ?? 0
    ofType.set(type, before + 1)
    const key = `${type}\n${id}`
    const former = done.get(key)
    done.set(key, { event, before })
    if (!former) continue
    if (atMs - former.event.atMs > workRememberedMs || before - former.before > workRememberedMax) continue
    const text = `work ${id} of '${type}' was completed twice: by ${former.event.peer} at ${former.event.atMs} ms, and by ${peer}`
    yield { rule: 'H2', text, atMs, id, peer }
  }
  yield* answers(facts)
}

/** Completed or not: H1 asks for that. Two completions, the second of them excused, may both have been answered. */
function* answers(facts: Facts): Generator<Violation> {
  const results = new Map<string, Set<string>>()
  for (const event of facts.events) {
    if (event.what !== 'serviceCompleted' || event.hash === undefined) continue
    const key = `${event.type}\n${event.id}`
    const known = results.get(key)
    if (known) known.add(event.hash)
    else results.set(key, new Set([event.hash]))
  }
  for (const event of facts.events) {
    if (event.what !== 'serviceAnswered' || event.hash === undefined) continue
    const known = results.get(`${event.type}\n${event.id}`)
    if (!known || known.has(event.hash)) continue
    const text = `work ${event.id} of '${event.type}' was answered to ${event.peer} with another result than it was completed with`
    yield { rule: 'H2', text, atMs: event.atMs, id: event.id, peer: event.peer }
  }
}
