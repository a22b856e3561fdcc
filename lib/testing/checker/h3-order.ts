/**
 * H3: what one run sends to one address is taken in the order of the sends, and nothing is taken twice.
 *
 * At one client this holds for all messages, without excuse. Over all clients of an address it holds for messages that were reported
 * delivered; an `unknown` one may reach a former owner late (docs/guarantees.md, promise 2). Two excuses there: while two own the address (H6
 * bounds that), each takes what it has accepted: one may take something after the other took something later, also when only one is left; and the
 * reader of a client that was disconnected may still read what it had, after the next one, or before the next one has what was to come to it
 * first. A message that is missing in between is a loss, and H1's: its marker is an incomplete hand-over.
 *
 * A broadcast is taken once a client at most; one that connected while it was under way may get it twice, from its former owner too. It has no
 * order with sends.
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
    } else if (wasReportedDelivered(facts, id)) {
      const passed = notAfter(atAddresses, `${origin} ${address}`, last)
      if (passed && !mayBeLate(last, passed)) {
        const where = `${passed.event.peer} took ${passed.number} at ${passed.event.atMs} ms, and ${event.peer} then ${number}`
        yield violation(event, `order: ${origin} to '${address}': ${where}`)
      }
    }
  }
}

/** The client moved here while the broadcast was under way, hand-over included: its former owner's copy came beside this peer's own. */
function cameWithAddress(facts: Facts, event: Delivery, askedMs = -Infinity): boolean {
  const { handOverMs, slackMs } = facts.bounds
  return (facts.holder(event)?.connectedMs ?? -Infinity) + handOverMs + slackMs >= askedMs
}

/** What came there before, if it has the higher number; else this is the last one now. */
function notAfter(lasts: Map<string, Last>, key: string, next: Last): Last | undefined {
  const last = lasts.get(key)
  if (last && last.number > next.number) return last
  lasts.set(key, next)
  return undefined
}

function wasReportedDelivered(facts: Facts, id: string): boolean {
  const answer = facts.messages.get(id)?.answer
  return answer?.what === 'receipt' && answer.status === 'delivered'
}

/** `late` was taken after what `passed` it, in number and in time. */
function mayBeLate({ holder: former, event }: Last, { holder: newer, event: passed }: Last): boolean {
  if (!former || !newer || former === newer) return false
  // Each saw an ordered part, whichever of the two connects was the newer one, and whoever has been displaced since.
  if ([former, newer].every(({ connectedMs, endMs }) => connectedMs <= passed.atMs && endMs >= passed.atMs)) return true
  const bothOwn = former.connectedMs <= newer.connectedMs && former.endMs >= event.atMs && newer.endMs >= event.atMs
  const readsOn = former.reads && former.end !== 'displaced' && former.endMs <= event.atMs
  return bothOwn || readsOn || readHeld(newer)
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
