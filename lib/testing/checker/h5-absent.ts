/**
 * H5 also: `absent` is an answer of the datastore. None can have come while it was down for everybody, from before the send to after its
 * receipt; and while a client that left a draining peer connects elsewhere, its record says that it moves.
 *
 * Excuses, for those that move: the draining peer had trouble, or died; somebody else held the address, or tried to; it took longer than senders
 * wait for it (F22: 5 s).
 */
import type { EventOf } from '../history-event.ts'
import type { Facts } from './facts.ts'
import type { Holder } from './holder.ts'
import { Spans } from './spans.ts'
import type { Violation } from './violation.ts'

/** How long senders wait for an address that left a draining peer, ms. */
const movedMs = 5_000

type Absent = { asked: EventOf<'send'>; answer: EventOf<'receipt'> }

export function* absent(facts: Facts): Generator<Violation> {
  // Where each side of a split has a datastore of its own, nobody knows whose was down.
  const outages = facts.bounds.atomicPut ? outagesOf(facts) : new Spans()
  const moves = movesOf(facts)
  for (const { asked, answer } of facts.messages.values()) {
    if (answer?.what !== 'receipt' || answer.status !== 'absent') continue
    const call = { asked, answer }
    const { address, atMs, peer } = answer
    const about = { rule: 'H5', atMs, address, id: answer.id, peer } as const
    for (const { fromMs, untilMs } of outages.within(asked.atMs, asked.atMs)) {
      if (fromMs >= asked.atMs || untilMs <= atMs) continue
      const text = `${answer.id} to '${address}' was reported absent to ${peer}, while the datastore was down since ${fromMs} ms`
      yield { ...about, text }
    }
    for (const move of moves.get(address) ?? []) {
      if (!isWithin(call, move)) continue
      const text = `${answer.id} to '${address}' was reported absent to ${peer}, while the address moved from ${move.from.run.name} to ${move.to.run.name}`
      yield { ...about, text }
    }
  }
}

function outagesOf({ events }: Facts): Spans {
  const outages = new Spans()
  for (const event of events) {
    if (event.what !== 'fault') continue
    if (event.fault === 'storeDown' && event.name === undefined) outages.begin(event.atMs)
    else if (event.fault === 'storeUp') outages.end(event.atMs)
  }
  return outages
}

interface Move {
  readonly from: Holder
  readonly to: Holder
}

/** From clients that left a draining peer to the next one of their address, where nobody else had to do with it. */
function movesOf(facts: Facts): Map<string, Move[]> {
  const draining = new Map<string, number>()
  for (const event of facts.events) if (event.what === 'draining') draining.set(event.incarnation, event.atMs)
  const moves = new Map<string, Move[]>()
  if (draining.size === 0) return moves
  for (const [address, holders] of facts.holders) {
    const found = holders.flatMap((from, at) => {
      const to = holders[at + 1]
      if (!to || from.end !== 'disconnected' || !((draining.get(from.run.incarnation) ?? Infinity) < from.endMs)) return []
      const alone = holders.every(
        other => other === from || other === to || isOver(other, from) || other.connectingMs > to.connectedMs,
      )
      return alone && isUndisturbed(facts, from, to) ? [{ from, to }] : []
    })
    if (found.length > 0) moves.set(address, found)
  }
  return moves
}

function isOver(other: Holder, from: Holder): boolean {
  return other.endMs < from.connectedMs && other.settledMs < from.connectedMs
}

function isUndisturbed(facts: Facts, from: Holder, to: Holder): boolean {
  if (from.run.goneMs < to.connectedMs) return false
  return facts.troubles(from.run).every(spans => [...spans.within(from.connectedMs, to.connectedMs)].length === 0)
}

function isWithin({ asked, answer }: Absent, { from, to }: Move): boolean {
  return (
    asked.atMs > from.connectedMs &&
    answer.atMs <= to.connectedMs &&
    answer.atMs < from.endMs + movedMs &&
    asked.atMs >= from.endMs
  )
}
