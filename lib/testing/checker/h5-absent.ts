/**
 * H5 also: `absent` is an answer of the datastore. None can have come while it was down for everybody, from before the send to after its
 * receipt; while a client that left a draining peer connects elsewhere, its record says that it moves; and while a client holds the address, from
 * before the send to after its receipt, its record is there (judged only where the datastore has compare-and-set: `atomicPut`).
 *
 * Excuses, for those that hold it: trouble of the holder or of who asked in the two leases before the answer; the datastore lost records since the
 * connect; somebody else connected later, or may have been written later. For those that move: the draining peer had trouble, or died; somebody else held the address, or tried to; it took longer than senders
 * wait for it (F22: 5 s).
 */
import type { EventOf } from '../history-event.ts'
import type { Facts } from './facts.ts'
import { lastWriteMs } from './h6-newest.ts'
import type { Holder } from './holder.ts'
import type { Run } from './run.ts'
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
    const holder = facts.bounds.atomicPut ? heldBy(facts, call) : undefined
    if (holder) {
      const text = `${answer.id} to '${address}' was reported absent to ${peer}, while client ${holder.client} of ${holder.run.name} held it since ${holder.connectedMs} ms`
      yield { ...about, text }
    }
    for (const move of moves.get(address) ?? []) {
      if (!isWithin(call, move)) continue
      const text = `${answer.id} to '${address}' was reported absent to ${peer}, while the address moved from ${move.from.run.name} to ${move.to.run.name}`
      yield { ...about, text }
    }
  }
}

/** Who held the address all the while, with nothing that could have taken its record away. */
function heldBy(facts: Facts, { asked, answer }: Absent): Holder | undefined {
  const { atMs, address } = answer
  const asker = facts.runs.get(answer.incarnation)
  const holders = facts.holders.get(address) ?? []
  return holders.find(holder => {
    if (holder.connectedMs >= asked.atMs || holder.endMs <= atMs || holder.run.leavingMs <= atMs) return false
    if ([...facts.forgot.within(holder.connectingMs, atMs)].length > 0) return false
    if (!isFine(facts, holder.run, atMs) || !asker || !isFine(facts, asker, atMs)) return false
    return holders.every(
      other =>
        other === holder ||
        other.connectingMs > atMs ||
        (other.connectingMs < holder.connectingMs && lastWriteMs(facts, other) < holder.connectingMs),
    )
  })
}

function isFine(facts: Facts, run: Run, atMs: number): boolean {
  return facts.troubles(run).every(spans => [...spans.within(atMs - 2 * facts.bounds.leaseMs, atMs)].length === 0)
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
