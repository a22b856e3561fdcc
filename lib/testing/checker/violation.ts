/** What breaks a promise, as the checker found it. */

/** The rules by which histories are judged; what each says, and what excuses it, stands in its file and in docs/guarantees.md. */
export type RuleName = 'H1' | 'H2' | 'H3' | 'H4' | 'H5' | 'H6' | 'H7' | 'H8' | 'H9' | 'H10'

export interface Violation {
  readonly rule: RuleName
  /** What is wrong, in one sentence, for people. */
  readonly text: string
  /** When it showed, ms: by the clock of the history. */
  readonly atMs: number
  readonly address?: string
  /** The message, where it is about one. */
  readonly id?: string
  /** The process, where it is about one. */
  readonly peer?: string
}

/** In one line, the rule first. */
export function violationText({ rule, text, atMs }: Violation): string {
  return `${rule} ${text}, at ${atMs} ms`
}
