/** `homing <command>`: everything that is not a program of the seed. */
import { version } from '../version.ts'
import { benchCommand } from './commands/bench.ts'
import { broadcastCommand } from './commands/broadcast.ts'
import { brokerCommand } from './commands/broker.ts'
import { demoCommand } from './commands/demo.ts'
import { explainCommand } from './commands/explain.ts'
import { peerCommand } from './commands/peer.ts'
import { sendCommand } from './commands/send.ts'
import { statusCommand } from './commands/status.ts'
import { whereCommand } from './commands/where.ts'
import { newCommand, runProgram } from './program.ts'
import { Run } from './run.ts'

const name = 'homing'

export function main(argv: readonly string[]): Promise<never> {
  return runProgram(name, async ending => {
    const run = new Run(ending)
    const program = newCommand(name)
      .description('Sends a message to a client, wherever in the cluster that client is connected now.')
      .version(version, '-V, --version')
      .helpCommand(true)
    const commands = [
      demoCommand,
      peerCommand,
      brokerCommand,
      sendCommand,
      broadcastCommand,
      whereCommand,
      explainCommand,
      statusCommand,
      benchCommand,
    ]
    for (const define of commands) define(program, run)
    program.addHelpText('after', '\nExample: three servers, both modes, on a store of their own\n  homing demo')
    await program.parseAsync(argv, { from: 'user' })
    return run.code
  })
}
