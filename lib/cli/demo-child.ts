/** A process of the demo as the demo sees it: what it says, and its end. */
import { fork, type ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { DemoOrder, DemoReport, DemoRole } from './demo-words.ts'
import { ProgramError } from './failure.ts'

type Said = DemoReport['said']
type Report<S extends Said> = Extract<DemoReport, { said: S }>

/** How long a process may take to end when it was told to, ms. */
const endMs = 8_000

export class DemoChild {
  readonly #process: ChildProcess
  readonly #name: string
  readonly #heard = new Map<Said, DemoReport>()
  readonly #waiting = new Map<Said, { resolve: (report: DemoReport) => void; reject: (error: Error) => void }>()
  readonly #exited: Promise<void>
  #end: ProgramError | undefined
  #answered = 0

  constructor(role: DemoRole, name: string, print: (line: string) => void) {
    this.#name = name
    const file = fileURLToPath(new URL('./demo-process.js', import.meta.url))
    this.#process = fork(file, [JSON.stringify(role)], { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
    createInterface({ input: this.#process.stdout! }).on('line', print)
    this.#process.on('message', message => this.#hear(message as DemoReport))
    this.#exited = new Promise(resolve => {
      this.#process.once('error', error => this.#over(`could not be started: ${error.message}`, resolve))
      // Not `exit`: what it said last may still be under way.
      this.#process.once('close', (code, signal) => this.#over(`ended early (${signal ?? `code ${code}`})`, resolve))
    })
  }

  /** Messages of the burst that have their receipt. */
  get answered(): number {
    return this.#answered
  }

  /** Resolves to the report of that kind. Rejects with `ProgramError` when the process ends without it. */
  said<S extends Said>(said: S): Promise<Report<S>> {
    const heard = this.#heard.get(said)
    if (heard) return Promise.resolve(heard as Report<S>)
    if (this.#end) return Promise.reject(this.#end)
    return new Promise((resolve, reject) => this.#waiting.set(said, { resolve: report => resolve(report as Report<S>), reject }))
  }

  order(order: DemoOrder): void {
    if (this.#process.connected) this.#process.send(order)
  }

  /** Tells it to end; resolves to its last words. */
  async endWithCounts(): Promise<Report<'counts'>> {
    this.order({ does: 'end' })
    return this.said('counts')
  }

  /** Resolves when it has ended, whether it likes to or not. */
  async end(): Promise<void> {
    this.order({ does: 'end' })
    const killing = setTimeout(() => this.#process.kill('SIGKILL'), endMs)
    await this.#exited
    clearTimeout(killing)
  }

  #hear(report: DemoReport): void {
    if (report.said === 'progress') this.#answered = report.answered
    if (report.said === 'burst') this.#answered = Math.max(this.#answered, report.latencies.length)
    this.#heard.set(report.said, report)
    this.#waiting.get(report.said)?.resolve(report)
    this.#waiting.delete(report.said)
  }

  #over(how: string, resolve: () => void): void {
    this.#end = new ProgramError(`${this.#name} ${how}`)
    for (const { reject } of this.#waiting.values()) reject(this.#end)
    this.#waiting.clear()
    resolve()
  }
}
