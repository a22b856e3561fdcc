/** One run of a process as a history tells of it: when it began and ended, and what befell it meanwhile. */
import type { EventOf } from '../history-event.ts'
import type { Holder } from './holder.ts'
import { Spans } from './spans.ts'

/** What asks for something, and what answers it. */
export type Asked = EventOf<'send' | 'request' | 'broadcast' | 'serviceAsked' | 'topicAppend'>
export type Answer = EventOf<'receipt' | 'reply' | 'broadcastDone' | 'serviceAnswered' | 'topicAppended'>

export interface Call<Ask extends Asked = Asked> {
  readonly run: Run
  readonly asked: Ask
  answer: Answer | undefined
}

export class Run {
  readonly name: string
  readonly incarnation: string
  readonly startedMs: number
  identity: string
  role: 'peer' | 'broker' = 'peer'
  /** Infinity, here and below: never. From then on it may say goodbye: it drains, closes, or was fenced. */
  leavingMs = Infinity
  /** Killed, or seen to have exited. */
  diedMs = Infinity
  /** Died, or closed. */
  goneMs = Infinity
  /** Until then a broker kept its lease after it had died: it had not heard of that. */
  keptUntilMs = -Infinity
  /** Clients that it has now, and that it had at most. */
  held = 0
  heldMost = 0
  readonly calls = new Map<number, Call>()
  readonly clients = new Map<number, Holder>()

  /** Neither its main loop nor its pulse moved. */
  readonly still = new Spans()
  /** Its main loop did not move, for whatever reason. */
  readonly blocked = new Spans()
  /** Its machine slept: its timers wait that much longer. */
  readonly asleep = new Spans()
  /** The datastore was not to be had for it, as it said itself or as was done to it alone. */
  readonly apart = new Spans()
  /** It said that it was not sure of what it holds. */
  readonly unsure = new Spans()

  constructor(name: string, incarnation: string, startedMs: number) {
    this.name = name
    this.incarnation = incarnation
    this.startedMs = startedMs
    this.identity = name
  }

  /** As ids of its messages begin. */
  get origin(): string {
    return `${this.identity}/${this.incarnation}`
  }

  /**
   * When what it set a timer for at `fromMs`, to be done at `dueMs`, is done at the latest: its timers wait while its machine sleeps, and after
   * that it has `slackMs` of the time in which it moves.
   */
  doneBy(fromMs: number, dueMs: number, slackMs: number): number {
    const byClockMs = this.dueBy(fromMs, dueMs)
    let byMs = byClockMs + slackMs
    for (const span of this.blocked.within(byClockMs, Infinity)) {
      if (span.fromMs > byMs) break
      byMs += span.untilMs - Math.max(span.fromMs, byClockMs)
    }
    return byMs
  }

  /** When a timer that it set at `fromMs` is due by its own clock. */
  dueBy(fromMs: number, dueMs: number): number {
    let byClockMs = dueMs
    for (const span of this.asleep.within(fromMs, Infinity)) {
      if (span.fromMs > byClockMs) break
      byClockMs += span.untilMs - Math.max(span.fromMs, fromMs)
    }
    return byClockMs
  }

  died(atMs: number): void {
    this.diedMs = Math.min(this.diedMs, atMs)
    this.gone(atMs)
  }

  holds(more: 1 | -1): void {
    this.held += more
    this.heldMost = Math.max(this.heldMost, this.held)
  }

  gone(atMs: number): void {
    this.goneMs = Math.min(this.goneMs, atMs)
  }

  leaving(atMs: number): void {
    this.leavingMs = Math.min(this.leavingMs, atMs)
  }
}
