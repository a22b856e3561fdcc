/**
 * H9: nobody is judged dead whose pulse was fine, and every real death is judged by all within its bound (`deathMsMax`).
 *
 * A pulse was not fine when, in the lease before the judgement, there was no stretch long enough for one renewal in which the process moved
 * and had the datastore. Who has begun to leave may be taken for gone. Excuse: after a datastore lost records, one that is missing may be taken
 * for a goodbye. Whose machine lost its power is kept alive by its broker until that finds their link silent (`noticeMs` at most). That the observer itself stood still or was cut off excuses no false judgement; it only gives it more time for a true one.
 */
import type { EventOf } from '../history-event.ts'
import type { Facts } from './facts.ts'
import type { Run } from './run.ts'
import { longestClear } from './spans.ts'
import type { Violation } from './violation.ts'

export function* deaths(facts: Facts): Generator<Violation> {
  /** Whom each run takes for alive, and since when. */
  const known = new Map<Run, Map<Run, number>>()
  for (const event of facts.events) {
    if (event.what !== 'memberUp' && event.what !== 'memberDown') continue
    const observer = facts.runs.get(event.incarnation)
    const other = facts.runs.get(event.otherIncarnation)
    if (!observer || !other) continue
    let up = known.get(observer)
    if (!up) known.set(observer, (up = new Map()))
    if (event.what === 'memberUp') {
      up.set(other, event.atMs)
      continue
    }
    yield* wrong(facts, event, observer, other)
    yield* late(facts, observer, other, up.get(other), event.atMs)
    up.delete(other)
  }
  for (const [observer, up] of known) {
    const untilMs = Math.min(facts.bounds.endMs, observer.goneMs, observer.leavingMs)
    for (const [other, sinceMs] of up) yield* late(facts, observer, other, sinceMs, untilMs)
  }
}

function* wrong(facts: Facts, { atMs, why }: EventOf<'memberDown'>, observer: Run, other: Run): Generator<Violation> {
  const { leaseMs, renewEveryMs, operationTimeoutMs, slackMs, blurMs } = facts.bounds
  if (other.goneMs <= atMs + blurMs || other.leavingMs <= atMs + blurMs) return
  if (why === 'left' && [...facts.forgot.within(atMs, atMs)].length > 0) return
  const fine = longestClear(facts.troubles(other), Math.max(other.startedMs, atMs - leaseMs), atMs)
  const fineMs = fine.untilMs - fine.fromMs
  if (fineMs < renewEveryMs + operationTimeoutMs + slackMs) return
  const text = `${observer.name} judged ${other.name} gone (${why}), which lived and had nothing in its way for ${Math.round(fineMs)} ms of the last ${leaseMs}`
  yield { rule: 'H9', text, atMs, peer: observer.name }
}

/** The bound begins anew after each trouble of the observer's. */
function* late(facts: Facts, observer: Run, other: Run, sinceMs: number | undefined, untilMs: number): Generator<Violation> {
  const { deathMsMax, slackMs } = facts.bounds
  const fromMs = Math.max(other.goneMs, other.keptUntilMs, sinceMs ?? Infinity)
  if (!(untilMs - fromMs > deathMsMax + slackMs)) return
  const clear = longestClear(facts.troubles(observer), fromMs, untilMs)
  if (clear.untilMs - clear.fromMs <= deathMsMax + slackMs) return
  const text = `${observer.name} took ${other.name}, gone since ${other.goneMs} ms, for alive`
  yield { rule: 'H9', text, atMs: clear.fromMs + deathMsMax, peer: observer.name }
}
