/** A whole peer, and a member that says what it likes: reception, flows, requests, protocols. */
import { createPeer, type Peer } from '../../../lib/index.ts'
import { encodePeer, encodeSession, Keys } from '../../../lib/sessions/records.ts'
import { encodeBody } from '../../../lib/wire/body.ts'
import { FULL, NOT_HERE } from '../../../lib/wire/frame.ts'
import { bodyWords, protocolWords } from '../dictionary.ts'
import { frame, u16 } from '../stream.ts'
import { claim, type Subject, type Target } from '../target.ts'
import { ack, blank, call, cancel, leave, message, numberedNames, refuse, reply, request, room, tell } from './channel-frames.ts'
import { cluster, FIRST_OF_OWN, HostileWorld, mallory, TIME } from './hostile-world.ts'

// What the peer does between the frames: it sends to the hostile member, asks it, calls it.
const SEND = FIRST_OF_OWN
const REQUEST_ = FIRST_OF_OWN + 1
const CALL_ = FIRST_OF_OWN + 2
const BROADCAST = FIRST_OF_OWN + 3
const CONNECT = FIRST_OF_OWN + 4

/** Inputs after which a world is made anew: it keeps something of each. */
const inputsMax = 300
/** How often it is looked whether the others still get through. */
const checkEvery = 25
const deadlineMs = 60

class PeerSubject implements Subject {
  #world = new HostileWorld()
  #us: Peer | undefined
  #other: Peer | undefined
  #inputs = 0

  async #open(): Promise<Peer> {
    this.#world.end()
    this.#world = new HostileWorld()
    this.#inputs = 0
    const world = this.#world
    const small = { inboxBytesMax: 4_000, requestsMax: 4 }
    const us = (this.#us = await world.settle(createPeer({ identity: 'us', ...small, ...world.optionsOf('us') })))
    const other = (this.#other = await world.settle(createPeer({ identity: 'other', ...world.optionsOf('other') })))
    // Reads each body, as an application does.
    const message = (given: { body: unknown; from: string | undefined }): void => void encodeBody([given.body, given.from])
    await world.settle(us.connectClient('alice', { message, request: ({ body }) => body }))
    await world.settle(us.connectClient('slow', { request: () => new Promise(() => {}) }))
    await world.settle(other.connectClient('bob', message))
    return us
  }

  /** The hostile member is one, and holds an address: the peer sends to it. */
  #enroll(): void {
    const keys = new Keys(cluster)
    const record = { endpoints: [], role: 'peer', state: 'up', version: '1', machine: 'm', metadata: {} } as const
    const { engine } = this.#world
    engine.put(keys.peer('mallory'), encodePeer({ member: { ...mallory, ...record }, beat: this.#inputs }), {})
    engine.put(keys.session('mal'), encodeSession({ owner: { ...mallory, claim: 1 }, previous: undefined, moving: false }), {})
  }

  async run(input: Buffer): Promise<string> {
    const us = this.#us && this.#inputs < inputsMax ? this.#us : await this.#open()
    this.#inputs++
    this.#enroll()
    const calls: Promise<unknown>[] = []
    const quietly = (promise: Promise<unknown>): void => void calls.push(promise.then(describe, describe))
    const words = await this.#world.converse('us', input, (kind, payload) => {
      if (calls.length >= 20) return
      const size = payload.length >= 2 ? payload.readUInt16BE(0) : 1
      switch (kind) {
        case SEND:
          return quietly(us.sendMessage('mal', 'x'.repeat(size), { deadlineMs }))
        case REQUEST_:
          return quietly(us.request('mal', { size }, { deadlineMs }))
        case CALL_:
          return quietly(us.protocol('any/1').call('mallory', size, { deadlineMs }))
        case BROADCAST:
          return quietly(us.broadcast(size, { deadlineMs }))
        case CONNECT:
          return quietly(us.connectClient('mal', () => {}).then(client => us.disconnectClient(client.address)))
      }
    })
    await this.#world.time.run(deadlineMs + 200)
    let settled = 0
    const outcomes = new Set<unknown>()
    for (const each of calls) void each.then(outcome => outcomes.add(outcome) && settled++)
    await this.#world.time.until(() => settled === calls.length, 3_000)
    if (this.#inputs % checkEvery === 0) await this.#check(us)
    return `${words} ${[...outcomes].sort().join(' ')}` // prettier-ignore
  }

  /** The others get through, both ways. */
  async #check(us: Peer): Promise<void> {
    const [there, back] = [us.sendMessage('bob', 'hi'), this.#other!.sendMessage('alice', 'hi')]
    for (const receipt of [there, back]) {
      const { status, code } = await this.#world.settle(receipt)
      claim(status === 'delivered', `between the others: ${status} ${code ?? ''}`)
    }
    claim(us.client('alice') !== undefined, 'a client is gone')
  }

  async close(): Promise<void> {
    this.#world.end()
  }
}

function describe(outcome: unknown): string {
  const { status, code } = (outcome ?? {}) as { status?: string; code?: string }
  return `${status ?? 'answer'} ${code ?? ''}`
}

const by = { ...mallory, claim: 3 }

function seeds(): Buffer[] {
  const talk = [
    message(0, 'alice', 'hi'),
    message(1, 'nobody', { a: 1 }),
    message(2, 'slow', 'x'.repeat(500)),
    message(3, 'slow', 'x'.repeat(3_900)),
    request(4, 'alice', 'what?', 9),
    request(5, 'slow', 'what?', 10, 5_000),
    request(6, 'nobody', 'what?', 11),
    cancel(7, 10),
    tell(8, 'echo/1', null),
    call(9, 'nothing/1', 'x', 12),
    reply(10, 3, false, 'yes'),
    room(11, 'bob'),
    blank(12),
  ]
  const moves = [
    call(0, 'sessions/1', { address: 'alice', claim: 1, by, part: 0 }, 1),
    call(1, 'sessions/1', { address: 'nobody', claim: 7, by, part: -1 }, 2),
    call(2, 'broadcast/1', { from: 'x', number: 1, bytes: encodeBody('all') }, 3),
    call(3, 'broadcast/1', { from: 'x', number: 2, bytes: Buffer.from('dd00ffffff', 'hex') }, 4),
  ]
  const sends = [frame(SEND, u16(20)), frame(REQUEST_, u16(1)), frame(CALL_, u16(2)), frame(TIME, [2])]
  return [
    Buffer.concat([...talk, frame(TIME, [1]), ack(0), leave()]),
    Buffer.concat([...moves, frame(TIME, [2])]),
    Buffer.concat([...sends, ack(0), ack(2), reply(0, 0, false, 'answer'), reply(1, 1, true, { code: 'E', message: 'x' })]),
    Buffer.concat([...sends, refuse(0, 0, NOT_HERE), refuse(1, 1, FULL), ack(2), room(2, 'mal'), frame(TIME, [2]), ack(5)]),
    Buffer.concat([frame(BROADCAST, u16(4)), frame(TIME, [1]), reply(0, 0, false, { reached: 1, full: 0 }), ack(0)]),
    Buffer.concat([frame(CONNECT, []), frame(TIME, [1]), reply(0, 0, false, { messages: [], left: 0 }), ack(0)]),
    Buffer.concat(numberedNames(0)),
    Buffer.concat([frame(9, u16(1), u16(2)), frame(8, u16(1), u16(2)), frame(10, [0])]),
  ]
}

export const peerTarget: Target = {
  name: 'peer',
  about: 'a whole peer and a hostile member: reception, flows, requests, protocols',
  bytesMax: 16_384,
  framed: true,
  batch: 16,
  msMax: 2_000,
  dictionary: [
    ...bodyWords,
    ...protocolWords,
    frame(TIME, [4]),
    ...[SEND, REQUEST_, CALL_, BROADCAST, CONNECT].map(kind => frame(kind, u16(9))),
  ],
  seeds,
  open: () => new PeerSubject(),
}
