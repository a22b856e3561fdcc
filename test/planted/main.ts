/** `npm run planted [-- name ...]`: plants one bug after the other, and counts the seeds that the simulator takes to find it. */
import { UsageError } from '../../lib/cli/failure.ts'
import { interrupted, newCommand, runProgram } from '../../lib/cli/program.ts'
import { Progress } from '../../lib/cli/progress.ts'
import type { Ending } from '../../lib/cli/ending.ts'
import { oneOrMore } from '../../lib/cli/typed-number.ts'
import type { Mode } from '../../lib/testing/index.ts'
import { alterations, type PlantedBug } from './alterations.ts'
import { chosenOf } from './chosen.ts'
import { hunt, modes, type Find } from './hunt.ts'
import { planted, type Row } from './table.ts'

interface Flags {
  seeds: number
  from: number
  json?: true
}

const name = 'planted'

function chosen(names: readonly string[]): readonly PlantedBug[] {
  try {
    return chosenOf(names)
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; see --help`)
  }
}

async function rowOf({ name, what }: PlantedBug, { from, seeds }: Flags, ending: Ending): Promise<Row> {
  const began = performance.now()
  let doing = name
  using _ = new Progress(() => doing)
  const { signal } = ending
  const begun = (seed: number, mode: Mode): void => void (doing = `${name}: seed ${seed}, ${mode}`)
  const spoilt: Find[] = []
  let found: Find | undefined
  for (let first = from; first < from + seeds && !found;) {
    const shown = await hunt([name], { from: first, seeds: from + seeds - first, modes, signal, begun })
    if (!shown) break
    // A seed that breaks a promise without it has not found it.
    const without = await hunt([], { from: shown.seed, seeds: 1, modes: [shown.mode], signal, begun })
    if (without) spoilt.push(without)
    else found = shown
    first = shown.seed + 1
  }
  const seconds = (performance.now() - began) / 1_000
  return { name, what, found, spoilt, seeds: found ? found.seed - from + 1 : seeds, seconds }
}

async function main(names: readonly string[], flags: Flags, ending: Ending): Promise<number> {
  const rows: Row[] = []
  const asked = chosen(names)
  const width = Math.max(...asked.map(({ name }) => name.length))
  try {
    for (const alteration of asked) {
      const row = await rowOf(alteration, flags, ending)
      rows.push(row)
      process.stdout.write(flags.json ? `${JSON.stringify(row)}\n` : `${planted(row, width)}\n`)
    }
  } catch (error) {
    if (!ending.isRequested) throw error
  }
  const missed = rows.filter(({ found }) => !found)
  if (!flags.json) process.stdout.write(`${rows.length - missed.length} of ${rows.length} found\n`)
  if (ending.isRequested) return interrupted
  return missed.length > 0 ? 1 : 0
}

await runProgram(name, async ending => {
  let code = 0
  const longest = Math.max(...alterations.map(({ name }) => name.length))
  const list = alterations.map(({ name, what }) => `  ${name.padEnd(longest)}  ${what}`).join('\n')
  const program = newCommand(name)
    .description('Plant bugs, one at a time, and run simulated worlds of both modes until one of them breaks a promise.')
    .argument('[names...]', 'which bugs; all if none is named')
    .option('--seeds <n>', 'how many seeds at most for each', oneOrMore, 500)
    .option('--from <seed>', 'the first seed', oneOrMore, 1)
    .option('--json', 'print a JSON line for each')
    .addHelpText('after', `\nBugs:\n${list}\n\nExit code: 0 when all were found, 1 when one was not.`)
  program.action(async (names: string[], flags: Flags) => {
    code = await main(names, flags, ending)
  })
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
  return code
})
