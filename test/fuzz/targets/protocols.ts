/** What peers say to each other above the channel: hand-over, broadcast, questions to a broker, failures. */
import { Access } from '../../../lib/access/access.ts'
import { Broadcasts } from '../../../lib/broadcast.ts'
import { readQuestion } from '../../../lib/broker/directory-protocol.ts'
import { HandOver } from '../../../lib/peer/hand-over.ts'
import { Inbox } from '../../../lib/router/inbox.ts'
import { Budget } from '../../../lib/router/budget.ts'
import { BytesMessage } from '../../../lib/router/message.ts'
import type { ProtocolHandlers } from '../../../lib/router/protocols.ts'
import { remoteError } from '../../../lib/router/remote-failure.ts'
import type { Router } from '../../../lib/router/router.ts'
import type { Directory, Owner, Run } from '../../../lib/sessions/directory.ts'
import { decodeBody, encodeBody } from '../../../lib/wire/body.ts'
import { FINE, scanBody } from '../../../lib/wire/scan.ts'
import { bodyWords, protocolWords } from '../dictionary.ts'
import { StillEnv } from '../still-env.ts'
import { about, claim, inGeneral, pureTarget, refusal } from '../target.ts'

const self: Run = { identity: 'us', incarnation: '1' }
const mallory: Run = { identity: 'mallory', incarnation: '9' }
const owner: Owner = { ...mallory, claim: 3 }
const sender = { identity: 'us', origin: 'us/1', vouchedBy: undefined }

/** The doors that a router has for those who stand on it: what they serve is called, what they call is answered by the input. */
class Doors {
  readonly env = new StillEnv()
  readonly served = new Map<string, ProtocolHandlers>()
  readonly got: BytesMessage[] = []
  readonly inbox: Inbox
  readonly deadlineMs = 1_000
  readonly budget = new Budget(100_000)
  readonly via = 'direct'
  readonly reception = { inboxes: () => [this.inbox][Symbol.iterator]() }
  calls = 0
  readonly #answer: unknown

  constructor(answer: unknown) {
    this.#answer = answer
    const { timers } = this.env
    const host = { inboxBytesMax: 10_000, requestsMax: 4, budget: this.budget, timers }
    const take = (message: BytesMessage): undefined => void this.got.push(message)
    this.inbox = new Inbox(1, host, { address: 'alice', hasReader: false, wake() {}, take })
  }

  serveProtocol(name: string, handlers: ProtocolHandlers): () => void {
    this.served.set(name, handlers)
    return () => {}
  }

  nowMs(): number {
    return this.env.nowMs
  }

  voucherOf(): undefined {}

  untilSure(): undefined {}

  tell(): Promise<void> {
    return Promise.resolve()
  }

  after(ms: number, fn: () => void): ReturnType<StillEnv['timers']['after']> {
    return this.env.timers.after(ms, fn)
  }

  isBody(bytes: Uint8Array): boolean {
    return scanBody(bytes, 0, bytes.length) === FINE
  }

  /** The same answer each time; it takes a moment, as on a wire. */
  call(): Promise<unknown> {
    this.calls++
    this.env.nowMs += 10
    claim(this.calls < 1_000, 'it asks without end')
    return Promise.resolve(this.#answer)
  }
}

function bodiesAreReadable(got: readonly BytesMessage[]): string {
  for (const message of got) {
    claim(
      typeof message.to === 'string' && (message.from === undefined || typeof message.from === 'string'),
      'a message without names',
    )
    void message.body
    void message.id
  }
  return `got ${about(got.length)}`
}

const directory = {
  leaveNote: () => Promise.resolve(),
  readMembers: () => Promise.resolve([{ ...mallory, role: 'peer' }]),
  members: () => [],
} as unknown as Directory

const access = new Access(undefined, error => {
  throw error
})

function handOverOf(doors: Doors): HandOver {
  return new HandOver({
    env: doors.env,
    waitMs: 1_000,
    noteAfterMs: 500,
    router: doors as unknown as Router,
    directory,
    isGone: () => Promise.resolve(false),
    access,
    trouble: () => {},
  })
}

type Ear = (body: unknown) => Promise<string>

async function answered(asked: () => unknown): Promise<string> {
  try {
    const answer = await asked()
    encodeBody(answer)
    return `answers ${inGeneral(JSON.stringify(answer) ?? '').slice(0, 40)}`
  } catch (error) {
    return refusal(error, 'REFUSED')
  }
}

const context = { signal: new AbortController().signal, deadlineMs: 1_000 }

/** By the first byte of the input. */
const ears: readonly Ear[] = [
  // Somebody takes an address that is ours.
  async body => {
    const doors = new Doors(undefined)
    const handOver = handOverOf(doors)
    const kept = Array.from({ length: 3 }, (_, number) => {
      const bytes = encodeBody({ number })
      return new BytesMessage('bob', 'alice', bytes, 0, bytes.length, sender, number, 'direct', undefined)
    })
    let lost = 0
    handOver.serve(
      () => ({ left: kept, opened: true }),
      () => undefined,
      () => Promise.resolve(false),
      (_held, missing) => void (lost += missing ?? 0),
    )
    const { call, tell } = doors.served.get('sessions/1')!
    const words = await answered(() => call!(mallory, body, context))
    const heard = await answered(() => tell!(mallory, body)) // the same map says that all has come
    doors.env.pass(3_000)
    claim(doors.env.timersSet === 0, 'timers are left')
    return `${words} ${heard} ${lost}`
  },
  // A former owner hands over to us.
  async body => {
    const doors = new Doors(body)
    doors.inbox.claimed('held')
    const left = await handOverOf(doors).fillInbox({
      inbox: doors.inbox,
      by: { ...self, claim: 4 },
      former: undefined,
      previous: owner,
      revalidate: () => undefined,
    })
    claim(left === undefined || (Number.isSafeInteger(left) && left >= 0), `${String(left)} messages are missing`)
    claim(doors.inbox.state === 'open', 'the inbox stays shut')
    doors.env.pass(3_000)
    claim(doors.env.timersSet === 0, 'timers are left')
    return `${left === undefined ? 'unknown' : about(left)} missing, ${bodiesAreReadable(doors.got)}`
  },
  // A broadcast comes.
  async body => {
    const doors = new Doors(undefined)
    doors.inbox.claimed('open')
    void new Broadcasts(self, doors as unknown as Router, directory, access)
    const words = await answered(() => doors.served.get('broadcast/1')!.call!(mallory, body, context))
    return `${words}, ${bodiesAreReadable(doors.got)}`
  },
  // A peer answers our broadcast.
  async body => {
    const doors = Object.assign(new Doors(body), { encode: (value: unknown) => ({ bytes: encodeBody(value) }) })
    const { reached, peers } = await new Broadcasts(self, doors as unknown as Router, directory, access).send('hi', {})
    const counts = [reached, ...peers.flatMap(peer => [peer.reached, peer.full])]
    claim(counts.every(count => Number.isSafeInteger(count) && count >= 0), `counts of a broadcast: ${counts.join()}`) // prettier-ignore
    return `reached ${about(reached)} ${peers[0]?.code ?? ''}`
  },
  // A question to a broker.
  async body => {
    try {
      return `question ${readQuestion(body).op}`
    } catch (error) {
      return refusal(error, 'REFUSED')
    }
  },
  // What was asked fails, it says.
  async body => {
    const bytes = encodeBody(body)
    const error = remoteError("request to 'bob'", bytes, 0, bytes.length)
    return `${error.code} ${error.outcome}`
  },
]

const member = { ...mallory, endpoints: [], role: 'peer', state: 'up', version: '1', machine: 'm', metadata: {} }
const hi = encodeBody('hi')
const moved = (number: number, bytes: Uint8Array = hi): object => ({ from: 'bob', bytes, origin: 'mallory/9', number })

function seeds(): Buffer[] {
  const bodies: readonly (readonly unknown[])[] = [
    [{ address: 'alice', claim: 1, by: owner, part: 0, confirms: true }, { address: 'alice', claim: 1, by: owner, part: 2 }],
    [{ messages: [moved(1), moved(2)], left: 0 }, { messages: [moved(1)], left: 7 }, { messages: [], left: 3 }, { messages: [], left: 0 }],
    [{ from: 'bob', number: 4, bytes: hi }, { from: '', number: 5, bytes: encodeBody({ a: [1, 2] }) }, { from: 'b', number: 6, bytes: Buffer.from('dd00ffffff', 'hex') }],
    [{ reached: 3, full: 0 }, { reached: 0, full: 2 }],
    [{ op: 'join', member }, { op: 'claim', claims: [{ address: 'a', claim: 1 }], ms: 5 }, { op: 'note', to: owner, address: 'a', by: owner }, { op: 'find', addresses: ['a'] }],
    [{ code: 'homing:CLOSED', message: 'gone' }, { code: 'E', message: 'x' }, 'no'],
  ] // prettier-ignore
  return bodies.flatMap((each, ear) => each.map(body => Buffer.concat([Buffer.from([ear]), encodeBody(body)])))
}

export const protocolsTarget = pureTarget(
  {
    name: 'protocols',
    about: 'bodies of hand-over, broadcast, questions to a broker, failures',
    bytesMax: 4_096,
    dictionary: [...bodyWords, ...protocolWords, encodeBody(hi), encodeBody(Buffer.from('ddffffffff', 'hex'))],
    seeds,
  },
  async input => {
    const ear = (input[0] ?? 0) % ears.length
    if (scanBody(input, 1, input.length) !== FINE) return 'no body' // its reception would have refused it
    return `${ear} ${await ears[ear]!(decodeBody(input, 1, input.length))}`
  },
)
