/** Who takes part in answering a question: the parts of one system, each in a process of its own. */
import type { PeerName } from './peers.ts'

export interface PartSetup {
  /** What the part is called in the table; several processes may share a name, and are added up. */
  readonly name: string
  /** A file of `programs/`. */
  readonly program: string
  /** Which of the program's roles. */
  readonly plays: string
  readonly setup?: object
}

export interface Contestant {
  readonly name: string
  /** In the order in which they are started; each is told where to reach those before it. */
  readonly parts: readonly PartSetup[]
  /** The name of the parts whose count is the rate. */
  readonly counted: string
  /** What a part of this name sent, the counted parts must have handled: the difference is `lost`. */
  readonly sentBy?: string
  /** What must be installed for it besides Homing. */
  readonly needs?: readonly PeerName[]
}

/** A figure that is held against a mark: as it is, or as a ratio to the same figure of another contestant. */
export interface Comparison {
  readonly of: string
  /** A key of `Outcome.figures`. */
  readonly figure: string
  readonly to?: string
  readonly atLeast?: number
  readonly atMost?: number
}

/** One question that is measured. */
export interface Question {
  readonly name: string
  /** What is asked, in one line. */
  readonly title: string
  /** `folder` is an empty place for files, of this run of this contestant alone. */
  readonly contestants: (folder: string) => readonly Contestant[]
  readonly comparisons: readonly Comparison[]
  /** What the count counts. */
  readonly unit: 'messages' | 'requests'
  /** Rounds and seconds unless others are asked for. */
  readonly rounds?: number
  readonly seconds?: number
  /** Prints nothing but the ratios, and judges none of them. */
  readonly ratiosOnly?: true
}

/** What one run of a contestant gave. */
export interface Outcome {
  /** `rate` a second; `cpuUs <part>` a message; `loopP99Ms <part>`; `p50Us`, `p99Us`. */
  readonly figures: Readonly<Record<string, number>>
  readonly faults: Readonly<Record<string, number>>
}
