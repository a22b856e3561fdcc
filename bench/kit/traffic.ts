/** What is sent: objects of six fields, about 140 bytes with their addresses; and what arrives, checked for its order. */

/** The body of a message. `n` counts the messages to its address: the handler reads it. */
export interface Body {
  readonly n: number
  readonly kind: string
  readonly x: number
  readonly y: number
  readonly text: string
  readonly urgent: boolean
}

/** A new object each time, as an application would. */
export function bodyOf(n: number): Body {
  return { n, kind: 'position', x: (n & 1023) + 0.5, y: 48.25, text: 'on my way to the station, see you there', urgent: false }
}

/** A message as those send it who have no addresses of their own. */
export interface Envelope {
  readonly from: string
  readonly to: string
  readonly body: Body
}

/** What a request is answered with. */
export interface Reply {
  readonly n: number
  readonly seen: string
  readonly ok: boolean
}

export function replyTo({ n, kind }: Body): Reply {
  return { n, seen: kind, ok: true }
}

/** From one client to another. */
export interface Way {
  readonly from: string
  readonly to: string
}

/** A way, and how many messages went along it. */
export interface Route extends Way {
  next: number
}

const senders = 16

/** So many ways, each to an address of its own, from one of sixteen clients. */
export function waysTo(count: number): readonly Way[] {
  return Array.from({ length: count }, (_, index) => ({
    from: `sender-${100 + (index % senders)}`,
    to: `client-${1000 + index}`,
  }))
}

const ways = waysTo(16)

export const addresses: readonly string[] = ways.map(({ to }) => to)

/** Ways in turn or at random, for ever. */
export class Routes {
  readonly all: readonly Route[]
  #at = 0
  /** 0: in turn. Else the state of a xorshift generator: the same order each time, that no cache can guess. */
  #random: number

  constructor(given: readonly Way[] = ways, order: 'in turn' | 'at random' = 'in turn') {
    this.all = given.map(way => ({ ...way, next: 0 }))
    this.#random = order === 'in turn' ? 0 : 0x2545f491
  }

  /** The route whose turn it is: whoever takes it sends its next message. */
  next(): Route {
    if (this.#random !== 0) return this.all[this.#any()]!
    const route = this.all[this.#at]!
    this.#at = this.#at + 1 === this.all.length ? 0 : this.#at + 1
    return route
  }

  #any(): number {
    let x = this.#random
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#random = x
    return (x >>> 0) % this.all.length
  }
}

/** Counts what the handlers of the addresses get: to each address from 0 on, without a gap. */
export class Arrivals {
  count = 0
  disordered = 0
  readonly #handlers = new Map<string, (n: number) => void>()

  constructor(names: readonly string[] = addresses) {
    for (const name of names) this.#handlers.set(name, this.#handler())
  }

  /** The handler of an address; what has no addresses looks it up for each message. */
  at(address: string): (n: number) => void {
    return this.#handlers.get(address)!
  }

  #handler(): (n: number) => void {
    let due = 0
    return n => {
      if (n !== due) this.disordered++
      due = n + 1
      this.count++
    }
  }
}

/** Counts what is asked and answered: each request must get its own reply, in whatever order. */
export class Replies {
  count = 0
  #sum = 0

  /** The number of a request; it is asked now. */
  asks(n: number): number {
    this.#sum += n
    return n
  }

  readonly answered = (reply: Reply): void => {
    this.#sum -= reply.n
    this.count++
  }

  /** When nothing is outstanding: whether any reply belonged to no request. */
  get wrong(): number {
    return this.#sum === 0 ? 0 : 1
  }
}
