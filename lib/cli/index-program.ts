/** `index`: the broker of the demo. */
import { addClusterOptions, commonOptions, type ClusterFlags } from './cluster-options.ts'
import { runBroker } from './broker-terminal.ts'
import { newCommand, runProgram } from './program.ts'
import { isInvalidBackend, parseSeed, printLine, seedDefaults } from './seed-program.ts'

const name = 'index'

export function main(argv: readonly string[]): Promise<never> {
  return runProgram(name, async ending => {
    const command = newCommand(name).description('The broker of the demo: servers connect to it, and it forwards their messages.')
    addClusterOptions(command, seedDefaults(false))
    command.addHelpText('after', '\nExample: then, in another terminal\n  node bin/server 1 1')
    const flags = parseSeed<ClusterFlags>(command, argv)
    if (isInvalidBackend(flags)) return 1
    const options = { listen: 'tcp://127.0.0.1:7400', ...(await commonOptions(flags)) }
    return runBroker(options, { name, allowFile: flags.allowFile }, printLine, ending)
  })
}
