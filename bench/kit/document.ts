/** Answers as a part of a document: what stands between two marks of it is written anew, the rest is left as it is. */
import { ProgramError } from '../../lib/cli/failure.ts'
import type { Answer } from './answer.ts'
import { machineText } from './machine.ts'
import type { Result } from './result.ts'
import { comparisonsTable, faultLines, figuresTable, marksTable, type Table } from './table.ts'

const begin = '<!-- figures: written by the bench, see above -->'
const end = '<!-- end of figures -->'

/** The document with the figures of this result. Throws `ProgramError` where the marks are missing. */
export function documentWith(document: string, result: Result): string {
  const from = document.indexOf(begin)
  const to = document.indexOf(end)
  if (from < 0 || to < from) throw new ProgramError(`the document has no place for figures: ${begin} and ${end}, each on a line`)
  return `${document.slice(0, from + begin.length)}\n\n${figuresOf(result)}\n\n${document.slice(to)}`
}

function figuresOf({ command, day, machine, answers }: Result): string {
  const [hardware, versions] = machineText(machine).split('\n')
  return [
    `\`${command}\`, ${day}: ${hardware}; ${versions}.`,
    '### Marks',
    markdown(marksTable(answers)),
    ...answers.flatMap(sectionOf),
  ].join('\n\n')
}

function sectionOf(answer: Answer): string[] {
  const faults = faultLines(answer).map(line => `Not valid: ${line}.`)
  return [
    `### ${answer.name}`,
    `${upperFirst(answer.title)}. Medians of ${answer.rounds} ${answer.rounds === 1 ? 'round' : 'rounds'}.`,
    ...(answer.contestants.length > 0 ? [markdown(figuresTable(answer))] : []),
    ...(answer.comparisons.length > 0 ? [markdown(comparisonsTable(answer.comparisons))] : []),
    ...faults,
    ...answer.leftOut.map(text => `Left out: ${text}.`),
    ...answer.failed.map(name => `Failed, and therefore left out: ${name}.`),
  ]
}

function upperFirst(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

function markdown({ rows, ofText }: Table): string {
  const [head, ...body] = rows.map(row => `| ${row.map(cell => cell.replaceAll('|', '\\|')).join(' | ')} |`)
  const rule = `|${rows[0]!.map((_, column) => (ofText.has(column) ? ' --- ' : ' ---: ')).join('|')}|`
  return [head, rule, ...body].join('\n')
}
