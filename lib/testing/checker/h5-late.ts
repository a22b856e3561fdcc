/**
 * H5 also: what was given up (`unknown`) and had not arrived, does not arrive late. Taken behind a message that was sent long after its own
 * receipt, by the same client, it arrived after that: an inbox gives out in the order in which it took in.
 *
 * Excuses (docs/guarantees.md, promise 3): what is on its way over a path that is cut, or with a process that stands still, may arrive until
 * that path is found to be broken (`noticeMs`, and the standstill). A line that drips, or is so narrow that what may be under way takes longer
 * than that, is not silent, and is never found to be.
 */
import { type Facts } from './facts.ts'
import type { Holder } from './holder.ts'
import type { Violation } from './violation.ts'

export function* late(facts: Facts): Generator<Violation> {
  /** By client: when the message that was sent last, of those that it has taken so far, was sent. */
  const sentMs = new Map<Holder, number>()
  for (const event of facts.deliveries) {
    const holder = facts.holder(event)
    const call = facts.messages.get(event.id)
    if (!holder || !call) continue
    const lastMs = sentMs.get(holder) ?? -Infinity
    const { answer } = call
    if (answer?.what === 'receipt' && answer.status === 'unknown' && lastMs > answer.atMs + facts.bounds.noticeMs) {
      if (stoodStill(facts, answer.atMs, event.atMs) || dripped(facts, call.asked.atMs, event.atMs)) continue
      const { id, address, peer, atMs } = event
      const text = `${id} to '${address}' was given up at ${answer.atMs} ms, and taken at ${peer} behind what was sent at ${lastMs} ms`
      yield { rule: 'H5', text, atMs, id, address, peer }
    }
    sentMs.set(holder, Math.max(lastMs, call.asked.atMs))
  }
}

function dripped({ drips }: Facts, fromMs: number, untilMs: number): boolean {
  return [...drips.within(fromMs, untilMs)].length > 0
}

function stoodStill({ runs }: Facts, fromMs: number, untilMs: number): boolean {
  for (const { blocked, still } of runs.values())
    for (const spans of [blocked, still]) for (const _ of spans.within(fromMs, untilMs)) return true
  return false
}
