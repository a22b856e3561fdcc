/** The processes of a soak, as their parent holds them. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Orders } from './part.ts'

const code = fileURLToPath(new URL('./part.js', import.meta.url))

export class Part implements AsyncDisposable {
  readonly #process: ChildProcess
  #lastId = 0
  readonly #waiting = new Map<number, { resolve(value: never): void; reject(error: Error): void }>()

  constructor() {
    this.#process = fork(code, { execArgv: ['--expose-gc', '--unhandled-rejections=strict'] })
    this.#process.on('message', ({ id, ok, failed }: { id: number; ok?: never; failed?: string }) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (failed === undefined) waiting?.resolve(ok!)
      else waiting?.reject(new Error(failed))
    })
    this.#process.on('exit', (exitCode, signal) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`a part ended: ${signal ?? exitCode}`))
      this.#waiting.clear()
    })
  }

  ask<K extends keyof Orders>(order: K, ...args: Parameters<Orders[K]>): ReturnType<Orders[K]> {
    const id = ++this.#lastId
    const answer = new Promise<never>((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
    this.#process.send({ id, do: order, args })
    return answer as ReturnType<Orders[K]>
  }

  /** kill -9. */
  async kill(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    this.#process.kill('SIGKILL')
    await once(this.#process, 'exit')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill()
  }
}
