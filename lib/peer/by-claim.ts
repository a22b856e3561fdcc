/** What a peer knows of its clients by address and claim, past ones too. */
import type { Held } from '../sessions/directory.ts'

export class ByClaim<T extends Held> {
  readonly #addresses = new Map<string, Map<number, T>>()

  get({ address, claim }: Held): T | undefined {
    return this.#addresses.get(address)?.get(claim)
  }

  set(value: T): void {
    const claims = this.#addresses.get(value.address)
    if (claims) claims.set(value.claim, value)
    else this.#addresses.set(value.address, new Map([[value.claim, value]]))
  }

  delete({ address, claim }: Held): void {
    const claims = this.#addresses.get(address)
    if (claims?.delete(claim) && claims.size === 0) this.#addresses.delete(address)
  }

  /** Those of older claims of the address than this one. */
  *olderThan({ address, claim }: Held): Generator<T, undefined> {
    const claims = this.#addresses.get(address)
    if (claims) for (const value of claims.values()) if (value.claim < claim) yield value
  }

  *[Symbol.iterator](): Generator<T, undefined> {
    for (const claims of this.#addresses.values()) yield* claims.values()
  }
}
