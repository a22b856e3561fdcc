/** What users get: a message, with its body decoded only when somebody looks at it. */
import { decodeBody } from '../wire/body.ts'

export interface Message<T = unknown> {
  /** The address that the sender gave as its own, if it gave one. Its own word: who must be sure looks at `peer`. */
  readonly from: string | undefined
  /** Identity of the peer that sent it, as that proved it to this peer, or as `vouchedBy` says. Nothing in the message decides it. */
  readonly peer: string
  /** Who says that it is from `peer`, where that did not prove it here: the broker on the way, or the former owner that handed it over. */
  readonly vouchedBy: string | undefined
  /** The address that it was sent to. */
  readonly to: string
  /** The value that was sent: JSON values, bytes, bigint, Date. Decoded at the first look; the same object at every look. */
  readonly body: T
  /** The same text as `id` of the sender's receipt. */
  readonly id: string
  /** How it came: from a client of the same peer, over a link between two peers, or through a broker. */
  readonly via: 'local' | 'direct' | 'broker'
}

/** Runs the handler of a request; a promise means that it is busy. Never throws or rejects. */
export type Serve = (message: BytesMessage) => Promise<void> | undefined

/** Counted for each waiting message besides its body, bytes: what its objects take. */
export const messageOverheadBytes = 200

const undecoded = Symbol('undecoded')

/** Of whom messages are: one object for all that come from one run by one way. */
export interface Sender {
  readonly identity: string
  /** Names the run, and with the number of a message that message. */
  readonly origin: string
  readonly vouchedBy: string | undefined
}

/** A message with its body still in bytes: those from `start` to `end` of a buffer that others may have a part of, too. */
export class BytesMessage implements Message {
  readonly #from: string
  readonly to: string
  readonly via: 'local' | 'direct' | 'broker'
  /** @internal */
  readonly sender: Sender
  readonly #number: number
  #buffer: Buffer
  #start: number
  #end: number
  #body: unknown = undecoded
  /** Has the same body, decoded once for all that have it. */
  #twin: BytesMessage | undefined = undefined
  /** @internal Present for a request: called when its turn comes. A promise settles when its handler has. */
  readonly serve: Serve | undefined

  /** The origin of the sender and `number` make the id. */
  constructor(
    from: string,
    to: string,
    buffer: Buffer,
    start: number,
    end: number,
    sender: Sender,
    number: number,
    via: Message['via'],
    serve: Serve | undefined,
  ) {
    this.#from = from
    this.to = to
    this.#buffer = buffer
    this.#start = start
    this.#end = end
    this.sender = sender
    this.#number = number
    this.via = via
    this.serve = serve
  }

  get from(): string | undefined {
    return this.#from === '' ? undefined : this.#from
  }

  get peer(): string {
    return this.sender.identity
  }

  get vouchedBy(): string | undefined {
    return this.sender.vouchedBy
  }

  get body(): unknown {
    if (this.#body === undecoded) {
      this.#body = this.#twin ? this.#twin.body : decodeBody(this.#buffer, this.#start, this.#end)
    }
    return this.#body
  }

  /** @internal The same message to another address. They share their body, also as it is decoded. */
  copyTo(address: string): BytesMessage {
    const copy = new BytesMessage(this.#from, address, this.#buffer, this.#start, this.#end, this.sender, this.#number, this.via, undefined) // prettier-ignore
    copy.#twin = this
    return copy
  }

  get id(): string {
    return messageId(this.origin, this.#number)
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end)
  }

  get origin(): string {
    return this.sender.origin
  }

  get number(): number {
    return this.#number
  }

  get size(): number {
    return this.#end - this.#start + messageOverheadBytes
  }

  /** Gives up the chunk of the wire that the body is a part of: a waiting message must not hold more memory than is counted. */
  settleIn(): void {
    if (this.#twin) return // its bytes are nobody else's
    const bytes = this.#end - this.#start
    if (bytes * 2 >= this.#buffer.buffer.byteLength) return // it is most of it
    this.#buffer = Buffer.from(this.bytes)
    this.#end -= this.#start
    this.#start = 0
  }

  toJSON(): Message {
    const { from, peer, vouchedBy, to, body, id, via } = this
    return { from, peer, vouchedBy, to, body, id, via }
  }

  /** So that `console.log(message)` shows a message. */
  [Symbol.for('nodejs.util.inspect.custom')](): Message {
    return this.toJSON()
  }
}

/** Text that names a run in ids. */
export function originOf(run: { identity: string; incarnation: string }): string {
  return `${run.identity}/${run.incarnation}`
}

export function messageId(origin: string, number: number): string {
  return `${origin}/${number}`
}
