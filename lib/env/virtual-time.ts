/** Time that moves when it is told to, for many simulated processes in one real one. */

import type { Clock, Random, Timer, Timers } from './env.ts'
import { EventQueue, type QueuedEvent } from './event-queue.ts'
import { seededRandom } from './random.ts'

export interface VirtualTimeOptions {
  /** What all chance is drawn from: the same seed gives the same run. */
  seed: number | string
  /** What the wall clocks show at first, ms since 1970. */
  wallMs?: number
  /** How far apart the monotonic and boot clocks of processes may start, ms: nobody may compare them. Default 0. */
  clockSpreadMs?: number
}

/** Timers of the world, in which nobody stalls, and of the processes in it. */
export interface VirtualTimers extends Timers {
  of(process: string): Timers
}

/** Events that run between two looks at real I/O; what awaits in between still goes on as far as it can. */
const eventsPerTurn = 64
/** More events than that at one moment are a loop that never ends. */
const eventsAtOnceMax = 10_000_000
/** Sums of milliseconds are that exact. */
const toleranceMs = 1e-6

interface Event extends QueuedEvent {
  readonly process: Process
  /** Of a timer: when it fires by the time in which its process was not suspended. */
  readonly firesMs: number | undefined
}

/** One life of a simulated process: after `halt` its name may have another. */
class Process {
  halted = false
  frozenUntilMs = 0
  readonly timers: Timers
  readonly clock: Clock
  /** How fast its monotonic and boot clocks run. */
  readonly rate: number
  /** The last suspension, and how long those before it took together. */
  #suspended = { fromMs: 0, untilMs: 0, beforeMs: 0 }

  constructor(rate: number, timers: (process: Process) => Timers, clock: (process: Process) => Clock) {
    this.rate = rate
    this.timers = timers(this)
    this.clock = clock(this)
  }

  /** How much of the time until `nowMs` it was suspended. */
  suspendedMs(nowMs: number): number {
    const { fromMs, untilMs, beforeMs } = this.#suspended
    return beforeMs + Math.min(nowMs, untilMs) - fromMs
  }

  suspend(nowMs: number, ms: number): void {
    const last = this.#suspended
    if (nowMs < last.untilMs) last.untilMs = Math.max(last.untilMs, nowMs + ms)
    else this.#suspended = { fromMs: nowMs, untilMs: nowMs + ms, beforeMs: this.suspendedMs(nowMs) }
    this.freeze(this.#suspended.untilMs)
  }

  freeze(untilMs: number): void {
    this.frozenUntilMs = Math.max(this.frozenUntilMs, untilMs)
  }
}

/**
 * A clock, timers and an event loop, deterministic: events run by their time, then in the order in which they were set, and before each
 * one all promises have gone as far as they can. Real I/O has no place in it: nobody would wait for that.
 */
export class VirtualTime {
  /** Of the world: never stalled, never suspended. */
  readonly clock: Clock
  readonly timers: VirtualTimers
  readonly random: Random
  readonly #events = new EventQueue<Event>()
  readonly #processes = new Map<string, Process>()
  readonly #wallOffsetsMs = new Map<string, number>()
  readonly #rates = new Map<string, number>()
  readonly #randomsOf = new Map<string, number>()
  readonly #seed: number | string
  readonly #wallMs: number
  readonly #clockSpreadMs: number
  #nowMs = 0
  #eventsRun = 0
  #eventsAtOnce = 0
  #order = 0
  #turning = false

  constructor({ seed, wallMs = 1_700_000_000_000, clockSpreadMs = 0 }: VirtualTimeOptions) {
    this.#seed = seed
    this.#wallMs = wallMs
    this.#clockSpreadMs = clockSpreadMs
    this.random = seededRandom(seed)
    const world = new Process(
      1,
      process => this.#timers(process),
      process => this.#clock(process, { monotonicMs: 0, bootMs: 0, wallOffsetMs: () => 0 }),
    )
    this.clock = world.clock
    this.timers = { ...world.timers, of: process => this.timersOf(process) }
  }

  /** Milliseconds since the start of the world. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** How many events ran so far. */
  get eventsRun(): number {
    return this.#eventsRun
  }

  timersOf(process: string): Timers {
    return this.#process(process).timers
  }

  clockOf(process: string): Clock {
    return this.#process(process).clock
  }

  /** Chance of its own for `name`, so that more draws of one process leave the others as they were. Each call gives a new one. */
  randomOf(name: string): Random {
    const count = this.#randomsOf.get(name) ?? 0
    this.#randomsOf.set(name, count + 1)
    return seededRandom(`${this.#seed}/${name}/${count}`)
  }

  /** The process does nothing for `ms`, its clocks run on: a blocked main loop, or SIGSTOP. */
  stall(process: string, ms: number): void {
    this.#process(process).freeze(this.#nowMs + ms)
  }

  /** The machine under the process sleeps for `ms`: of its clocks only `bootMs` and `wallMs` run on; timers wait that much longer. */
  suspend(process: string, ms: number): void {
    this.#process(process).suspend(this.#nowMs, ms)
  }

  /** None of its events ever runs again (`kill -9`). Who asks for the name afterwards gets a new process. */
  halt(process: string): void {
    this.#process(process).halted = true
    this.#processes.delete(process)
  }

  /** Puts the wall clock of a process, and of those that have its name later, that far from that of the world. */
  setWallOffset(process: string, wallOffsetMs: number): void {
    this.#wallOffsetsMs.set(process, wallOffsetMs)
  }

  /** From its next life on, the monotonic and boot clocks of the process, and its timers, run so much faster: 1.01 is a hundredth. */
  setClockRate(process: string, rate: number): void {
    if (!(rate > 0)) throw new Error(`a clock runs at a rate above 0, not at ${rate}`)
    this.#rates.set(process, rate)
  }

  /** What is set and has not happened: timers, and events under way. */
  get pending(): number {
    return this.#events.count(({ process }) => !process.halted)
  }

  /** Lets `ms` pass. Rejects with what an event threw. */
  async run(ms: number): Promise<void> {
    await this.#turn(this.#nowMs + ms, () => false)
  }

  /** Lets time pass until `predicate` holds, which is asked before each event; rejects when it does not within `maxMs`. */
  async until(predicate: () => boolean, maxMs: number): Promise<void> {
    if (await this.#turn(this.#nowMs + maxMs, predicate)) return
    throw new Error(
      `still not so after ${maxMs} ms of virtual time (seed ${this.#seed}, now ${this.#nowMs} ms): ${String(predicate)}`,
    )
  }

  /** Resolves to whether `done` said so before `endMs`. */
  #turn(endMs: number, done: () => boolean): Promise<boolean> {
    if (this.#turning) throw new Error('virtual time is being turned already')
    this.#turning = true
    return new Promise((resolve, reject) => {
      let left = 0
      const settle = (settled: () => void): void => {
        this.#turning = false
        left = 0
        settled()
      }
      // Node runs all promises dry between two immediates of one turn too; a turn of the real loop for each event would cost more.
      const turn = (): void => {
        left = eventsPerTurn
        for (let i = 0; i < eventsPerTurn; i++) setImmediate(next)
      }
      const next = (): void => {
        if (left === 0) return
        try {
          if (done()) settle(() => resolve(true))
          else if (!this.#step(endMs)) settle(() => resolve(done()))
          else if (--left === 0) turn()
        } catch (error) {
          settle(() => reject(error))
        }
      }
      turn()
    })
  }

  /** Runs the next event that is due by `endMs`; without one, moves on to `endMs` and returns false. */
  #step(endMs: number): boolean {
    for (;;) {
      const event = this.#events.first
      if (!event || event.atMs > endMs) {
        this.#advance(endMs)
        return false
      }
      this.#events.shift()
      this.#advance(event.atMs)
      if (!event.process.halted && this.#isEarly(event)) continue
      const run = event.run!
      event.run = undefined
      if (event.process.halted) continue
      this.#eventsRun++
      if (++this.#eventsAtOnce > eventsAtOnceMax)
        throw new Error(`virtual time stands still at ${this.#nowMs} ms: events without end`)
      run()
      return true
    }
  }

  #advance(ms: number): void {
    if (ms <= this.#nowMs) return
    this.#nowMs = ms
    this.#eventsAtOnce = 0
  }

  /** Puts an event off whose process is frozen, or was suspended since the event was set. */
  #isEarly(event: Event): boolean {
    const { process, firesMs } = event
    if (process.frozenUntilMs > this.#nowMs) {
      event.atMs = process.frozenUntilMs
    } else {
      const leftMs = firesMs === undefined ? 0 : firesMs - (this.#nowMs - process.suspendedMs(this.#nowMs))
      if (leftMs < toleranceMs) return false
      event.atMs = this.#nowMs + leftMs
    }
    this.#events.push(event)
    return true
  }

  #process(name: string): Process {
    const known = this.#processes.get(name)
    if (known) return known
    const random = this.randomOf(`clocks of ${name}`)
    const monotonicMs = random.fraction() * this.#clockSpreadMs
    const bootMs = monotonicMs + random.fraction() * this.#clockSpreadMs
    const process = new Process(
      this.#rates.get(name) ?? 1,
      each => this.#timers(each),
      each => this.#clock(each, { monotonicMs, bootMs, wallOffsetMs: () => this.#wallOffsetsMs.get(name) ?? 0 }),
    )
    this.#processes.set(name, process)
    return process
  }

  #clock(process: Process, start: { monotonicMs: number; bootMs: number; wallOffsetMs: () => number }): Clock {
    return {
      monotonicMs: () => start.monotonicMs + (this.#nowMs - process.suspendedMs(this.#nowMs)) * process.rate,
      wallMs: () => this.#wallMs + this.#nowMs + start.wallOffsetMs(),
      bootMs: () => start.bootMs + this.#nowMs * process.rate,
    }
  }

  #timers(process: Process): Timers {
    return {
      after: (ms, fn) => this.#after(process, ms, fn),
      every: (ms, fn) => {
        let timer: Timer
        // No less than Node's own millisecond, or the world would end here. Missed beats are not made up for, as in Node.
        const periodMs = Math.max(1, ms)
        const beat = (): void => {
          timer = this.#after(process, periodMs, beat)
          fn()
        }
        timer = this.#after(process, periodMs, beat)
        return { cancel: () => timer.cancel() }
      },
      soon: fn => void this.#add(process, 0, undefined, fn),
    }
  }

  #after(process: Process, ms: number, fn: () => void): Timer {
    const delayMs = ms > 0 ? ms / process.rate : 0
    const event = this.#add(process, delayMs, this.#nowMs - process.suspendedMs(this.#nowMs) + delayMs, fn)
    return {
      cancel: () => {
        if (event.run) this.#events.cancel(event)
      },
    }
  }

  #add(process: Process, delayMs: number, firesMs: number | undefined, run: () => void): Event {
    const atMs = this.#nowMs + delayMs
    const event: Event = { atMs, dueMs: atMs, order: this.#order++, run, process, firesMs }
    this.#events.push(event)
    return event
  }
}
