/** Incarnations of an identity that are known to be gone, so that a directory which lags behind does not bring them back. */
import type { Run } from '../sessions/directory.ts'

/** Of incarnations that a run has replaced, this many are remembered. */
const formerMax = 8

/** What `run` replaces when it takes the place of `former`, that one's own former ones included. */
export function formerOf(run: Run, former: { run: Run; former: readonly string[] } | undefined): readonly string[] {
  if (!former) return []
  const known = [...former.former, former.run.incarnation].filter(incarnation => incarnation !== run.incarnation)
  return known.slice(-formerMax)
}
