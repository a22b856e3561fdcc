/**
 * H4: whatever a client takes, somebody sent, to this address, with these bytes, and before. So for requests that a handler is called with, and
 * broadcasts.
 *
 * No excuse. What cannot be compared is not: bodies whose hash is not known, because they run code of their own when they are encoded. A
 * message whose sender never heard of it has no known id: then one of the sends of its run to this address has these bytes. Of messages with
 * the same bytes no more are taken than were sent.
 */
import { parseId, type Delivery, type Facts } from './facts.ts'
import { countServed, requestKey } from './h1-effects.ts'
import { isBroadcast } from './h3-order.ts'
import type { Violation } from './violation.ts'

/** Times are told to the microsecond. */
const roundingMs = 0.002

export function* invokes(facts: Facts): Generator<Violation> {
  const sent = new Sent(facts)
  for (const event of facts.deliveries) {
    const wrong = sent.whatIsWrong(event)
    if (wrong === undefined) continue
    const { id, address, peer, atMs } = event
    yield { rule: 'H4', text: `${id} to '${address}', taken at ${peer}, ${wrong}`, atMs, id, address, peer }
  }
  yield* served(facts)
}

/** What was sent with one body from one run to one address, or to all. */
interface Row {
  readonly firstMs: number
  count: number
  /** Of those of them that were taken. */
  readonly ids: Set<string>
}

/** What was sent, to whom and when first, by body. */
class Sent {
  readonly #facts: Facts
  readonly #rows = new Map<string, Row>()
  /** When first something was sent of which the hash is not known, by run and address. */
  readonly #unhashedMs = new Map<string, number>()

  constructor(facts: Facts) {
    this.#facts = facts
    for (const { run, asked } of facts.calls) {
      if (asked.what === 'send') this.#add(`${run.origin}\n${asked.address}`, asked)
      else if (asked.what === 'broadcast') this.#add(`${run.origin}/broadcast\n`, asked)
    }
  }

  #add(to: string, { hash, atMs }: { hash?: string; atMs: number }): void {
    if (hash === undefined) {
      if (!this.#unhashedMs.has(to)) this.#unhashedMs.set(to, atMs)
      return
    }
    const key = `${to}\n${hash}`
    const row = this.#rows.get(key)
    if (row) row.count++
    else this.#rows.set(key, { firstMs: atMs, count: 1, ids: new Set() })
  }

  whatIsWrong(event: Delivery): string | undefined {
    const asked = this.#facts.messages.get(event.id)?.asked
    if (!asked) return this.#wrongByBody(event)
    if (asked.address !== event.address) return `was sent to '${asked.address}'`
    if (asked.atMs > event.atMs + roundingMs) return `was sent only at ${asked.atMs} ms`
    if (asked.hash === undefined || event.hash === undefined) return undefined
    if (asked.hash !== event.hash) return `has other bytes than were sent (${event.hash}, not ${asked.hash})`
    return this.#wrongByBody(event)
  }

  #wrongByBody({ id, address, hash, atMs }: Delivery): string | undefined {
    const { origin } = parseId(id)
    const to = isBroadcast(origin) ? `${origin}\n` : `${origin}\n${address}`
    const untilMs = atMs + roundingMs
    if ((this.#unhashedMs.get(to) ?? Infinity) <= untilMs) return undefined
    if (hash === undefined) return 'has no bytes to compare, and nobody sent any such'
    const row = this.#rows.get(`${to}\n${hash}`)
    if (!row) return 'was sent by nobody'
    if (row.firstMs > untilMs) return `was sent only at ${row.firstMs} ms`
    row.ids.add(id)
    return row.ids.size > row.count ? `is one of ${row.ids.size} with the same bytes, of which ${row.count} were sent` : undefined
  }
}

/** Handlers are not called more often than somebody asked. */
function* served(facts: Facts): Generator<Violation> {
  const asked = new Map<string, number>()
  const unhashed = new Set<string>()
  for (const { asked: ask, run } of facts.calls) {
    if (ask.what !== 'request') continue
    if (ask.hash === undefined) unhashed.add(`${run.origin}\n${ask.address}`)
    else
      asked.set(
        requestKey(run.origin, ask.address, ask.hash),
        1 + (asked.get(requestKey(run.origin, ask.address, ask.hash)) ?? 0),
      )
  }
  for (const [key, { count, lastMs }] of countServed(facts)) {
    const asks = asked.get(key) ?? 0
    const [origin, address] = key.split('\n') as [string, string]
    if (count <= asks || unhashed.has(`${origin}\n${address}`)) continue
    const text = `a request handler of '${address}' was called ${count} times with a request that ${origin} made ${asks} times`
    yield { rule: 'H4', text, atMs: lastMs, address }
  }
}
