/** Answers as text for people. */
import type { Answer, ComparisonAnswer, ContestantAnswer } from './answer.ts'
import type { Spread } from './spread.ts'

export function answerText(answer: Answer, ratiosOnly: boolean): string {
  const lines = [`${answer.name}: ${answer.title} (${answer.rounds} x ${answer.seconds} s)`]
  if (!ratiosOnly && answer.contestants.length > 0) lines.push('', ...tableLines(answer))
  for (const { name, faults } of answer.contestants) {
    const found = Object.entries(faults).map(([what, times]) => `${what} ${times} times`)
    if (found.length > 0) lines.push(`  NOT VALID: ${name}: ${found.join(', ')}`)
  }
  if (answer.comparisons.length > 0) lines.push('', ...comparisonLines(answer.comparisons))
  for (const text of answer.leftOut) lines.push(`  left out: ${text}`)
  return lines.join('\n')
}

function tableLines({ unit, contestants }: Answer): string[] {
  const withLatency = contestants.some(({ figures }) => figures['p50Us'])
  const head = ['', `${unit}/s`, '(least..most)', ...(withLatency ? ['p50 us', 'p99 us'] : []), 'CPU us each', 'loop p99 ms']
  const rows = contestants.map(({ name, figures }) => [
    name,
    rateText(figures['rate']!.median),
    rangeText(figures['rate']!, rateText),
    ...(withLatency ? [latencyText(figures['p50Us']), latencyText(figures['p99Us'])] : []),
    byPart(figures, 'cpuUs ', 2),
    byPart(figures, 'loopP99Ms ', 1),
  ])
  return aligned([head, ...rows], new Set([0, head.length - 2, head.length - 1]))
}

function comparisonLines(comparisons: readonly ComparisonAnswer[]): string[] {
  const rows = comparisons.map(comparison => {
    const { value, atLeast, atMost, reached } = comparison
    const mark = atLeast !== undefined ? `at least ${atLeast}` : atMost !== undefined ? `at most ${atMost}` : ''
    const verdict = reached === undefined ? '' : reached ? 'reached' : 'not reached'
    return [what(comparison), value.median.toFixed(2), rangeText(value, one => one.toFixed(2)), mark, verdict]
  })
  return aligned(rows, new Set([0, 3, 4]))
}

const figureNames: Readonly<Record<string, string>> = {
  cpuUs: 'CPU us each',
  loopP99Ms: 'loop p99 ms',
  p50Us: 'p50 us',
  p99Us: 'p99 us',
}

function what({ of, to, figure }: ComparisonAnswer): string {
  const [kind, part] = figure.split(' ')
  const measured = figure === 'rate' ? '' : `${figureNames[kind!] ?? kind}${part === undefined ? '' : ` of ${part}`}: `
  return to === undefined ? `${measured}${of}` : `${measured}${of} / ${to}`
}

function rateText(rate: number): string {
  return Math.round(rate).toLocaleString('en-US')
}

function latencyText(latency: Spread | undefined): string {
  return latency ? latency.median.toFixed(0) : ''
}

function rangeText({ min, max }: Spread, text: (value: number) => string): string {
  return `(${text(min)}..${text(max)})`
}

/** `sender 0.35, receiver 0.57` */
function byPart(figures: ContestantAnswer['figures'], prefix: string, digits: number): string {
  return Object.entries(figures)
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, { median }]) => `${key.slice(prefix.length)} ${median.toFixed(digits)}`)
    .join(', ')
}

/** Columns side by side: those of `left` to the left, the others to the right. */
function aligned(rows: readonly (readonly string[])[], left: ReadonlySet<number>): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  return rows.map(row => {
    const cells = row.map((cell, column) => (left.has(column) ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
    return `  ${cells.join('  ')}`.trimEnd()
  })
}
