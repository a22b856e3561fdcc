/** What happened in a cluster, in order; or what one process of it did and saw. */
import type { HistoryEvent, EventOf, Told, What } from './history-event.ts'

export interface HistoryOptions {
  /** Gets each event when it has been told, before `add` returns; the events are not kept then. */
  each?: (event: HistoryEvent) => void
}

export class History {
  readonly events: HistoryEvent[] = []
  readonly #nowMs: () => number
  readonly #each: ((event: HistoryEvent) => void) | undefined
  #calls = 0
  #clients = 0

  constructor(nowMs: () => number, { each }: HistoryOptions = {}) {
    this.#nowMs = nowMs
    this.#each = each
  }

  /** Now, as events are told: ms, to the microsecond. */
  get nowMs(): number {
    return Math.round(this.#nowMs() * 1_000) / 1_000
  }

  add(told: Told): void {
    const event = { atMs: this.nowMs, ...told } as HistoryEvent
    if (this.#each) this.#each(event)
    else this.events.push(event)
  }

  nextCall(): number {
    return ++this.#calls
  }

  nextClient(): number {
    return ++this.#clients
  }

  /** One JSON line an event: the same seed gives the same text. */
  toString(): string {
    return this.events.map(event => JSON.stringify(event)).join('\n')
  }

  /** The events of one kind. */
  of<Kind extends What>(what: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.what === what)
  }
}
