/**
 * H5: what was reported not delivered, nobody has got and nobody will: a receipt other than `delivered`, `sent` and `unknown`, and a request
 * that failed with the outcome `not-delivered`.
 *
 * No excuse.
 */
import type { Facts } from './facts.ts'
import { countServed, requestKey } from './h1-effects.ts'
import type { Violation } from './violation.ts'

const mayHaveCome = new Set<string>(['delivered', 'sent', 'unknown'])

export function* notDelivered(facts: Facts): Generator<Violation> {
  for (const { id, atMs, address, peer } of facts.deliveries) {
    const call = facts.messages.get(id)
    const answer = call?.answer
    if (answer?.what !== 'receipt' || mayHaveCome.has(answer.status)) continue
    const text = `${id} to '${address}' was taken at ${peer} at ${atMs} ms, and reported ${answer.status} to ${answer.peer}`
    yield { rule: 'H5', text, atMs: Math.max(atMs, answer.atMs), id, address, peer }
  }
  yield* requests(facts)
}

/** Counted together as in H1, where all bodies of the row are known. */
function* requests(facts: Facts): Generator<Violation> {
  const rows = new Map<string, { all: number; not: number; atMs: number }>()
  for (const { run, asked, answer } of facts.calls) {
    if (asked.what !== 'request' || asked.hash === undefined) continue
    const key = requestKey(run.origin, asked.address, asked.hash)
    const row = rows.get(key) ?? { all: 0, not: 0, atMs: 0 }
    rows.set(key, row)
    row.all++
    if (answer?.what !== 'reply' || answer.ok || answer.outcome !== 'not-delivered') continue
    row.not++
    row.atMs = answer.atMs
  }
  for (const [key, { count: served }] of countServed(facts)) {
    const row = rows.get(key)
    // More than were asked for at all is another matter, H4's.
    if (!row || served <= row.all - row.not || served > row.all) continue
    const [origin, address] = key.split('\n') as [string, string]
    const text = `a request handler of '${address}' was called ${served} times by ${origin}, and ${row.not} of ${row.all} requests were reported not delivered`
    yield { rule: 'H5', text, atMs: row.atMs, address }
  }
}
