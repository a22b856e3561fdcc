/**
 * H10: no promise is rejected that nobody handles; no process exits but because it was killed, or closed first and then with code 0; no figure
 * that was measured is above its bound.
 *
 * No excuse.
 */
import type { Facts } from './facts.ts'
import type { Violation } from './violation.ts'

export function* ends(facts: Facts): Generator<Violation> {
  for (const event of facts.events) {
    const { atMs } = event
    if (event.what === 'unhandledRejection') {
      yield { rule: 'H10', text: `unhandled rejection in ${event.peer}: ${event.text}`, atMs, peer: event.peer }
    } else if (event.what === 'measured' && !(event.value <= event.valueMax)) {
      yield { rule: 'H10', text: `${event.of} of ${event.peer}: ${event.value}, above ${event.valueMax}`, atMs, peer: event.peer }
    }
  }
  for (const { exit, run, killed } of facts.exits) {
    if (killed || (exit.code === 0 && run && run.leavingMs <= exit.atMs)) continue
    const how = exit.signal === null ? `with code ${exit.code}` : `by ${exit.signal}`
    yield { rule: 'H10', text: `${exit.name} exited ${how}, and nobody had killed it`, atMs: exit.atMs, peer: exit.name }
  }
}
