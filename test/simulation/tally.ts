/** The figures of many seeds. */
import type { FaultName } from '../../lib/testing/index.ts'
import type { Verdict } from './verdict.ts'

export class Tally {
  seeds = 0
  messages = 0
  virtualMs = 0
  /** Of single runs, ms; each seed is run twice. */
  realMs = 0
  readonly failed: Verdict[] = []
  readonly faults = new Map<FaultName, number>()

  add(verdict: Verdict): void {
    this.seeds++
    this.messages += verdict.messages
    this.virtualMs += verdict.virtualMs
    this.realMs += verdict.realMs
    for (const [name, count] of Object.entries(verdict.faults) as [FaultName, number][]) {
      this.faults.set(name, (this.faults.get(name) ?? 0) + count)
    }
    if (verdict.violations.length > 0) this.failed.push(verdict)
  }

  get faultCount(): number {
    return [...this.faults.values()].reduce((sum, count) => sum + count, 0)
  }

  get violations(): number {
    return this.failed.reduce((sum, { violations }) => sum + violations.length, 0)
  }

  /** Virtual time of one run to the time that it took. */
  get ratio(): number {
    return this.realMs === 0 ? 0 : this.virtualMs / this.realMs
  }

  /** One line, while it goes on. */
  line(seeds: number): string {
    return `${this.seeds} of ${seeds} seeds, ${this.failed.length} with violations, ${Math.round(this.ratio)} times real time`
  }

  /** The last lines. */
  text(elapsedMs: number): string {
    const faults = [...this.faults].toSorted(([, a], [, b]) => b - a).map(([name, count]) => `${name} ${count}`)
    return [
      `seeds        ${this.seeds}, each twice with the same trace`,
      `violations   ${this.violations} in ${this.failed.length} seeds`,
      `virtual time ${hours(this.virtualMs)} (one run a seed)`,
      `real time    ${hours(this.realMs)} for that; ${hours(elapsedMs)} in all`,
      `ratio        ${Math.round(this.ratio)} times real time`,
      `messages     ${this.messages}`,
      `faults       ${this.faultCount}: ${faults.join(', ')}`,
    ].join('\n')
  }

  toJSON(): object {
    const { seeds, violations, virtualMs, realMs, ratio, messages, failed } = this
    return { seeds, violations, virtualMs, realMs, ratio, messages, faults: Object.fromEntries(this.faults), failed }
  }
}

function hours(ms: number): string {
  if (ms < 120_000) return `${(ms / 1_000).toFixed(1)} s`
  return ms < 7_200_000 ? `${(ms / 60_000).toFixed(1)} min` : `${(ms / 3_600_000).toFixed(1)} h`
}
