/** `npm run sim`: simulated clusters with swarms of faults, a seed each; and one seed told as a timeline. */
import { Option } from 'commander'
import type { Ending } from '../../lib/cli/ending.ts'
import { UsageError } from '../../lib/cli/failure.ts'
import { interrupted, newCommand, runProgram } from '../../lib/cli/program.ts'
import { Progress } from '../../lib/cli/progress.ts'
import { oneOrMore, zeroOrMore } from '../../lib/cli/typed-number.ts'
import { timelineOf, type Mode } from '../../lib/testing/index.ts'
import type { Order } from './job.ts'
import { tryAll } from './pool.ts'
import { Tally } from './tally.ts'
import { tryTwice, type Verdict } from './verdict.ts'

interface Flags {
  seed?: number
  seeds?: number
  from: number
  jobs: number
  mode: Mode | 'both'
  json?: true
  whole?: boolean
}

const name = 'sim'

/** In `both`, every other seed goes through brokers. */
function modeOf(seed: number, mode: Flags['mode']): Mode {
  if (mode !== 'both') return mode
  return seed % 2 === 0 ? 'broker' : 'brokerless'
}

async function one(seed: number, { mode, json, whole = false }: Flags): Promise<number> {
  const { verdict, simulation } = await tryTwice(seed, modeOf(seed, mode))
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ...verdict, timeline: timelineOf(simulation, { whole: true }).split('\n') }, undefined, 2)}\n`,
    )
    return verdict.violations.length > 0 ? 1 : 0
  }
  process.stdout.write(`${timelineOf(simulation, { whole })}\n`)
  for (const text of verdict.violations)
    if (!simulation.findings.some(finding => text.includes(finding.text))) process.stdout.write(`${text}\n`)
  const tally = new Tally()
  tally.add(verdict)
  process.stdout.write(`\n${tally.text(2 * verdict.realMs)}\ntrace        ${verdict.hash}\n`)
  return verdict.violations.length > 0 ? 1 : 0
}

async function many(count: number, { from, jobs, mode, json }: Flags, ending: Ending): Promise<number> {
  const tally = new Tally()
  const startedMs = performance.now()
  {
    using progress = new Progress(() => tally.line(count))
    await tryAll(orders(from, count, mode), jobs, ending, verdict => {
      tally.add(verdict)
      if (verdict.violations.length === 0 || json) return
      progress.clear()
      process.stdout.write(`${verdictText(verdict)}\n\n`)
    })
  }
  process.stdout.write(json ? `${JSON.stringify(tally, undefined, 2)}\n` : `${tally.text(performance.now() - startedMs)}\n`)
  if (tally.failed.length > 0) return 1
  return ending.isRequested ? interrupted : 0
}

function* orders(from: number, count: number, mode: Flags['mode']): Generator<Order> {
  for (let seed = from; seed < from + count; seed++) yield { seed, mode: modeOf(seed, mode) }
}

/** What was found in a seed, and how to see it again. */
function verdictText({ seed, mode, violations }: Verdict): string {
  return [
    `seed ${seed}, ${mode}:`,
    ...violations.map(text => `  ${text}`),
    `  npm run sim -- --seed ${seed} --mode ${mode}`,
  ].join('\n')
}

await runProgram(name, async ending => {
  let code = 0
  const program = newCommand(name)
    .description(
      'Run clusters of the real code on a virtual clock, network and datastore, with a swarm of faults drawn from each seed, and judge what became of every message. Each seed is run twice: the traces must be equal.',
    )
    .option('--seed <s>', 'run one world, and tell it as a timeline', zeroOrMore)
    .option('--whole', 'with --seed: all of the timeline, not only what is near a violation')
    .option('--seeds <n>', 'run so many worlds (default: 100)', oneOrMore)
    .option('--from <f>', 'the first seed', zeroOrMore, 1)
    .option('--jobs <j>', 'processes that share the work', oneOrMore, 1)
    .addOption(
      new Option('--mode <mode>', 'how peers reach each other; both: every other seed')
        .choices(['brokerless', 'broker', 'both'])
        .default('both'),
    )
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  npm run sim -- --seeds 1000 --jobs 2\n  npm run sim -- --seed 7 --mode broker')
  program.action(async (flags: Flags) => {
    if (flags.seed !== undefined && flags.seeds !== undefined) throw new UsageError('--seed and --seeds exclude each other')
    code = flags.seed === undefined ? await many(flags.seeds ?? 100, flags, ending) : await one(flags.seed, flags)
  })
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
  return code
})
