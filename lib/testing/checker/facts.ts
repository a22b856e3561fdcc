/** What the rules ask of a history, gathered in one pass: runs and what befell them, calls and their answers, clients and what they took. */
import type { EventOf, HistoryEvent, What } from '../history-event.ts'
import { Holder } from './holder.ts'
import type { Bounds } from './options.ts'
import { Run, type Answer, type Asked, type Call } from './run.ts'
import { Spans } from './spans.ts'

export type Delivery = EventOf<'delivery'>

/** Times in which something was so, by what caused it. */
type Causes = Map<string, Spans>

type Readers = { readonly [Kind in What]?: (event: EventOf<Kind>) => void }

/** When the datastore lost records, and since when what was written is lost. */
interface Loss {
  readonly atMs: number
  readonly sinceMs: number
}

export class Facts {
  readonly bounds: Bounds
  readonly events: readonly HistoryEvent[]
  /** By incarnation. */
  readonly runs = new Map<string, Run>()
  readonly calls: Call[] = []
  /** Sends whose receipt is known, by the id of the message. */
  readonly messages = new Map<string, Call<EventOf<'send'>>>()
  readonly deliveries: Delivery[] = []
  /** Those who held an address, or tried to, in the order of their calls. */
  readonly holders = new Map<string, Holder[]>()
  /** Incomplete hand-overs, by the claim that they were to empty. */
  readonly handOvers = new Map<string, EventOf<'handOverIncomplete'>[]>()
  /** The same, by who said so (`reportKey`). */
  readonly reports = new Map<string, EventOf<'handOverIncomplete'>[]>()
  /** Exits, and whether they were somebody's doing. */
  readonly exits: { exit: EventOf<'exit'>; run: Run | undefined; killed: boolean }[] = []

  /** For a lease after the datastore lost records, one that is missing need not be a goodbye. */
  readonly forgot = new Spans()
  readonly losses: Loss[] = []
  /** Times in which some line was so slow that what is on its way comes late, and not silent. */
  readonly drips = new Spans()
  /** The datastore was not to be had, for anybody: by cause, because one may go on when another ends. */
  readonly #apart: Causes = new Map()
  /** As it was done to a name, whichever run that was. */
  readonly #apartByName = new Map<string, Causes>()
  readonly #byEnd = new Map<string, Holder[]>()
  readonly #cuts = new Map<string, number>()
  readonly #dripping = new Map<string, number>()
  /** The run that a name has now. */
  readonly #now = new Map<string, Run>()
  readonly #killed = new Set<string>()
  /** Links that brokers have, by broker's incarnation and other identity, and since when. */
  readonly #brokerLinks = new Map<string, number>()
  readonly #stopped = new Map<string, number>()

  constructor(events: readonly HistoryEvent[], bounds: Bounds) {
    this.events = events
    this.bounds = bounds
    const readers = this.#readers as Readonly<Record<string, ((event: never) => void) | undefined>>
    for (const event of events) {
      if ('incarnation' in event) this.#run(event)
      readers[event.what]?.(event as never)
    }
    this.#finish()
  }

  /** Times in which a run could not get to the datastore, or stood still: then it can do nothing for its lease, its claims and its notes. */
  troubles(run: Run): Spans[] {
    return [run.still, run.apart, run.unsure, ...this.#apart.values(), ...(this.#apartByName.get(run.name)?.values() ?? [])]
  }

  /** Times in which the datastore was in parts that did not know of each other. */
  get splits(): Spans {
    return causeOf(this.#apart, 'split')
  }

  /** The client that an event is about. */
  holder(event: { incarnation: string; client: number }): Holder | undefined {
    return this.runs.get(event.incarnation)?.clients.get(event.client)
  }

  /** What the datastore lost that the claim of a client may have been among. */
  *lossesOf({ connectingMs, connectedMs }: Holder): Generator<Loss> {
    for (const loss of this.losses) if (loss.sinceMs <= connectedMs && connectingMs < loss.atMs) yield loss
  }

  /** Who held an address, or tried to, in the order in which they came to their ends; from the first that was there at `fromMs` or later. */
  *holdersFrom(address: string, fromMs: number): Generator<Holder> {
    const holders = this.#byEnd.get(address) ?? []
    let low = 0
    let high = holders.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (holders[middle]!.endMs < fromMs) low = middle + 1
      else high = middle
    }
    for (let at = low; at < holders.length; at++) yield holders[at]!
  }

  #run(event: { atMs: number; peer: string; incarnation: string }): Run {
    let run = this.runs.get(event.incarnation)
    if (!run) {
      run = new Run(event.peer, event.incarnation, event.atMs)
      this.runs.set(event.incarnation, run)
      this.#now.set(event.peer, run)
      this.#killed.delete(event.peer)
    }
    return run
  }

  readonly #readers: Readers = {
    started: event => {
      const run = this.#run(event)
      run.identity = event.identity
      run.role = event.role
    },
    draining: event => this.#run(event).leaving(event.atMs),
    closing: event => this.#run(event).leaving(event.atMs),
    fenced: event => this.#run(event).leaving(event.atMs),
    closed: event => {
      const run = this.#run(event)
      run.leaving(event.atMs)
      this.#gone(run, event.atMs)
    },
    storeDown: event => this.#ownTrouble(event).begin(event.atMs),
    storeUp: event => this.#ownTrouble(event).end(event.atMs),
    lease: event => {
      const { unsure } = this.#run(event)
      if (event.state === 'unsure') unsure.begin(event.atMs)
      else unsure.end(event.atMs)
    },
    linkUp: event => {
      if (this.#run(event).role === 'broker') this.#brokerLinks.set(linkKey(event), event.atMs)
    },
    linkDown: event => this.#linkDown(event),
    send: event => this.#ask(event),
    request: event => this.#ask(event),
    broadcast: event => this.#ask(event),
    serviceAsked: event => this.#ask(event),
    topicAppend: event => this.#ask(event),
    receipt: event => {
      const call = this.#answer(event)
      if (call && event.id !== '') this.messages.set(event.id, call as Call<EventOf<'send'>>)
    },
    reply: event => void this.#answer(event),
    broadcastDone: event => void this.#answer(event),
    serviceAnswered: event => void this.#answer(event),
    topicAppended: event => void this.#answer(event),
    connecting: event => void this.#connecting(event, event.dueMs, event.reads),
    connected: event => {
      const holder = this.holder(event) ?? this.#connecting(event, Infinity, false)
      holder.connectedMs = holder.settledMs = event.atMs
      holder.claim = event.claim
      holder.run.holds(1)
    },
    connectFailed: event => {
      const holder = this.holder(event)
      if (!holder) return
      holder.settledMs = event.atMs
      holder.ended('failed', event.atMs)
    },
    ended: event => {
      const holder = this.holder(event)
      if (!holder) return
      holder.ended(event.end, event.atMs)
      holder.run.holds(-1)
    },
    busy: event => this.holder(event)?.busy(event.atMs, this.bounds.slackMs),
    idle: event => this.holder(event)?.idle(event.atMs),
    delivery: event => void this.deliveries.push(event),
    handOverIncomplete: event => {
      listAt(this.handOvers, claimKey(event.fromIncarnation, event.fromClaim)).push(event)
      listAt(this.reports, reportKey(event.incarnation, event.address)).push(event)
    },
    exit: event => {
      const run = this.#now.get(event.name)
      this.exits.push({ exit: event, run, killed: this.#killed.delete(event.name) })
      run?.died(event.atMs)
      if (run) this.#gone(run, event.atMs)
    },
    fault: event => this.#fault(event),
  }

  /** Where the other end's machine lost its power, its broker has kept its lease until now. */
  #linkDown(event: EventOf<'linkDown'>): void {
    const key = linkKey(event)
    const sinceMs = this.#brokerLinks.get(key)
    if (sinceMs === undefined || !this.#brokerLinks.delete(key)) return
    for (const run of this.runs.values()) {
      if (run.identity !== event.other || run.diedMs < sinceMs || run.diedMs > event.atMs) continue
      run.keptUntilMs = Math.min(event.atMs, run.diedMs + this.bounds.noticeMs)
    }
  }

  /** A broker's trouble with the datastore is that of all who go through it; and nobody knows who does. */
  #ownTrouble(event: { atMs: number; peer: string; incarnation: string }): Spans {
    const run = this.#run(event)
    return run.role === 'broker' ? causeOf(this.#apart, `as ${run.incarnation} says`) : run.apart
  }

  #gone(run: Run, atMs: number): void {
    run.gone(atMs)
    if (run.role === 'broker') causeOf(this.#apart, `as ${run.incarnation} says`).end(atMs)
  }

  #ask(asked: Asked): void {
    const run = this.#run(asked)
    const call: Call = { run, asked, answer: undefined }
    run.calls.set(asked.call, call)
    this.calls.push(call)
  }

  #answer(answer: Answer): Call | undefined {
    const call = this.#run(answer).calls.get(answer.call)
    if (call) call.answer ??= answer
    return call
  }

  #connecting(event: EventOf<'connecting' | 'connected'>, dueMs: number, reads: boolean): Holder {
    const run = this.#run(event)
    const holder = new Holder(run, event.address, event.client, reads, event.atMs, dueMs)
    run.clients.set(event.client, holder)
    listAt(this.holders, event.address).push(holder)
    return holder
  }

  // Faults

  #fault(event: EventOf<'fault'>): void {
    const { atMs } = event
    switch (event.fault) {
      case 'kill': {
        this.#killed.add(event.name)
        this.#resumes(event.name, atMs)
        const run = this.#now.get(event.name)
        // Until its peers notice, and have another way to the datastore or know that they have none.
        if (run?.role === 'broker') causeOf(this.#apart, 'broker').add(atMs, atMs + this.bounds.noticeMs)
        run?.died(atMs)
        return run && this.#gone(run, atMs)
      }
      case 'stall':
        if (event.forMs === undefined) this.#stopped.set(event.name, atMs)
        else this.#standsStill(event.name, atMs, event.forMs)
        return
      case 'resume':
        return this.#resumes(event.name, atMs)
      case 'suspend':
        this.#now.get(event.name)?.asleep.add(atMs, atMs + event.forMs)
        return this.#standsStill(event.name, atMs, event.forMs)
      case 'block':
        return this.#blocked(event.name, atMs, event.forMs)
      case 'heal':
        this.#dripsNoMore(event.from, event.to, atMs)
        return this.#cut(event.from, event.to, atMs, false)
      case 'cut':
        return this.#cut(event.from, event.to, atMs, true)
      case 'drip':
        this.#dripping.set(lineKey(event.from, event.to), atMs)
        return this.#cut(event.from, event.to, atMs, true)
      case 'narrow':
        this.drips.end(atMs)
        if (this.bounds.windowBytes > (event.bytesPerMs ?? Infinity) * this.bounds.noticeMs) this.drips.begin(atMs)
        return
      case 'storeDown':
      case 'storeUp':
        return this.#store(event.name, 'down', atMs, event.fault === 'storeDown')
      case 'storeSplit':
      case 'storeWhole':
        return this.#store(undefined, 'split', atMs, event.fault === 'storeSplit')
      case 'storeAmbiguous':
        return this.#store(event.name, 'ambiguous', atMs, event.ambiguous)
      case 'storeSlow':
        // A renewal may be two: a read, and a write over what was read.
        return this.#store(event.name, 'slow', atMs, 2 * event.slowMs >= this.bounds.operationTimeoutMs)
      case 'storeForgot':
        // Whoever is affected finds it out at its next renewal.
        this.forgot.add(atMs, atMs + this.bounds.leaseMs)
        this.losses.push({ atMs, sinceMs: atMs - (event.lostMs ?? Infinity) })
        return this.#storeSpans(event.name, 'forgot').add(atMs, atMs + this.bounds.renewEveryMs)
      case 'start':
        this.#killed.delete(event.name)
        return
      case 'reset':
      case 'other':
    }
  }

  /** It goes on, or is killed where it stood. */
  #resumes(name: string, atMs: number): void {
    const sinceMs = this.#stopped.get(name)
    this.#stopped.delete(name)
    if (sinceMs !== undefined) this.#standsStill(name, sinceMs, atMs - sinceMs)
  }

  #standsStill(name: string, atMs: number, forMs: number): void {
    const run = this.#now.get(name)
    run?.still.add(atMs, atMs + forMs)
    run?.blocked.add(atMs, atMs + forMs)
    if (run?.role === 'broker') causeOf(this.#apart, 'broker').add(atMs, atMs + forMs)
  }

  /** The pulse goes on renewing for so long. */
  #blocked(name: string, atMs: number, forMs: number): void {
    const run = this.#now.get(name)
    run?.blocked.add(atMs, atMs + forMs)
    if (forMs > this.bounds.stallMs) run?.still.add(atMs + this.bounds.stallMs, atMs + forMs)
  }

  /** Between a peer and its broker, a cut is one from the datastore: it takes its time to be noticed, and to be healed. */
  #cut(one: string, other: string, atMs: number, cut: boolean): void {
    for (const [name, broker] of [
      [one, other],
      [other, one],
    ] as const) {
      if (this.#now.get(broker)?.role !== 'broker' || this.#now.get(name)?.role === 'broker') continue
      const key = JSON.stringify([name, broker])
      const sinceMs = this.#cuts.get(key)
      if (cut) this.#cuts.set(key, sinceMs ?? atMs)
      else if (sinceMs !== undefined) {
        this.#cuts.delete(key)
        this.#byName(name, 'cut').add(sinceMs, atMs + this.bounds.noticeMs)
      }
    }
  }

  #dripsNoMore(from: string, to: string, atMs: number): void {
    const key = lineKey(from, to)
    const sinceMs = this.#dripping.get(key)
    if (sinceMs !== undefined) this.drips.add(sinceMs, atMs)
    this.#dripping.delete(key)
  }

  #store(name: string | undefined, cause: string, atMs: number, down: boolean): void {
    const spans = this.#storeSpans(name, cause)
    if (down) spans.begin(atMs)
    else spans.end(atMs)
    // What is up for all is up for each.
    if (name === undefined && !down) for (const each of this.#apartByName.values()) each.get(cause)?.end(atMs)
  }

  #storeSpans(name: string | undefined, cause: string): Spans {
    if (name === undefined || this.#now.get(name)?.role === 'broker') return causeOf(this.#apart, cause)
    return this.#byName(name, cause)
  }

  #byName(name: string, cause: string): Spans {
    let causes = this.#apartByName.get(name)
    if (!causes) this.#apartByName.set(name, (causes = new Map()))
    return causeOf(causes, cause)
  }

  // The end

  #finish(): void {
    for (const [key, sinceMs] of this.#cuts) this.#byName((JSON.parse(key) as [string, string])[0], 'cut').add(sinceMs, Infinity)
    for (const sinceMs of this.#dripping.values()) this.drips.add(sinceMs, Infinity)
    for (const [name, sinceMs] of this.#stopped) this.#standsStill(name, sinceMs, Infinity)
    for (const [address, holders] of this.holders) {
      for (const holder of holders) this.#endOf(holder)
      this.#byEnd.set(
        address,
        holders.toSorted((one, other) => one.endMs - other.endMs),
      )
    }
    for (const event of this.deliveries) this.#took(event)
  }

  #endOf(holder: Holder): void {
    const { run } = holder
    if (run.goneMs <= this.bounds.endMs) holder.ended('killed', run.goneMs)
    holder.ended('open', this.bounds.endMs)
  }

  /** Once all sends are known: what a client took may have been sent by whoever is heard of later. */
  #took({ incarnation, client, id, atMs }: Delivery): void {
    const holder = this.runs.get(incarnation)?.clients.get(client)
    const { origin, number } = parseId(id)
    if (!holder) return
    holder.firstTakenMs = Math.min(holder.firstTakenMs, atMs)
    holder.last.set(origin, Math.max(number, holder.last.get(origin) ?? -1))
    holder.lastSentMs = Math.max(holder.lastSentMs, this.messages.get(id)?.asked.atMs ?? -Infinity)
  }
}

function causeOf(causes: Causes, cause: string): Spans {
  let spans = causes.get(cause)
  if (!spans) causes.set(cause, (spans = new Spans()))
  return spans
}

function lineKey(from: string, to: string): string {
  return JSON.stringify([from, to])
}

function linkKey({ incarnation, other }: { incarnation: string; other: string }): string {
  return `${incarnation} ${other}`
}

export function claimKey(incarnation: string | undefined, claim: number | undefined): string {
  return `${incarnation} ${claim}`
}

/** Who says something of an address. */
export function reportKey(incarnation: string, address: string): string {
  return `${incarnation} ${address}`
}

function listAt<Key, Item>(map: Map<Key, Item[]>, key: Key): Item[] {
  let list = map.get(key)
  if (!list) map.set(key, (list = []))
  return list
}

/** Of a message: the run that sent it, and its number in the row of that run's sends. */
export function parseId(id: string): { origin: string; number: number } {
  const at = id.lastIndexOf('/')
  return { origin: id.slice(0, at), number: Number(id.slice(at + 1)) }
}
