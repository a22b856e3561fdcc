/** What is measured: how each kind of figure is called in a table, and how it is written. */

interface Kind {
  /** `unit` is what the question counts. */
  readonly head: (unit: string) => string
  readonly digits: number
}

/** In the order of the columns. A figure's key is its kind, and for one part of several, its kind, a space and the part's name. */
const kinds = {
  rate: { head: unit => `${unit}/s`, digits: 0 },
  mbPerS: { head: () => 'MB/s', digits: 0 },
  sentPerS: { head: () => 'sent/s', digits: 0 },
  p50Us: { head: () => 'p50 us', digits: 0 },
  p99Us: { head: () => 'p99 us', digits: 0 },
  wholeMs: { head: () => 'ms, process started to ready', digits: 0 },
  importMs: { head: () => 'ms, import', digits: 0 },
  callMs: { head: () => 'ms, call', digits: 0 },
  endMiB: { head: () => 'MiB, end of the call', digits: 0 },
  restMiB: { head: () => 'MiB, at rest', digits: 0 },
  cpuSumUs: { head: () => 'CPU us each, together', digits: 2 },
  cpuUs: { head: () => 'CPU us each', digits: 2 },
  loopP99Ms: { head: () => 'loop p99 ms', digits: 1 },
} satisfies Record<string, Kind>

export type FigureKind = keyof typeof kinds

export const figureKinds = Object.keys(kinds) as readonly FigureKind[]

/** Kind and part of a figure's key; the part is absent where it is of the whole contestant. */
export function readFigure(key: string): { kind: FigureKind; part: string | undefined } {
  const space = key.indexOf(' ')
  const kind = space < 0 ? key : key.slice(0, space)
  if (!(kind in kinds)) throw new Error(`no figure is called '${key}'`)
  return { kind: kind as FigureKind, part: space < 0 ? undefined : key.slice(space + 1) }
}

export function figureHead(kind: FigureKind, unit: string): string {
  return kinds[kind].head(unit)
}

export function figureText(kind: FigureKind, value: number): string {
  const { digits } = kinds[kind]
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
