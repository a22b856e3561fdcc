/** What can stand in a history: what callers asked and heard, what clients got, what peers judged, and what was done to whom. */
import type { ClientEnd } from '../client.ts'
import type { ErrorCode, Outcome } from '../errors.ts'
import type { Status } from '../router/receipt.ts'
import type { Departure, LeaseState } from '../sessions/directory.ts'

export interface At {
  /**
   * Monotonic time, ms: of the virtual clock in a simulation; of the machine's clock where processes are real. All processes of one machine
   * share that one (CLOCK_MONOTONIC), so what they wrote can be put in order; those of two machines do not.
   */
  readonly atMs: number
}

/** Something that one run of a peer or broker did or saw. */
export interface AtPeer extends At {
  /** Name of the process: its identity, unless two processes were started under the same. */
  readonly peer: string
  readonly incarnation: string
}

/** What a caller asked for. `call` numbers the calls of one process; what answers it carries the same number. */
export interface Invoke extends AtPeer {
  readonly call: number
  /** When it must have its answer. */
  readonly dueMs: number
}

/** `client` numbers the clients of one process (in a simulation: of the cluster). */
export interface AtClient extends AtPeer {
  readonly address: string
  readonly client: number
}

/** Hash of the encoded body: absent where the body runs code of its own while it is encoded. */
export interface Hashed {
  readonly hash?: string
}

type Messages =
  /** `level` is `sent` where no more than that was asked for. */
  | (Invoke & Hashed & { what: 'send'; address: string; level: 'delivered' | 'sent' })
  | (AtPeer & { what: 'receipt'; call: number; address: string; id: string; status: Status; code?: ErrorCode })
  | (Invoke & Hashed & { what: 'request'; address: string })
  | (AtPeer & { what: 'reply'; call: number; address: string; ok: boolean; code?: ErrorCode; outcome?: Outcome })
  | (Invoke & Hashed & { what: 'broadcast' })
  | (AtPeer & { what: 'broadcastDone'; call: number; id?: string; reached?: number; code?: ErrorCode })

type Clients =
  /** `reads`: it has no handler for messages, and is iterated. */
  | (AtClient & { what: 'connecting'; dueMs: number; reads: boolean })
  | (AtClient & { what: 'connected'; claim?: number })
  | (AtClient & { what: 'connectFailed'; code?: ErrorCode })
  | (AtClient & { what: 'ended'; end: ClientEnd })
  /** A client's handler or reader took a message. */
  | (AtClient & Hashed & { what: 'delivery'; id: string })
  /** Its handler returned a promise: what comes next waits in the inbox. Until `idle`, when that promise has settled. */
  | (AtClient & { what: 'busy' })
  | (AtClient & { what: 'idle' })
  /** A client's request handler was called. */
  | (AtClient & Hashed & { what: 'served'; id: string })
  /** The former owner's inbox could not be fetched whole. */
  | (AtPeer & {
      what: 'handOverIncomplete'
      address: string
      fromIncarnation?: string
      fromClaim?: number
      /** How many messages, where it is known. */
      missing?: number
    })

/** One event for each of these, with nothing more to tell. */
type Bare<Kinds extends string> = Kinds extends string ? AtPeer & { what: Kinds } : never

type Cluster =
  | (AtPeer & { what: 'started'; identity: string; role: 'peer' | 'broker' })
  /** It was told to drain, or to close: from then on it may say goodbye. */
  | Bare<'draining' | 'closing'>
  | Bare<'closed' | 'fenced' | 'storeDown' | 'storeUp'>
  | (AtPeer & { what: 'lease'; state: LeaseState })
  | (AtPeer & { what: 'memberUp'; other: string; otherIncarnation: string })
  | (AtPeer & { what: 'memberDown'; other: string; otherIncarnation: string; why: Departure })
  | (AtPeer & { what: 'linkUp'; other: string })
  | (AtPeer & { what: 'linkDown'; other: string; why: string })
  | (AtPeer & { what: 'unhandledRejection'; text: string })
  /** A figure that has a bound: bytes of memory, descriptors, ... */
  | (AtPeer & { what: 'measured'; of: string; value: number; valueMax: number })

/** Of the layers above: what they tell when they are there. */
type Layers =
  /** Work was asked of a service, under (type, id). */
  | (Invoke & { what: 'serviceAsked'; type: string; id: string })
  /** With the hash of the result, or with the code of the failure. */
  | (AtPeer & Hashed & { what: 'serviceAnswered'; call: number; type: string; id: string; code?: ErrorCode })
  /** A worker's result was accepted as that of (type, id). */
  | (AtPeer & Hashed & { what: 'serviceCompleted'; type: string; id: string })
  | (Invoke & Hashed & { what: 'topicAppend'; topic: string })
  /** With the offset at which the record is kept durably, or with the code of the failure. */
  | (AtPeer & { what: 'topicAppended'; call: number; topic: string; offset?: number; code?: ErrorCode })
  /** `reader` numbers the readings of one process: each goes on from where it began. */
  | (AtPeer & Hashed & { what: 'topicRead'; topic: string; reader: number; offset: number })
  /** The reader was told that the records before `offset`, from where it is, are not kept any more. */
  | (AtPeer & { what: 'topicGap'; topic: string; reader: number; offset: number })
  | (AtPeer & { what: 'topicReaderEnded'; topic: string; reader: number })
  /** Site `source` accepted a record for others, as the `seq`-th of its own; site `site` has taken it in. */
  | (AtPeer & Hashed & { what: 'siteExported'; source: string; seq: number })
  | (AtPeer & Hashed & { what: 'siteImported'; site: string; source: string; seq: number })

/**
 * What was done to the cluster, by whoever plays fate: the process `name` (its run at that time), or all. The datastore's faults without a
 * name are everybody's.
 */
export type Fault =
  /** `kill -9`; also a failpoint of its own. */
  | { fault: 'kill'; name: string }
  | { fault: 'start'; name: string }
  /** The whole process stands still, its clocks run on (SIGSTOP). Without `forMs`: until `resume`. */
  | { fault: 'stall'; name: string; forMs?: number }
  | { fault: 'resume'; name: string }
  /** Its main loop stands still; its pulse, where it has one, goes on. */
  | { fault: 'block'; name: string; forMs: number }
  /** Its machine sleeps: the monotonic clock stands still too. */
  | { fault: 'suspend'; name: string; forMs: number }
  | { fault: 'cut'; from: string; to: string; oneWay: boolean }
  /** A few bytes pass, so that nobody takes it for broken: what is on its way comes late. Healed as a cut. */
  | { fault: 'drip'; from: string; to: string }
  /** All lines take so little from now on; without `bytesPerMs`: as much as is wanted. */
  | { fault: 'narrow'; bytesPerMs?: number }
  | { fault: 'heal'; from: string; to: string }
  | { fault: 'reset'; from: string; to: string }
  | { fault: 'storeDown' | 'storeUp'; name?: string }
  /** Its parts do not know of each other, and each goes on by itself; until it is whole again. */
  | { fault: 'storeSplit' | 'storeWhole' }
  /** `slowMs`: there and back. */
  | { fault: 'storeSlow'; name?: string; slowMs: number }
  | { fault: 'storeAmbiguous'; name?: string; ambiguous: boolean }
  /** The writes of the last `lostMs` were lost; without it, any. */
  | { fault: 'storeForgot'; name?: string; lostMs?: number }
  /** Anything else: it excuses nothing. */
  | { fault: 'other' }

type World =
  /** `text` says it for people. */
  | (At & { what: 'fault'; text: string } & Fault)
  /** The process is gone, as its parent saw. */
  | (At & { what: 'exit'; name: string; code: number | null; signal: string | null })

export type HistoryEvent = Messages | Clients | Cluster | Layers | World

export type What = HistoryEvent['what']

/** The event of one kind. */
export type EventOf<Kind extends What> = Extract<HistoryEvent, { what: Kind }>

/** An event as it is told to the history: the time is added there. */
export type Told = HistoryEvent extends infer Event ? (Event extends At ? Omit<Event, 'atMs'> : never) : never

/** What one run tells of itself: who it is, is added. */
export type ToldByPeer = Told extends infer Event
  ? Event extends { peer: string }
    ? Omit<Event, 'peer' | 'incarnation'>
    : never
  : never
