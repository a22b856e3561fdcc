/** `npm run bench [-- name ...]`: measures Homing beside bare Node and those that do the same work, on this machine, now. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { InvalidArgumentError } from 'commander'
import { ProgramError, UsageError } from '../lib/cli/failure.ts'
import { interrupted, newCommand, runProgram } from '../lib/cli/program.ts'
import { Progress } from '../lib/cli/progress.ts'
import type { Ending } from '../lib/cli/ending.ts'
import { oneOrMore } from '../lib/cli/typed-number.ts'
import type { Answer } from './kit/answer.ts'
import type { Question } from './kit/contestant.ts'
import { documentWith } from './kit/document.ts'
import { machineText, thisMachine } from './kit/machine.ts'
import { pictureOf } from './kit/picture.ts'
import { readResult, type Result } from './kit/result.ts'
import { ask } from './kit/rounds.ts'
import { answerText, marksText } from './kit/table.ts'
import { chosenOf, questions } from './questions.ts'

interface Flags {
  rounds?: number
  seconds?: number
  store?: string
  json?: true
  from?: string
  write?: string
}

const name = 'bench'
const defaults = { rounds: 3, seconds: 2 }

function positive(typed: string): number {
  const value = Number(typed)
  if (!(value > 0 && value <= 3_600)) throw new InvalidArgumentError('It is a number above 0.')
  return value
}

async function main(names: readonly string[], flags: Flags, typed: readonly string[], ending: Ending): Promise<number> {
  if (flags.from !== undefined && names.length > 0) throw new UsageError('--from takes what was measured before: name no bench')
  const result = flags.from === undefined ? await measure(names, flags, typed, ending) : readResult(flags.from)
  if (!result) return interrupted
  if (flags.json) process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`)
  if (flags.write !== undefined) write(result, flags.write)
  return result.answers.some(({ failed }) => failed.length > 0) ? 1 : 0
}

/** Undefined when the end was asked for. */
async function measure(
  names: readonly string[],
  flags: Flags,
  typed: readonly string[],
  ending: Ending,
): Promise<Result | undefined> {
  const asked = chosenOf(questions(flags.store), names)
  const print = (text: string): void => void (flags.json || process.stdout.write(`${text}\n`))
  const machine = thisMachine()
  print(machineText(machine))
  const answers: Answer[] = []
  for (const question of asked) {
    const answer = await answerOf(question, flags, ending)
    if (!answer) return undefined
    answers.push(answer)
    print(`\n${answerText(answer, question.ratiosOnly === true)}`)
  }
  if (answers.length > 1) print(`\n${marksText(answers)}`)
  return { command: `npm run bench -- ${typed.join(' ')}`, day: new Date().toISOString().slice(0, 10), machine, answers }
}

async function answerOf(question: Question, flags: Flags, ending: Ending): Promise<Answer | undefined> {
  const rounds = flags.rounds ?? question.rounds ?? defaults.rounds
  const seconds = flags.seconds ?? question.seconds ?? defaults.seconds
  let doing = question.name
  using _ = new Progress(() => doing)
  return await ask(question, { rounds, seconds }, ending, text => (doing = text))
}

/** The table of the document, and the picture beside it. */
function write(result: Result, folder: string): void {
  const file = join(folder, 'performance.md')
  try {
    writeFileSync(file, documentWith(readFileSync(file, 'utf8'), result))
    writeFileSync(join(folder, 'performance.svg'), pictureOf(result))
  } catch (error) {
    if (error instanceof Error && 'syscall' in error) throw new ProgramError(`--write: ${error.message}`)
    throw error
  }
}

await runProgram(name, async ending => {
  // `homing bench` started this, and ends.
  process.on('disconnect', () => ending.request())
  let code = 0
  const typed = process.argv.slice(2)
  const all = questions()
  const longest = Math.max(...all.map(({ name }) => name.length))
  const list = all.map(({ name, title }) => `  ${name.padEnd(longest)}  ${title}`).join('\n')
  const program = newCommand(name)
    .description('Measure Homing beside bare Node and those that do the same work, in turn, on this machine, now.')
    .argument('[names...]', 'what to measure; all but the guard if none is named, or `all`')
    .option('--rounds <n>', `how often each takes its turn (default: ${defaults.rounds})`, oneOrMore)
    .option('--seconds <s>', `how long it is measured each time (default: ${defaults.seconds})`, positive)
    .option(
      '--store <url>',
      'the datastore that the bench of datastores asks (default: memory, LMDB, and Redis if it is installed)',
    )
    .option('--json', 'print JSON, with every round')
    .option('--from <file>', 'measure nothing: take what --json printed before')
    .option('--write <folder>', 'write the figures into performance.md there, and performance.svg beside it')
    .addHelpText('after', `\nBenches:\n${list}\n\nExample: the four main ratios, in under a minute\n  npm run bench -- guard`)
  program.action(async (names: string[], flags: Flags) => {
    code = await main(names, flags, typed, ending)
  })
  await program.parseAsync(typed, { from: 'user' })
  return code
})
