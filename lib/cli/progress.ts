/** How far something is, on stderr: a line that rewrites itself on a terminal, else a line now and then. */

const terminalEveryMs = 100
const otherwiseEveryMs = 1_000
const clearLine = '\r\u001b[K'

export class Progress implements Disposable {
  readonly #timer: NodeJS.Timeout
  readonly #isTerminal = process.stderr.isTTY === true
  #shown = false

  /** Shows what `text` says until disposed. */
  constructor(text: () => string) {
    const show = () => {
      process.stderr.write(this.#isTerminal ? `${clearLine}${text()}` : `${text()}\n`)
      this.#shown = true
    }
    this.#timer = setInterval(show, this.#isTerminal ? terminalEveryMs : otherwiseEveryMs)
  }

  /** Removes the line, so that something else can be printed there. */
  clear(): void {
    if (this.#shown && this.#isTerminal) process.stderr.write(clearLine)
    this.#shown = false
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.clear()
  }
}
