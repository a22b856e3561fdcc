/**
 * H1: every `ok` has its effect. A message reported delivered was taken by a client; a request that was answered was served; work that was
 * answered was completed; a record kept durably is read.
 *
 * Excuses, for messages (docs/guarantees.md, promise 1): it waited in the inbox of a client when its process was killed, when the application
 * disconnected that client or closed its peer, or when the world ended; or it was left behind in a hand-over that was reported incomplete.
 * Only a client that can have had it counts: one that was there when the message was accepted, or to which the address moved from such a one;
 * which took nothing that came later, but for what may have been handed over ahead of it; and whose handler was busy since (`Holder.mayHaveKept`). A hand-over excuses no more messages than it
 * said were missing, where it said so. What a displaced client left may have waited with its process, when that was killed and nobody had come;
 * with a reader's that was disconnected before what was handed over came (`Holder.endedHeld`); and on its way through the hands of several
 * who had the address and lost it before they had it.
 */
import type { EventOf } from '../history-event.ts'
import { claimKey, parseId, reportKey, type Facts } from './facts.ts'
import type { Accepted, Holder } from './holder.ts'
import type { Call } from './run.ts'
import type { Violation } from './violation.ts'

/** For so long a displaced client's peer keeps what the new owner has not fetched, ms. */
const keptMs = 2_000
/**
 * An address that has more owners than that while one message is under way is looked at no further: it keeps the rule linear. Connects that
 * failed, of which a hundred may have waited for a datastore, do not count.
 */
const ownersMax = 64

export function* effects(facts: Facts): Generator<Violation> {
  yield* new Messages(facts).lost()
  yield* unserved(facts)
  yield* uncompleted(facts)
  yield* unread(facts)
}

class Messages {
  readonly #facts: Facts
  /** How many messages an incomplete hand-over still excuses. */
  readonly #missing = new Map<EventOf<'handOverIncomplete'>, number>()

  constructor(facts: Facts) {
    this.#facts = facts
  }

  *lost(): Generator<Violation> {
    const taken = new Set(this.#facts.deliveries.map(({ id }) => id))
    for (const [id, call] of this.#facts.messages) {
      const { answer, asked, run } = call
      if (answer?.what !== 'receipt' || answer.status !== 'delivered' || taken.has(id)) continue
      const message = { ...parseId(id), sentMs: asked.atMs, acceptedMs: answer.atMs }
      if (this.#isExcused(message, asked.address)) continue
      const text = `lost: ${id} to '${asked.address}', sent at ${asked.atMs} ms and reported delivered to ${run.name}, was taken by nobody`
      yield { rule: 'H1', text, atMs: answer.atMs, address: asked.address, id, peer: run.name }
    }
  }

  #isExcused(message: Accepted, address: string): boolean {
    const { handOverMs, slackMs, blurMs } = this.#facts.bounds
    const fromMs = message.sentMs - blurMs
    /** Until then somebody may have asked for what was left by a former owner that had the message; and who connected after that owner began to. */
    let carriedUntilMs = -Infinity
    let carriedSinceMs = Infinity
    /** When the first of those knew that it had lost the address. */
    let leftMs = Infinity
    let owners = 0
    for (const owner of this.#facts.holdersFrom(address, fromMs)) {
      if (owner.connectedMs < Infinity && ++owners > ownersMax) return false
      if (owner.connectingMs > Math.max(message.acceptedMs, carriedUntilMs)) continue
      const cameLate = owner.connectingMs <= carriedUntilMs && owner.endedHeld(2 * handOverMs, slackMs + blurMs)
      if (!cameLate && !owner.mayHaveKept(message, this.#handedOverMs(owner), 2 * handOverMs, slackMs + blurMs)) continue
      // What a connect that failed had accepted is its process's to keep: it goes on to the next owner, as from who was displaced.
      const handsOver = owner.end === 'displaced' || owner.end === 'failed'
      if (!handsOver || this.#wasLeftBehind(owner, message) || this.#diedKeeping(owner)) return true
      carriedUntilMs = Math.max(carriedUntilMs, owner.endMs + keptMs)
      carriedSinceMs = Math.min(carriedSinceMs, owner.connectingMs)
      leftMs = Math.min(leftMs, owner.endMs)
    }
    return this.#wasPassedOn(message, address, fromMs, carriedSinceMs, leftMs)
  }

  /** Until then one that had the address before, and did not know yet that it had lost it, may have taken what is handed over to `owner`. */
  #handedOverMs(owner: Holder): number {
    let untilMs = -Infinity
    let owners = 0
    for (const { run, end, endMs, connectedMs } of this.#facts.holdersFrom(owner.address, owner.connectingMs)) {
      if (connectedMs < Infinity && ++owners > ownersMax) break
      if (run !== owner.run && end === 'displaced' && connectedMs <= owner.connectedMs) untilMs = endMs
    }
    return untilMs
  }

  /**
   * The former owner did not know of those after it, each of whom had been displaced, or disconnected, before the message was even sent, or before
   * the former owner knew, at `leftMs`: it went from one to the next, as long as each waited for what it was to get, and was left behind on that
   * way.
   */
  #wasPassedOn(message: Accepted, address: string, fromMs: number, sinceMs: number, leftMs: number): boolean {
    const { handOverMs, slackMs } = this.#facts.bounds
    let owners = 0
    for (const owner of this.#facts.holdersFrom(address, fromMs - handOverMs)) {
      if (owner.endMs >= Math.max(fromMs, leftMs) || leftMs === Infinity) return false
      if (owner.connectedMs < Infinity && ++owners > ownersMax) return false
      const gaveOut = owner.firstTakenMs < owner.endMs // it had what it was to get
      if (!hasLost(owner) || gaveOut || owner.connectedMs < sinceMs) continue
      const waitedMs = owner.run.doneBy(owner.connectedMs, owner.connectedMs + handOverMs, slackMs)
      if (waitedMs >= (owner.endMs < fromMs ? fromMs : leftMs) && this.#wasLeftBehind(owner, message)) return true
    }
    return false
  }

  /**
   * Its process died while it kept what its client had left, and nobody was there to ask for that: whoever displaced it died too, or failed, and
   * those after that one ask that one alone (as they do where its connect was written, and its answer never came); or had asked in vain before this one knew of it; or it was one before it, because a datastore lost
   * the newer claim, of which nobody hears then; or one after whose claim had been withdrawn, and had never heard of this one.
   */
  #diedKeeping(owner: Holder): boolean {
    const { diedMs } = owner.run
    const { handOverMs, slackMs } = this.#facts.bounds
    // While it was being filled it was kept again, for as long.
    const keptFromMs = Math.max(owner.endMs, Math.min(owner.endMs, owner.connectedMs) + handOverMs)
    if (diedMs > owner.run.doneBy(owner.endMs, keptFromMs + keptMs, slackMs)) return false
    if (this.#wasForgotten(owner)) return true
    const withdrawnMs = this.#withdrawnMs(owner)
    let owners = 0
    for (const other of this.#facts.holdersFrom(owner.address, owner.endMs)) {
      const asks = other !== owner && owner.connectingMs <= other.connectedMs && other.connectedMs <= diedMs
      if (!asks) continue
      if (++owners > ownersMax) return false
      // An inbox opens without what did not come within that time, and nobody asks for it any more; the first question ends the former client.
      const openedMs = other.run.doneBy(other.connectedMs, other.connectedMs + handOverMs, slackMs)
      const askedInVain = openedMs < Math.max(owner.endMs, owner.connectedMs)
      const mayAsk = other.endMs > owner.endMs && !askedInVain && other.connectedMs < withdrawnMs
      if (mayAsk && !this.#asksAnother(other, owner)) return false
    }
    return true
  }

  /** Whether its claim was among records that were lost right before it was displaced: it looked then, and found another one. */
  #wasForgotten(owner: Holder): boolean {
    const { renewEveryMs } = this.#facts.bounds
    return [...this.#facts.lossesOf(owner)].some(({ atMs }) => atMs <= owner.endMs && owner.endMs <= atMs + renewEveryMs)
  }

  /**
   * Whether somebody had the address between `owner` and `other`, or was named by `other` when it did not get all: `other` asks that one alone. Who
   * was between may have asked itself.
   */
  #asksAnother(other: Holder, owner: Holder): boolean {
    const { handOverMs, slackMs } = this.#facts.bounds
    const askedUntilMs = other.run.doneBy(other.connectedMs, other.connectedMs + handOverMs, slackMs)
    for (const { atMs, fromIncarnation } of this.#facts.reports.get(reportKey(other.run.incarnation, owner.address)) ?? []) {
      const isOfOther = other.connectedMs <= atMs && atMs <= askedUntilMs
      if (isOfOther && fromIncarnation !== owner.run.incarnation && fromIncarnation !== other.run.incarnation) return true
    }
    let owners = 0
    for (const between of this.#facts.holdersFrom(owner.address, owner.connectedMs)) {
      if (between.connectedMs < Infinity && ++owners > ownersMax) return false
      if (between.connectingMs >= owner.connectedMs && between.connectedMs <= other.connectingMs) return true
    }
    return false
  }

  /**
   * When somebody gave up a connect, first, that may have been written over this owner's claim: it is withdrawn then, and whoever connects
   * afterwards finds nobody in the datastore.
   */
  #withdrawnMs(owner: Holder): number {
    let owners = 0
    for (const { end, endMs, connectingMs, connectedMs } of this.#facts.holdersFrom(owner.address, owner.connectingMs)) {
      if (connectedMs < Infinity && ++owners > ownersMax) break
      const gaveUp = end === 'failed' || (end === 'killed' && connectedMs > endMs)
      if (gaveUp && connectingMs <= owner.endMs) return endMs
    }
    return Infinity
  }

  #wasLeftBehind(owner: Holder, { sentMs }: Accepted): boolean {
    for (const handOver of this.#facts.handOvers.get(claimKey(owner.run.incarnation, owner.claim)) ?? []) {
      if (handOver.address !== owner.address || handOver.atMs < sentMs) continue
      const left = this.#missing.get(handOver) ?? handOver.missing ?? Infinity
      if (left <= 0) continue
      this.#missing.set(handOver, left - 1)
      return true
    }
    return false
  }
}

/** It held the address, and does not any more; a peer that closes gives its addresses back. */
function hasLost({ end }: Holder): boolean {
  return end === 'displaced' || end === 'disconnected' || end === 'closed'
}

/**
 * The asker of a request does not see its id: requests of one run to one address with one body are counted together. Excuse: the last lines of
 * a process that was killed may be missing (`blurMs`).
 */
function* unserved(facts: Facts): Generator<Violation> {
  const { blurMs } = facts.bounds
  const served = countServed(facts)
  for (const call of facts.calls) {
    const { asked, answer, run } = call
    if (asked.what !== 'request' || answer?.what !== 'reply' || !answer.ok || asked.hash === undefined) continue
    const key = requestKey(run.origin, asked.address, asked.hash)
    const row = served.get(key)
    if (row) row.count--
    if ((row && row.count >= 0) || (blurMs > 0 && diedHolding(facts, asked.address, asked.atMs, answer.atMs + blurMs))) continue
    const text = `a request of ${run.name} to '${asked.address}' was answered, and no handler was called for it`
    yield { rule: 'H1', text, atMs: answer.atMs, address: asked.address, peer: run.name }
  }
}

export function requestKey(origin: string, address: string, hash: string): string {
  return `${origin}\n${address}\n${hash}`
}

/** How often a request handler was called, and when last, by who asked whom what. */
export function countServed(facts: Facts): Map<string, { count: number; lastMs: number }> {
  const served = new Map<string, { count: number; lastMs: number }>()
  for (const event of facts.events) {
    if (event.what !== 'served' || event.hash === undefined) continue
    const key = requestKey(parseId(event.id).origin, event.address, event.hash)
    const row = served.get(key)
    if (row) row.count++
    served.set(key, { count: row?.count ?? 1, lastMs: event.atMs })
  }
  return served
}

function diedHolding(facts: Facts, address: string, fromMs: number, untilMs: number): boolean {
  for (const { end, endMs } of facts.holdersFrom(address, fromMs)) {
    if (endMs > untilMs) return false
    if (end === 'killed') return true
  }
  return false
}

/** Work that was answered with a result has been completed, somewhere. */
function* uncompleted(facts: Facts): Generator<Violation> {
  const completed = new Set<string>()
  for (const event of facts.events) if (event.what === 'serviceCompleted') completed.add(`${event.type}\n${event.id}`)
  for (const event of facts.events) {
    if (event.what !== 'serviceAnswered' || event.code !== undefined || completed.has(`${event.type}\n${event.id}`)) continue
    const text = `work ${event.id} of '${event.type}' was answered with a result, and nobody completed it`
    yield { rule: 'H1', text, atMs: event.atMs, id: event.id, peer: event.peer }
  }
}

/** A record that was acknowledged is read by whoever began at or before its offset and reads to the end of the world; or it hears of a gap. */
function* unread(facts: Facts): Generator<Violation> {
  const readers = readersToTheEnd(facts)
  for (const { run, asked, answer } of facts.calls as Call[]) {
    if (asked.what !== 'topicAppend' || answer?.what !== 'topicAppended' || answer.offset === undefined) continue
    const { offset } = answer
    const lacks = (readers.get(asked.topic) ?? []).find(
      ({ firstOffset, nextOffset }) => firstOffset <= offset && offset >= nextOffset,
    )
    // What was appended last may be on its way to its readers.
    if (!lacks || answer.atMs + facts.bounds.slackMs > facts.bounds.endMs) continue
    const text = `record ${offset} of '${asked.topic}' was acknowledged to ${run.name}, and not read by reader ${lacks.name}`
    yield { rule: 'H1', text, atMs: answer.atMs, peer: run.name }
  }
}

interface Reading {
  readonly name: string
  readonly firstOffset: number
  nextOffset: number
}

/** By topic: the reader that is furthest behind, of those that did not end. Its gaps are those of `logs`. */
function readersToTheEnd(facts: Facts): Map<string, Reading[]> {
  const byReader = new Map<string, Reading & { topic: string }>()
  for (const event of facts.events) {
    if (event.what !== 'topicRead' && event.what !== 'topicGap' && event.what !== 'topicReaderEnded') continue
    const key = `${event.incarnation}\n${event.topic}\n${event.reader}`
    if (event.what === 'topicReaderEnded' || (facts.runs.get(event.incarnation)?.goneMs ?? 0) <= facts.bounds.endMs) {
      byReader.delete(key)
      continue
    }
    const next = event.what === 'topicRead' ? event.offset + 1 : event.offset
    const reading = byReader.get(key)
    if (reading) reading.nextOffset = Math.max(reading.nextOffset, next)
    else
      byReader.set(key, {
        name: `${event.reader} of ${event.peer}`,
        topic: event.topic,
        firstOffset: event.offset,
        nextOffset: next,
      })
  }
  return slowestOfTopics(byReader.values())
}

function slowestOfTopics(readings: Iterable<Reading & { topic: string }>): Map<string, Reading[]> {
  const slowest = new Map<string, Reading[]>()
  for (const reading of readings) {
    const [other] = slowest.get(reading.topic) ?? []
    if (!other || reading.nextOffset < other.nextOffset) slowest.set(reading.topic, [reading])
  }
  return slowest
}
