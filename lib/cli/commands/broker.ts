/** `homing broker`: a broker for peers that go through one. Several on one store share the work. */
import { runBroker } from '../broker-terminal.ts'
import { addClusterOptions, commonOptions, type ClusterFlags } from '../cluster-options.ts'
import { Printer } from '../printer.ts'
import type { Define } from '../run.ts'

export const brokerCommand: Define = (program, run) => {
  const command = program
    .command('broker')
    .description('Run a broker: peers connect to it instead of to each other. Several brokers on one store back each other up.')
    .option('--json', 'print JSON')
  addClusterOptions(command, { logLevel: 'warn', broker: false })
  command.addHelpText(
    'after',
    '\nExample:\n  homing broker --listen tcp://127.0.0.1:7400\n  homing peer --broker tcp://127.0.0.1:7400',
  )
  command.action(async (flags: ClusterFlags & { json?: true }) => {
    const printer = new Printer(flags.json === true)
    const options = { listen: 'tcp://127.0.0.1:7400', ...(await commonOptions(flags)) }
    const program = { name: 'homing', allowFile: flags.allowFile }
    run.code = await runBroker(options, program, (line, event) => printer.print(line, event), run.ending)
  })
}
