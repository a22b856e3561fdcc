/** `homing explain`: where an address lives, by which way, and what stands in the way. */
import { addClusterOptions, type ClusterFlags } from '../cluster-options.ts'
import { explanationText } from '../explanation-text.ts'
import { joinBriefly } from '../join.ts'
import { Printer } from '../printer.ts'
import type { Define } from '../run.ts'

export const explainCommand: Define = (program, run) => {
  const command = program
    .command('explain')
    .description(
      'Say where an address lives, by which way a message goes there, and why it would fail. Exits with 1 if nobody holds it.',
    )
    .argument('<address>', 'the client to look for')
    .option('--json', 'print JSON')
  addClusterOptions(command, { logLevel: 'warn', broker: true })
  command.addHelpText('after', '\nExample:\n  homing explain alice')
  command.action(async (address: string, flags: ClusterFlags & { json?: true }) => {
    await using peer = await joinBriefly(flags, run.ending)
    const explanation = await peer.explain(address)
    new Printer(flags.json === true).print(explanationText(explanation), explanation)
    run.code = explanation.owner ? 0 : 1
  })
}
