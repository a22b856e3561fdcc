/** What is fuzzed: some code of the library, and what it owes whatever it is fed. */
import { HomingError, type ErrorCode } from '../../lib/errors.ts'

export interface Target {
  /** How it is called at the command line and in the corpus. */
  readonly name: string
  /** What it is, in one sentence. */
  readonly about: string
  /** Longest input, bytes. */
  readonly bytesMax: number
  /** Inputs are streams of frames. */
  readonly framed: boolean
  /** Words that mean something to it. */
  readonly dictionary: readonly Uint8Array[]
  /** An input may take this long, ms: in a simulated world, where others live too, more than alone. */
  readonly msMax?: number
  /** Inputs run between two looks at the memory and at what was rejected unheard. */
  readonly batch: number
  /** Inputs to begin with: well-formed ones, above all. */
  seeds(): Uint8Array[]
  /** Sets it up: once for many inputs. */
  open(): Subject | Promise<Subject>
}

/** A target that was set up. */
export interface Subject {
  /**
   * Feeds it one input. Returns what came of it in a few words: an input that brings new words is kept and changed further. Throws what
   * is found: whatever the place does not document, and what the harness misses.
   */
  run(input: Buffer): string | Promise<string>
  /** Ends what it holds; afterwards nothing of it may be left. */
  close?(): Promise<void>
}

/** A target without anything to set up: the same code for each input. */
export function pureTarget(
  {
    batch = 256,
    framed = false,
    dictionary = [],
    ...rest
  }: Omit<Target, 'open' | 'batch' | 'framed' | 'dictionary'> & Partial<Pick<Target, 'batch' | 'framed' | 'dictionary'>>,
  run: Subject['run'],
): Target {
  return { ...rest, batch, framed, dictionary, open: () => ({ run }) }
}

/** The words for a failure that the place documents; throws any other again. */
export function refusal(error: unknown, ...codes: ErrorCode[]): string {
  if (error instanceof HomingError && codes.includes(error.code)) return `${error.code} ${inGeneral(error.message)}`
  throw error
}

/** A text without what differs from input to input. */
export function inGeneral(text: string): string {
  return text
    .replace(/'[^']*'/g, "''")
    .replace(/"[^"]*"/g, '""')
    .replace(/\d+/g, '#')
    .slice(0, 120)
}

/** 0, 1, 2, 4, 8, ...: so that not every number is news. */
export function about(count: number): number {
  return count < 2 ? count : 2 ** Math.floor(Math.log2(count))
}

/** What the harness misses, as a finding. */
export function claim(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`fuzz: ${what}`)
}
