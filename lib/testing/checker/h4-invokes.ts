/**
 * H4: whatever a client takes, somebody sent, to this address, with these bytes, and before. So for requests that a handler is called with, and
 * broadcasts.
 *
 * No excuse. What cannot be compared is not: bodies whose hash is not known, because they run code of their own when they are encoded. A
 * message whose sender never heard of it has no known id: then one of the sends of its run to this address has these bytes.
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

/** What was sent, to whom and when first, by body. */
class Sent {
  readonly #facts: Facts
  readonly #firstMs = new Map<string, number>()
  /** Rows of sends with some of which the hash is not known. */
  readonly #unhashed = new Map<string, number>()

  constructor(facts: Facts) {
    this.#facts = facts
    for (const { run, asked } of facts.calls) {
      if (asked.what === 'send') this.#add(`${run.origin}\n${asked.address}`, asked)
      else if (asked.what === 'broadcast') this.#add(`${run.origin}/broadcast\n`, asked)
    }
  }

  #add(row: string, { hash, atMs }: { hash?: string; atMs: number }): void {
    const key = hash === undefined ? row : `${row}\n${hash}`
    const firsts = hash === undefined ? this.#unhashed : this.#firstMs
    if (!firsts.has(key)) firsts.set(key, atMs)
  }

  whatIsWrong(event: Delivery): string | undefined {
    const call = this.#facts.messages.get(event.id)
    if (!call) return this.#wrongByBody(event)
    const { asked } = call
    if (asked.address !== event.address) return `was sent to '${asked.address}'`
    if (asked.atMs > event.atMs + roundingMs) return `was sent only at ${asked.atMs} ms`
    const differs = asked.hash !== undefined && event.hash !== undefined && asked.hash !== event.hash
    return differs ? `has other bytes than were sent (${event.hash}, not ${asked.hash})` : undefined
  }

  #wrongByBody({ id, address, hash, atMs }: Delivery): string | undefined {
    const { origin } = parseId(id)
    const row = isBroadcast(origin) ? `${origin}\n` : `${origin}\n${address}`
    const untilMs = atMs + roundingMs
    if ((this.#unhashed.get(row) ?? Infinity) <= untilMs) return undefined
    if (hash === undefined) return 'has no bytes to compare, and nobody sent any such'
    const firstMs = this.#firstMs.get(`${row}\n${hash}`)
    if (firstMs === undefined) return 'was sent by nobody'
    return firstMs > untilMs ? `was sent only at ${firstMs} ms` : undefined
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
