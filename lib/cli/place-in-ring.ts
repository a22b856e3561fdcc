/** The two arguments of the seed's programs: which process of how many this is. */
import { UsageError } from './failure.ts'

export interface PlaceInRing {
  n: number
  total: number
}

/** Both default to 1. Throws `UsageError`. */
export function placeInRing(n = '1', total = '1'): PlaceInRing {
  const place = { n: readCount('n', n), total: readCount('total', total) }
  if (place.n > place.total)
    throw new UsageError(`n (${n}) is above total (${total}): the processes are numbered from 1 to total`)
  return place
}

function readCount(what: string, typed: string): number {
  if (!/^\d{1,9}$/.test(typed) || Number(typed) === 0) throw new UsageError(`${what} is a whole number from 1, not '${typed}'`)
  return Number(typed)
}
