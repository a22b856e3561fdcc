/** A run in words. */

import type { Result } from './result.ts'
import type { Standing } from './run.ts'

export function standingText({ elapsedMs, phase, faults, sent, settled, troubles }: Standing): string {
  const minutes = Math.floor(elapsedMs / 60_000)
  const seconds = String(Math.floor((elapsedMs / 1_000) % 60)).padStart(2, '0')
  const now = troubles.length > 0 ? `; ${troubles.join('; ')}` : ''
  return `${minutes}:${seconds} ${phase}: ${faults} faults, ${sent} messages, ${settled.unknown ?? 0} unknown${now}`
}

function counts(of: Readonly<Record<string, number | undefined>>): string {
  const known = Object.entries(of).filter(([, count]) => count !== undefined && count > 0)
  known.sort(([, one], [, other]) => other! - one!)
  return known.map(([name, count]) => `${name} ${count}`).join(', ')
}

export function resultText(result: Result): string {
  const { title, seconds, interrupted, sent, requests, delivered, byStatus, moves, faults, faultsByKind, findings } = result
  const gap = result.longestGap
  const lines = [
    `${title}: ${seconds} s${interrupted ? ', interrupted' : ''}`,
    `  messages     ${sent} sent, ${delivered} taken; ${requests} requests; ${moves} connects`,
    `  receipts     ${counts(byStatus)}`,
    `  faults       ${faults}: ${counts(faultsByKind)}`,
    gap
      ? `  longest gap  ${gap.ms} ms: '${gap.address}' at ${gap.holder}, from ${gap.fromMs.toFixed()} ms on`
      : '  longest gap  none',
    `  still        ${result.stoodStillMs} ms at the longest, by itself`,
    findings.length === 0 ? '  nothing was lost, nothing came twice, all is well in the end' : `  ${findings.length} FINDINGS`,
  ]
  for (const { text, lines: around } of findings) {
    lines.push('', `  ${text}`)
    for (const line of around) lines.push(`    ${line}`)
  }
  return lines.join('\n')
}
