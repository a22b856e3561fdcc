/** An explanation in words. */
import type { Explanation } from '../index.ts'
import { msText, visible } from './text.ts'

export function explanationText({ summary, owner, path, sends, store, lease }: Explanation): string {
  const lines = [visible(summary)]
  if (owner)
    lines.push(
      `  owner: ${visible(owner.identity)}, incarnation ${visible(owner.incarnation)}, claim ${owner.claim}${owner.moving ? ', moving' : ''}`,
    )
  if (path) {
    const over = path.over === undefined ? '' : ` over ${visible(path.over)}`
    const roundTrip = path.roundTripMs === undefined ? '' : `, round trip ${msText(path.roundTripMs)}`
    lines.push(`  path: ${path.kind}, ${path.at}${over}${roundTrip}`)
    if (path.lastError !== undefined) lines.push(`  last error of the path: ${visible(path.lastError)}`)
  }
  if (sends.waiting + sends.outstanding > 0) lines.push(`  sends: ${sends.waiting} waiting, ${sends.outstanding} under way`)
  if (sends.lastFailure !== undefined) lines.push(`  last failure: ${visible(sends.lastFailure)}`)
  lines.push(`  store ${store}, lease ${lease}`)
  return lines.join('\n')
}
