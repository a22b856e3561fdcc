/** `homing demo`: the main job on one screen. Real processes talk in both modes, and every message is accounted for. */
import type { Define } from '../run.ts'
import { oneOrMore, zeroOrMore } from '../typed-number.ts'

export interface DemoFlags {
  store?: string
  processes: number
  burst: number
  json?: true
}

export const demoCommand: Define = (program, run) => {
  const command = program
    .command('demo')
    .description(
      'Show it: processes that talk to each other directly, then through a broker. Exits with 0 only if nothing was lost.',
    )
    .option('--processes <n>', 'how many in each mode', oneOrMore, 3)
    .option('--burst <n>', 'messages that each process sends after the conversation (0: none)', zeroOrMore, 700)
    .option('--store <url>', 'session store (default: a fresh LMDB folder, removed at the end)')
    .option('--json', 'print the summary as JSON; what the processes print goes to stderr')
    .option('--debug', 'show the stacks of errors')
    .addHelpText('after', '\nExample: also as `npm start`\n  homing demo\n  homing demo --burst 10000')
  command.action(async (flags: DemoFlags) => {
    const { runDemo } = await import('../demo.ts')
    run.code = await runDemo(flags, run.ending)
  })
}
