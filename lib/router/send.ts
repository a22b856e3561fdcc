/** One message or request on its way, from the call to its outcome. */
import type { Channel, Waiter } from '../mesh/channel.ts'
import type { Flow } from './flow.ts'
import { messageOverheadBytes } from './message.ts'
import type { Failure, Receipt } from './receipt.ts'

/** Tells the caller: nothing when it was accepted, else why not. Called once. */
export type Settle = (failure: Failure | undefined, send: Send) => void

export interface SendSetup {
  kind: number
  /** The sender's own address, '' for none. For protocols: the protocol's name. */
  from: string
  /** Counts the sends of this peer: names the message, and tells which came first. */
  number: number
  /** Of requests, calls and replies; else 0. */
  callId: number
  deadlineAtMs: number
  /** Until when an absent address is waited for. */
  waitUntilMs: number
  settle: Settle
  /** The caller wants to know only that it was written. */
  early: boolean
  /** For a message: ends the caller's promise. */
  resolve: ((receipt: Receipt) => void) | undefined
}

export class Send implements Waiter {
  readonly flow: Flow
  readonly kind: number
  readonly from: string
  readonly number: number
  readonly callId: number
  readonly deadlineAtMs: number
  waitUntilMs: number
  /** Empty while the channel keeps it: it comes back with a refusal. */
  body: Buffer = nothing
  /** What follows `body`: large bytes of the caller, not copied. */
  tail: Uint8Array | undefined = undefined
  bodyBytes = 0
  readonly early: boolean
  readonly resolve: ((receipt: Receipt) => void) | undefined
  /** How often an owner said that the address is not there. */
  redirects = 0
  /** Where it was written, last. */
  channel: Channel | undefined = undefined
  sequence = -1
  /** Ends the watch of the caller's signal. */
  unwatch: (() => void) | undefined = undefined
  #settle: Settle | undefined

  constructor(flow: Flow, setup: SendSetup) {
    this.flow = flow
    this.kind = setup.kind
    this.from = setup.from
    this.number = setup.number
    this.callId = setup.callId
    this.deadlineAtMs = setup.deadlineAtMs
    this.waitUntilMs = setup.waitUntilMs
    this.early = setup.early
    this.resolve = setup.resolve
    this.#settle = setup.settle
  }

  /** Whether the caller has its outcome. */
  get settled(): boolean {
    return this.#settle === undefined
  }

  /** What it counts for while it waits, bytes. */
  get size(): number {
    return this.bodyBytes + messageOverheadBytes
  }

  settle(failure: Failure | undefined): void {
    const settle = this.#settle
    if (!settle) return
    this.#settle = undefined
    this.unwatch?.()
    settle(failure, this)
  }

  accepted(): void {
    this.flow.accepted(this)
  }

  refused(reason: number, _kind: number, payload: Buffer): void {
    this.flow.refused(this, reason, payload)
  }

  lost(): void {
    this.flow.lost(this)
  }
}

const nothing = Buffer.alloc(0)
