/**
 * H7: every call is answered by its deadline and `slackMs`: sends, requests, broadcasts, connects, work, appends. Nothing is pending at the end
 * that was due before.
 *
 * Excuses: a process that died before had nobody to answer. One that stood still after the deadline has the slack of the time in which it moved;
 * one whose machine slept has its timers run that much later.
 */
import type { Facts } from './facts.ts'
import type { Run } from './run.ts'
import type { Violation } from './violation.ts'

interface Pending {
  readonly run: Run
  readonly what: string
  readonly address: string | undefined
  readonly askedMs: number
  readonly dueMs: number
  /** Infinity: never. */
  readonly settledMs: number
}

export function* deadlines(facts: Facts): Generator<Violation> {
  for (const { run, asked, answer } of facts.calls) {
    const address = 'address' in asked ? asked.address : undefined
    const what = `${asked.what} ${asked.call} of ${run.name}${address === undefined ? '' : ` to '${address}'`}`
    const { atMs: askedMs, dueMs } = asked
    yield* late(facts, { run, what, address, askedMs, dueMs, settledMs: answer?.atMs ?? Infinity })
  }
  for (const holders of facts.holders.values()) {
    for (const { run, address, connectingMs: askedMs, dueMs, settledMs } of holders) {
      yield* late(facts, { run, what: `connect of '${address}' at ${run.name}`, address, askedMs, dueMs, settledMs })
    }
  }
}

function* late({ bounds }: Facts, pending: Pending): Generator<Violation> {
  const { run, what, address, askedMs, dueMs, settledMs } = pending
  if (settledMs <= dueMs + bounds.slackMs) return
  const untilMs = run.doneBy(askedMs, dueMs, bounds.slackMs)
  if (settledMs <= untilMs || bounds.endMs <= untilMs || run.diedMs <= untilMs + bounds.blurMs) return
  const text = `${what}, due at ${dueMs} ms, ${settledMs < Infinity ? `was answered at ${settledMs} ms` : 'was never answered'}`
  yield { rule: 'H7', text, atMs: Math.min(untilMs, settledMs), peer: run.name, ...(address !== undefined && { address }) }
}
