/**
 * A second, small link of a peer to its broker, held by a worker thread: it shows that the process lives while the main loop is busy.
 * One thread for all peers of a process.
 */
import type { BackgroundWorker, Env, Timer, TlsOptions } from '../env/env.ts'
import type { LinkOptions } from '../link/options.ts'
import type { Run } from '../sessions/directory.ts'
import type { FromPulseLinks, ToPulseLinks } from './pulse-messages.ts'

export interface PulseLinkSetup {
  readonly env: Env
  readonly run: Run
  readonly cluster: string
  readonly secrets: readonly Uint8Array[]
  readonly tls: TlsOptions | undefined
  readonly options: LinkOptions
  /** How long the main loop may stand still before the thread lets go, ms. */
  readonly stallMs: number
  /** The thread or its link failed; the peer's main link goes on without. */
  failed(text: string): void
}

/** The main loop's hold on its pulse link. */
export interface PulseLink {
  /** Be linked to the broker at this endpoint, or to none. */
  linkTo(endpoint: string | undefined): void
  stop(): Promise<void>
}

const code = new URL('./pulse-links-worker.js', import.meta.url)
const movedEveryMs = 500
/** Nobody waits longer than that for the thread to say goodbye, ms. */
const goodbyeMs = 500

/** The threads that run, by what starts them: in production one a process. */
const threads = new Map<NonNullable<Env['startWorker']>, Thread>()

/** `undefined` where there are no threads to be had (simulation). */
export function startPulseLink(setup: PulseLinkSetup): PulseLink | undefined {
  const { startWorker } = setup.env
  if (!startWorker) return undefined
  const thread = threads.get(startWorker) ?? new Thread(startWorker)
  threads.set(startWorker, thread)
  return thread.add(setup)
}

interface User {
  readonly setup: PulseLinkSetup
  readonly ticker: Timer
  removed: (() => void) | undefined
}

class Thread {
  readonly #start: NonNullable<Env['startWorker']>
  readonly #worker: BackgroundWorker
  readonly #users = new Map<number, User>()
  #lastId = 0

  constructor(start: NonNullable<Env['startWorker']>) {
    this.#start = start
    this.#worker = start(code, undefined)
    this.#worker.onMessage(message => this.#hear(message as FromPulseLinks))
    this.#worker.onFailure(error => {
      // The lease then depends on the main link alone, as it would without a thread; the next peer of the process starts a new one.
      threads.delete(this.#start)
      for (const { setup, ticker, removed } of this.#users.values()) {
        ticker.cancel()
        setup.failed(error.message)
        removed?.()
      }
      this.#users.clear()
    })
  }

  add(setup: PulseLinkSetup): PulseLink {
    const id = ++this.#lastId
    const { env, run, cluster, secrets, tls, options, stallMs } = setup
    const shared = new SharedArrayBuffer(8)
    const cell = new BigInt64Array(shared)
    const moved = (): void => void Atomics.store(cell, 0, BigInt(Math.floor(env.clock.monotonicMs() * 1_000)))
    moved()
    this.#users.set(id, { setup, ticker: env.timers.every(movedEveryMs, moved), removed: undefined })
    this.#say({
      at: 'add',
      id,
      run: { identity: run.identity, incarnation: run.incarnation },
      cluster,
      secrets,
      tls,
      options,
      stallMs,
      shared,
    })
    return {
      linkTo: endpoint => {
        if (this.#users.has(id)) this.#say({ at: 'link', id, endpoint })
      },
      stop: () => this.#remove(id),
    }
  }

  #say(message: ToPulseLinks): void {
    this.#worker.post(message)
  }

  #hear(message: FromPulseLinks): void {
    const user = this.#users.get(message.id)
    if (message.at === 'failed') user?.setup.failed(message.error)
    else user?.removed?.()
  }

  async #remove(id: number): Promise<void> {
    const user = this.#users.get(id)
    if (!user) return
    const { env } = user.setup
    await new Promise<void>(resolve => {
      const timer = env.timers.after(goodbyeMs, resolve)
      user.removed = () => {
        timer.cancel()
        resolve()
      }
      this.#say({ at: 'remove', id })
    })
    user.ticker.cancel()
    this.#users.delete(id)
    if (this.#users.size > 0) return
    if (threads.get(this.#start) === this) threads.delete(this.#start)
    await this.#worker.stop()
  }
}
