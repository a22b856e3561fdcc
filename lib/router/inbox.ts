/** The bounded place where the messages of one client wait for its handler or reader. */
import type { Budget } from './budget.ts'
import type { BytesMessage } from './message.ts'
import { Queue } from './queue.ts'

/** Something that waits in an inbox: a message, or a request with the way back to its asker. */
export interface Incoming {
  readonly message: BytesMessage
  /** Present for a request: called when its turn comes. It settles when the handler has. */
  readonly serve?: (message: BytesMessage) => Promise<void>
}

/** Somebody who was told *full* and waits for room. */
export type RoomWaiter = (address: string) => void

/**
 * `claiming`: the claim is being written, nothing is taken yet. `held`: taken in, but not given out until the former owner has handed
 * over. `open`. `paused`: this peer is not sure of its lease. `closed`: released, displaced, or this peer ended.
 */
export type InboxState = 'claiming' | 'held' | 'open' | 'closed'

export interface InboxOptions {
  /** Bytes that may wait, overhead counted. Empty, it takes any one message. */
  inboxBytesMax: number
  /** Requests that may be served at once for one client; more wait in the inbox. */
  requestsMax: number
}

export class Inbox {
  readonly address: string
  /** Counter of the claim that this inbox serves. */
  readonly claim: number
  #state: InboxState = 'claiming'
  readonly #options: InboxOptions
  readonly #budget: Budget
  readonly #queue = new Queue<Incoming>()
  #bytes = 0
  /** A message is with the handler. */
  #busy = false
  #serving = 0
  #pumpDue = false
  readonly #roomWaiters = new Set<RoomWaiter>()
  /** Takes one message; a promise makes the next one wait. Never throws or rejects. */
  readonly #take: (message: BytesMessage) => Promise<void> | undefined
  /** For a reader instead of a handler: wakes it. */
  readonly #wake: (() => void) | undefined
  readonly #soon: (fn: () => void) => void

  constructor(
    address: string,
    claim: number,
    options: InboxOptions,
    budget: Budget,
    take: (message: BytesMessage) => Promise<void> | undefined,
    wake: (() => void) | undefined,
    soon: (fn: () => void) => void,
  ) {
    this.address = address
    this.claim = claim
    this.#options = options
    this.#budget = budget
    this.#take = take
    this.#wake = wake
    this.#soon = soon
  }

  get state(): InboxState {
    return this.#state
  }

  get waitingBytes(): number {
    return this.#bytes
  }

  get waiting(): number {
    return this.#queue.length
  }

  /** Takes a message in, or says that it is full; then `whenRoom` tells when to try again. */
  offer(incoming: Incoming): boolean {
    const { message } = incoming
    if (this.#state === 'claiming' || this.#state === 'closed') return false
    if (this.#bytes > 0 && this.#bytes + message.size > this.#options.inboxBytesMax) return false
    // What comes off the wire goes straight to an idle handler. What is sent within this process waits for its turn of the loop: two
    // clients that answer each other at once would else never let it go on.
    const local = message.via === 'local'
    const direct = this.#wake ? incoming.serve !== undefined : this.#queue.length === 0
    if (direct && !local && this.#state === 'open' && this.#free(incoming)) {
      this.#start(incoming)
      return true
    }
    if (!this.#budget.take(message.size)) return false
    if (!local) message.settleIn()
    this.#bytes += message.size
    this.#queue.push(incoming)
    this.#wake?.()
    if (local) this.#pumpSoon()
    return true
  }

  #free({ serve }: Incoming): boolean {
    return !this.#busy && (serve === undefined || this.#serving < this.#options.requestsMax)
  }

  #pumpSoon(): void {
    if (this.#pumpDue || this.#wake) return
    this.#pumpDue = true
    this.#soon(() => {
      this.#pumpDue = false
      this.#pump()
    })
  }

  /** Calls `waiter` once when there is room, or when the inbox closes. */
  whenRoom(waiter: RoomWaiter): void {
    this.#roomWaiters.add(waiter)
  }

  /** The claim is written; `held` when a former owner is to hand over first. */
  claimed(state: 'held' | 'open'): void {
    if (this.#state !== 'claiming') return
    this.#state = state
    this.#tellRoom()
    this.#pump()
  }

  /** Puts what the former owner had not given out ahead of what came here, and opens. */
  open(handedOver: readonly Incoming[]): void {
    if (this.#state !== 'held') return
    for (const { message } of handedOver) {
      this.#bytes += message.size
      this.#budget.force(message.size) // it was accepted already, and may not be lost
    }
    this.#queue.unshift(handedOver)
    this.#state = 'open'
    this.#wake?.()
    this.#pump()
  }

  /** The next message for a reader; only for inboxes with a reader. */
  next(): BytesMessage | undefined {
    if (this.#state !== 'open' && this.#state !== 'closed') return undefined
    for (;;) {
      const incoming = this.#remove()
      if (!incoming) return undefined
      if (!incoming.serve) return incoming.message
      this.#serve(incoming.serve, incoming.message)
    }
  }

  /** Ends it; returns what nobody has taken. A reader may still read what `leave` leaves in. */
  close(leave: boolean): Incoming[] {
    if (this.#state === 'closed') return []
    this.#state = 'closed'
    const left: Incoming[] = []
    if (!leave) for (let item = this.#remove(); item; item = this.#remove()) left.push(item)
    this.#tellRoom()
    this.#wake?.()
    return left
  }

  #remove(): Incoming | undefined {
    const incoming = this.#queue.shift()
    if (!incoming) return undefined
    this.#bytes -= incoming.message.size
    this.#budget.give(incoming.message.size)
    if (this.#roomWaiters.size > 0 && this.#bytes <= this.#options.inboxBytesMax / 2) this.#tellRoom()
    return incoming
  }

  #tellRoom(): void {
    const waiters = [...this.#roomWaiters]
    this.#roomWaiters.clear()
    for (const waiter of waiters) waiter(this.address)
  }

  #pump(): void {
    for (let next = this.#queue.peek(); next; next = this.#queue.peek()) {
      if (this.#state !== 'open' || this.#wake !== undefined || !this.#free(next)) return
      this.#start(this.#remove()!)
    }
  }

  /** Requests run beside each other, up to a number; messages one after the other. */
  #start(incoming: Incoming): void {
    if (incoming.serve) return this.#serve(incoming.serve, incoming.message)
    this.#busy = true // also while the handler runs: a message that it causes waits
    const taken = this.#take(incoming.message)
    if (!taken) {
      this.#busy = false
      return
    }
    void taken.then(() => {
      this.#busy = false
      this.#pump()
    })
  }

  #serve(serve: NonNullable<Incoming['serve']>, message: BytesMessage): void {
    this.#serving++
    void serve(message).then(() => {
      this.#serving--
      this.#pump()
    })
  }
}
