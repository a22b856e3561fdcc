/** Writes what a peer does into a history: what its callers ask and hear, what its clients get, what it tells. */
import type { BroadcastOptions } from '../broadcast.ts'
import type { Broker } from '../broker.ts'
import type { Client, ClientHandlers } from '../client.ts'
import { HomingError, homingError, type ErrorCode } from '../errors.ts'
import type { ConnectOptions, Peer } from '../peer.ts'
import { BytesMessage, type Message } from '../router/message.ts'
import type { RequestOptions, SendOptions } from '../router/send-options.ts'
import type { RequestContext } from '../router/serving.ts'
import { bodyHash, hashOf } from './body-hash.ts'
import type { Told, ToldByPeer } from './history-event.ts'
import type { History } from './history.ts'

export interface RecordingOptions {
  /** Name of the process in the history; default: the identity. Two processes may not have the same at once. */
  name?: string
  /** The peer's own default deadline, ms. */
  deadlineMs?: number
}

type Tell = (event: ToldByPeer) => void
type Handlers = ClientHandlers | ((message: Message) => unknown)

/**
 * Listens to the peer, and puts itself before its calls: what a caller asks and hears is in no event. An ask is told before the call is made,
 * an answer after it came. To be called once a peer, when it is a member and before it is used.
 */
export function recordPeer(history: History, peer: Peer, options: RecordingOptions = {}): void {
  const { name = peer.identity } = options
  const tell: Tell = event => history.add({ peer: name, incarnation: peer.incarnation, ...event } as Told)
  tell({ what: 'started', identity: peer.identity, role: 'peer' })
  for (const { identity, incarnation } of peer.members()) {
    if (incarnation !== peer.incarnation) tell({ what: 'memberUp', other: identity, otherIncarnation: incarnation })
  }
  peer.on('memberUp', ({ identity, incarnation }) => tell({ what: 'memberUp', other: identity, otherIncarnation: incarnation }))
  peer.on('memberDown', ({ identity, incarnation, why }) =>
    tell({ what: 'memberDown', other: identity, otherIncarnation: incarnation, why }),
  )
  peer.on('linkUp', ({ identity }) => tell({ what: 'linkUp', other: identity }))
  peer.on('linkDown', ({ identity, reason }) => tell({ what: 'linkDown', other: identity, why: reason }))
  peer.on('handOverIncomplete', ({ address, from, missing }) =>
    tell({
      what: 'handOverIncomplete',
      address,
      fromIncarnation: from.incarnation,
      fromClaim: from.claim,
      ...(missing !== undefined && { missing }),
    }),
  )
  peer.on('lease', state => tell({ what: 'lease', state }))
  for (const what of ['closed', 'fenced', 'storeDown', 'storeUp'] as const) peer.on(what, () => tell({ what }))
  new PeerRecorder(history, peer, tell, options.deadlineMs ?? 10_000).begin()
}

/** As `recordPeer`: a broker has no callers and no clients. */
export function recordBroker(history: History, broker: Broker, { name = broker.identity }: RecordingOptions = {}): void {
  const tell: Tell = event => history.add({ peer: name, incarnation: broker.incarnation, ...event } as Told)
  tell({ what: 'started', identity: broker.identity, role: 'broker' })
  broker.on('linkUp', ({ identity }) => tell({ what: 'linkUp', other: identity }))
  broker.on('linkDown', ({ identity, reason }) => tell({ what: 'linkDown', other: identity, why: reason }))
  for (const what of ['closed', 'fenced', 'storeDown', 'storeUp'] as const) broker.on(what, () => tell({ what }))
  const close = broker.close.bind(broker)
  broker.close = () => {
    tell({ what: 'closing' })
    return close()
  }
}

/** The calls of one peer. */
class PeerRecorder {
  readonly #history: History
  readonly #peer: Peer
  readonly #tell: Tell
  readonly #deadlineMs: number

  constructor(history: History, peer: Peer, tell: Tell, deadlineMs: number) {
    this.#history = history
    this.#peer = peer
    this.#tell = tell
    this.#deadlineMs = deadlineMs
  }

  begin(): void {
    this.#sends()
    this.#requests()
    this.#broadcasts()
    this.#connects()
    this.#ends()
  }

  #invoke(body: unknown, deadlineMs: number = this.#deadlineMs): { call: number; dueMs: number; hash?: string } {
    const hash = bodyHash(body)
    return { call: this.#history.nextCall(), dueMs: this.#history.nowMs + deadlineMs, ...(hash !== undefined && { hash }) }
  }

  #sends(): void {
    const send = this.#peer.sendMessage.bind(this.#peer)
    this.#peer.sendMessage = (address: string, body: unknown, options: SendOptions = {}) => {
      const invoke = this.#invoke(body, options.deadlineMs)
      const { call } = invoke
      this.#tell({ what: 'send', ...invoke, address, level: options.level ?? 'delivered' })
      try {
        const receipt = send(address, body, options)
        void receipt.then(({ id, status, code }) =>
          this.#tell({ what: 'receipt', call, address, id, status, ...(code && { code }) }),
        )
        return receipt
      } catch (error) {
        // Malformed arguments, or a peer without an identity: nothing was sent.
        this.#tell({ what: 'receipt', call, address, id: '', status: 'refused', ...codeOf(error) })
        throw error
      }
    }
  }

  #requests(): void {
    const request = this.#peer.request.bind(this.#peer)
    this.#peer.request = (address: string, body: unknown, options: RequestOptions = {}) => {
      const invoke = this.#invoke(body, options.deadlineMs)
      const { call } = invoke
      this.#tell({ what: 'request', ...invoke, address })
      const failed = (error: unknown): void => {
        const { outcome } = homingError(error, 'BAD_OPTION', 'malformed')
        this.#tell({ what: 'reply', call, address, ok: false, ...codeOf(error), outcome })
      }
      return told(
        () => request(address, body, options),
        () => this.#tell({ what: 'reply', call, address, ok: true }),
        failed,
      )
    }
  }

  #broadcasts(): void {
    const broadcast = this.#peer.broadcast.bind(this.#peer)
    this.#peer.broadcast = (body: unknown, options: BroadcastOptions = {}) => {
      const invoke = this.#invoke(body, options.deadlineMs)
      const { call } = invoke
      this.#tell({ what: 'broadcast', ...invoke })
      const failed = (error: unknown): void => this.#tell({ what: 'broadcastDone', call, ...codeOf(error) })
      return told(
        () => broadcast(body, options),
        ({ id, reached }) => this.#tell({ what: 'broadcastDone', call, id, reached }),
        failed,
      )
    }
  }

  /** `connectClient` comes through here too. */
  #connects(): void {
    const connect = this.#peer.connectClients.bind(this.#peer)
    this.#peer.connectClients = async (addresses: readonly string[], handlers: Handlers = {}, options: ConnectOptions = {}) => {
      const given: ClientHandlers = typeof handlers === 'function' ? { message: handlers } : handlers
      const dueMs = this.#history.nowMs + (options.deadlineMs ?? this.#deadlineMs)
      const numbers = new Map(addresses.map(address => [address, this.#history.nextClient()]))
      const about = (address: string): { address: string; client: number } => ({ address, client: numbers.get(address)! })
      for (const address of addresses) {
        this.#tell({ what: 'connecting', ...about(address), dueMs, reads: given.message === undefined })
      }
      try {
        const clients = await connect(addresses, this.#recording(given, about), options)
        for (const client of clients) this.#connected(client, about(client.address), given.message === undefined)
        return clients
      } catch (error) {
        for (const address of addresses) this.#tell({ what: 'connectFailed', ...about(address), ...codeOf(error) })
        throw error
      }
    }
  }

  #connected(client: Client, about: { address: string; client: number }, reads: boolean): void {
    const claim = client.inbox?.claim
    this.#tell({ what: 'connected', ...about, ...(claim !== undefined && { claim }) })
    void client.ended.then(end => this.#tell({ what: 'ended', ...about, end }))
    if (reads) this.#recordReader(client, about)
  }

  #recording(given: ClientHandlers, about: (address: string) => { address: string; client: number }): ClientHandlers {
    const { message, request } = given
    return {
      ...(message && {
        message: (taken: Message) => {
          const client = about(taken.to)
          this.#tell({ what: 'delivery', ...client, id: taken.id, ...hashed(taken) })
          const handled: unknown = message.call(given, taken)
          if (!(handled instanceof Promise)) return handled
          this.#tell({ what: 'busy', ...client })
          const idle = (): void => this.#tell({ what: 'idle', ...client })
          handled.then(idle, idle)
          return handled
        },
      }),
      ...(request && {
        request: (asked: Message, context: RequestContext) => {
          this.#tell({ what: 'served', ...about(asked.to), id: asked.id, ...hashed(asked) })
          return request.call(given, asked, context)
        },
      }),
    }
  }

  #recordReader(client: Client, about: { address: string; client: number }): void {
    const read = client[Symbol.asyncIterator].bind(client)
    const took = (message: Message): void => this.#tell({ what: 'delivery', ...about, id: message.id, ...hashed(message) })
    client[Symbol.asyncIterator] = async function* () {
      for await (const message of { [Symbol.asyncIterator]: read }) {
        took(message)
        yield message
      }
    }
  }

  #ends(): void {
    const { drain, close } = this.#peer
    this.#peer.drain = options => {
      this.#tell({ what: 'draining' })
      return drain.call(this.#peer, options)
    }
    let told = false
    this.#peer.close = () => {
      if (!told) this.#tell({ what: 'closing' })
      told = true
      return close.call(this.#peer)
    }
  }
}

/** Makes a call, and says how it ends; one that throws has had malformed arguments. */
function told<Answer>(
  call: () => Promise<Answer>,
  done: (answer: Answer) => void,
  failed: (error: unknown) => void,
): Promise<Answer> {
  try {
    const answer = call()
    answer.then(done, failed)
    return answer
  } catch (error) {
    failed(error)
    throw error
  }
}

function hashed(message: Message): { hash?: string } {
  return message instanceof BytesMessage ? { hash: hashOf(message.bytes) } : {}
}

function codeOf(error: unknown): { code?: ErrorCode } {
  return error instanceof HomingError ? { code: error.code } : {}
}
