/** Judges a history by what is promised: FAULTS, rules H1 to H10. */
import type { HistoryEvent } from '../history-event.ts'
import { Facts } from './facts.ts'
import { effects } from './h1-effects.ts'
import { completions } from './h2-completions.ts'
import { order } from './h3-order.ts'
import { invokes } from './h4-invokes.ts'
import { absent } from './h5-absent.ts'
import { late } from './h5-late.ts'
import { notDelivered } from './h5-not-delivered.ts'
import { newest } from './h6-newest.ts'
import { owners } from './h6-owners.ts'
import { deadlines } from './h7-deadlines.ts'
import { logs } from './h8-logs.ts'
import { deaths } from './h9-deaths.ts'
import { ends } from './h10-ends.ts'
import { boundsOf, type CheckOptions } from './options.ts'
import type { Violation } from './violation.ts'

const rules = [effects, completions, order, invokes, notDelivered, absent, late, owners, newest, deadlines, logs, deaths, ends]

/**
 * What of it breaks a promise, in the order of time; nothing when all is well. `events` in the order of their times, as `History` keeps them and
 * `mergeHistories` puts them together: of all processes that took part, because what is missing was not done. The same history gives the same
 * answer, in time proportional to its length. Throws `BAD_OPTION`, and a plain error for a history that goes back in time.
 */
export function check(events: readonly HistoryEvent[], options: CheckOptions = {}): Violation[] {
  checkOrder(events)
  const facts = new Facts(events, boundsOf(options, events.at(-1)?.atMs ?? 0))
  return rules.flatMap(rule => [...rule(facts)]).sort((one, other) => one.atMs - other.atMs)
}

function checkOrder(events: readonly HistoryEvent[]): void {
  for (let at = 1; at < events.length; at++) {
    if (events[at]!.atMs >= events[at - 1]!.atMs) continue
    throw new Error(
      `event ${at + 1} (${events[at]!.what}) is before the one ahead of it: put histories together with mergeHistories`,
    )
  }
}
