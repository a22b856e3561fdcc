/** What happened in a simulated cluster, in order: what callers asked and heard, what clients got, and what was done to whom. */
import type { ClientEnd } from '../client.ts'
import type { ErrorCode } from '../errors.ts'
import type { Status } from '../router/receipt.ts'

interface At {
  /** Virtual time, ms since the start of the cluster. */
  readonly atMs: number
}

/** Something that one run of a peer did or saw. */
interface AtPeer extends At {
  readonly peer: string
  readonly incarnation: string
}

export type HistoryEvent =
  | (AtPeer & { what: 'send'; call: number; address: string; dueMs: number })
  | (AtPeer & { what: 'receipt'; call: number; address: string; id: string; status: Status; code?: ErrorCode })
  | (AtPeer & { what: 'connecting'; address: string })
  /** `client` numbers the clients of the cluster, in the order in which they connected. */
  | (AtPeer & { what: 'connected'; address: string; client: number })
  | (AtPeer & { what: 'ended'; address: string; client: number; end: ClientEnd })
  /** A client's handler or reader took a message. */
  | (AtPeer & { what: 'delivery'; address: string; client: number; id: string })
  /** The former owner's inbox could not be fetched whole. */
  | (AtPeer & { what: 'handOverIncomplete'; address: string; missing: number | undefined })
  | (AtPeer & { what: 'memberUp'; other: string })
  | (AtPeer & { what: 'memberDown'; other: string; why: string })
  | (AtPeer & { what: 'linkUp'; other: string })
  | (AtPeer & { what: 'linkDown'; other: string; why: string })
  | (AtPeer & { what: 'lease'; state: string })
  | (AtPeer & { what: 'started' | 'draining' | 'closed' | 'fenced' | 'storeDown' | 'storeUp' })
  /** What the test did to the cluster, in words. */
  | (At & { what: 'fault'; text: string })

/** An event as it is told to the history: the time is added there. */
export type Told = HistoryEvent extends infer Event ? (Event extends At ? Omit<Event, 'atMs'> : never) : never

export class History {
  readonly events: HistoryEvent[] = []
  readonly #nowMs: () => number
  #calls = 0
  #clients = 0

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  add(told: Told): void {
    this.events.push({ atMs: Math.round(this.#nowMs() * 1_000) / 1_000, ...told } as HistoryEvent)
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
  of<What extends HistoryEvent['what']>(what: What): Extract<HistoryEvent, { what: What }>[] {
    return this.events.filter((event): event is Extract<HistoryEvent, { what: What }> => event.what === what)
  }
}
