/** Renews leases beside the main loop, in one thread or process for all its peers, as long as that loop shows that it moves. */

import { livesInThreads } from '../datastores/url.ts'
import type { BackgroundWorker, Env, Timer } from '../env/env.ts'
import { homingError, HomingError } from '../errors.ts'
import type { Run } from './directory.ts'
import type { SessionOptions } from './options.ts'
import type { FromPulse, PulseRenewal, ToPulse } from './pulse-messages.ts'
import { doubtCell, movedCell, pulseCells, renewedCell, toMicros } from './pulse-messages.ts'

export type { PulseRenewal }

/** What a pulse tells the main loop when that has time to listen. No method may throw. */
export interface PulseListener {
  /** It renews from now on: the main loop need not. */
  begun(): void
  renewed(renewal: PulseRenewal): void
  failed(error: HomingError): void
  /** The record is missing, or another incarnation's: the main loop decides what that means. */
  lost(): void
  /** The thread or process failed. It is started again by and by; `begun` says when it renews again. */
  ended(error: HomingError): void
}

/** The main loop's hold on its pulse; cheap. What a thread knows is known at once, through shared memory; what a process knows, when it was heard. */
export interface Pulse {
  /** The main loop moves: call it each second or so, with the monotonic clock. */
  moved(nowMs: number): void
  /** When the last successful renewal began, by the main loop's monotonic clock, never too late; `-Infinity` before the first. */
  readonly renewedMs: number
  /** Something happened that others may have judged us for (a gap between renewals, a rival's record): asked once, it is forgotten. */
  doubtful(): boolean
  /** Resolves when nothing of it is under way any more. */
  stop(): Promise<void>
}

export interface PulseOptions {
  readonly env: Env
  /** Where it opens its own connection. */
  readonly storeUrl: string
  readonly cluster: string
  readonly run: Run
  readonly options: Readonly<SessionOptions>
  readonly listener: PulseListener
}

/** How much longer than an operation of the datastore it may take to say goodbye, ms. */
const goodbyeMs = 500
/** How much longer than that it may take to end by itself, ms: ended from outside, native clients of datastores may end the process. */
const endingMs = 5_000
const restartMsMin = 500
const restartMsMax = 30_000
/** Who lived so long has earned a fresh backoff, ms. */
const provenMs = 60_000

const code = new URL('./pulse-worker.js', import.meta.url)

type Form = 'thread' | 'process'
type Start = NonNullable<Env['startWorker'] | Env['startProcess']>

/** The threads and processes that run, by what starts them: in production at most one each. */
const hearts = new Map<Start, Heart>()

/** `undefined` where there is neither thread nor process to be had, or no other connection can see the same store. */
export function startPulse(given: PulseOptions): Pulse | undefined {
  const { startWorker, startProcess } = given.env
  if (given.storeUrl.startsWith('memory:')) return undefined
  // A thread shares memory with us, and needs less of it; a process may abort without taking us along.
  const form: Form = startWorker && livesInThreads(given.storeUrl) ? 'thread' : 'process'
  const start = form === 'thread' ? startWorker : startProcess
  if (!start) return undefined
  const heart = hearts.get(start) ?? new Heart(form, start)
  hearts.set(start, heart)
  return heart.add(given)
}

class PeerPulse implements Pulse {
  readonly id: number
  readonly given: PulseOptions
  readonly cells: BigInt64Array
  readonly #heart: Heart

  constructor(id: number, given: PulseOptions, heart: Heart) {
    this.id = id
    this.given = given
    this.cells = pulseCells(new SharedArrayBuffer(pulseCells.bytes))
    this.#heart = heart
    this.#moved(given.env.clock.monotonicMs())
  }

  moved(nowMs: number): void {
    this.#moved(nowMs)
    this.#heart.moved(this.id, nowMs)
  }

  /** What the memory of a process says is told here, when it was heard. */
  heard(message: FromPulse): void {
    if (message.at === 'doubted') Atomics.store(this.cells, doubtCell, 1n)
    if (message.at === 'renewed') Atomics.store(this.cells, renewedCell, toMicros(message.renewal.startedMs))
  }

  #moved(nowMs: number): void {
    Atomics.store(this.cells, movedCell, toMicros(nowMs))
  }

  get renewedMs(): number {
    const micros = Atomics.load(this.cells, renewedCell)
    return micros === 0n ? -Infinity : Number(micros) / 1_000
  }

  doubtful(): boolean {
    return Atomics.exchange(this.cells, doubtCell, 0n) !== 0n
  }

  stop(): Promise<void> {
    return this.#heart.remove(this)
  }
}

/** One thread or process and the peers that it renews for. */
class Heart {
  readonly #form: Form
  readonly #startWorker: Start
  readonly #peers = new Map<number, PeerPulse>()
  readonly #goodbyes = new Map<number, (said: boolean) => void>()
  #worker: BackgroundWorker | undefined
  #startedMs = 0
  #failures = 0
  #restart: Timer | undefined
  #lastId = 0

  constructor(form: Form, startWorker: Start) {
    this.#form = form
    this.#startWorker = startWorker
  }

  add(given: PulseOptions): Pulse {
    const peer = new PeerPulse(++this.#lastId, given, this)
    this.#peers.set(peer.id, peer)
    if (this.#worker) this.#post(this.#worker, peer)
    else if (!this.#restart) this.#start(given.env)
    return peer
  }

  /** A thread reads it from the memory. */
  moved(id: number, movedMs: number): void {
    if (this.#form === 'process') this.#worker?.post({ at: 'moved', id, movedMs } satisfies ToPulse)
  }

  async remove(peer: PeerPulse): Promise<void> {
    if (!this.#peers.delete(peer.id)) return
    if (this.#peers.size === 0) {
      hearts.delete(this.#startWorker) // who comes from now on gets a new one
      this.#restart?.cancel()
    }
    const worker = this.#worker
    const said = worker && (await this.#goodbye(worker, peer))
    if (worker && this.#peers.size === 0 && this.#worker === worker) {
      this.#worker = undefined
      worker.post({ at: 'end' } satisfies ToPulse)
      // A process that is stuck may be ended at once: nothing of ours is in it.
      const ended = worker.stop(said || this.#form === 'thread' ? endingMs : 0)
      if (said) await ended // who leaves does not wait for one that is stuck
    }
  }

  /** It finishes what it has begun for the peer, and closes its connection with the last one on it. `false`: it did not say so. */
  #goodbye(worker: BackgroundWorker, { id, given }: PeerPulse): Promise<boolean> {
    return new Promise(resolve => {
      const done = (said: boolean): void => {
        timer.cancel()
        this.#goodbyes.delete(id)
        resolve(said)
      }
      const timer = given.env.timers.after(given.options.operationTimeoutMs + goodbyeMs, () => done(false))
      this.#goodbyes.set(id, done)
      worker.post({ at: 'remove', id } satisfies ToPulse)
    })
  }

  #start(env: Env): void {
    this.#startedMs = env.clock.monotonicMs()
    try {
      const worker = this.#startWorker(code, undefined)
      this.#worker = worker
      worker.onMessage(message => this.#heard(message as FromPulse))
      worker.onFailure(error => this.#failed(worker, error))
      for (const peer of this.#peers.values()) this.#post(worker, peer)
    } catch (error) {
      this.#failed(undefined, error)
    }
  }

  #post(worker: BackgroundWorker, { id, given, cells }: PeerPulse): void {
    const { storeUrl, cluster, run, options } = given
    const { identity, incarnation } = run
    worker.post({
      at: 'add',
      id,
      storeUrl,
      cluster,
      run: { identity, incarnation },
      options: { ...options },
      memory:
        this.#form === 'thread'
          ? { at: 'shared', cells: cells.buffer as SharedArrayBuffer }
          : { at: 'apart', movedMs: Number(Atomics.load(cells, movedCell)) / 1_000 },
    } satisfies ToPulse)
  }

  #heard(message: FromPulse): void {
    if (message.at === 'removed') return this.#goodbyes.get(message.id)?.(true)
    const peer = this.#peers.get(message.id)
    if (!peer) return
    if (this.#form === 'process') peer.heard(message)
    const { listener } = peer.given
    switch (message.at) {
      case 'begun':
        return listener.begun()
      case 'renewed':
        return listener.renewed(message.renewal)
      case 'failed':
        return listener.failed(new HomingError('DATASTORE', `the pulse could not renew the lease: ${message.error}`))
      case 'lost':
        return listener.lost()
      case 'doubted':
        return
    }
  }

  #failed(worker: BackgroundWorker | undefined, cause: unknown): void {
    if (worker !== this.#worker) return
    this.#worker = undefined
    for (const done of [...this.#goodbyes.values()]) done(false)
    const peers = [...this.#peers.values()]
    const [first] = peers
    if (!first) return
    this.#restartLater(first.given.env)
    const error = homingError(cause, 'STORAGE', `the ${this.#form} that renews leases failed`)
    for (const peer of peers) peer.given.listener.ended(error)
  }

  #restartLater(env: Env): void {
    this.#failures = env.clock.monotonicMs() - this.#startedMs > provenMs ? 1 : this.#failures + 1
    const delayMs =
      Math.min(restartMsMax, restartMsMin * 2 ** Math.min(this.#failures - 1, 10)) * (0.5 + env.random.fraction() / 2)
    this.#restart = env.timers.after(delayMs, () => {
      this.#restart = undefined
      if (this.#peers.size > 0) this.#start(env)
    })
  }
}
