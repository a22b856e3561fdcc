/**
 * H8: a topic has one order for all and no holes: at one offset everybody finds the same record, nobody is given an offset that another record
 * has, and a reader goes from each to the next one. A site takes in what another accepted once each, in its order, none left out, unchanged.
 *
 * Excuse: a reader that is told of a gap goes on behind it.
 */
import type { HistoryEvent } from '../history-event.ts'
import type { Facts } from './facts.ts'
import type { Violation } from './violation.ts'

export function* logs(facts: Facts): Generator<Violation> {
  yield* new Topics(facts).violations()
  yield* sites(facts.events)
}

class Topics {
  readonly #facts: Facts
  /** What is at an offset, by whom it was first told. */
  readonly #records = new Map<string, { hash: string | undefined; peer: string; appended: boolean }>()
  /** The offset that comes next, by reader. */
  readonly #next = new Map<string, number>()

  constructor(facts: Facts) {
    this.#facts = facts
  }

  *violations(): Generator<Violation> {
    for (const event of this.#facts.events) {
      if (event.what === 'topicAppended') yield* this.#appended(event)
      else if (event.what === 'topicRead') yield* this.#read(event)
      else if (event.what === 'topicGap') this.#next.set(readerKey(event), event.offset)
    }
  }

  *#appended({
    incarnation,
    call,
    topic,
    offset,
    atMs,
    peer,
  }: Extract<HistoryEvent, { what: 'topicAppended' }>): Generator<Violation> {
    if (offset === undefined) return
    const asked = this.#facts.runs.get(incarnation)?.calls.get(call)?.asked
    const hash = asked?.what === 'topicAppend' ? asked.hash : undefined
    const key = `${offset} ${topic}`
    const known = this.#records.get(key)
    this.#records.set(key, { hash: known?.hash ?? hash, peer, appended: true })
    if (known?.appended) {
      yield { rule: 'H8', text: `offset ${offset} of '${topic}' was given to ${known.peer} and to ${peer}`, atMs, peer }
    } else if (differ(known?.hash, hash)) {
      yield { rule: 'H8', text: `offset ${offset} of '${topic}', given to ${peer}, was read as another record`, atMs, peer }
    }
  }

  *#read(event: Extract<HistoryEvent, { what: 'topicRead' }>): Generator<Violation> {
    const { topic, offset, hash, atMs, peer, reader } = event
    const expected = this.#next.get(readerKey(event)) ?? offset
    this.#next.set(readerKey(event), offset + 1)
    if (offset !== expected) {
      const text = `reader ${reader} of ${peer} read offset ${offset} of '${topic}', and ${expected} came next`
      yield { rule: 'H8', text, atMs, peer }
    }
    const key = `${offset} ${topic}`
    const known = this.#records.get(key)
    if (differ(known?.hash, hash)) {
      const text = `${peer} read another record at offset ${offset} of '${topic}' than ${known?.peer} knows there`
      yield { rule: 'H8', text, atMs, peer }
    } else if (!known) this.#records.set(key, { hash, peer, appended: false })
  }
}

function differ(one: string | undefined, other: string | undefined): boolean {
  return one !== undefined && other !== undefined && one !== other
}

function readerKey({ incarnation, topic, reader }: { incarnation: string; topic: string; reader: number }): string {
  return `${incarnation} ${reader} ${topic}`
}

function* sites(events: readonly HistoryEvent[]): Generator<Violation> {
  const exported = new Map<string, string | undefined>()
  for (const event of events) if (event.what === 'siteExported') exported.set(`${event.seq} ${event.source}`, event.hash)
  const next = new Map<string, number>()
  for (const event of events) {
    if (event.what !== 'siteImported') continue
    const { site, source, seq, hash, atMs, peer } = event
    const key = JSON.stringify([site, source])
    const expected = next.get(key) ?? seq
    next.set(key, Math.max(seq + 1, expected))
    const what = `record ${seq} of '${source}'`
    if (seq < expected) yield { rule: 'H8', text: `${what} was taken in at '${site}' again`, atMs, peer }
    if (seq > expected) yield { rule: 'H8', text: `${what} was taken in at '${site}', and ${expected} came next`, atMs, peer }
    if (differ(exported.get(`${seq} ${source}`), hash))
      yield { rule: 'H8', text: `${what} came to '${site}' changed`, atMs, peer }
  }
}
