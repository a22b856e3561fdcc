/** Requests and calls that are answered here: their handlers run, their answers leave, and they are told when nobody waits any more. */
import { HomingError } from '../errors.ts'
import type { Channel } from '../mesh/channel.ts'
import type { Run } from '../sessions/directory.ts'
import { encodeBody } from '../wire/body.ts'
import { writeUint32 } from '../wire/frame.ts'
import { REPLY } from '../wire/kinds.ts'
import type { BodyLimits } from '../wire/scan.ts'
import { atOnceBytes, fillFrame } from './frame-body.ts'
import { failureBody } from './remote-failure.ts'

/** What a handler is told besides the request. */
export interface RequestContext {
  /** Aborts when the asker gives up, its peer goes away, or the deadline passes. */
  readonly signal: AbortSignal
  /** Time left when it arrived, ms. */
  readonly deadlineMs: number
}

/** A request or call that a handler here is busy with. */
class Served implements RequestContext {
  readonly deadlineMs: number
  readonly deadlineAtMs: number
  /** Made when it is asked for: most handlers never look at it. */
  #controller: AbortController | undefined
  #reason: HomingError | undefined
  #reject: ((error: HomingError) => void) | undefined

  constructor(deadlineMs: number, deadlineAtMs: number) {
    this.deadlineMs = deadlineMs
    this.deadlineAtMs = deadlineAtMs
  }

  get signal(): AbortSignal {
    const controller = (this.#controller ??= new AbortController())
    if (this.#reason && !controller.signal.aborted) controller.abort(this.#reason)
    return controller.signal
  }

  abort(reason: HomingError): void {
    if (this.#reason) return
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#reject?.(reason)
  }

  /** What `work` comes to, or the reason of an abort before. */
  unlessAborted<T>(work: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      work.then(resolve, reject)
    })
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
}

/** Runs a handler: its answer, or a promise of it. */
export type Work = (context: RequestContext) => unknown

/** What the serving needs of its router. */
export interface ServingHost {
  readonly limits: Readonly<BodyLimits>
  nowMs(): number
  /** The time at which this turn of the loop began to need it, ms. */
  turnMs(): number
  /** A send waits that an answer written now would overtake. */
  somethingWaits(): boolean
  /** Sends an answer in its turn; nobody hears what became of it. */
  replyInTurn(to: Run, callId: number, failed: boolean, body: Buffer, untilMs: number): void
}

export class Serving {
  readonly #host: ServingHost
  readonly #served = new Map<Channel | 'here', Map<number, Served>>()

  constructor(host: ServingHost) {
    this.#host = host
  }

  /** For another peer. A promise means that the handler is busy. Never throws or rejects. */
  answer(channel: Channel, callId: number, deadlineMs: number, work: Work): Promise<void> | undefined {
    const untilMs = this.#host.turnMs() + deadlineMs
    return this.#run(channel, callId, deadlineMs, work, (failed, value) => {
      if (channel.hasEnded || this.#host.nowMs() >= untilMs) return // nobody waits for it any more
      this.#reply(channel, callId, untilMs, failed, value)
    })
  }

  /** For a client of this peer: `replied` gets the body of the answer. Otherwise like `answer`. */
  answerHere(
    callId: number,
    deadlineMs: number,
    work: Work,
    replied: (ok: boolean, body: Buffer) => void,
  ): Promise<void> | undefined {
    return this.#run('here', callId, deadlineMs, work, (failed, value) => {
      const [ok, body] = this.#encoded(failed, value)
      replied(ok, body)
    })
  }

  /** An answer that cannot be sent is the asker's timeout; there is nobody to tell it to. */
  #reply(channel: Channel, callId: number, untilMs: number, failed: boolean, value: unknown): void {
    try {
      if (!failed && this.#replyAtOnce(channel, callId, value)) return
    } catch (error) {
      return this.#reply(channel, callId, untilMs, true, error)
    }
    const [ok, body] = this.#encoded(failed, value)
    this.#host.replyInTurn(channel.remote, callId, !ok, body, untilMs)
  }

  /** Where nothing waits that would be overtaken. False: it could not be done, and nothing has happened. Throws as encoding does. */
  #replyAtOnce(channel: Channel, callId: number, value: unknown): boolean {
    if (this.#host.somethingWaits() || channel.hasEnded || !channel.admits(atOnceBytes)) return false
    const start = channel.begin(REPLY, atOnceBytes)
    const { buffer, writes } = channel
    buffer[writeUint32(buffer, start, callId)] = 0
    const end = fillFrame(channel, start + 5, value, this.#host.limits)
    if (end < 0 || channel.writes !== writes) return false
    channel.commit(end)
    return true
  }

  #encoded(failed: boolean, value: unknown): [ok: boolean, body: Buffer] {
    if (failed) return [false, failureBody(value)]
    try {
      return [true, encodeBody(value, this.#host.limits)]
    } catch (error) {
      return [false, failureBody(error)]
    }
  }

  /** `done` hears of its result, at once where the handler is no promise; later it may have been given up. */
  #run(
    from: Channel | 'here',
    callId: number,
    deadlineMs: number,
    work: Work,
    done: (failed: boolean, value: unknown) => void,
  ): Promise<void> | undefined {
    const context = new Served(deadlineMs, this.#host.turnMs() + deadlineMs)
    let value: unknown
    try {
      value = work(context)
    } catch (error) {
      done(true, error)
      return undefined
    }
    if (!isThenable(value)) {
      done(false, value)
      return undefined
    }
    this.#began(from, callId, context)
    // A handler that never settles, or too late, gives its place to the next request when nobody waits for it any more.
    return context.unlessAborted(value).then(
      result => {
        this.#ended(from, callId)
        done(false, result)
      },
      (error: unknown) => {
        this.#ended(from, callId)
        done(true, error)
      },
    )
  }

  #began(from: Channel | 'here', callId: number, context: Served): void {
    let served = this.#served.get(from)
    if (!served) this.#served.set(from, (served = new Map()))
    served.set(callId, context)
  }

  #ended(from: Channel | 'here', callId: number): void {
    const served = this.#served.get(from)
    served?.delete(callId)
    if (served?.size === 0) this.#served.delete(from)
  }

  /** The asker cancelled. */
  cancelled(from: Channel | 'here', callId: number): void {
    this.#served.get(from)?.get(callId)?.abort(new HomingError('TIMEOUT', 'cancelled by the asker'))
  }

  /** The channel has ended: nobody waits for what came over it. */
  lostOn(channel: Channel): void {
    this.#abortAll(channel, `the asking peer ${channel.remote.identity} went away`)
  }

  /** Tells those whose deadline has passed. */
  sweep(nowMs: number): void {
    for (const served of this.#served.values()) {
      for (const context of served.values())
        if (context.deadlineAtMs <= nowMs) context.abort(new HomingError('TIMEOUT', 'the deadline of the request passed'))
    }
  }

  #abortAll(from: Channel | 'here', why: string): void {
    for (const context of this.#served.get(from)?.values() ?? []) context.abort(new HomingError('LOST', why))
    this.#served.delete(from)
  }

  close(): void {
    for (const from of [...this.#served.keys()]) this.#abortAll(from, 'this peer is closing')
  }
}
