/** One act of connecting, as a history tells of it: a client that held its address for a while, and what it took. */
import type { ClientEnd } from '../../client.ts'
import type { Run } from './run.ts'

/** `failed`: the connect did; `killed`: with its process; `open`: it was there at the end of the world. */
export type HolderEnd = ClientEnd | 'failed' | 'killed' | 'open'

/** A message, and when it was sent and known to be accepted. */
export interface Accepted {
  readonly origin: string
  readonly number: number
  readonly sentMs: number
  readonly acceptedMs: number
}

/** Who waits for a hand-over has stood still when it is later than its time by more than this share of it (`HandOver`). */
const lateShare = 0.05

export class Holder {
  readonly run: Run
  readonly address: string
  readonly client: number
  readonly reads: boolean
  readonly connectingMs: number
  readonly dueMs: number
  /** Infinity: never. */
  connectedMs = Infinity
  /** When the connect was answered, well or not. */
  settledMs = Infinity
  claim: number | undefined = undefined
  endMs = Infinity
  end: HolderEnd = 'open'
  /** By sending run, the number of the last message that it took. */
  readonly last = new Map<string, number>()
  /** When it took its first message: its inbox was open by then. */
  firstTakenMs = Infinity
  /** When the message that was sent last, of those that it took, was sent. */
  lastSentMs = -Infinity
  #busy = false
  #busySinceMs = Infinity
  #idleMs = -Infinity

  constructor(run: Run, address: string, client: number, reads: boolean, connectingMs: number, dueMs: number) {
    this.run = run
    this.address = address
    this.client = client
    this.reads = reads
    this.connectingMs = connectingMs
    this.dueMs = dueMs
  }

  /** The handler keeps what comes next waiting. One message after the other is one time of being busy, up to `slackMs` in between. */
  busy(atMs: number, slackMs: number): void {
    if (this.endMs < Infinity) return
    if (!this.#busy && atMs - this.#idleMs > slackMs) this.#busySinceMs = atMs
    this.#busy = true
  }

  idle(atMs: number): void {
    if (this.endMs < Infinity) return
    this.#busy = false
    this.#idleMs = atMs
  }

  ended(end: HolderEnd, atMs: number): void {
    if (this.endMs <= atMs) return
    this.endMs = atMs
    this.end = end
  }

  /**
   * Whether a message that it may have had can have waited in its inbox to its end. An inbox gives out in the order in which it took in: what
   * was accepted before something was sent that this client took, did not wait any more. Only what is handed over goes ahead of what came by
   * itself: it was sent by `handedOverMs`, the last moment at which a former owner took anything, and before the inbox opened. And what waits for a handler waits because that is
   * busy, or because the inbox is not open yet: until it gave out something, and `heldMs` after the connect, at the longest.
   */
  mayHaveKept(message: Accepted, handedOverMs: number, heldMs: number, slackMs: number): boolean {
    const { origin, number, acceptedMs } = message
    const aheadMs = Math.min(handedOverMs, this.firstTakenMs)
    if ((this.last.get(origin) ?? -1) >= number || this.lastSentMs > Math.max(acceptedMs, aheadMs)) return false
    const openMs = Math.min(this.#openByMs(heldMs, slackMs), this.firstTakenMs)
    return Math.max(acceptedMs, openMs) >= this.#waitsSinceMs(slackMs) - slackMs
  }

  /**
   * Whether its client was disconnected, or its peer closed, before its inbox opened: what its reader took after that had come to it by itself, and says nothing of
   * what a former owner handed over, which came too late for it.
   */
  endedHeld(heldMs: number, slackMs: number): boolean {
    const { reads, end, endMs } = this
    const wasEnded = end === 'disconnected' || end === 'closed'
    return reads && wasEnded && this.firstTakenMs >= endMs && endMs <= this.#openByMs(heldMs, slackMs)
  }

  /**
   * An inbox opens `heldMs` after the connect, by the clocks of its process. Where that stood still by then, it does not know what became of the address
   * meanwhile: it has as long once more to find out.
   */
  #openByMs(heldMs: number, slackMs: number): number {
    const { connectedMs, run } = this
    if (connectedMs === Infinity) return Infinity
    const heldUntilMs = connectedMs + heldMs
    const byMs = run.doneBy(connectedMs, heldUntilMs, slackMs) - slackMs
    const lateMs = run.doneBy(connectedMs, heldUntilMs, 0) - run.dueBy(connectedMs, heldUntilMs)
    return lateMs > heldMs * lateShare ? run.doneBy(byMs, byMs + heldMs, slackMs) - slackMs : byMs
  }

  /** Since when, at its end, messages were waiting if there were any. */
  #waitsSinceMs(slackMs: number): number {
    if (this.reads) return -Infinity
    const busy = this.#busy || this.endMs - this.#idleMs <= slackMs
    let sinceMs = busy ? this.#busySinceMs : this.endMs
    // Who has stood still until right before its end had no turn in between, or hardly one.
    for (const { fromMs } of this.run.blocked.within(this.endMs - slackMs, this.endMs)) sinceMs = Math.min(sinceMs, fromMs)
    return Math.min(sinceMs, this.endMs)
  }
}
