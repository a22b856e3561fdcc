/** The allow-list of a program, in a file: read at the start, and again when it changes or at SIGHUP. */
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { readAllow, type AllowRule } from '../access/rules.ts'
import type { Ending } from './ending.ts'
import { because, ProgramError, UsageError } from './failure.ts'

/** How often the file is looked at, ms. It is small, and its text says more surely than its time whether it has changed. */
const lookEveryMs = 1_000

/** What follows the list: a peer or a broker. */
export interface Allowing {
  setAllow(rules: readonly AllowRule[]): void
}

/** Throws `ProgramError` for a file that cannot be read, `UsageError` for one that is no allow-list. */
export function readAllowFile(file: string): readonly AllowRule[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new ProgramError(`--allow-file ${file} cannot be read`, { cause })
  }
  return rulesIn(text, file)
}

function rulesIn(text: string, file: string): readonly AllowRule[] {
  try {
    const rules: unknown = JSON.parse(text)
    if (!Array.isArray(rules)) throw new UsageError('it is not a list of rules')
    readAllow(rules)
    return rules as AllowRule[]
  } catch (cause) {
    throw new UsageError(`--allow-file ${file}: ${because(cause)}`)
  }
}

/** Keeps `target` to the file until the end of the program. A file that is broken, or gone, leaves the former list as it is, and is told. */
export function followAllowFile(name: string, file: string | undefined, target: Allowing, ending: Ending): void {
  if (file === undefined) return
  const following = new Following(name, file, target)
  const look = (): void => void following.look(false)
  const timer = setInterval(look, lookEveryMs)
  ending.onHangUp(() => void following.look(true))
  void ending.requested.then(() => clearInterval(timer))
  look()
}

class Following {
  readonly #name: string
  readonly #file: string
  readonly #target: Allowing
  /** What was read last, good or bad: the same is not told twice. */
  #last: string | undefined
  #isFirst = true

  constructor(name: string, file: string, target: Allowing) {
    this.#name = name
    this.#file = file
    this.#target = target
  }

  /** `asked`: the outcome is told even if nothing has changed. */
  async look(asked: boolean): Promise<void> {
    let text: string | undefined
    try {
      text = await readFile(this.#file, 'utf8')
      if (text === this.#last && !asked) return
      this.#target.setAllow(rulesIn(text, this.#file))
      // The first time it is what the program began with.
      if (!this.#isFirst) this.#say(`--allow-file ${this.#file} was read again, and holds from now on`)
      this.#last = text
    } catch (error) {
      const said = because(error)
      const remembered = text ?? said
      if (remembered !== this.#last || asked) this.#say(`${said}; the former list stays`)
      this.#last = remembered
    } finally {
      this.#isFirst = false
    }
  }

  #say(text: string): void {
    process.stderr.write(`${this.#name}: ${text}\n`)
  }
}
