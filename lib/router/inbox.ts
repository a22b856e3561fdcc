/** The bounded place where the messages of one client wait for its handler or reader. */
import type { Timers } from '../env/env.ts'
import type { Budget } from './budget.ts'
import { messageOverheadBytes, type BytesMessage, type Serve } from './message.ts'
import { Queue } from './queue.ts'
import { inSendOrder } from './send-order.ts'

/** Somebody who was told *full* and waits for room. */
export type RoomWaiter = (address: string) => void

/** The client behind an inbox. */
export interface Consumer {
  readonly address: string
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

/** What all inboxes of a peer share. */
export interface InboxHost {
  /** Bytes that may wait in one, overhead counted. Empty, it takes any one message. */
  readonly inboxBytesMax: number
  /** Requests that may be served at once for one client; more wait in the inbox. */
  readonly requestsMax: number
  readonly budget: Budget
  readonly timers: Timers
}

/** How long an empty inbox that could not take a message waits before it says that there is room, ms. */
const roomAgainMs = 100

/** What an inbox has once something had to wait in it. */
class Waiting {
  queue = new Queue<BytesMessage>()
  bytes = 0
  /** Requests to a client with a reader: they do not wait for what it reads. */
  requests: Queue<BytesMessage> | undefined
  pumpDue = false
  roomDue = false
  roomWaiters: Set<RoomWaiter> | undefined
  /** By sending run, the last number among what was handed over: what it sent before that comes too late. */
  passed: Map<string, number> | undefined
  /** What a reader may still read after the end, last first. */
  kept: BytesMessage[] | undefined

  get size(): number {
    return this.queue.length + (this.requests?.length ?? 0)
  }
}

/** Small: a peer may hold 100,000 in which hardly ever anything waits. */
export class Inbox {
  /** Counter of the claim that this inbox serves. */
  readonly claim: number
  readonly consumer: Consumer
  readonly #host: InboxHost
  #state: InboxState = 'claiming'
  #waiting: Waiting | undefined
  /** A message is with the handler. */
  #busy = false
  #serving = 0

  constructor(claim: number, host: InboxHost, consumer: Consumer) {
    this.claim = claim
    this.#host = host
    this.consumer = consumer
  }

  get address(): string {
    return this.consumer.address
  }

  get state(): InboxState {
    return this.#state
  }

  get waitingBytes(): number {
    return this.#waiting?.bytes ?? 0
  }

  get waiting(): number {
    return this.#waiting?.size ?? 0
  }

  /**
   * A later send of the same run was handed over by the former owner. So this one had been given up by its sender, and was under way all the
   * time on a path that stood still.
   */
  hasPassed(origin: string, number: number): boolean {
    const passed = this.#waiting?.passed
    return passed !== undefined && (passed.get(origin) ?? -1) > number
  }

  /** Takes a message in, or says that it is full; then `whenRoom` tells when to try again. */
  offer(message: BytesMessage): boolean {
    if (this.#state === 'claiming' || this.#state === 'closed') return false
    const { waitingBytes } = this
    if (waitingBytes > 0 && waitingBytes + message.size > this.#host.inboxBytesMax) return false
    // What comes off the wire goes straight to an idle handler. What is sent within this process waits for its turn of the loop: two
    // clients that answer each other at once would else never let it go on.
    const local = message.via === 'local'
    const direct = this.consumer.hasReader ? message.serve !== undefined : this.waiting === 0
    if (direct && !local && this.#state === 'open' && this.#free(message)) {
      if (message.serve && !this.#host.budget.admits(message.size)) return false
      this.#start(message)
      return true
    }
    if (!this.#host.budget.take(message.size)) return false
    if (!local) message.settleIn()
    this.#push(message)
    if (local && (message.serve || !this.consumer.hasReader)) this.#pumpSoon()
    return true
  }

  #push(message: BytesMessage): void {
    const waiting = (this.#waiting ??= new Waiting())
    waiting.bytes += message.size
    if (message.serve && this.consumer.hasReader) {
      waiting.requests ??= new Queue()
      waiting.requests.push(message)
      return
    }
    waiting.queue.push(message)
    this.consumer.wake()
  }

  #free({ serve }: BytesMessage): boolean {
    return !this.#busy && (serve === undefined || this.#serving < this.#host.requestsMax)
  }

  #pumpSoon(): void {
    const waiting = this.#waiting
    if (!waiting || waiting.pumpDue) return
    waiting.pumpDue = true
    this.#host.timers.soon(() => {
      waiting.pumpDue = false
      this.#pump()
    })
  }

  /** It would not make the sender of a body of so many bytes wait. */
  hasRoom(bytes: number): boolean {
    const isTaking = this.#state === 'held' || this.#state === 'open'
    return isTaking && this.waitingBytes <= this.#host.inboxBytesMax / 2 && this.#host.budget.admits(bytes + messageOverheadBytes)
  }

  /** Calls `waiter` once when there is room, or when the inbox closes. */
  whenRoom(waiter: RoomWaiter): void {
    const waiting = (this.#waiting ??= new Waiting())
    waiting.roomWaiters ??= new Set()
    waiting.roomWaiters.add(waiter)
    // Nothing leaves an empty inbox and so tells of room: it was another queue that took the last of the memory, or there is room by now.
    if (waiting.bytes > 0 || this.#state === 'claiming' || waiting.roomDue) return
    waiting.roomDue = true
    this.#host.timers.after(roomAgainMs, () => {
      waiting.roomDue = false
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

  /**
   * Puts what the former owner had not given out ahead of what came here, and opens. Each sender's messages are in the order of its
   * sends even so: an address that went to and fro may have taken an older one here and a newer one there.
   */
  open(handedOver: readonly BytesMessage[]): void {
    if (this.#state !== 'held') return
    const waiting = (this.#waiting ??= new Waiting())
    for (const message of handedOver) {
      this.#pass(waiting, message)
      waiting.bytes += message.size
      this.#host.budget.force(message.size) // it was accepted already, and may not be lost
    }
    const apart = this.consumer.hasReader
    const requests = handedOver.filter(({ serve }) => apart && serve)
    if (requests.length > 0) (waiting.requests ??= new Queue()).unshift(requests)
    waiting.queue.unshift(handedOver.filter(({ serve }) => !(apart && serve)))
    if (handedOver.length > 0) waiting.queue = Queue.of(inSendOrder([...waiting.queue]))
    this.#state = 'open'
    this.consumer.wake()
    this.#pump()
  }

  #pass(waiting: Waiting, { origin, number }: BytesMessage): void {
    const passed = (waiting.passed ??= new Map<string, number>())
    passed.set(origin, Math.max(number, passed.get(origin) ?? -1))
  }

  /** The next message for a reader; only for inboxes with a reader. */
  next(): BytesMessage | undefined {
    if (this.#state === 'closed') return this.#waiting?.kept?.pop()
    if (this.#state !== 'open') return undefined
    return this.#remove(this.#waiting?.queue)
  }

  /**
   * Ends it; returns what nobody has taken, for whoever takes the address over or must be told. Messages of a reader that `keep`s them
   * stay readable; they do not count any more.
   */
  close(keep: boolean): BytesMessage[] {
    if (this.#state === 'closed') return []
    this.#state = 'closed'
    const left: BytesMessage[] = []
    for (const queue of [this.#waiting?.queue, this.#waiting?.requests]) {
      for (let item = this.#remove(queue); item; item = this.#remove(queue)) left.push(item)
    }
    if (keep && this.consumer.hasReader && this.#waiting) {
      this.#waiting.kept = left.filter(({ serve }) => serve === undefined)
      this.#waiting.kept.reverse()
    }
    this.#tellRoom()
    this.consumer.wake()
    return left
  }

  #remove(queue: Queue<BytesMessage> | undefined): BytesMessage | undefined {
    const waiting = this.#waiting
    const message = queue?.shift()
    if (!message || !waiting) return undefined
    waiting.bytes -= message.size
    this.#host.budget.give(message.size)
    if (waiting.roomWaiters && waiting.bytes <= this.#host.inboxBytesMax / 2) this.#tellRoom()
    return message
  }

  #tellRoom(): void {
    const waiters = this.#waiting?.roomWaiters
    if (!this.#waiting || !waiters) return
    this.#waiting.roomWaiters = undefined
    for (const waiter of waiters) waiter(this.address)
  }

  #pump(): void {
    const queue = this.consumer.hasReader ? this.#waiting?.requests : this.#waiting?.queue
    for (let next = queue?.peek(); next; next = queue?.peek()) {
      if (this.#state !== 'open' || !this.#free(next)) return
      this.#start(this.#remove(queue)!)
    }
  }

  /** Requests run beside each other, up to a number; messages one after the other. */
  #start(message: BytesMessage): void {
    if (message.serve) return this.#serve(message.serve, message)
    this.#busy = true // also while the handler runs: a message that it causes waits
    const taken = this.consumer.take(message)
    if (!taken) {
      this.#busy = false
      return
    }
    void taken.then(() => {
      this.#busy = false
      this.#pump()
    })
  }

  #serve(serve: Serve, message: BytesMessage): void {
    this.#serving++ // also while the handler runs: a request that it causes counts
    const served = serve(message)
    if (!served) {
      this.#serving--
      return
    }
    // Hundreds may be served at once, and each is held on to until its handler is done.
    message.settleIn()
    this.#host.budget.force(message.size)
    void served.then(() => {
      this.#serving--
      this.#host.budget.give(message.size)
      this.#pump()
    })
  }
}
