/** Inboxes whose claims are being written, found by their address. */
import type { Inbox } from './inbox.ts'

/** Claims come and end in rows. Nothing is done for the single claim of a row unless somebody asks meanwhile. */
export class ClaimsUnderWay {
  readonly #rows = new Set<readonly Inbox[]>()
  #byAddress: Map<string, Inbox> | undefined

  add(row: readonly Inbox[]): void {
    this.#rows.add(row)
    if (this.#byAddress) index(row, this.#byAddress)
  }

  end(row: readonly Inbox[]): void {
    this.#rows.delete(row)
    if (this.#rows.size === 0) this.#byAddress = undefined
    else if (this.#byAddress) {
      for (const inbox of row) if (this.#byAddress.get(inbox.address) === inbox) this.#byAddress.delete(inbox.address)
    }
  }

  /** The newest at the address. */
  at(address: string): Inbox | undefined {
    if (this.#rows.size === 0) return undefined
    if (!this.#byAddress) {
      this.#byAddress = new Map()
      for (const row of this.#rows) index(row, this.#byAddress)
    }
    return this.#byAddress.get(address)
  }
}

function index(row: readonly Inbox[], byAddress: Map<string, Inbox>): void {
  for (const inbox of row) byAddress.set(inbox.address, inbox)
}
