/** A line typed to `homing peer`, read. */
import { UsageError } from './failure.ts'
import { readBody } from './text.ts'

/** What a line asks for. */
export type Order =
  | { readonly does: 'connect' | 'disconnect' | 'where' | 'explain'; readonly address: string }
  | { readonly does: 'send' | 'request'; readonly from: string | undefined; readonly to: string; readonly body: unknown }
  | { readonly does: 'broadcast'; readonly from: string | undefined; readonly body: unknown }
  | { readonly does: 'members' | 'sessions' | 'help' | 'quit' }
  /** An empty line or a comment. */
  | { readonly does: 'nothing' }

export const scriptHelp = `connect ADDRESS             connect a client here
disconnect ADDRESS          disconnect it
send ADDRESS BODY           send a message; BODY is JSON if it can be read as such, else text
request ADDRESS BODY        ask for a reply
broadcast BODY              send to every client of every other peer
from ADDRESS send|request|broadcast ...
                            the same, from this client
where ADDRESS               which peer holds it
explain ADDRESS             and by which way a message goes there
members, sessions           who is in the cluster, who is connected where
help, quit
An address with blanks is written in double quotes. Lines that begin with # are skipped.`

/** Throws `UsageError`. */
export function readOrder(line: string): Order {
  const words = new Words(line)
  if (words.isEmpty || line.trimStart().startsWith('#')) return { does: 'nothing' }
  const from = words.takeIf('from') ? words.take('from: an address is missing') : undefined
  const does = words.take('a command is missing after the address')
  if (from !== undefined && does !== 'send' && does !== 'request' && does !== 'broadcast') {
    throw new UsageError(`from ADDRESS is followed by send, request or broadcast, not by '${does}'`)
  }
  switch (does) {
    case 'connect':
    case 'disconnect':
    case 'where':
    case 'explain':
      return { does, address: words.takeLast(does, 'ADDRESS') }
    case 'send':
    case 'request':
      return {
        does,
        from,
        to: words.take(`${does} ADDRESS BODY: the address is missing`),
        body: words.rest(`${does} ADDRESS BODY: the body is missing`),
      }
    case 'broadcast':
      return { does, from, body: words.rest('broadcast BODY: the body is missing') }
    case 'members':
    case 'sessions':
    case 'help':
    case 'quit':
      words.end(does)
      return { does }
  }
  throw new UsageError(`there is no command '${does}'; 'help' lists them`)
}

/** The words of a line, taken one by one from its beginning. */
class Words {
  #rest: string

  constructor(line: string) {
    this.#rest = line.trim()
  }

  get isEmpty(): boolean {
    return this.#rest === ''
  }

  take(missing: string): string {
    const [all, quoted, plain] = /^(?:("(?:[^"\\]|\\.)*")|(\S+))(?:\s+|$)/.exec(this.#rest) ?? []
    if (all === undefined) throw new UsageError(missing)
    this.#rest = this.#rest.slice(all.length)
    if (quoted === undefined) return plain!
    const text = readBody(quoted)
    return typeof text === 'string' ? text : quoted
  }

  takeIf(word: string): boolean {
    const [all] = new RegExp(`^${word}(?:\\s+|$)`).exec(this.#rest) ?? []
    if (all === undefined) return false
    this.#rest = this.#rest.slice(all.length)
    return true
  }

  takeLast(command: string, what: string): string {
    const word = this.take(`${command} ${what}: the ${what.toLowerCase()} is missing`)
    this.end(`${command} ${what}`)
    return word
  }

  rest(missing: string): unknown {
    if (this.isEmpty) throw new UsageError(missing)
    return readBody(this.#rest)
  }

  end(form: string): void {
    if (!this.isEmpty) throw new UsageError(`${form}: '${this.#rest}' is too much`)
  }
}
