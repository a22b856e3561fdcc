/** What a run has shown: figures, and what broke a promise with the lines around it. */

import type { Status } from '../../lib/index.ts'
import { check, violationText, type HistoryEvent } from '../../lib/testing/index.ts'
import { longestGap, type Gap } from './longest-gap.ts'
import { peerOptions } from './run-options.ts'
import type { RunRecord } from './run.ts'

export interface Finding {
  readonly text: string
  /** The events around it, as lines of the history. */
  readonly lines: readonly string[]
}

export interface Result {
  readonly title: string
  readonly seconds: number
  readonly interrupted: boolean
  readonly sent: number
  readonly requests: number
  readonly delivered: number
  readonly byStatus: Partial<Record<Status, number>>
  readonly moves: number
  readonly faults: number
  readonly faultsByKind: Readonly<Record<string, number>>
  readonly longestGap: (Gap & { readonly ms: number }) | undefined
  /** The longest time that a process stood still which nobody had stopped: the machine's doing, or a bug. */
  readonly stoodStillMs: number
  readonly findings: readonly Finding[]
}

/** How exact the times of kills and of last lines are, ms. */
const blurMs = 100
/** Lines that are shown around a violation. */
const linesAround = 12
/** So many are shown at all: the first ones are of interest. */
const findingsMax = 20

export function resultOf(record: RunRecord): Result {
  const { events, endMs, excused, faultsByKind, interrupted, options } = record
  const { mode, peers, brokers, store } = options
  const receipts = events.filter(event => event.what === 'receipt')
  const byStatus: Partial<Record<Status, number>> = {}
  for (const { status } of receipts) byStatus[status] = (byStatus[status] ?? 0) + 1
  const gap = longestGap(events, excused, endMs)
  const { leaseMs, renewEveryMs, guardMs } = peerOptions(options.scale, options.load)
  const violations = check(events, { endMs, leaseMs: leaseMs!, renewEveryMs: renewEveryMs!, guardMs: guardMs!, blurMs })
  return {
    title: `${peers} peers, ${mode === 'broker' ? `${brokers} brokers` : 'brokerless'}, ${store}`,
    seconds: Math.round(endMs / 1_000),
    interrupted,
    sent: count(events, 'send'),
    requests: count(events, 'request'),
    delivered: count(events, 'delivery'),
    byStatus,
    moves: count(events, 'connected'),
    faults: Object.values(faultsByKind).reduce((sum, each) => sum + each, 0),
    faultsByKind,
    longestGap: gap && { ...gap, ms: Math.round(gap.untilMs - gap.fromMs) },
    stoodStillMs: Math.round(events.reduce((longest, event) => Math.max(longest, stillness(event)), 0)),
    findings: [
      ...violations.slice(0, findingsMax).map(violation => ({
        text: violationText(violation),
        lines: around(events, violation.atMs, violation),
      })),
      ...(violations.length > findingsMax ? [{ text: `and ${violations.length - findingsMax} more violations`, lines: [] }] : []),
      ...record.findings.map(text => ({ text, lines: [] })),
    ],
  }
}

function count(events: readonly HistoryEvent[], what: HistoryEvent['what']): number {
  return events.reduce((sum, event) => sum + (event.what === what ? 1 : 0), 0)
}

function stillness(event: HistoryEvent): number {
  return event.what === 'fault' && event.fault === 'block' ? event.forMs : 0
}

/** The lines before and after that say something of the same address, message or process; and what was done to anybody. */
function around(
  events: readonly HistoryEvent[],
  atMs: number,
  about: { address?: string; id?: string; peer?: string },
): string[] {
  const concerns = (event: HistoryEvent): boolean => {
    if (event.what === 'fault' || event.what === 'exit') return true
    if (about.id !== undefined && 'id' in event && event.id === about.id) return true
    if (about.address !== undefined) return 'address' in event && event.address === about.address
    return about.peer !== undefined && 'peer' in event && event.peer === about.peer
  }
  const near = events.filter(concerns)
  const at = near.findIndex(event => event.atMs >= atMs)
  const middle = at === -1 ? near.length : at
  return near.slice(Math.max(0, middle - linesAround), middle + linesAround).map(event => JSON.stringify(event))
}
