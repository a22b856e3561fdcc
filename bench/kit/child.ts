/** A process of a contestant as the runner sees it. */
import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { ProgramError } from '../../lib/cli/failure.ts'
import type { ChildRole, Order, Report } from './child-words.ts'

type Said = Report['said']
type ReportOf<S extends Said> = Extract<Report, { said: S }>

/** How long an answer may take, ms: a process under full load still looks at its messages. */
const answerMs = 30_000
/** How long a part may take to be ready, ms: some connect a hundred thousand clients, or write a million records, before. */
const readyMs = 180_000
/** How long a process may take to end when it was told to, ms; and when it was cut off. */
const endMs = 8_000
const cutOffMs = 1_000

export class Child {
  readonly #name: string
  readonly #process: ChildProcess
  readonly #exited: Promise<void>
  #waiting: { said: Said; resolve: (report: Report) => void; reject: (error: Error) => void } | undefined
  #error: ProgramError | undefined

  constructor(name: string, role: ChildRole) {
    this.#name = name
    const file = fileURLToPath(new URL('./child-process.js', import.meta.url))
    this.#process = fork(file, [JSON.stringify(role)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    this.#process.on('message', message => this.#hear(message as Report))
    this.#exited = new Promise(resolve => {
      this.#process.once('error', error => this.#fail(`could not be started: ${error.message}`, resolve))
      this.#process.once('exit', (code, signal) => this.#fail(`ended early (${signal ?? `code ${code}`})`, resolve))
    })
  }

  /** Resolves when the part can be reached. */
  ready(): Promise<ReportOf<'ready'>> {
    return this.#said('ready', readyMs)
  }

  /** Resolves to the answer. Rejects with `ProgramError`: the process failed, ended, or says nothing. */
  ask<O extends Exclude<Order, 'end'>>(order: O): Promise<ReportOf<O>> {
    const answer = this.#said(order, answerMs)
    if (!this.#error) this.#process.send(order)
    return answer
  }

  /** Tells it to close what it has open. Resolves when it has ended, whether it likes to or not. */
  async end(): Promise<void> {
    if (this.#process.connected) this.#process.send('end' satisfies Order)
    await this.#endedWithin(endMs)
  }

  /** Ends it as it stands. Resolves when it has ended. */
  async cutOff(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect()
    await this.#endedWithin(cutOffMs)
  }

  async #endedWithin(ms: number): Promise<void> {
    const killing = setTimeout(() => this.#process.kill('SIGKILL'), ms)
    await this.#exited
    clearTimeout(killing)
  }

  #said<S extends Said>(said: S, withinMs: number): Promise<ReportOf<S>> {
    if (this.#error) return Promise.reject(this.#error)
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => this.#fail(`did not answer '${said}' within ${withinMs} ms`), withinMs)
      const settled = () => {
        clearTimeout(late)
        this.#waiting = undefined
      }
      this.#waiting = {
        said,
        resolve: report => {
          settled()
          resolve(report as ReportOf<S>)
        },
        reject: error => {
          settled()
          reject(error)
        },
      }
    })
  }

  #hear(report: Report): void {
    if (report.said === 'failed') this.#fail(`failed: ${report.text}`)
    else if (report.said === this.#waiting?.said) this.#waiting.resolve(report)
  }

  #fail(how: string, then?: () => void): void {
    this.#error ??= new ProgramError(`${this.#name} ${how}`)
    this.#waiting?.reject(this.#error)
    then?.()
  }
}
