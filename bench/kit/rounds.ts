/** A question is put to all contestants in turn, round by round: what the machine does meanwhile hits all of them alike. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ProgramError } from '../../lib/cli/failure.ts'
import type { Ending } from '../../lib/cli/ending.ts'
import { answerTo, type Answer } from './answer.ts'
import type { Outcome, Question } from './contestant.ts'
import { installText, versionOf } from './peers.ts'
import { runOnce } from './run.ts'

export interface Wanted {
  readonly rounds: number
  readonly seconds: number
}

/** Undefined when the end was asked for. Who fails is out of it, and the answer says so: the others are measured none the less. */
export async function ask(
  question: Question,
  wanted: Wanted,
  ending: Ending,
  progress: (text: string) => void,
): Promise<Answer | undefined> {
  const outcomes = new Map<string, Outcome[]>()
  const times = { warmUpMs: (question.warmUpSeconds ?? 1) * 1_000, measuredMs: wanted.seconds * 1_000 }
  const { names, leftOut } = present(question)
  const failed = new Set<string>()
  for (let round = 1; round <= wanted.rounds; round++) {
    for (const name of names.filter(name => !failed.has(name))) {
      progress(`${question.name}: round ${round} of ${wanted.rounds}, ${name}`)
      const outcome = await inFolder(folder => {
        const contestant = question.contestants(folder).find(one => one.name === name)!
        return tried(runOnce(contestant, times, ending))
      })
      if (!outcome) return undefined
      if (outcome instanceof ProgramError) {
        process.stderr.write(`${question.name}: ${outcome.message}\n`)
        failed.add(name)
        outcomes.delete(name)
      } else outcomes.set(name, [...(outcomes.get(name) ?? []), outcome])
    }
  }
  return answerTo(question, wanted, outcomes, { leftOut, failed: [...failed] })
}

/** A process of a contestant failed: that is an outcome too. */
async function tried<T>(run: Promise<T>): Promise<T | ProgramError> {
  try {
    return await run
  } catch (error) {
    if (error instanceof ProgramError) return error
    throw error
  }
}

/** Names of those that can take part; and who cannot, with what to run so that they do. */
function present(question: Question): { names: string[]; leftOut: string[] } {
  const names: string[] = []
  const absent = new Map<string, string[]>()
  for (const { name, needs = [] } of question.contestants('')) {
    const install = needs.filter(need => versionOf(need) === undefined).map(installText)
    if (install.length === 0) names.push(name)
    else {
      const text = install.join(' && ')
      absent.set(text, [...(absent.get(text) ?? []), name])
    }
  }
  return { names, leftOut: [...absent].map(([install, names]) => `${names.join('; ')} (to have them: ${install})`) }
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'homing-bench-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  // A second signal ends this process at once.
  process.once('exit', remove)
  try {
    return await work(folder)
  } finally {
    process.off('exit', remove)
    remove()
  }
}
