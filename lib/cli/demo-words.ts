/** What the demo and its processes say to each other, as messages between parent and child. */

/** What a process is to be; its command line carries it as JSON. */
export type DemoRole =
  | {
      readonly is: 'brokerless' | 'server'
      readonly n: number
      readonly total: number
      readonly cluster: string
      readonly at: string
    }
  | { readonly is: 'broker'; readonly cluster: string; readonly at: string }

/** From the demo to a process. */
export type DemoOrder = { readonly does: 'burst'; readonly count: number } | { readonly does: 'end' }

/** Counts of a process: what it sent with what outcome, and what its clients got. */
export interface DemoCounts {
  sent: number
  delivered: number
  received: number
  /** Messages that arrived after a later one of the same sender and receiver. */
  disordered: number
}

/** From a process to the demo. */
export type DemoReport =
  | { readonly said: 'listening'; readonly endpoint: string }
  /** The conversation is over. */
  | { readonly said: 'talked' }
  | { readonly said: 'progress'; readonly answered: number }
  /** The burst is over; how long each delivered message took. */
  | { readonly said: 'burst'; readonly latencies: readonly number[] }
  /** Last words: it has closed. */
  | { readonly said: 'counts'; readonly counts: DemoCounts }
