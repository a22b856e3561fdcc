/** The directory of a peer behind a broker that answers, and tells, what it likes. */
import { DirectoryClient } from '../../../lib/broker/directory-client.ts'
import { directoryProtocol } from '../../../lib/broker/directory-protocol.ts'
import type { ProtocolHandlers } from '../../../lib/router/protocols.ts'
import type { Router } from '../../../lib/router/router.ts'
import type { DirectoryHandler, Member, Run } from '../../../lib/sessions/directory.ts'
import { sessionDefaults } from '../../../lib/sessions/options.ts'
import { decodeBody, encodeBody } from '../../../lib/wire/body.ts'
import { FINE, scanBody } from '../../../lib/wire/scan.ts'
import { bodyWords, protocolWords } from '../dictionary.ts'
import { StillEnv } from '../still-env.ts'
import { about, claim, inGeneral, pureTarget, refusal } from '../target.ts'

const broker: Run = { identity: 'hub', incarnation: 'h' }
const mallory: Run = { identity: 'mallory', incarnation: '9' }
const member: Member = {
  ...mallory,
  endpoints: [],
  via: 'hub',
  role: 'peer',
  state: 'up',
  version: '1',
  machine: 'm',
  metadata: {},
}
const self: Member = { ...member, identity: 'us', incarnation: '1' }
const owner = { ...mallory, claim: 3 }
const held = { address: 'alice', claim: 1 }

/** A router whose only other end is the broker. */
class Doors {
  served: ProtocolHandlers | undefined
  /** What the broker answers; a listing ends after a few pages, or a test of it would not. */
  answer: unknown = { members: [], elsewhere: [] }
  #pages = 0

  serveProtocol(_name: string, handlers: ProtocolHandlers): () => void {
    this.served = handlers
    return () => {}
  }

  call(_run: Run, protocol: string, question: { op: string }): Promise<unknown> {
    claim(protocol === directoryProtocol, 'a call of another protocol')
    if (question.op === 'sessions' && ++this.#pages > 3) return Promise.resolve({ sessions: [], cursor: 0 })
    return Promise.resolve(this.answer)
  }
}

/** Uses what it is told as a peer does: a record without its fields fails here, not somewhere later. */
class Ear implements DirectoryHandler {
  readonly words = new Set<string>()

  held(): Iterable<typeof held> {
    return [held]
  }
  displaced(address: string, claimed: number, by: { identity: string } | undefined): void {
    claim(typeof address === 'string' && Number.isSafeInteger(claimed), 'displaced by no address or claim')
    claim(by === undefined || (typeof by.identity === 'string' && by.identity !== ''), 'displaced by nobody')
    this.words.add('displaced')
  }
  memberUp(up: Member): void {
    checkMember(up)
    this.words.add('memberUp')
  }
  memberChanged(changed: Member): void {
    checkMember(changed)
    this.words.add('memberChanged')
  }
  memberDown(run: Run, why: string): void {
    claim(typeof run.identity === 'string' && typeof run.incarnation === 'string', 'a run without a name')
    this.words.add(`memberDown ${why}`)
  }
  storeDown(error: Error): void {
    this.words.add(`storeDown ${typeof error.message}`)
  }
  storeUp(): void {
    this.words.add('storeUp')
  }
  lease(state: string): void {
    this.words.add(state)
  }
  fenced(): void {
    this.words.add('fenced')
  }
}

function checkMember({ identity, incarnation, endpoints, metadata, machine, version, role, via }: Member): void {
  const texts = [identity, incarnation, machine, version, via ?? ''].every(text => typeof text === 'string')
  const lists = Array.isArray(endpoints) && endpoints.every(endpoint => typeof endpoint === 'string')
  claim(texts && lists && typeof metadata === 'object' && metadata !== null, 'a member without its fields')
  claim(role === 'peer' || role === 'broker', `a member with the role ${String(role)}`)
}

type Use = (directory: DirectoryClient, untilMs: number) => Promise<unknown>

/** By the first byte of the input; the last one tells instead of answering. */
const uses: readonly Use[] = [
  directory => directory.brokerUp(broker),
  (directory, untilMs) => directory.claim([held], untilMs),
  (directory, untilMs) => directory.release([held], untilMs),
  (directory, untilMs) => directory.markMoving([held], untilMs),
  async directory => {
    const located = await directory.find('alice')
    if (!located) return
    checkMember(located.member)
    claim(typeof located.owner.identity === 'string' && typeof located.owner.incarnation === 'string', 'an owner without a name')
  },
  (directory, untilMs) => directory.waitFor('alice', untilMs),
  async directory => {
    for await (const session of directory.sessions()) claim(typeof session.address === 'string', 'a session without an address')
  },
  async directory => {
    const found = await directory.lookUpMember('mallory')
    if (found) checkMember(found)
  },
  async directory => {
    for (const each of await directory.readMembers()) checkMember(each)
  },
  (directory, untilMs) => directory.leave(untilMs),
  directory => directory.update({ state: 'draining' }),
]
const NEWS = uses.length

function seeds(): Buffer[] {
  const session = { address: 'bob', owner, moving: false }
  const answers: readonly (readonly unknown[])[] = [
    [
      { members: [member], elsewhere: [{ at: 0, owner }] },
      { members: [], elsewhere: [] },
    ],
    [{ previous: [owner] }, { previous: [null] }],
    [{ released: [{ at: 'released' }] }, { released: [{ at: 'elsewhere', owner }] }],
    [null],
    [{ located: [{ address: 'alice', owner, moving: false, member }] }, { located: [null] }],
    [{ located: { address: 'alice', owner, moving: true, member } }, { located: null }],
    [
      { sessions: [session], cursor: 0 },
      { sessions: [session, session], cursor: 7 },
    ],
    [{ member }, { member: null }],
    [{ members: [member, { ...member, identity: 'b', role: 'broker', endpoints: ['tcp://h:1'] }] }],
    [null],
    [null],
    [
      { op: 'displaced', address: 'alice', claim: 1, by: owner },
      { op: 'revalidate' },
      { op: 'memberUp', member },
      { op: 'memberChanged', member },
      { op: 'memberDown', run: mallory, why: 'left' },
      { op: 'store', up: false, text: 'down' },
      { op: 'fenced', by: mallory },
    ],
  ]
  return answers.flatMap((each, use) => each.map(answer => Buffer.concat([Buffer.from([use]), encodeBody(answer)])))
}

async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve()
}

/** Time passes until the promise settles: what waits for an answer tries again. */
async function awaited(promise: Promise<unknown>, env: StillEnv): Promise<string> {
  let words: string | undefined
  promise.then(
    () => (words = 'fine'),
    (error: unknown) => {
      try {
        words = refusal(error, 'DATASTORE', 'CLOSED', 'FENCED')
      } catch {
        words = `threw ${inGeneral(String(error))}`
      }
    },
  )
  for (let i = 0; i < 400 && words === undefined; i++) {
    await settled()
    if (words === undefined) env.pass(50)
  }
  claim(words !== undefined, 'a call does not settle')
  claim(!words.startsWith('threw'), words)
  return words
}

export const directoryTarget = pureTarget(
  {
    name: 'directory',
    about: 'what a broker answers to the questions of a peer, and what it tells it',
    bytesMax: 4_096,
    dictionary: [...bodyWords, ...protocolWords],
    batch: 32,
    seeds,
  },
  async input => {
    if (scanBody(input, 1, input.length) !== FINE) return 'no body' // its reception would have refused it
    const env = new StillEnv()
    const doors = new Doors()
    const ear = new Ear()
    let troubles = 0
    const directory = new DirectoryClient({
      env,
      router: doors as unknown as Router,
      self,
      options: sessionDefaults,
      handler: ear,
      joinAgain: () => {},
      trouble: () => void troubles++,
    })
    const which = (input[0] ?? 0) % (uses.length + 1)
    await awaited(directory.brokerUp(broker), env)
    doors.answer = decodeBody(input, 1, input.length)
    let words: string
    if (which === NEWS) {
      try {
        doors.served!.tell!(broker, doors.answer)
        words = 'heard'
      } catch (error) {
        words = refusal(error, 'REFUSED')
      }
    } else words = await awaited(uses[which]!(directory, env.nowMs + 1_000), env)
    await settled()
    env.pass(11_000) // the check of what is held, and of members that are missing
    await settled()
    for (const each of directory.members()) checkMember(each)
    await directory[Symbol.asyncDispose]()
    env.pass(20_000)
    await settled()
    claim(env.timersSet === 0, 'timers are left')
    return `${which} ${words} ${about(troubles)} ${[...ear.words].sort().join(', ')}`
  },
)
