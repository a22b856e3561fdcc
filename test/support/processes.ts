/** Children that tests start, ask and kill. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Orders } from '../processes/child.ts'

const code = new URL('../processes/child.js', import.meta.url)

export class Child {
  readonly process: ChildProcess
  #lastId = 0
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>()

  /** Killed at the end of the test, if it lives that long. */
  constructor(t: Pick<Test, 'teardown'>) {
    // The shell takes away what the test runner puts into every process of Node: it takes memory, and time at the start.
    const bare = 'unset NODE_OPTIONS; exec "$0" "$@"'
    const args = ['-c', bare, process.execPath, '--unhandled-rejections=strict', fileURLToPath(code)]
    this.process = spawn('sh', args, { stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
    this.process.on('message', (message: { id: number; ok?: never; failed?: { message: string; code?: string } }) => {
      const waiting = this.#waiting.get(message.id)
      this.#waiting.delete(message.id)
      if (message.failed) waiting?.reject(Object.assign(new Error(message.failed.message), { code: message.failed.code }))
      else waiting?.resolve(message.ok!)
    })
    this.process.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the child ended'))
      this.#waiting.clear()
    })
    t.teardown(() => this.kill())
  }

  /** Runs an order in the child. */
  ask<K extends keyof Orders>(order: K, ...args: Parameters<Orders[K]>): ReturnType<Orders[K]> {
    const id = ++this.#lastId
    const answer = new Promise<never>((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
    this.process.send({ id, do: order, args })
    return answer as ReturnType<Orders[K]>
  }

  /** kill -9; resolves when it is gone. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    this.process.kill(signal)
    await once(this.process, 'exit')
  }
}
