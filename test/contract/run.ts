/**
 * `npm run contract`: holds each driver against each statement, prints the table, and fails if a promise is broken or a statement was not tried.
 */

import { parseArgs } from 'node:util'
import { contractTable, datastoreContract, judge, type Column } from '../../lib/testing/index.ts'
import { knownDrivers } from './drivers.ts'
import { started, type KnownDriver } from './known-driver.ts'

/** Without what is said in brackets. */
function wordOf({ name }: KnownDriver): string {
  return name.split(' ')[0]!
}

const names = knownDrivers.map(wordOf)
const usage = `npm run contract -- [driver ...] [--rounds N]

Holds each driver against each statement of the contract, and prints the table.
Drivers: ${names.join(', ')}; without one, all whose engines are installed.
--rounds N   of the statements that provoke races (default 10)
`

function wrong(what: string): never {
  process.stderr.write(`${what}\n\n${usage}`)
  process.exit(2)
}

function given(): { rounds: number | undefined; drivers: readonly string[] } {
  try {
    const options = { rounds: { type: 'string' }, help: { type: 'boolean', short: 'h' } } as const
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    if (values.help) {
      process.stdout.write(usage)
      process.exit(0)
    }
    return { rounds: values.rounds === undefined ? undefined : Number(values.rounds), drivers: positionals }
  } catch (error) {
    wrong((error as Error).message)
  }
}

const { rounds, drivers } = given()
if (rounds !== undefined && !(Number.isSafeInteger(rounds) && rounds > 0)) wrong('--rounds is a whole number from 1 on')
for (const name of drivers) if (!names.includes(name)) wrong(`no driver is called '${name}'`)

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

async function columnOf(known: KnownDriver): Promise<Column> {
  const began = performance.now()
  await using engine = await started(known)
  const driver = rounds === undefined ? engine : { ...engine, rounds }
  const verdicts = []
  for (const [at, statement] of datastoreContract.entries()) {
    progress(`${known.name}: ${at + 1} of ${datastoreContract.length}`)
    verdicts.push(await judge(statement, driver))
  }
  progress('')
  process.stderr.write(`${known.name}: ${((performance.now() - began) / 1_000).toFixed(1)} s\n`)
  return { name: known.name, verdicts }
}

const columns: Column[] = []
for (const known of knownDrivers) {
  if (drivers.length > 0 && !drivers.includes(wordOf(known))) continue
  const missing = known.missing()
  if (missing === undefined) columns.push(await columnOf(known))
  else process.stderr.write(`${known.name}: left out, ${missing}\n`)
}
process.stdout.write(contractTable(datastoreContract, columns))
const failed = columns.some(({ verdicts }) => verdicts.some(({ at }) => at === 'broken' || at === 'untried'))
process.exitCode = failed ? 1 : 0
