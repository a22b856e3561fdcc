/** The questions of a peer to its broker: to the one that there is, or to the next, until their time is over. */
import type { Env } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { Router } from '../router/router.ts'
import { passing } from '../sessions/deadline.ts'
import type { Run } from '../sessions/directory.ts'
import { readAnswer } from './directory-answers.ts'
import { directoryProtocol, type Answer, type Question } from './directory-protocol.ts'

export interface BrokerCallsSetup {
  readonly env: Env
  readonly router: Pick<Router, 'call'>
  /** The broker is linked and has forgotten this peer. */
  joinAgain(broker: Run): void
}

/** How long after a failure the next try follows, ms. */
export const retryMs = 100
/** How long one question may take before it is asked again of whichever broker there is then, ms. */
export const askMs = 5_000

/** Failures after which the same question may be asked again, of this broker or the next. */
const mayPass: ReadonlySet<string> = new Set(['LOST', 'TIMEOUT', 'UNREACHABLE', 'ABSENT', 'CLOSED', 'OVERLOADED', 'FENCED'])

export class BrokerCalls {
  readonly #setup: BrokerCallsSetup
  #broker: Run | undefined
  /** It has joined at the present broker: other questions may be asked. */
  #hasJoined = false
  #waiting: (() => void)[] = []
  #ended: HomingError | undefined

  constructor(setup: BrokerCallsSetup) {
    this.#setup = setup
  }

  /** The broker that is linked. */
  get broker(): Run | undefined {
    return this.#broker
  }

  /** The broker that is linked, where this peer has joined there. */
  get joined(): Run | undefined {
    return this.#hasJoined ? this.#broker : undefined
  }

  /** Why nothing is asked any more. */
  get ended(): HomingError | undefined {
    return this.#ended
  }

  linkUp(broker: Run): void {
    this.#broker = broker
    this.#hasJoined = false
  }

  linkDown(): void {
    this.#broker = undefined
    this.#hasJoined = false
  }

  /** The broker has taken this peer in. What is asked from now on goes to it; what waits does not before `wake`. */
  joins(): void {
    this.#hasJoined = true
  }

  wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** What waits fails, as does whatever is asked from now on. */
  end(error: HomingError): void {
    this.#ended = error
    this.wake()
  }

  /** One question to one broker. Rejects as `Router.call`, and with `DATASTORE` where its answer is none. */
  async call<Q extends Question>(broker: Run, question: Q, deadlineMs: number, signal?: AbortSignal): Promise<Answer<Q['op']>> {
    const answer = await this.#setup.router.call(broker, directoryProtocol, question, { deadlineMs, ...(signal && { signal }) })
    return readAnswer(question, answer)
  }

  /** Asks whichever broker there is, until `untilMs`; a question that may have been answered is asked again: all can be. */
  async ask<Q extends Question>(make: (leftMs: number) => Q, untilMs: number, signal?: AbortSignal): Promise<Answer<Q['op']>> {
    for (;;) {
      const broker = await this.present(untilMs, signal)
      try {
        const ms = this.leftMs(untilMs)
        return await this.call(broker, make(ms), ms, signal)
      } catch (error) {
        await this.untilAgain(error, broker, untilMs, signal)
      }
    }
  }

  leftMs(untilMs: number): number {
    return Math.max(1, untilMs - this.#setup.env.clock.monotonicMs())
  }

  /** The broker to ask; waits for one until `untilMs`, then rejects with `DATASTORE`. */
  async present(untilMs: number, signal?: AbortSignal): Promise<Run> {
    const leftMs = untilMs - this.#setup.env.clock.monotonicMs()
    if (this.#ended) throw this.#ended
    const broker = this.#hasJoined ? this.#broker : await this.#next(leftMs, signal)
    if (broker) return broker
    throw new HomingError('DATASTORE', 'no broker is linked: sessions can neither be read nor written')
  }

  /** A question to `broker` failed. Resolves when it can be asked again; rejects where it cannot. */
  async untilAgain(error: unknown, broker: Run, untilMs: number, signal?: AbortSignal): Promise<void> {
    if (!(error instanceof HomingError) || !mayPass.has(error.code)) throw error
    if (error.code === 'FENCED' && this.#hasJoined && this.#broker === broker) {
      this.#hasJoined = false
      this.#setup.joinAgain(broker)
    }
    if (this.#setup.env.clock.monotonicMs() + retryMs >= untilMs || signal?.aborted) throw late(error)
    await passing(this.#setup.env, retryMs)
  }

  #next(leftMs: number, signal: AbortSignal | undefined): Promise<Run | undefined> {
    if (leftMs <= 0 || signal?.aborted) return Promise.resolve(undefined)
    return new Promise(resolve => {
      const done = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', done) // it may outlive many waits
        this.#waiting = this.#waiting.filter(wake => wake !== done)
        resolve(this.joined)
      }
      const timer = this.#setup.env.timers.after(leftMs, done)
      this.#waiting.push(done)
      signal?.addEventListener('abort', done, { once: true })
    })
  }
}

export function late(cause?: HomingError): HomingError {
  const reason = cause ? `: ${cause.message}` : ''
  return new HomingError('DATASTORE', `the broker did not answer in time${reason}`, {
    outcome: cause?.outcome ?? 'unknown',
    ...(cause && { cause }),
  })
}
