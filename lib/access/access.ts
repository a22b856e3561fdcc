/** Who may do what, at one peer or broker: asked at each door, replaceable while it runs. */
import { readAllow, type Action, type AllowRule, type Authorize } from './rules.ts'

/** Answers that are kept for one identity: as many as addresses that it really uses, and a bound for one that makes them up. */
const knownMax = 10_000

export class Access {
  #authorize: Authorize | undefined
  #version = 0
  readonly #failed: (error: unknown) => void

  /** `failed`: the function threw; what it was asked is denied. Throws `BAD_OPTION`. Without a list or function all is allowed. */
  constructor(allow: readonly AllowRule[] | Authorize | undefined, failed: (error: unknown) => void) {
    this.#authorize = allow === undefined ? undefined : readAllow(allow)
    this.#failed = failed
  }

  /** Whether there is a list or a function; without, nobody need be asked. */
  get isOn(): boolean {
    return this.#authorize !== undefined
  }

  /** Another one after each replacement: who remembers answers forgets them. */
  get version(): number {
    return this.#version
  }

  /** Throws `BAD_OPTION`, and the former one stays. */
  replace(allow: readonly AllowRule[] | Authorize): void {
    this.#authorize = readAllow(allow)
    this.#version++
  }

  may(identity: string, action: Action, address: string): boolean {
    if (!this.#authorize) return true
    try {
      // Anything else that is true in an `if`, a promise for example, allows nothing.
      return this.#authorize(identity, action, address) === true
    } catch (error) {
      this.#failed(error)
      return false
    }
  }

  /** For one identity, whose questions come again and again. */
  of(identity: string): Grants {
    return new Grants(this, identity)
  }
}

/** What one identity may do. Each question is asked once, until the list is replaced. */
export class Grants {
  readonly #access: Access
  readonly #identity: string
  readonly #known = new Map<Action, Map<string, boolean>>()
  #count = 0
  #version = -1

  constructor(access: Access, identity: string) {
    this.#access = access
    this.#identity = identity
  }

  may(action: Action, address: string): boolean {
    if (this.#version !== this.#access.version || this.#count >= knownMax) this.#forget()
    let known = this.#known.get(action)
    if (!known) this.#known.set(action, (known = new Map<string, boolean>()))
    let answer = known.get(address)
    if (answer !== undefined) return answer
    answer = this.#access.may(this.#identity, action, address)
    this.#count++
    known.set(address, answer)
    return answer
  }

  #forget(): void {
    this.#version = this.#access.version
    this.#count = 0
    this.#known.clear()
  }
}
