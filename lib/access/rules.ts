/** The allow-list as it is written down: who may do what to which addresses; everything else is denied. */
import { HomingError } from '../errors.ts'
import { matcher } from './pattern.ts'

/**
 * What somebody may do to an address: `send` a message to it (a broadcast is one to each client), `request` an answer of it, `connect` a
 * client under it. `publish`, `subscribe` (subjects), `serve` (services) and `control` (nodes) are for the layers to ask.
 */
export type Action = 'send' | 'connect' | 'publish' | 'subscribe' | 'request' | 'serve' | 'control'

const actionsKnown: readonly Action[] = ['send', 'connect', 'publish', 'subscribe', 'request', 'serve', 'control']

/** One line of an allow-list. In `who` and `addresses` each `*` stands for any characters, none too. */
export interface AllowRule {
  /** Identities of peers: one pattern or several. */
  readonly who: string | readonly string[]
  /** One action or several; `*` is all. */
  readonly actions: Action | '*' | readonly (Action | '*')[]
  /** Addresses of clients, or what a layer calls its own: one pattern or several. */
  readonly addresses: string | readonly string[]
}

/** Whether the peer of this identity may do this to this address. Only `true` allows. */
export type Authorize = (identity: string, action: Action, address: string) => boolean

/** Keeps a list that somebody generated from making each first question slow. */
const rulesMax = 10_000
const keys = ['who', 'actions', 'addresses']

/** Either face of an allow-list as a function. Throws `BAD_OPTION` in words that name the rule. */
export function readAllow(given: unknown): Authorize {
  if (typeof given === 'function') return given as Authorize
  if (!Array.isArray(given)) throw bad('allow is a list of rules {who, actions, addresses}, or a function')
  if (given.length > rulesMax) throw bad(`allow has ${given.length} rules; at most ${rulesMax} are allowed`)
  const rules = given.map(compile)
  return (identity, action, address) => rules.some(allows => allows(identity, action, address))
}

function compile(rule: unknown, at: number): Authorize {
  const where = `allow: rule ${at + 1}`
  if (typeof rule !== 'object' || rule === null || Array.isArray(rule)) throw bad(`${where} is not {who, actions, addresses}`)
  const { who, actions, addresses } = rule as Record<string, unknown>
  // A word that is misspelt must not silently allow less, or more, than was meant.
  const unknown = Object.keys(rule).find(key => !keys.includes(key))
  if (unknown !== undefined) throw bad(`${where}: there is no '${unknown}'; it has ${keys.join(', ')}`)
  const may = new Set(texts(actions, `${where}: actions`))
  for (const action of may) {
    if (action !== '*' && !(actionsKnown as readonly string[]).includes(action))
      throw bad(`${where}: there is no action '${action}'; there are ${actionsKnown.join(', ')} and *`)
  }
  const isHe = matcher(texts(who, `${where}: who`))
  const isThere = matcher(texts(addresses, `${where}: addresses`))
  const all = may.has('*')
  return (identity, action, address) => (all || may.has(action)) && isHe(identity) && isThere(address)
}

function texts(value: unknown, what: string): string[] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0 || !list.every(item => typeof item === 'string' && item !== ''))
    throw bad(`${what} is a text or a list of texts, none of them empty`)
  return list as string[]
}

function bad(what: string): HomingError {
  return new HomingError('BAD_OPTION', what)
}
