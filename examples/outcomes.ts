/** What a send can resolve to: it never throws for what is ordinary in messaging, and never hangs. */
import { createPeer, type Receipt } from 'homing'

const store = 'memory:outcomes'
await using here = await createPeer({ identity: 'here', store })
await using there = await createPeer({ identity: 'there', store, inboxBytesMax: 10_000 })

const show = (what: string, { status, code }: Receipt) => console.log(`${what}: ${status}${code ? ` (${code})` : ''}`)

await there.connectClient('alice', () => {})
show('to a client that is connected', await here.sendMessage('alice', 'hi'))
show('to nobody', await here.sendMessage('bob', 'hi'))

const patient = here.sendMessage('bob', 'hi', { waitMs: 5_000 })
await there.connectClient('bob', () => {})
show('to somebody who was waited for', await patient)

show('too large', await here.sendMessage('alice', 'x'.repeat(2_000_000)))
show('a function', await here.sendMessage('alice', { run: () => 1 }))

// Its owner does not look at its messages, so that its inbox fills up.
await there.connectClient('busy')
for (let i = 0; i < 3; i++)
  show('to a client that reads nothing', await here.sendMessage('busy', 'x'.repeat(4_000), { deadlineMs: 300 }))

const given = new AbortController()
given.abort()
show('given up before it left', await here.sendMessage('alice', 'hi', { signal: given.signal }))

/* Prints:
to a client that is connected: delivered
to nobody: absent (ABSENT)
to somebody who was waited for: delivered
too large: refused (TOO_LARGE)
a function: refused (UNENCODABLE)
to a client that reads nothing: delivered
to a client that reads nothing: delivered
to a client that reads nothing: overloaded (OVERLOADED)
given up before it left: expired (TIMEOUT)
*/
