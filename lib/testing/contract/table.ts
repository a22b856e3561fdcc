/** The table of a contract: a line a statement, a column a driver, and the sentences of those that do not promise it. */

import type { Verdict } from './datastore-contract.ts'
import type { Statement } from './statement.ts'

/** What became of the contract with one driver: verdicts in the order of the statements. */
export interface Column {
  readonly name: string
  readonly verdicts: readonly Verdict[]
}

/**
 * `ok`: kept; a number: not promised, the sentence of that number says why; `-`: whoever ran it did not give what the statement needs;
 * `BROKEN`: promised and not kept, the error stands below.
 */
export function contractTable(statements: readonly Statement[], columns: readonly Column[]): string {
  const sentences: string[] = []
  const broken: string[] = []
  const cell = (column: Column, row: number): string => {
    const verdict = column.verdicts[row]!
    switch (verdict.at) {
      case 'kept':
        return 'ok'
      case 'untried':
        return '-'
      case 'exempt': {
        if (!sentences.includes(verdict.sentence)) sentences.push(verdict.sentence)
        return String(sentences.indexOf(verdict.sentence) + 1)
      }
      case 'broken': {
        broken.push(`${column.name}: ${statements[row]!.name}\n${indented(textOf(verdict.error))}`)
        return 'BROKEN'
      }
    }
  }
  const cells = statements.map((_, row) => columns.map(column => cell(column, row)))
  const widths = columns.map(({ name }, at) => Math.max(name.length, ...cells.map(row => row[at]!.length)))
  const nameWidth = Math.max(...statements.map(({ name }) => name.length))
  const line = (name: string, row: readonly string[]): string =>
    [name.padEnd(nameWidth), ...row.map((text, at) => text.padEnd(widths[at]!))].join('  ').trimEnd()
  return [
    line(
      `${statements.length} statements`,
      columns.map(({ name }) => name),
    ),
    ...statements.map(({ name }, row) => line(name, cells[row]!)),
    ...sentences.map((sentence, at) => `${at + 1}: ${sentence}`),
    ...broken,
    '',
  ].join('\n')
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

function indented(text: string): string {
  return text.replace(/^/gm, '    ')
}
