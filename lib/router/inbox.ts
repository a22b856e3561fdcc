/** The bounded place where the messages of one client wait for its handler or reader. */
import type { Timers } from '../env/env.ts'
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

/** The client behind an inbox. */
export interface Consumer {
  /** It reads by itself, with `next`; `wake` tells it that there is something. */
  readonly hasReader: boolean
  wake(): void
  /** Takes one message; a promise makes the next one wait. Never throws or rejects. */
  take(message: BytesMessage): Promise<void> | undefined
}

/**
 * `claiming`: the claim is being written, nothing is taken yet. `held`: taken in, but not given out until the former owner has handed
 * over. `open`. `closed`: released, displaced, or this peer ended.
 */
export type InboxState = 'claiming' | 'held' | 'open' | 'closed'

export interface InboxOptions {
  /** Bytes that may wait, overhead counted. Empty, it takes any one message. */
  inboxBytesMax: number
  /** Requests that may be served at once for one client; more wait in the inbox. */
  requestsMax: number
}

/** How long an empty inbox that could not take a message waits before it says that there is room, ms. */
const roomAgainMs = 100

export class Inbox {
  readonly address: string
  /** Counter of the claim that this inbox serves. */
  readonly claim: number
  #state: InboxState = 'claiming'
  readonly #options: InboxOptions
  readonly #budget: Budget
  /** Made when first needed: a peer may hold 100,000 inboxes that are nearly always empty. */
  #queue: Queue<Incoming> | undefined
  /** Requests to a client with a reader: they do not wait for what it reads. */
  #requests: Queue<Incoming> | undefined
  #bytes = 0
  /** A message is with the handler. */
  #busy = false
  #serving = 0
  #pumpDue = false
  #roomDue = false
  #roomWaiters: Set<RoomWaiter> | undefined
  /** What a reader may still read after the end, last first. */
  #kept: BytesMessage[] | undefined
  readonly #consumer: Consumer
  readonly #timers: Timers

  constructor(address: string, claim: number, options: InboxOptions, budget: Budget, consumer: Consumer, timers: Timers) {
    this.address = address
    this.claim = claim
    this.#options = options
    this.#budget = budget
    this.#consumer = consumer
    this.#timers = timers
  }

  get state(): InboxState {
    return this.#state
  }

  get waitingBytes(): number {
    return this.#bytes
  }

  get waiting(): number {
    return (this.#queue?.length ?? 0) + (this.#requests?.length ?? 0)
  }

  /** Takes a message in, or says that it is full; then `whenRoom` tells when to try again. */
  offer(incoming: Incoming): boolean {
    const { message } = incoming
    if (this.#state === 'claiming' || this.#state === 'closed') return false
    if (this.#bytes > 0 && this.#bytes + message.size > this.#options.inboxBytesMax) return false
    // What comes off the wire goes straight to an idle handler. What is sent within this process waits for its turn of the loop: two
    // clients that answer each other at once would else never let it go on.
    const local = message.via === 'local'
    const direct = this.#consumer.hasReader ? incoming.serve !== undefined : this.waiting === 0
    if (direct && !local && this.#state === 'open' && this.#free(incoming)) {
      this.#start(incoming)
      return true
    }
    if (!this.#budget.take(message.size)) return false
    if (!local) message.settleIn()
    this.#bytes += message.size
    this.#push(incoming)
    if (local && (incoming.serve || !this.#consumer.hasReader)) this.#pumpSoon()
    return true
  }

  #push(incoming: Incoming): void {
    if (incoming.serve && this.#consumer.hasReader) {
      this.#requests ??= new Queue()
      this.#requests.push(incoming)
      return
    }
    this.#queue ??= new Queue()
    this.#queue.push(incoming)
    this.#consumer.wake()
  }

  #free({ serve }: Incoming): boolean {
    return !this.#busy && (serve === undefined || this.#serving < this.#options.requestsMax)
  }

  #pumpSoon(): void {
    if (this.#pumpDue) return
    this.#pumpDue = true
    this.#timers.soon(() => {
      this.#pumpDue = false
      this.#pump()
    })
  }

  /** Calls `waiter` once when there is room, or when the inbox closes. */
  whenRoom(waiter: RoomWaiter): void {
    this.#roomWaiters ??= new Set()
    this.#roomWaiters.add(waiter)
    // Nothing leaves an empty inbox and so tells of room: it was another queue that took the last of the memory, or there is room by now.
    if (this.#bytes > 0 || this.#state === 'claiming' || this.#roomDue) return
    this.#roomDue = true
    this.#timers.after(roomAgainMs, () => {
      this.#roomDue = false
      this.#tellRoom()
    })
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
    const apart = this.#consumer.hasReader
    const requests = handedOver.filter(({ serve }) => apart && serve)
    if (requests.length > 0) (this.#requests ??= new Queue()).unshift(requests)
    if (requests.length < handedOver.length)
      (this.#queue ??= new Queue()).unshift(handedOver.filter(({ serve }) => !(apart && serve)))
    this.#state = 'open'
    this.#consumer.wake()
    this.#pump()
  }

  /** The next message for a reader; only for inboxes with a reader. */
  next(): BytesMessage | undefined {
    if (this.#state === 'closed') return this.#kept?.pop()
    if (this.#state !== 'open') return undefined
    return this.#remove(this.#queue)?.message
  }

  /**
   * Ends it; returns what nobody has taken, for whoever takes the address over or must be told. Messages of a reader that `keep`s them
   * stay readable; they do not count any more.
   */
  close(keep: boolean): Incoming[] {
    if (this.#state === 'closed') return []
    this.#state = 'closed'
    const left: Incoming[] = []
    for (const queue of [this.#queue, this.#requests]) {
      for (let item = this.#remove(queue); item; item = this.#remove(queue)) left.push(item)
    }
    if (keep && this.#consumer.hasReader) {
      this.#kept = left.filter(({ serve }) => serve === undefined).map(({ message }) => message)
      this.#kept.reverse()
    }
    this.#tellRoom()
    this.#consumer.wake()
    return left
  }

  #remove(queue: Queue<Incoming> | undefined): Incoming | undefined {
    const incoming = queue?.shift()
    if (!incoming) return undefined
    this.#bytes -= incoming.message.size
    this.#budget.give(incoming.message.size)
    if (this.#roomWaiters && this.#bytes <= this.#options.inboxBytesMax / 2) this.#tellRoom()
    return incoming
  }

  #tellRoom(): void {
    const waiters = this.#roomWaiters
    this.#roomWaiters = undefined
    for (const waiter of waiters ?? []) waiter(this.address)
  }

  #pump(): void {
    const queue = this.#consumer.hasReader ? this.#requests : this.#queue
    for (let next = queue?.peek(); next; next = queue?.peek()) {
      if (this.#state !== 'open' || !this.#free(next)) return
      this.#start(this.#remove(queue)!)
    }
  }

  /** Requests run beside each other, up to a number; messages one after the other. */
  #start(incoming: Incoming): void {
    if (incoming.serve) return this.#serve(incoming.serve, incoming.message)
    this.#busy = true // also while the handler runs: a message that it causes waits
    const taken = this.#consumer.take(incoming.message)
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
