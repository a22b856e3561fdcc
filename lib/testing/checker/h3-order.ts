/**
 * H3: what one run sends to one address is taken in the order of the sends, and nothing is taken twice.
 *
 * At one client this holds for all messages, without excuse. Over all clients of an address it holds for messages that were reported
 * delivered; an `unknown` one may reach a former owner late (docs/guarantees.md, promise 2). Two excuses there: while two own the address (H6
 * bounds that; and each may hand over to others), each sees an ordered part: one may take something after the other took something later, also when the other has gone, if it
 * had accepted it by then (the acknowledgement may come late: `noticeMs`); and the reader of a client that was disconnected may still read
 * what it had, after the next one, or before the next one has what was to come to it first. A message that is missing in between is a loss, and
 * H1's: its marker is an incomplete hand-over.
 *
 * A broadcast is taken once a client at most; one to whom the address moved while it was under way may get it twice, from the former owner
 * too. It has no order with sends.
 */
import { parseId, type Delivery, type Facts } from './facts.ts'
import type { Holder } from './holder.ts'
import type { Violation } from './violation.ts'

/** The last number of one sender's that came to an address, and to whom. */
interface Last {
  readonly number: number
  readonly holder: Holder | undefined
  readonly event: Delivery
}

export function* order(facts: Facts): Generator<Violation> {
  const taken = new Map<string, Delivery>()
  const asked = new Map(
    facts.calls.flatMap(({ asked, answer }) => (answer?.what === 'broadcastDone' && answer.id ? [[answer.id, asked.atMs]] : [])),
  )
  const atClients = new Map<string, Last>()
  const atAddresses = new Map<string, Last>()
  for (const event of facts.deliveries) {
    const { id, address, incarnation, client } = event
    const { origin, number } = parseId(id)
    const broadcast = isBroadcast(origin)
    const key = broadcast ? `${id} ${incarnation} ${client}` : id
    const before = taken.get(key)
    taken.set(key, event)
    if (before && broadcast && cameWithAddress(facts, event, asked.get(id))) continue
    if (before) {
      yield violation(
        event,
        `twice: ${id} to '${address}' was taken at ${before.peer} at ${before.atMs} ms, and at ${event.peer}`,
      )
      continue
    }
    if (broadcast) continue
    const last: Last = { number, holder: facts.holder(event), event }
    const late = notAfter(atClients, `${incarnation} ${client} ${origin}`, last)
    if (late) {
      yield violation(
        event,
        `order: ${origin} to '${address}' at client ${client} of ${event.peer}: message ${number} after ${late.number}`,
      )
      continue
    }
    const knownMs = deliveredMs(facts, id)
    if (knownMs !== undefined) {
      const passing = notAfter(atAddresses, `${origin} ${address}`, last)
      if (passing && !mayBeLate(facts, last, passing, knownMs)) {
        const where = `${passing.event.peer} took ${passing.number} at ${passing.event.atMs} ms, and ${event.peer} then ${number}`
        yield violation(event, `order: ${origin} to '${address}': ${where}`)
      }
    }
  }
}

/** The address moved here while the broadcast was under way, hand-over included: its former owner's copy came beside this peer's own. */
function cameWithAddress(facts: Facts, event: Delivery, askedMs = -Infinity): boolean {
  const { handOverMs, slackMs } = facts.bounds
  const holder = facts.holder(event)
  if (!holder || holder.connectedMs + handOverMs + slackMs < askedMs) return false
  for (const other of facts.holdersFrom(event.address, askedMs)) {
    if (other !== holder && other.connectingMs <= event.atMs) return true
  }
  return false
}

/** What came there before, if it has the higher number; else this is the last one now. */
function notAfter(lasts: Map<string, Last>, key: string, next: Last): Last | undefined {
  const last = lasts.get(key)
  if (last && last.number > next.number) return last
  lasts.set(key, next)
  return undefined
}

/** When its sender knew that it was delivered; `undefined`: never. */
function deliveredMs(facts: Facts, id: string): number | undefined {
  const answer = facts.messages.get(id)?.answer
  return answer?.what === 'receipt' && answer.status === 'delivered' ? answer.atMs : undefined
}

/** Whether `late` may be taken after `passing`, which has the higher number, was taken elsewhere. Its sender knew at `knownMs` that it was delivered. */
function mayBeLate(facts: Facts, late: Last, passing: Last, knownMs: number): boolean {
  const { bounds } = facts
  const [owner, other] = [late.holder, passing.holder]
  if (!owner || !other || owner === other) return false
  if (owner.reads && owner.end !== 'displaced' && owner.endMs <= late.event.atMs) return true
  if (readHeld(other)) return true
  const bothOwned = owner.connectedMs <= passing.event.atMs || ownedApart(facts, passing, other)
  const acceptedByThen = late.event.atMs <= other.endMs || knownMs <= other.endMs + bounds.noticeMs
  return bothOwned && acceptedByThen
}

/**
 * Somebody else had the address as well when `passing` was taken, and handed on what it had: a newer owner, of which the one that took it had not
 * heard; or any, on the other side of a datastore that was split, or because two were written at one moment and both stayed for a while.
 */
function ownedApart(facts: Facts, { event: { atMs, address } }: Last, other: Holder): boolean {
  const isApart = !facts.bounds.atomicPut || [...facts.splits.within(atMs, atMs)].length > 0
  for (const one of facts.holdersFrom(address, atMs)) {
    const isElsewhere = one !== other && one.run !== other.run && one.connectedMs <= atMs
    if (isElsewhere && (isApart || one.connectingMs >= other.connectingMs)) return true
  }
  return false
}

/** Its client was disconnected before what a former owner had was handed over to it: it reads what came by itself, and that goes to the next. */
function readHeld({ reads, end, endMs, firstTakenMs }: Holder): boolean {
  return reads && end === 'disconnected' && firstTakenMs >= endMs
}

/** Broadcasts are numbered apart. */
export function isBroadcast(origin: string): boolean {
  return origin.endsWith('/broadcast')
}

function violation({ atMs, id, address, peer }: Delivery, text: string): Violation {
  return { rule: 'H3', text, atMs, id, address, peer }
}
