/** The four main ratios in under a minute, for whoever changes a hot path: read them, they judge nothing. */
import { broker } from './broker.ts'
import type { Comparison, Contestant, Question } from './kit/contestant.ts'
import { oneWay } from './one-way.ts'
import { request } from './request.ts'

const main: readonly (readonly [Question, Comparison])[] = [
  [oneWay, pick(oneWay, 'homing, sent', 'bare, plain maps')],
  [oneWay, pick(oneWay, 'homing, receipts, 4096 outstanding', 'bare, plain maps')],
  [request, pick(request, 'homing, 256 outstanding', 'bare, framed, 256 outstanding')],
  [broker, pick(broker, 'homing, receipts, 4 destinations', 'bare relay, 4 destinations')],
]

function pick({ name, comparisons }: Question, of: string, to: string): Comparison {
  const found = comparisons.find(one => one.of === of && one.to === to && one.figure === 'rate')
  if (!found) throw new Error(`guard: ${name} does not compare ${of} with ${to}`)
  return found
}

function called(question: Question, contestant: string): string {
  return `${question.name}: ${contestant}`
}

function contestants(folder: string): readonly Contestant[] {
  const found = new Map<string, Contestant>()
  for (const [question, { of, to }] of main) {
    for (const contestant of question.contestants(folder)) {
      const name = called(question, contestant.name)
      if (contestant.name === of || contestant.name === to) found.set(name, { ...contestant, name })
    }
  }
  return [...found.values()]
}

export const guard: Question = {
  name: 'guard',
  title: 'the four main ratios',
  unit: 'messages',
  contestants,
  comparisons: main.map(([question, comparison]) => ({
    ...comparison,
    of: called(question, comparison.of),
    to: called(question, comparison.to!),
  })),
  rounds: 2,
  seconds: 1,
  ratiosOnly: true,
}
