/** One identity of a chaos run, as its conductor sees it: the process that has it now, and the lines by which it is reached and reaches others. */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { ErrorCode } from '../../lib/index.ts'
import type { TcpProxy } from '../support/tcp-proxy.ts'
import { Children, endNow } from './children.ts'
import type { News, Orders, Primed, Said, Task } from './task.ts'

/** `stopped`: by SIGSTOP. `ending`: it was told to. */
export type PlaceState = 'down' | 'starting' | 'up' | 'stopped' | 'ending'

/** A line that can be cut: from this process to another one, to it, or to the datastore. */
export interface Line {
  /** Who is at its other end; `*`: all who come to it. */
  readonly to: string
  readonly proxy: TcpProxy
}

export interface PlaceSetup {
  readonly name: string
  readonly role: 'peer' | 'broker'
  readonly lines: readonly Line[]
  readonly storeLine: TcpProxy | undefined
  /** Where others dial it. It refuses while no process is there. */
  readonly door: TcpProxy | undefined
  /** For the run of that number. */
  readonly task: (run: number, failpoint: Primed | undefined) => Task
  readonly children: Children
  readonly log: (run: number) => string
}

export interface PlaceEvents {
  news(place: Place, news: News): void
  exit(place: Place, code: number | null, signal: NodeJS.Signals | null): void
}

/** A start may have to wait for the datastore and for the lease of a silent predecessor. */
const startMsMax = 90_000
const lastWordsMax = 2_000
const primed = `--import=${new URL('./primed.js', import.meta.url).href}`

export class Place {
  readonly name: string
  readonly role: 'peer' | 'broker'
  readonly lines: readonly Line[]
  readonly storeLine: TcpProxy | undefined
  readonly #setup: PlaceSetup
  readonly #events: PlaceEvents
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  state: PlaceState = 'down'
  runs = 0
  /** It will kill itself some time. */
  isPrimed = false
  #child: ChildProcess | undefined
  #lastId = 0

  constructor(setup: PlaceSetup, events: PlaceEvents) {
    this.#setup = setup
    this.#events = events
    this.name = setup.name
    this.role = setup.role
    this.lines = setup.lines
    this.storeLine = setup.storeLine
  }

  /** Whether it can be asked, and is expected to answer. */
  get isUp(): boolean {
    return this.state === 'up'
  }

  /** What its present or last run has printed, the end of it. */
  get lastWords(): string {
    return readFileSync(this.#setup.log(this.runs), 'utf8').slice(-lastWordsMax).trim()
  }

  /** Starts a run; resolves when it is a member, rejects when it could not become one. */
  async start(failpoint?: Primed): Promise<void> {
    if (this.state !== 'down') throw new Error(`${this.name} is ${this.state}`)
    this.state = 'starting'
    this.runs++
    this.isPrimed = failpoint !== undefined
    await this.#setup.door?.refuse(false)
    const { children, task, log } = this.#setup
    const child = children.start(
      './program.js',
      [JSON.stringify(task(this.runs, failpoint))],
      log(this.runs),
      failpoint && [primed],
    )
    this.#child = child
    await new Promise<void>((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${this.name} was not up after ${startMsMax} ms`)), startMsMax)
      const settle = (end: () => void): void => {
        clearTimeout(late)
        end()
      }
      child.on('message', message => this.#heard(message as Said, child, settle, resolve, reject))
      child.on('error', reject)
      child.on('exit', (code, signal) => {
        this.#gone(child, code, signal)
        // Killed while it started: that is no failure, whoever killed it starts the next one.
        settle(resolve)
      })
    })
  }

  #heard(
    said: Said,
    child: ChildProcess,
    settle: (end: () => void) => void,
    up: () => void,
    failed: (error: Error) => void,
  ): void {
    if (child !== this.#child) return
    if ('id' in said) {
      const waiting = this.#waiting.get(said.id)
      this.#waiting.delete(said.id)
      if (said.failed === undefined) waiting?.resolve(said.ok)
      else waiting?.reject(new OrderFailed(said.failed))
      return
    }
    if (said.say === 'up') {
      if (this.state === 'starting') this.state = 'up'
      settle(up)
    } else if (said.say === 'notUp') {
      settle(() => failed(new NotUp(`${this.name} did not start: ${said.text}`, said.code)))
    }
    this.#events.news(this, said)
  }

  #gone(child: ChildProcess, code: number | null, signal: NodeJS.Signals | null): void {
    if (child !== this.#child) return
    this.#child = undefined
    this.state = 'down'
    for (const { reject } of this.#waiting.values()) reject(new OrderFailed('gone'))
    this.#waiting.clear()
    void this.#setup.door?.refuse(true)
    this.#events.exit(this, code, signal)
  }

  /** Rejects with `OrderFailed`: the code of the failure, or `gone`. */
  ask<What extends keyof Orders>(what: What, ...args: Parameters<Orders[What]>): ReturnType<Orders[What]> {
    const id = ++this.#lastId
    const child = this.#child
    const answer = new Promise((resolve, reject) => {
      if (!child?.connected) return reject(new OrderFailed('gone'))
      this.#waiting.set(id, { resolve, reject })
      child.send({ id, do: what, args }, error => error && this.#waiting.delete(id) && reject(new OrderFailed('gone')))
    })
    return answer as ReturnType<Orders[What]>
  }

  /** Resolves when its present run has ended. */
  async untilGone(): Promise<void> {
    if (this.#child) await once(this.#child, 'exit')
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.isPrimed = false
    if (this.#child) await endNow(this.#child)
  }

  stop(): void {
    if (this.state !== 'up') throw new Error(`${this.name} is ${this.state}`)
    this.#child!.kill('SIGSTOP')
    this.state = 'stopped'
  }

  resume(): void {
    if (this.state !== 'stopped') return // it was killed meanwhile
    this.#child!.kill('SIGCONT')
    this.state = 'up'
  }

  /** Lets it end by itself: it is killed when it takes much longer than `deadlineMs`. Resolves to whether it did. */
  async end(how: 'drain' | 'close', deadlineMs: number): Promise<boolean> {
    const child = this.#child
    if (!child || this.state !== 'up') return true
    this.state = 'ending'
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), deadlineMs * 2 + 15_000)
    const tooLate = once(late.signal, 'abort').then(() => false)
    const asked = how === 'drain' ? this.ask('drain', deadlineMs) : this.ask('close')
    const ended = asked.then(
      () => true,
      (error: unknown) => error instanceof OrderFailed && error.message === 'gone',
    )
    const inTime = await Promise.race([ended, tooLate])
    clearTimeout(timer)
    if (child.connected) child.disconnect()
    else child.kill('SIGKILL')
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    return inTime
  }
}

/** An order came to nothing: the code of a `HomingError`, or `gone`. */
export class OrderFailed extends Error {
  override readonly name = 'OrderFailed'
}

export class NotUp extends Error {
  override readonly name = 'NotUp'
  readonly code: ErrorCode | undefined

  constructor(message: string, code: ErrorCode | undefined) {
    super(message)
    this.code = code
  }
}
