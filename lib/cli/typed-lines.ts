/** Lines from stdin: from a pipe, or from somebody at a terminal, whose line is kept apart from what is printed meanwhile. */
import { createInterface, type Interface } from 'node:readline'
import type { Ending } from './ending.ts'

const clearLine = '\r\u001b[K'

export class TypedLines implements AsyncIterable<string>, Disposable {
  readonly #reader: Interface
  readonly #ending: Ending
  /** Somebody types at a terminal. */
  readonly isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true

  constructor(ending: Ending) {
    this.#ending = ending
    this.#reader = createInterface({ input: process.stdin, terminal: this.isTerminal, prompt: '> ', ...(this.isTerminal && { output: process.stdout }) })
    // At a terminal readline reads Ctrl-C as a key.
    this.#reader.on('SIGINT', () => void process.kill(process.pid, 'SIGINT'))
    ending.signal.addEventListener('abort', () => this.#reader.close(), { once: true })
  }

  /** Until the end of the input, or until the end is asked for. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    this.#prompt()
    for await (const line of this.#reader) {
      if (this.#ending.isRequested) return
      yield line
      this.#prompt()
    }
  }

  /** Prints above the line that is being typed. */
  print(line: string): void {
    process.stdout.write(this.isTerminal ? `${clearLine}${line}\n` : `${line}\n`)
    this.#prompt()
  }

  #prompt(): void {
    if (this.isTerminal && !this.#ending.isRequested) this.#reader.prompt(true)
  }

  [Symbol.dispose](): void {
    this.#reader.close()
    process.stdin.destroy()
  }
}
