/** A whole broker with a peer behind it, and another one that says what it likes: relay, directory, membership. */
import { createBroker, createPeer, type Peer } from '../../../lib/index.ts'
import { routeFrame, unrouteFrame } from '../../../lib/wire/frame.ts'
import { bodyWords, protocolWords } from '../dictionary.ts'
import { frame, u24 } from '../stream.ts'
import { claim, type Subject, type Target } from '../target.ts'
import { ack, call, labelled, leave, message, reply, resume, tell } from './channel-frames.ts'
import { endpointOf, FIRST_OF_OWN, HostileWorld, mallory, TIME } from './hostile-world.ts'

/** The honest peer sends to an address of the hostile one. */
const SEND = FIRST_OF_OWN

const inputsMax = 300
const checkEvery = 25

/** Looks at each body, as an application does. */
function read({ body }: { body: unknown }): void {
  void body
}

class BrokerSubject implements Subject {
  #world = new HostileWorld()
  #one: Peer | undefined
  #two: Peer | undefined
  #inputs = 0

  async #open(): Promise<void> {
    this.#world.end()
    this.#world = new HostileWorld()
    this.#inputs = 0
    const world = this.#world
    await world.settle(createBroker({ identity: 'hub', ...world.optionsOf('hub') }))
    const peerAt = (identity: string): Promise<Peer> => {
      const { openStore: _, listen: __, ...own } = world.optionsOf(identity)
      return world.settle(createPeer({ identity, broker: endpointOf('hub'), ...own }))
    }
    this.#one = await peerAt('one')
    this.#two = await peerAt('two')
    await world.settle(Promise.all([this.#one.connectClient('alice', read), this.#two.connectClient('bob', read)]))
  }

  async run(input: Buffer): Promise<string> {
    if (!this.#one || this.#inputs >= inputsMax) await this.#open()
    this.#inputs++
    const words = await this.#world.converse('hub', this.#addressed(input), kind => {
      if (kind === SEND) void this.#one!.sendMessage('mal', 'hi', { deadlineMs: 50 })
    })
    if (this.#inputs % checkEvery === 0) await this.#check()
    return words
  }

  /** The run of the honest peer is another one in each world: inputs name it by a word of the same length. */
  #addressed(input: Buffer): Buffer {
    const real = Buffer.from(this.#one!.incarnation)
    const changed = Buffer.from(input)
    for (let at = changed.indexOf(placeholder); at >= 0; at = changed.indexOf(placeholder, at + 1)) changed.set(real, at)
    return changed
  }

  /** The others get through. */
  async #check(): Promise<void> {
    // Whoever has a key may claim any address: they take theirs again.
    const clients = [this.#one!.connectClient('alice', read), this.#two!.connectClient('bob', read)]
    await this.#world.settle(Promise.all(clients))
    const calls = [this.#one!.sendMessage('bob', 'hi'), this.#two!.sendMessage('alice', 'hi')]
    for (const receipt of calls) {
      const { status, code } = await this.#world.settle(receipt)
      claim(status === 'delivered', `between the others: ${status} ${code ?? ''}`)
    }
  }

  async close(): Promise<void> {
    this.#world.end()
  }
}

/** Stands for the incarnation of the peer `one`. */
const placeholder = '0123456789abcdef'

const member = { ...mallory, endpoints: [], role: 'peer', state: 'up', version: '1', machine: 'm', metadata: {} }
const owner = { ...mallory, claim: 1 }

function ask(sequence: number, question: object): Buffer {
  return call(sequence, 'directory/1', question, sequence + 1)
}

function seeds(): Buffer[] {
  const join = [ask(0, { op: 'join', member }), frame(TIME, [2])]
  const claims = [{ address: 'mal', claim: 1 }]
  const questions = [
    { op: 'claim', claims, ms: 500 },
    { op: 'find', addresses: ['mal', 'alice', 'nobody'] },
    { op: 'wait', address: 'nobody', ms: 30 },
    { op: 'reassert', claims, ms: 500 },
    { op: 'moving', claims, ms: 500 },
    { op: 'sessions', cursor: 0 },
    { op: 'member', identity: 'one' },
    { op: 'members' },
    { op: 'note', to: { identity: 'one', incarnation: placeholder, claim: 1 }, address: 'alice', by: owner },
    { op: 'update', member: { ...member, state: 'draining', metadata: { 'x/1': [1] } } },
    { op: 'release', claims, ms: 500 },
    { op: 'leave' },
  ]
  const way = routeFrame({ label: 5, pair: 7, from: mallory, to: { identity: 'one', incarnation: placeholder } })
  const talk = [
    resume(9, 0, 0),
    message(0, 'alice', 'hi'),
    tell(1, 'x/1', 1),
    call(2, 'broadcast/1', { from: '', number: 1, bytes: Buffer.from([1]) }, 5),
    ack(0),
  ]
  return [
    Buffer.concat([...join, ...questions.map((question, at) => ask(at + 1, question)), frame(TIME, [5])]),
    ...questions.map(question => Buffer.concat([...join, ask(1, question)])),
    Buffer.concat([way, frame(TIME, [1]), ...talk.map(each => labelled(5, each)), frame(TIME, [2]), unrouteFrame(5, true, 1)]),
    Buffer.concat([
      ...join,
      way,
      frame(TIME, [1]),
      ask(1, questions[0]!),
      frame(TIME, [2]),
      frame(SEND, []),
      frame(TIME, [3]),
      unrouteFrame(1, false, 3),
    ]),
    Buffer.concat([call(0, 'alive/1', mallory, 1), call(1, 'alive/1', null, 2), reply(2, 1, false, null), leave()]),
  ]
}

export const brokerTarget: Target = {
  name: 'broker',
  about: 'a whole broker, peers behind it, and a hostile one: relay, directory, membership',
  bytesMax: 16_384,
  framed: true,
  batch: 16,
  msMax: 2_000,
  dictionary: [...bodyWords, ...protocolWords, u24(5), frame(TIME, [4]), frame(SEND, []), Buffer.from(placeholder)],
  seeds,
  open: () => new BrokerSubject(),
}
