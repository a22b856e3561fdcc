/** Answers as text for people. */
import type { Answer, ComparisonAnswer, ContestantAnswer } from './answer.ts'
import { figureHead, figureKinds, figureText, readFigure, type FigureKind } from './figure.ts'
import type { Spread } from './spread.ts'

/** Rows of equal length, the first of them the heads; columns of text are set to the left, those of figures to the right. */
export interface Table {
  readonly rows: readonly (readonly string[])[]
  readonly ofText: ReadonlySet<number>
}

export function answerText(answer: Answer, ratiosOnly: boolean): string {
  const lines = [`${answer.name}: ${answer.title} (${answer.rounds} x ${answer.seconds} s)`]
  if (!ratiosOnly && answer.contestants.length > 0) lines.push('', ...aligned(figuresTable(answer)))
  lines.push(...faultLines(answer).map(line => `  NOT VALID: ${line}`))
  if (answer.comparisons.length > 0) lines.push('', ...aligned(comparisonsTable(answer.comparisons)).slice(1))
  for (const text of answer.leftOut) lines.push(`  left out: ${text}`)
  for (const name of answer.failed) lines.push(`  failed: ${name}`)
  return lines.join('\n')
}

/** Who lost messages, or worse: figures of those mean nothing. */
export function faultLines({ contestants }: Answer): string[] {
  return contestants.flatMap(({ name, faults }) => {
    const found = Object.entries(faults).map(([what, times]) => `${what} ${times} times`)
    return found.length > 0 ? [`${name}: ${found.join(', ')}`] : []
  })
}

/** A line a contestant: medians, and of the main figure the least and the greatest too. */
export function figuresTable({ unit, mainFigure, contestants }: Answer): Table {
  const columns = columnsOf(contestants, mainFigure)
  const head = ['', ...columns.flatMap(({ kind, isMain }) => [figureHead(kind, unit), ...(isMain ? ['(least..most)'] : [])])]
  const rows = contestants.map(({ name, figures }) => [
    name,
    ...columns.flatMap(({ kind, isMain }) => [
      cellText(figures, kind),
      ...(isMain ? [rangeText(figures[mainFigure], value => figureText(kind, value))] : []),
    ]),
  ])
  const byPart = head.flatMap((text, index) => (text === figureHead('cpuUs', unit) || text === 'loop p99 ms' ? [index] : []))
  return { rows: [head, ...rows], ofText: new Set([0, ...byPart]) }
}

interface Column {
  readonly kind: FigureKind
  readonly isMain: boolean
}

/** Sums over parts are not shown where there is no mark on them: the parts are. */
function columnsOf(contestants: readonly ContestantAnswer[], mainFigure: string): Column[] {
  const keys = new Set(contestants.flatMap(({ figures }) => Object.keys(figures)))
  const present = new Set([...keys].map(key => readFigure(key).kind))
  return figureKinds
    .filter(kind => present.has(kind) && (kind !== 'cpuSumUs' || mainFigure === kind))
    .map(kind => ({ kind, isMain: kind === mainFigure }))
}

/** `0.35`, or by part: `sender 0.35, receiver 0.57`; nothing where it was not measured. */
function cellText(figures: ContestantAnswer['figures'], kind: FigureKind): string {
  return Object.entries(figures)
    .map(([key, { median }]) => ({ ...readFigure(key), median }))
    .filter(figure => figure.kind === kind)
    .map(({ part, median }) => `${part === undefined ? '' : `${part} `}${figureText(kind, median)}`)
    .join(', ')
}

/** What is compared, the value, its spread over the rounds, the mark, and whether it was reached. */
export function comparisonsTable(comparisons: readonly ComparisonAnswer[]): Table {
  const rows = comparisons.map(comparison => {
    const { value, reached } = comparison
    const text = (one: number): string => one.toFixed(2)
    const verdict = reached === undefined ? '' : reached ? 'reached' : 'not reached'
    return [comparedText(comparison), text(value.median), rangeText(value, text), markText(comparison), verdict]
  })
  return { rows: [['', 'measured', '(least..most)', 'mark', ''], ...rows], ofText: new Set([0, 3, 4]) }
}

/** The marks of all answers together. */
export function marksTable(answers: readonly Answer[]): Table {
  const rows = answers.flatMap(({ name, comparisons }) => {
    const marked = comparisons.filter(({ reached }) => reached !== undefined)
    return comparisonsTable(marked)
      .rows.slice(1)
      .map(row => [name, ...row])
  })
  return { rows: [['bench', '', 'measured', '(least..most)', 'mark', ''], ...rows], ofText: new Set([0, 1, 4, 5]) }
}

export function marksText(answers: readonly Answer[]): string {
  return ['marks', '', ...aligned(marksTable(answers))].join('\n')
}

function markText({ atLeast, atMost }: ComparisonAnswer): string {
  return atLeast !== undefined ? `at least ${atLeast}` : atMost !== undefined ? `at most ${atMost}` : ''
}

function comparedText({ of, to, figure }: ComparisonAnswer): string {
  const { kind, part } = readFigure(figure)
  const measured = kind === 'rate' ? '' : `${figureHead(kind, '')}${part === undefined ? '' : ` of ${part}`}: `
  return to === undefined ? `${measured}${of}` : `${measured}${of} / ${to}`
}

function rangeText(spread: Spread | undefined, text: (value: number) => string): string {
  return spread ? `(${text(spread.min)}..${text(spread.max)})` : ''
}

/** Columns side by side. */
function aligned({ rows, ofText }: Table): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  return rows.map(row => {
    const cells = row.map((cell, column) => (ofText.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
    return `  ${cells.join('  ')}`.trimEnd()
  })
}
