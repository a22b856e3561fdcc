/** Judges the history of a simulated world. */
import { check, violationText, type Finding, type History, type Plan } from '../../lib/testing/index.ts'

/** A process that stands still settles its sends so much later, and one whose clock is slow, ms. */
export function judge(history: History, plan: Plan, endMs: number): Finding[] {
  const stands = plan.faults.some(name => /stall|suspend/i.test(name))
  const lateMs = (stands ? 2 * plan.faultMsMax : 0) + (plan.clockRates.size > 0 ? 300 : 0)
  // "A broadcast that every client gets exactly once while clients move" is not promised; it has no receipt to be held to.
  const events = history.events.filter(event => event.what !== 'delivery' || !event.id.includes('/broadcast/'))
  return check(events, { endMs, slackMs: 100 + lateMs }).map(violation => ({
    text: violationText(violation),
    atMs: violation.atMs,
  }))
}
