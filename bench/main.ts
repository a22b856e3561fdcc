/** `npm run bench [-- name ...]`: measures Homing beside bare Node and those that do the same work, on this machine, now. */
import { InvalidArgumentError } from 'commander'
import { UsageError } from '../lib/cli/failure.ts'
import { newCommand, runProgram } from '../lib/cli/program.ts'
import { Progress } from '../lib/cli/progress.ts'
import type { Ending } from '../lib/cli/ending.ts'
import { broadcast } from './broadcast.ts'
import { broker } from './broker.ts'
import { datastore } from './datastore.ts'
import { fair } from './fair.ts'
import { growth } from './growth.ts'
import { guard } from './guard.ts'
import type { Answer } from './kit/answer.ts'
import type { Question } from './kit/contestant.ts'
import { machineText, thisMachine } from './kit/machine.ts'
import { ask } from './kit/rounds.ts'
import { answerText } from './kit/table.ts'
import { large } from './large.ts'
import { manyAddresses } from './many-addresses.ts'
import { memory } from './memory.ts'
import { oneWay } from './one-way.ts'
import { request } from './request.ts'
import { secured } from './secured.ts'
import { start } from './start.ts'

interface Flags {
  rounds?: number
  seconds?: number
  json?: true
}

const name = 'bench'
const defaults = { rounds: 3, seconds: 2 }
const questions: readonly Question[] = [
  oneWay,
  request,
  broker,
  manyAddresses,
  large,
  broadcast,
  datastore(undefined),
  start,
  memory,
  growth,
  secured,
  fair,
]
const all: readonly Question[] = [...questions, guard]

function positive(typed: string): number {
  const value = Number(typed)
  if (!(value > 0 && value <= 3_600)) throw new InvalidArgumentError('It is a number above 0.')
  return value
}

function oneOrMore(typed: string): number {
  const value = Number(typed)
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('It is a whole number from 1.')
  return value
}

/** Those that were named, or all but the guard, which repeats what others ask. */
function chosen(names: readonly string[]): readonly Question[] {
  if (names.length === 0) return questions
  return names.map(one => {
    const question = all.find(({ name }) => name === one)
    if (!question) throw new UsageError(`there is no bench '${one}'; there are ${all.map(({ name }) => name).join(', ')}`)
    return question
  })
}

async function measure(names: readonly string[], flags: Flags, ending: Ending): Promise<number> {
  const asked = chosen(names)
  const machine = thisMachine()
  if (!flags.json) process.stdout.write(`${machineText(machine)}\n`)
  const answers: Answer[] = []
  for (const question of asked) {
    const answer = await answerOf(question, flags, ending)
    if (!answer) return 130
    answers.push(answer)
    if (!flags.json) process.stdout.write(`\n${answerText(answer, question.ratiosOnly === true)}\n`)
  }
  if (flags.json) process.stdout.write(`${JSON.stringify({ machine, answers }, undefined, 2)}\n`)
  return 0
}

async function answerOf(question: Question, flags: Flags, ending: Ending): Promise<Answer | undefined> {
  const rounds = flags.rounds ?? question.rounds ?? defaults.rounds
  const seconds = flags.seconds ?? question.seconds ?? defaults.seconds
  let doing = question.name
  using _ = new Progress(() => doing)
  return await ask(question, { rounds, seconds }, ending, text => (doing = text))
}

await runProgram(name, async ending => {
  // `homing bench` started this, and ends.
  process.on('disconnect', () => ending.request())
  let code = 0
  const list = all.map(({ name, title }) => `  ${name.padEnd(8)}  ${title}`).join('\n')
  const program = newCommand(name)
    .description('Measure Homing beside bare Node and those that do the same work, in turn, on this machine, now.')
    .argument('[names...]', 'what to measure; all but the guard if none is named')
    .option('--rounds <n>', `how often each takes its turn (default: ${defaults.rounds})`, oneOrMore)
    .option('--seconds <s>', `how long it is measured each time (default: ${defaults.seconds})`, positive)
    .option('--json', 'print JSON, with every round')
    .addHelpText('after', `\nBenches:\n${list}\n\nExample: the four main ratios, in under a minute\n  npm run bench -- guard`)
  program.action(async (names: string[], flags: Flags) => {
    code = await measure(names, flags, ending)
  })
  await program.parseAsync(process.argv.slice(2), { from: 'user' })
  return code
})
