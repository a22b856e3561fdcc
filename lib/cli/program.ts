/** One run of a program: from its start, over signals and errors, to its exit code. */
import { Command, CommanderError } from 'commander'
import { Ending } from './ending.ts'
import { exitCodeOf, isExpected, sentence, stackOf } from './failure.ts'

/** How long a program may take to close after an error that nobody expected, ms. */
const closingMs = 5_000
/** What a shell reports for a process that SIGINT ended. */
export const interrupted = 130

/**
 * Runs `work` and exits with the code that it returns. SIGINT and SIGTERM ask it to end, a second one exits at once; so does SIGHUP, unless
 * it is to read something again. An error that nobody
 * expected is shown with its stack and ends the program too, with 1, after it has closed what it had open.
 */
export async function runProgram(name: string, work: (ending: Ending) => Promise<number>): Promise<never> {
  const ending = new Ending()
  let broken = false
  const unexpected = (error: unknown) => {
    process.stderr.write(`${name}: unexpected error: ${stackOf(error)}\n`)
    broken = true
    ending.request()
    setTimeout(() => process.exit(1), closingMs).unref()
  }
  process.on('uncaughtException', unexpected)
  process.on('unhandledRejection', unexpected)
  endOnSignals(ending)
  endWithReader(ending, unexpected)

  let code: number
  try {
    code = await work(ending)
  } catch (error) {
    code = report(name, error)
  }
  await flushed(process.stdout)
  process.exit(broken ? 1 : code)
}

function endOnSignals(ending: Ending): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (ending.isRequested) process.exit(interrupted)
      if (signal === 'SIGHUP') ending.hangUp()
      else ending.request()
    })
  }
}

/** `homing status | head -1`: nobody reads any more, which is an end and no error. */
function endWithReader(ending: Ending, unexpected: (error: unknown) => void): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => (error.code === 'EPIPE' ? ending.request() : unexpected(error)))
}

function report(name: string, error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2 // commander has said it
  if (isExpected(error)) {
    process.stderr.write(`${name}: ${sentence(error)}\n`)
    if (process.argv.includes('--debug')) process.stderr.write(`${stackOf(error)}\n`)
  } else {
    process.stderr.write(`${name}: unexpected error: ${stackOf(error)}\n`)
  }
  return exitCodeOf(error)
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise(resolve => (stream.writable ? stream.write('', () => resolve()) : resolve()))
}

/** Of an option that there is not, its value is not repeated: somebody may have typed a secret. */
function withoutValue(text: string): string {
  return text.replace(/(unknown option '--?[^'=]*)=.*'/s, "$1'")
}

/** A command whose complaints begin with the program's name and end in an exception instead of an exit. */
export function newCommand(name: string): Command {
  return new Command(name)
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ outputError: (text, write) => write(withoutValue(text).replace(/^error: /, `${name}: `)) })
}
