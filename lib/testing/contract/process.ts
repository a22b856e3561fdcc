/** Another process on the datastore that is held against the contract. */

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { within } from '../../datastores/settling.ts'
import type { Timer } from '../../env/env.ts'
import { realTimers } from '../../env/timers.ts'
import { HomingError } from '../../errors.ts'
import type { Answer, Question, Tasks } from './process-code.ts'
import type { DriverUnderTest, OpenOptions } from './statement.ts'

const code = fileURLToPath(new URL('./process-code.js', import.meta.url))

/** How long a process may take to end by itself once its datastore is closed, ms. */
const exitMsMax = 5_000

export class ContractProcess implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #asked = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>()
  readonly #ended: Promise<number | string>
  #lastId = 0

  private constructor(driver: DriverUnderTest) {
    this.#child = fork(code, [JSON.stringify(driver.elsewhere)], { execArgv: ['--unhandled-rejections=strict'] })
    this.#ended = once(this.#child, 'exit').then(([exitCode, signal]) => (exitCode ?? signal) as number | string)
    this.#child.on('message', answer => this.#answered(answer as Answer))
    void this.#ended.then(() => this.#gone())
  }

  /** A process that has the datastore open. */
  static async start(driver: DriverUnderTest, options: OpenOptions = {}): Promise<ContractProcess> {
    const started = new ContractProcess(driver)
    try {
      await started.ask('open', options)
      return started
    } catch (error) {
      await started.kill()
      throw error
    }
  }

  /** A process that has not opened anything yet. */
  static idle(driver: DriverUnderTest): ContractProcess {
    return new ContractProcess(driver)
  }

  ask<K extends keyof Tasks>(task: K, ...args: Parameters<Tasks[K]>): ReturnType<Tasks[K]> {
    const id = ++this.#lastId
    const answer = new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject })
      this.#child.send({ id, task, args } satisfies Question)
    })
    return answer as ReturnType<Tasks[K]>
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  /** Lets go of the process: if nothing keeps it, it ends. Resolves to its exit code, or rejects when it does not end. */
  async exit(): Promise<number | string> {
    await this.ask('release')
    try {
      return await within(exitMsMax, this.#ended, () => new Error(`the process was still alive ${exitMsMax} ms later`))
    } finally {
      await this.kill()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }

  #answered({ id, value, failed }: Answer): void {
    const asked = this.#asked.get(id)
    this.#asked.delete(id)
    if (failed) asked?.reject(failed.code ? new HomingError(failed.code, failed.message) : new Error(failed.message))
    else asked?.resolve(value)
  }

  #gone(): void {
    for (const { reject } of this.#asked.values()) reject(new Error('the process ended'))
    this.#asked.clear()
  }
}

/** Processes of one driver, ready for the next statement: a start costs more than most statements do. */
interface Crew {
  processes: ContractProcess[]
  users: number
  leaving: Timer | undefined
}

const crews = new WeakMap<DriverUnderTest, Crew>()
const timers = realTimers()

/** How long a crew waits for another statement, ms. */
const idleMsMax = 500

/** That many processes with the datastore open, for as long as `work` takes. */
export async function withProcesses(
  driver: DriverUnderTest,
  count: number,
  work: (processes: readonly ContractProcess[]) => Promise<void>,
): Promise<void> {
  const crew = crews.get(driver) ?? { processes: [], users: 0, leaving: undefined }
  crews.set(driver, crew)
  crew.leaving?.cancel()
  crew.users++
  try {
    crew.processes = crew.processes.filter(each => each.isAlive)
    const missing = Array.from({ length: Math.max(0, count - crew.processes.length) }, () => ContractProcess.start(driver))
    crew.processes.push(...(await Promise.all(missing)))
    await work(crew.processes.slice(0, count))
  } finally {
    crew.users--
    crew.leaving = timers.after(idleMsMax, () => {
      if (crew.users > 0) return
      crews.delete(driver)
      for (const each of crew.processes) void each.kill()
    })
  }
}
