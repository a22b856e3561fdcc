/** Inboxes whose claims are being written, found by their address. */
import type { Inbox } from './inbox.ts'

/** Claims come and end in rows. Nothing is done for the single claim of a row unless somebody asks meanwhile. */
export class ClaimsUnderWay {
  readonly #rows = new Set<readonly Inbox[]>()
  #byAddress: Map<string, Inbox> | undefined
  /** Some address is being claimed more than once. */
  #hasRivals = false

  add(row: readonly Inbox[]): void {
    this.#rows.add(row)
    if (this.#byAddress) this.#index(row, this.#byAddress)
  }

  end(row: readonly Inbox[]): void {
    this.#rows.delete(row)
    // An older one may still be under way where the newest has ended.
    if (this.#rows.size === 0 || this.#hasRivals) this.#byAddress = undefined
    else if (this.#byAddress) {
      for (const inbox of row) if (this.#byAddress.get(inbox.address) === inbox) this.#byAddress.delete(inbox.address)
    }
  }

  /** The newest at the address. */
  at(address: string): Inbox | undefined {
    if (this.#rows.size === 0) return undefined
    if (!this.#byAddress) {
      this.#byAddress = new Map()
      this.#hasRivals = false
      for (const row of this.#rows) this.#index(row, this.#byAddress)
    }
    return this.#byAddress.get(address)
  }

  #index(row: readonly Inbox[], byAddress: Map<string, Inbox>): void {
    for (const inbox of row) {
      this.#hasRivals ||= byAddress.has(inbox.address)
      byAddress.set(inbox.address, inbox)
    }
  }
}
