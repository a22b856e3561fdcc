/** What a caller may pass with a send: malformed arguments throw at the call. */
import { HomingError } from '../errors.ts'
import { checkName } from '../options.ts'
import type { Router } from '../router/router.ts'
import type { SendOptions } from '../router/send-options.ts'

/** Names that senders gave as their own: looking at one letter by letter takes as long as sending it. */
const wellFormed = new Set<string>()
const wellFormedMax = 10_000

/** Throws `BAD_OPTION`. An address that the router knows is not looked at again. */
export function checkSend(address: string, options: SendOptions, router: Router): void {
  if (!router.knows(address)) checkName('address', address)
  if (options.from !== undefined && options.from !== '' && !wellFormed.has(options.from)) checkFrom(options.from)
  checkTimes(options)
}

function checkFrom(from: string): void {
  checkName('from', from)
  if (wellFormed.size >= wellFormedMax) wellFormed.clear()
  wellFormed.add(from)
}

/** Throws `BAD_OPTION`. */
export function checkTimes({ deadlineMs, waitMs }: { deadlineMs?: number; waitMs?: number }): void {
  if (deadlineMs !== undefined && !(deadlineMs >= 0))
    throw new HomingError('BAD_OPTION', `deadlineMs is a number of at least 0, not ${deadlineMs}`)
  if (waitMs !== undefined && !(waitMs >= 0))
    throw new HomingError('BAD_OPTION', `waitMs is a number of at least 0, not ${waitMs}`)
}
