/**
 * `npm run contract`: holds each driver against each statement, prints the table, and fails if a promise is broken or a statement was not tried.
 * Arguments: names of drivers (default: all that can be tried here), `--rounds N` for statements that provoke races (default 10).
 */

import { parseArgs } from 'node:util'
import { contractTable, datastoreContract, judge, type Column } from '../../lib/testing/index.ts'
import { knownDrivers } from './drivers.ts'
import { started, type KnownDriver } from './known-driver.ts'

const { values, positionals } = parseArgs({ options: { rounds: { type: 'string' } }, allowPositionals: true })
const rounds = values.rounds === undefined ? undefined : Number(values.rounds)
for (const name of positionals)
  if (!knownDrivers.some(known => known.name === name)) throw new Error(`no driver is called '${name}'`)

async function columnOf(known: KnownDriver): Promise<Column> {
  const began = performance.now()
  await using engine = await started(known)
  const driver = rounds === undefined ? engine : { ...engine, rounds }
  const verdicts = []
  for (const statement of datastoreContract) verdicts.push(await judge(statement, driver))
  process.stderr.write(`${known.name}: ${((performance.now() - began) / 1_000).toFixed(1)} s\n`)
  return { name: known.name, verdicts }
}

const columns: Column[] = []
for (const known of knownDrivers) {
  if (positionals.length > 0 && !positionals.includes(known.name)) continue
  const missing = known.missing()
  if (missing === undefined) columns.push(await columnOf(known))
  else process.stderr.write(`${known.name}: left out, ${missing}\n`)
}
process.stdout.write(contractTable(datastoreContract, columns))
const failed = columns.some(({ verdicts }) => verdicts.some(({ at }) => at === 'broken' || at === 'untried'))
process.exitCode = failed ? 1 : 0
