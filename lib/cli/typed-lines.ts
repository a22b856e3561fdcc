/** Lines from stdin: from a pipe, or from somebody at a terminal, whose line is kept apart from what is printed meanwhile. */
import { createInterface, type Interface } from 'node:readline'
import type { Ending } from './ending.ts'

const clearLine = '\r\u001b[K'

export class TypedLines implements AsyncIterable<string> {
  readonly #ending: Ending
  /** Somebody types at a terminal. */
  readonly isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true
  #reader: Interface | undefined

  constructor(ending: Ending) {
    this.#ending = ending
  }

  /** Until the end of the input, or until the end is asked for; once. */
  async *[Symbol.asyncIterator](): AsyncGenerator<string, void, undefined> {
    // Made only now: a reader loses the lines, and the end, that come before somebody iterates it.
    const reader = createInterface({
      input: process.stdin,
      terminal: this.isTerminal,
      prompt: '> ',
      ...(this.isTerminal && { output: process.stdout }),
    })
    const close = () => reader.close()
    // At a terminal readline reads Ctrl-C as a key.
    reader.on('SIGINT', () => void process.kill(process.pid, 'SIGINT'))
    this.#ending.signal.addEventListener('abort', close, { once: true })
    this.#reader = reader
    this.#prompt()
    try {
      for await (const line of reader) {
        if (this.#ending.isRequested) return
        yield line
        this.#prompt()
      }
    } finally {
      this.#reader = undefined
      this.#ending.signal.removeEventListener('abort', close)
      close()
      if (this.isTerminal) process.stdout.write(clearLine)
    }
  }

  /** Prints above the line that is being typed. */
  print(line: string): void {
    process.stdout.write(this.#reader && this.isTerminal ? `${clearLine}${line}\n` : `${line}\n`)
    this.#prompt()
  }

  #prompt(): void {
    if (this.isTerminal && !this.#ending.isRequested) this.#reader?.prompt(true)
  }
}
