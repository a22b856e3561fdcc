/** Judges a history by what is promised (DESIGN.md, section 5; FAULTS.md, section 5: H1, H3, H5, H7). */
import type { HistoryEvent } from '../../lib/testing/index.ts'

export interface CheckOptions {
  /** When the world ended, ms; default: the last event. */
  endMs?: number
  /** Peers that stood still for a while settle late: by so much more, ms. */
  lateMs?: number
}

type Send = Extract<HistoryEvent, { what: 'send' }>
type Receipt = Extract<HistoryEvent, { what: 'receipt' }>
type Ended = Extract<HistoryEvent, { what: 'ended' }>
type Delivery = Extract<HistoryEvent, { what: 'delivery' }>

/** What of it breaks a promise, in words; nothing when all is well. */
export function violationsOf(events: readonly HistoryEvent[], options: CheckOptions = {}): string[] {
  return [...order(events), ...duplicates(events), ...effects(events), ...deadlines(events, options)]
}

/** H3: what one client gets of one sender grows; and so do, over all clients of an address, the messages that were reported delivered. */
function* order(events: readonly HistoryEvent[]): Generator<string> {
  const reported = new Set(receipts(events, 'delivered').map(({ id }) => id))
  const last = new Map<string, number>()
  for (const event of deliveries(events)) {
    const { origin, number } = parseId(event.id)
    for (const line of [`client ${event.client}`, ...(reported.has(event.id) ? ['all clients'] : [])]) {
      const key = `${origin} to '${event.address}' at ${line}`
      const before = last.get(key) ?? -1
      // Twice the same is a duplicate, not an order.
      if (number < before) yield `H3 order: ${key}: message ${number} after ${before}, at ${event.atMs} ms`
      last.set(key, Math.max(before, number))
    }
  }
}

/** No message is taken twice. */
function* duplicates(events: readonly HistoryEvent[]): Generator<string> {
  const seen = new Map<string, Delivery>()
  for (const event of deliveries(events)) {
    const before = seen.get(event.id)
    if (before) yield `duplicate: ${event.id} at ${before.peer} (${before.atMs} ms) and at ${event.peer} (${event.atMs} ms)`
    else seen.set(event.id, event)
  }
}

/** An inbox of a slow handler is empty after so long, ms. */
const inboxMs = 2_000

/**
 * H1 and H5: delivered is delivered, unless its process died, its client was disconnected before it took it, or a hand-over that was
 * reported incomplete took it; and what was not, never.
 */
function* effects(events: readonly HistoryEvent[]): Generator<string> {
  const delivered = new Set(deliveries(events).map(({ id }) => id))
  const excused = new Set<string>()
  const died = new Set(
    events.flatMap(event => (event.what === 'fault' && event.text.startsWith('kill ') ? [event.text.slice(5)] : [])),
  )
  for (const event of events) {
    if (event.what === 'handOverIncomplete') excused.add(event.address)
    // A client that was at a peer that was killed may have had it in its inbox.
    if (event.what === 'connected' && died.has(event.peer)) excused.add(event.address)
  }
  const disconnects = events.filter((event): event is Ended => event.what === 'ended' && event.end === 'disconnected')
  const sent = new Map(events.flatMap(event => (event.what === 'send' ? [[event.call, event.atMs] as const] : [])))
  for (const { id, call, status, address, atMs, peer } of receipts(events)) {
    const wentWithClient = (): boolean =>
      disconnects.some(
        ended => ended.address === address && ended.atMs >= (sent.get(call) ?? atMs) && ended.atMs <= atMs + inboxMs,
      )
    if (status === 'delivered' && !delivered.has(id) && !excused.has(address) && !wentWithClient())
      yield `H1 lost: ${id} to '${address}', reported delivered to ${peer} at ${atMs} ms`
    const not = status !== 'delivered' && status !== 'sent' && status !== 'unknown'
    if (not && delivered.has(id)) yield `H5: ${id} to '${address}' was delivered, and reported ${status} to ${peer} at ${atMs} ms`
  }
}

/** H7: every send settles by its deadline and 100 ms; those of processes that died have nobody to settle for. */
function* deadlines(events: readonly HistoryEvent[], { endMs, lateMs = 0 }: CheckOptions): Generator<string> {
  const settled = new Map(receipts(events).map(event => [event.call, event]))
  const end = endMs ?? events.at(-1)?.atMs ?? 0
  for (const send of events.filter((event): event is Send => event.what === 'send')) {
    const untilMs = send.dueMs + 100 + lateMs
    const receipt = settled.get(send.call)
    if (receipt ? receipt.atMs <= untilMs : end <= untilMs || diedAfter(events, send)) continue
    yield `H7 late: call ${send.call} of ${send.peer} to '${send.address}', due at ${send.dueMs} ms, ${receipt ? `settled at ${receipt.atMs} ms` : 'never settled'}`
  }
}

function diedAfter(events: readonly HistoryEvent[], send: Send): boolean {
  return events.some(event => event.what === 'fault' && event.text === `kill ${send.peer}` && event.atMs >= send.atMs)
}

function deliveries(events: readonly HistoryEvent[]): Delivery[] {
  return events.filter((event): event is Delivery => event.what === 'delivery')
}

function receipts(events: readonly HistoryEvent[], status?: Receipt['status']): Receipt[] {
  return events.filter((event): event is Receipt => event.what === 'receipt' && (status === undefined || event.status === status))
}

function parseId(id: string): { origin: string; number: number } {
  const at = id.lastIndexOf('/')
  return { origin: id.slice(0, at), number: Number(id.slice(at + 1)) }
}
