/** Three ways to make load. All yield to the loop after each turn, so that every contestant reads while it writes. */
import { createHistogram, performance } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import type { Figures } from './role.ts'

/** Messages in one turn of the loop: about 36 KiB of small ones. */
const perTurnMax = 256

/** For those that give no promise a message: as fast as is taken. */
export class Pour {
  readonly #send: () => void
  readonly #room: () => Promise<unknown> | undefined
  readonly #perTurn: number
  #running: Promise<void> | undefined
  #stopped = false

  /** `room` is asked once a turn, and says what to wait for before the next one. */
  constructor(send: () => void, room: () => Promise<unknown> | undefined, perTurn = perTurnMax) {
    this.#send = send
    this.#room = room
    this.#perTurn = perTurn
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      for (let sent = 0; sent < this.#perTurn; sent++) this.#send()
      await this.#room()
      await turn()
    }
  }
}

/** For what is done in batches, one after the other. */
export class Series {
  readonly #batch: () => Promise<number>
  #running: Promise<void> | undefined
  #stopped = false
  count = 0

  /** `batch` resolves to how much it has done. */
  constructor(batch: () => Promise<number>) {
    this.#batch = batch
  }

  start(): void {
    this.#running = this.#run()
    this.#running.catch(() => {}) // who stops it hears of it
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.count += await this.#batch()
      await turn()
    }
  }
}

/** For those that give a promise a message: so many are outstanding. */
export class Window<T> {
  readonly #outstandingMax: number
  readonly #send: () => Promise<T>
  readonly #done: (outcome: T) => void
  readonly #histogram = createHistogram()
  #outstanding = 0
  #pumpDue = false
  #stopped = false
  #settled: (() => void) | undefined
  #failed: unknown

  /** `done` is given what each promise resolves to; a rejection ends the load, and `stop` rejects with it. */
  constructor(outstandingMax: number, send: () => Promise<T>, done: (outcome: T) => void) {
    this.#outstandingMax = outstandingMax
    this.#send = send
    this.#done = done
  }

  start(): void {
    if (this.#outstandingMax === 1) void this.#oneByOne()
    else this.#pump()
  }

  /** Resolves when nothing is outstanding. */
  async stop(): Promise<void> {
    this.#stopped = true
    if (this.#outstanding > 0) await new Promise<void>(resolve => (this.#settled = resolve))
    if (this.#failed !== undefined) throw this.#failed
  }

  get idle(): boolean {
    return this.#outstanding === 0
  }

  forget(): void {
    this.#histogram.reset()
  }

  /** Latencies are measured only with one outstanding: with more of them, they are their number divided by the rate. */
  figures(): Figures {
    if (this.#outstandingMax > 1) return {}
    return { p50Us: this.#histogram.percentile(50) / 1e3, p99Us: this.#histogram.percentile(99) / 1e3 }
  }

  /** The next one follows at once: a turn of the loop in between would be measured too. */
  async #oneByOne(): Promise<void> {
    while (!this.#stopped) {
      this.#outstanding = 1
      const startedMs = performance.now()
      try {
        this.#done(await this.#send())
      } catch (error) {
        this.#fail(error)
      }
      this.#histogram.record(Math.max(1, Math.round((performance.now() - startedMs) * 1e6)))
      this.#outstanding = 0
    }
    this.#settled?.()
  }

  readonly #pump = (): void => {
    this.#pumpDue = false
    for (let sent = 0; sent < perTurnMax && this.#outstanding < this.#outstandingMax && !this.#stopped; sent++) {
      this.#outstanding++
      this.#send().then(this.#one, this.#failOne)
    }
    if (this.#outstanding < this.#outstandingMax && !this.#stopped) this.#pumpSoon()
  }

  readonly #one = (outcome: T): void => {
    this.#done(outcome)
    this.#settle()
  }

  readonly #failOne = (error: unknown): void => {
    this.#fail(error)
    this.#settle()
  }

  #fail(error: unknown): void {
    this.#failed ??= error
    this.#stopped = true
  }

  #settle(): void {
    this.#outstanding--
    if (!this.#stopped) this.#pumpSoon()
    else if (this.#outstanding === 0) this.#settled?.()
  }

  #pumpSoon(): void {
    if (this.#pumpDue) return
    this.#pumpDue = true
    setImmediate(this.#pump)
  }
}
