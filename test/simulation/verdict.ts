/** A seed tried twice: what was found, whether both times the same happened, and what it took. */
import { simulate, type FaultName, type Mode, type Simulation } from '../../lib/testing/index.ts'

export interface Verdict {
  readonly seed: number
  readonly mode: Mode
  /** Sentences; none: all is well. */
  readonly violations: readonly string[]
  readonly hash: string
  readonly virtualMs: number
  readonly messages: number
  readonly faults: Readonly<Partial<Record<FaultName, number>>>
  /** For one of the two runs, ms: the faster one, since the other one's compiler was busy too. */
  readonly realMs: number
}

/** Violations of one seed that are told; the others follow from these. */
const violationsMax = 20

export async function tryTwice(seed: number, mode: Mode): Promise<{ verdict: Verdict; simulation: Simulation }> {
  const first = await timed(seed, mode)
  const second = await timed(seed, mode)
  const { simulation } = second
  const { hash, virtualMs, messages, faults } = simulation
  const violations = [
    ...simulation.findings.map(({ rule, text, atMs }) => `${rule} ${text}, at ${atMs} ms`),
    ...second.rejections,
  ]
  if (first.simulation.hash !== hash)
    violations.unshift(
      `not the same twice: ${first.simulation.hash} and ${hash}, from ${differenceOf(first.simulation, simulation)}`,
    )
  const realMs = Math.min(first.realMs, second.realMs)
  return {
    verdict: { seed, mode, violations: violations.slice(0, violationsMax), hash, virtualMs, messages, faults, realMs },
    simulation,
  }
}

async function timed(seed: number, mode: Mode): Promise<{ simulation: Simulation; realMs: number; rejections: string[] }> {
  const rejections: string[] = []
  const rejected = (error: unknown): void =>
    void rejections.push(`unhandled rejection: ${error instanceof Error ? error.stack : String(error)}`)
  process.on('unhandledRejection', rejected)
  try {
    const startedMs = performance.now()
    const simulation = await simulate({ seed, mode })
    return { simulation, realMs: performance.now() - startedMs, rejections }
  } finally {
    process.off('unhandledRejection', rejected)
  }
}

/** Where two runs part. */
function differenceOf(one: Simulation, other: Simulation): string {
  const [a, b] = [one, other].map(({ history, log }) => [
    ...history.events.map(event => JSON.stringify(event)),
    ...log.map(line => JSON.stringify(line)),
  ])
  const at = a!.findIndex((line, index) => line !== b![index])
  return at < 0 ? 'the number of events' : `${a![at]} and ${b![at] ?? 'nothing'}`
}
