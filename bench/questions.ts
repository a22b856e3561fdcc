/** All that can be asked. */
import { UsageError } from '../lib/cli/failure.ts'
import { broadcast } from './broadcast.ts'
import { broker } from './broker.ts'
import { datastore } from './datastore.ts'
import { fair } from './fair.ts'
import { growth } from './growth.ts'
import { guard } from './guard.ts'
import type { Question } from './kit/contestant.ts'
import { large } from './large.ts'
import { manyAddresses } from './many-addresses.ts'
import { memory } from './memory.ts'
import { oneWay } from './one-way.ts'
import { request } from './request.ts'
import { secured } from './secured.ts'
import { start } from './start.ts'

/** In the order in which they are asked; the guard, which repeats what others ask, last. @param storeUrl the one datastore to ask */
export function questions(storeUrl?: string): readonly Question[] {
  return [
    oneWay,
    request,
    broker,
    manyAddresses,
    large,
    broadcast,
    datastore(storeUrl),
    start,
    memory,
    growth,
    secured,
    fair,
    guard,
  ]
}

/** Those that were named; all but the guard if none was, or `all`. Throws `UsageError` for a name that there is not. */
export function chosenOf(all: readonly Question[], names: readonly string[]): readonly Question[] {
  if (names.length === 0 || (names.length === 1 && names[0] === 'all')) return all.filter(question => question !== guard)
  return names.map(one => {
    const question = all.find(({ name }) => name === one)
    if (!question) throw new UsageError(`there is no bench '${one}'; there are ${all.map(({ name }) => name).join(', ')}`)
    return question
  })
}
