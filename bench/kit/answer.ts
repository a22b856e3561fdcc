/** The answer to a question: what each contestant reached over all rounds, and how that compares. */
import type { Chart, Comparison, Outcome, Question } from './contestant.ts'
import { spreadOf, type Spread } from './spread.ts'

export interface ContestantAnswer {
  readonly name: string
  readonly figures: Readonly<Record<string, Spread>>
  readonly faults: Readonly<Record<string, number>>
  readonly rounds: readonly Outcome[]
}

export interface ComparisonAnswer extends Comparison {
  /** The figure, or the ratio of the medians; its least and greatest are those of single rounds. */
  readonly value: Spread
  readonly reached?: boolean
}

export interface Answer {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly mainFigure: string
  readonly charts: readonly Chart[]
  readonly rounds: number
  readonly seconds: number
  readonly contestants: readonly ContestantAnswer[]
  readonly comparisons: readonly ComparisonAnswer[]
  /** Who did not take part, and what to run so that they do. */
  readonly leftOut: readonly string[]
  /** Of whom a process failed. */
  readonly failed: readonly string[]
}

/** `outcomes` by contestant, round by round. */
export function answerTo(
  question: Question,
  times: { rounds: number; seconds: number },
  outcomes: ReadonlyMap<string, readonly Outcome[]>,
  missing: Pick<Answer, 'leftOut' | 'failed'>,
): Answer {
  const contestants = [...outcomes].map(([name, rounds]) => contestantAnswer(name, rounds))
  const { name, title, unit, comparisons, mainFigure = 'rate' } = question
  return {
    name,
    title,
    unit,
    mainFigure,
    charts: question.charts ?? [{ title, figure: mainFigure, of: contestants.map(({ name }) => name) }],
    ...times,
    contestants,
    comparisons: comparisons.flatMap(comparison => compared(comparison, contestants, question.ratiosOnly === true)),
    ...missing,
  }
}

function contestantAnswer(name: string, rounds: readonly Outcome[]): ContestantAnswer {
  const figures: Record<string, Spread> = {}
  for (const key of Object.keys(rounds[0]?.figures ?? {})) figures[key] = spreadOf(rounds.map(round => round.figures[key]!))
  const faults: Record<string, number> = {}
  for (const round of rounds) {
    for (const [what, times] of Object.entries(round.faults)) faults[what] = (faults[what] ?? 0) + times
  }
  return { name, figures, faults, rounds }
}

/** Nothing where one of the two did not take part. */
function compared(
  comparison: Comparison,
  contestants: readonly ContestantAnswer[],
  judgesNothing: boolean,
): readonly ComparisonAnswer[] {
  const { of, to, figure, atLeast, atMost } = comparison
  const one = contestants.find(({ name }) => name === of)
  const other = contestants.find(({ name }) => name === to)
  if (!one?.figures[figure] || (to !== undefined && !other?.figures[figure])) return []
  const value = other ? ratio(one, other, figure) : one.figures[figure]
  if (judgesNothing || (atLeast === undefined && atMost === undefined)) return [{ ...comparison, value }]
  const reached = value.median >= (atLeast ?? -Infinity) && value.median <= (atMost ?? Infinity)
  return [{ ...comparison, value, reached }]
}

function ratio(one: ContestantAnswer, other: ContestantAnswer, figure: string): Spread {
  const rounds = one.rounds.map((round, index) => round.figures[figure]! / other.rounds[index]!.figures[figure]!)
  return { ...spreadOf(rounds), median: one.figures[figure]!.median / other.figures[figure]!.median }
}
