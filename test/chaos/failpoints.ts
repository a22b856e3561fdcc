/**
 * Where a process kills itself: between what it has done and what it has said of it. The code of lib knows nothing of these places; it is
 * altered as it is loaded.
 */

import type { Alteration } from '../support/altered-modules.ts'

export interface Failpoint extends Alteration {
  readonly role: 'peer' | 'broker'
  /** It is passed up to so often before the process dies there. */
  readonly timesMax: number
}

/** Counts, and kills when it has counted enough: see primed.ts. */
const passing = `globalThis[Symbol.for('homing.failpoint')]()`

interface Place {
  readonly what: string
  readonly module: string
  readonly role: 'peer' | 'broker'
  readonly timesMax: number
  readonly find: string
}

function before(name: string, { find, ...rest }: Place): Failpoint {
  return { name, ...rest, find, replace: `${passing}; ${find}` }
}

function after(name: string, { find, ...rest }: Place): Failpoint {
  return { name, ...rest, find, replace: `${find} ${passing};` }
}

export const failpoints: readonly Failpoint[] = [
  after('taken-not-acknowledged', {
    what: 'a frame is accepted, and the acknowledgement not written',
    module: 'mesh/channel.js',
    role: 'peer',
    timesMax: 300,
    find: 'const reason = this.#handler.accept(this, kind, reader);',
  }),
  before('acknowledged-not-told', {
    what: 'an acknowledgement is read, and the sender not told',
    module: 'mesh/channel.js',
    role: 'peer',
    timesMax: 300,
    find: 'waiter?.accepted();',
  }),
  after('resumed-not-sent', {
    what: 'a channel is resumed, and nothing sent again yet',
    module: 'mesh/channel.js',
    role: 'peer',
    timesMax: 5,
    find: 'this.#resumed = this.#up = true;',
  }),
  after('claimed-not-open', {
    what: 'a claim is written, and no inbox opened',
    module: 'peer/connecting.js',
    role: 'peer',
    timesMax: 5,
    find: 'const claimed = await directory.claim(inboxes, untilMs);',
  }),
  before('released-not-told', {
    what: 'a session is released, and nobody told',
    module: 'peer/clients.js',
    role: 'peer',
    timesMax: 2,
    find: 'return released;',
  }),
  after('given-up-not-handed-over', {
    what: 'a former owner has given up, and not answered with what was left',
    module: 'peer/leftovers.js',
    role: 'peer',
    timesMax: 3,
    find: 'const messages = kept?.taker === taker ? kept.messages.slice(part) : [];',
  }),
  after('handed-over-not-open', {
    what: 'what was left has come, and is not in the inbox yet',
    module: 'peer/hand-over.js',
    role: 'peer',
    timesMax: 4,
    find: 'part += answer.messages.length;',
  }),
  after('stored-not-learnt', {
    what: 'the datastore has written claims, and nobody has learnt it',
    module: 'sessions/session-operations.js',
    role: 'peer',
    timesMax: 5,
    find: 'removals.length === 0 ? [] : this.#datastore.deleteMany(removals),\n        ]);',
  }),
  before('renewed-not-learnt', {
    what: 'the main loop has renewed the lease, and not learnt it',
    module: 'sessions/lease-keeper.js',
    role: 'peer',
    timesMax: 3,
    find: 'const error = await this.#learn(renewal, startedMs);',
  }),
  before('noted-not-written', {
    what: 'a note for a former owner is ready, and not written',
    module: 'sessions/note-box.js',
    role: 'peer',
    timesMax: 1,
    find: 'const record = joined(entry && readNotes(key, entry.bytes), notes);',
  }),
  before('broker-claimed-not-answered', {
    what: 'a broker has written a claim, and not answered',
    module: 'broker/directory-server.js',
    role: 'broker',
    timesMax: 15,
    find: 'const previous = await this.#living(from, claimed)',
  }),
  after('broker-joined-not-answered', {
    what: 'a broker has let a peer join, and not answered',
    module: 'broker/directory-server.js',
    role: 'broker',
    timesMax: 3,
    find: 'await peers.join(from, member);',
  }),
  before('broker-forwards-half', {
    what: 'a broker has read frames, and forwarded a part of them',
    module: 'mesh/relay.js',
    role: 'broker',
    timesMax: 2_000,
    find: 'const { to } = way;\n        const bytes = end - start;',
  }),
]

export function failpointOf(name: string): Failpoint {
  const found = failpoints.find(each => each.name === name)
  if (!found) throw new Error(`no failpoint is called '${name}'`)
  return found
}
