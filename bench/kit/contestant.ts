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
  /** The name of the parts whose count is the rate; absent where no rate is asked for. */
  readonly counted?: string
  /** What parts of these names sent, the counted parts must have handled: the difference is `lost`. */
  readonly sentBy?: readonly string[]
  /** Whose CPU time a message is added up; default: that of all parts. */
  readonly costOf?: readonly string[]
  /** What each of those counted carries, where bytes a second are asked for. */
  readonly bytesEach?: number
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

/** Bars of a picture: one figure of some contestants. */
export interface Chart {
  readonly title: string
  readonly figure: string
  readonly of: readonly string[]
  /** The shorter bar is the better one. */
  readonly lessIsBetter?: true
}

/** One question that is measured. */
export interface Question {
  readonly name: string
  /** What is asked, in one line. */
  readonly title: string
  /** `folder` is an empty place for files, of this run of this contestant alone. */
  readonly contestants: (folder: string) => readonly Contestant[]
  readonly comparisons: readonly Comparison[]
  /** What the count counts: messages, requests, ... */
  readonly unit: string
  /** The figure whose least and greatest the table shows; default `rate`. */
  readonly mainFigure?: string
  /** What the picture shows; default: the main figure of all, under the question's title. */
  readonly charts?: readonly Chart[]
  /** Rounds and seconds unless others are asked for. */
  readonly rounds?: number
  readonly seconds?: number
  /** Before each measurement; default 1: code is compiled, windows and buffers find their size. */
  readonly warmUpSeconds?: number
  /** Prints nothing but the ratios, and judges none of them. */
  readonly ratiosOnly?: true
}

/** What one run of a contestant gave. */
export interface Outcome {
  /** By the names of `figure.ts`. */
  readonly figures: Readonly<Record<string, number>>
  readonly faults: Readonly<Record<string, number>>
}
