/** Answers as a picture: horizontal bars, a group a chart, each group with a scale of its own. SVG, readable on light and on dark. */
import type { Answer } from './answer.ts'
import type { Chart } from './contestant.ts'
import { figureHead, figureText, readFigure } from './figure.ts'
import type { Result } from './result.ts'
import type { Spread } from './spread.ts'

const width = 860
const margin = 20
/** Where bars begin, and how long the longest is: room for the longest name before, and for its figure behind. */
const barsX = 330
const barsWidth = 400
const rowHeight = 19
const barHeight = 12
const groupGap = 20
const titleHeight = 24
const headHeight = 74

/** Colours on light and on dark. */
const style = `
    text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; fill: #1f2933 }
    .back { fill: #ffffff } .head { font-size: 18px; font-weight: 600 } .title { font-size: 13px; font-weight: 600 }
    .quiet { fill: #5f6c7b; font-size: 12px; font-weight: 400 } .homing { fill: #1d6fd8 } .bare { fill: #7b8794 } .peer { fill: #c3cad2 }
    .spread { stroke: #1f2933; stroke-width: 1 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e4e7eb } .back { fill: #0d1117 } .quiet { fill: #9aa5b1 } .homing { fill: #4c9aff } .bare { fill: #8792a0 }
      .peer { fill: #4a5563 } .spread { stroke: #e4e7eb }
    }`

interface Bar {
  readonly name: string
  readonly value: Spread
}

interface Group {
  readonly title: string
  readonly note: string
  readonly text: (value: number) => string
  readonly bars: readonly Bar[]
}

export function pictureOf({ answers, machine, day }: Result): string {
  const groups = answers
    .flatMap(answer => answer.charts.map(chart => groupOf(answer, chart)))
    .filter(({ bars }) => bars.length > 0)
  const parts: string[] = []
  let y = headHeight
  for (const group of groups) {
    parts.push(...groupLines(group, y))
    y += titleHeight + group.bars.length * rowHeight + groupGap
  }
  const where = `${machine.cpus} x ${machine.model}, ${machine.kernel}, Node ${machine.node}, TCP ${machine.congestionControl}, ${day}`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y}" viewBox="0 0 ${width} ${y}" role="img">`,
    `  <title>Homing beside bare Node and others, measured in one run</title>`,
    `  <style>${style}\n  </style>`,
    `  <rect class="back" width="${width}" height="${y}"/>`,
    `  <text class="head" x="${margin}" y="30">Homing beside bare Node and others, measured in one run</text>`,
    `  <text class="quiet" x="${margin}" y="50">${escaped(where)}; the thin line goes from the least to the greatest</text>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

function groupOf(answer: Answer, { title, figure, of, lessIsBetter }: Chart): Group {
  const { kind } = readFigure(figure)
  const bars = of.flatMap(name => {
    const value = answer.contestants.find(one => one.name === name)?.figures[figure]
    return value ? [{ name, value }] : []
  })
  const note = `${figureHead(kind, answer.unit)}${lessIsBetter ? ', less is better' : ''}`
  return { title, note, text: value => figureText(kind, value), bars }
}

function groupLines({ title, note, text, bars }: Group, y: number): string[] {
  const greatest = Math.max(...bars.map(({ value }) => value.max))
  const heading = `  <text class="title" x="${margin}" y="${y + 14}">${escaped(title)} <tspan class="quiet" dx="6">${escaped(note)}</tspan></text>`
  const x = (value: number): number => Math.round((value / greatest) * barsWidth)
  return [heading, ...bars.flatMap((bar, index) => barLines(bar, y + titleHeight + index * rowHeight, x, text))]
}

function barLines({ name, value }: Bar, y: number, x: (value: number) => number, text: (value: number) => string): string[] {
  const middle = y + barHeight / 2
  const length = Math.max(1, x(value.median))
  const end = barsX + Math.max(length, x(value.max))
  const lines = [
    `  <text x="${barsX - 8}" y="${y + 10}" text-anchor="end">${escaped(name)}</text>`,
    `  <rect class="${kindOf(name)}" x="${barsX}" y="${y}" width="${length}" height="${barHeight}" rx="2"/>`,
    `  <text class="quiet" x="${end + 6}" y="${y + 10}">${escaped(text(value.median))}</text>`,
  ]
  if (value.max > value.min) {
    lines.push(`  <line class="spread" x1="${barsX + x(value.min)}" x2="${barsX + x(value.max)}" y1="${middle}" y2="${middle}"/>`)
  }
  return lines
}

function kindOf(name: string): 'homing' | 'bare' | 'peer' {
  return name.startsWith('homing') ? 'homing' : name.startsWith('bare') ? 'bare' : 'peer'
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
