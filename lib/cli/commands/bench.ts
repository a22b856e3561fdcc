/** `homing bench`: how fast it is, beside others, on this machine. The benches are part of the source, not of the installed package. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ProgramError } from '../failure.ts'
import type { Define } from '../run.ts'

/** From dist/lib/cli/commands. */
const runner = fileURLToPath(new URL('../../../bench/main.js', import.meta.url))

export const benchCommand: Define = (program, run) => {
  program
    .command('bench')
    .description('Measure it beside bare Node and others that do the same work (only in a clone of the repository).')
    .argument('[args...]', 'as of `npm run bench`: see --help')
    // All that is typed is for the runner, --help too.
    .helpOption(false)
    .allowUnknownOption()
    .action(async (args: string[]) => {
      if (!existsSync(runner))
        throw new ProgramError('the benches are not part of the installed package: clone the repository, then npm run bench')
      run.code = await runnerEnded(args, run.ending.requested)
    })
}

/**
 * Resolves to the runner's exit code. The channel is there to be closed: the runner ends with it. A signal would be its second one after
 * Ctrl-C, which reaches the whole group of the terminal.
 */
function runnerEnded(args: readonly string[], ending: Promise<void>): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [runner, ...args], { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
    child.once('error', reject)
    child.once('exit', code => resolve(code ?? 1))
    void ending.then(() => child.connected && child.disconnect())
  })
}
