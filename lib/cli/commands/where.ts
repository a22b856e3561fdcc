/** `homing where`: which peer holds an address now. */
import { addClusterOptions, type ClusterFlags } from '../cluster-options.ts'
import { joinBriefly } from '../join.ts'
import { Printer } from '../printer.ts'
import type { Define } from '../run.ts'
import { whereData, whereText } from '../where-text.ts'

export const whereCommand: Define = (program, run) => {
  const command = program
    .command('where')
    .description('Say which peer holds an address now. Exits with 1 if nobody does.')
    .argument('<address>', 'the client to look for')
    .option('--json', 'print JSON')
  addClusterOptions(command, { logLevel: 'warn', broker: true })
  command.addHelpText('after', '\nExample:\n  homing where alice')
  command.action(async (address: string, flags: ClusterFlags & { json?: true }) => {
    await using peer = await joinBriefly(flags, run.ending)
    const found = await peer.whereIs(address)
    new Printer(flags.json === true).print(whereText(address, found), whereData(address, found))
    run.code = found ? 0 : 1
  })
}
