/** `homing broadcast`: one message to every client of every peer. */
import type { BroadcastResult } from '../../index.ts'
import { addClusterOptions, type ClusterFlags } from '../cluster-options.ts'
import { zeroOrMore } from '../typed-number.ts'
import { joinBriefly } from '../join.ts'
import { Printer } from '../printer.ts'
import { broadcastData, broadcastText } from '../broadcast-text.ts'
import type { Define } from '../run.ts'
import { readBody } from '../text.ts'

interface BroadcastFlags extends ClusterFlags {
  from?: string
  deadlineMs: number
  json?: true
}

export const broadcastCommand: Define = (program, run) => {
  const command = program
    .command('broadcast')
    .description('Send a message to every client of every peer. Exits with 0 only if every peer answered and had room for it.')
    .argument('<body>', 'JSON if it can be read as such, else text')
    .option('--from <address>', 'the address to send from')
    .option('--deadline-ms <ms>', 'when all answers are due at the latest', zeroOrMore, 10_000)
    .option('--json', 'print JSON')
  addClusterOptions(command, { logLevel: 'warn', broker: true })
  command.addHelpText('after', "\nExample:\n  homing broadcast 'restart at 5'")
  command.action(async (typed: string, flags: BroadcastFlags) => {
    const { from, deadlineMs } = flags
    await using peer = await joinBriefly(flags, run.ending)
    const result = await peer.broadcast(readBody(typed), {
      deadlineMs,
      signal: run.ending.signal,
      ...(from !== undefined && { from }),
    })
    new Printer(flags.json === true).print(broadcastText(result), broadcastData(result))
    run.code = isComplete(result) ? 0 : 1
  })
}

function isComplete({ peers }: BroadcastResult): boolean {
  return peers.every(({ code, full }) => code === undefined && full === 0)
}
