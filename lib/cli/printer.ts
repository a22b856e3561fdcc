/** The results of a command on stdout: sentences for people, or one JSON object a line for programs. */
import { jsonText } from './text.ts'

export class Printer {
  readonly #json: boolean
  readonly #write: (line: string) => void

  constructor(json: boolean, write: (line: string) => void = line => void process.stdout.write(`${line}\n`)) {
    this.#json = json
    this.#write = write
  }

  /** Prints one or the other. */
  print(text: string, data: object): void {
    this.#write(this.#json ? jsonText(data) : text)
  }
}
