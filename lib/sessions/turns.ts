/** Lets calls that share an address end in the order in which they were made. */

import type { Env } from '../env/env.ts'
import { settledBy } from './deadline.ts'

export interface Turn {
  /** Resolves when every earlier call that shares an address has left, or at `untilMs` (monotonic clock). */
  come(env: Env, untilMs: number): Promise<void>
  leave(): void
}

/** A caller that hears of an older claim after a newer one would take the older for the newer. */
export class Turns {
  #last = new Map<string, Promise<void>>()
  /** The only call, as long as it is that: then its addresses, which may be many, need not be known one by one. */
  #alone: { addresses: readonly string[]; turn: Promise<void> } | undefined

  enter(addresses: readonly string[]): Turn {
    const earlier = new Set<Promise<void>>()
    let leave = (): void => undefined
    const mine = new Promise<void>(resolve => (leave = resolve))
    if (this.#alone) {
      for (const address of this.#alone.addresses) this.#last.set(address, this.#alone.turn)
      this.#alone = undefined
    } else if (this.#last.size === 0) this.#alone = { addresses, turn: mine }
    if (!this.#alone) {
      for (const address of addresses) {
        const last = this.#last.get(address)
        if (last && last !== mine) earlier.add(last)
        this.#last.set(address, mine)
      }
    }
    return {
      come: async (env, untilMs) => {
        if (earlier.size > 0) await settledBy(env, untilMs, Promise.all(earlier), late).catch(passOver)
      },
      leave: () => {
        // Who ends before its turn, because it failed or was late, leaves those behind it to wait for those before it.
        if (earlier.size > 0) void Promise.all(earlier).then(() => this.#end(addresses, mine, leave))
        else this.#end(addresses, mine, leave)
      },
    }
  }

  #end(addresses: readonly string[], turn: Promise<void>, leave: () => void): void {
    if (this.#alone?.turn === turn) this.#alone = undefined
    else for (const address of addresses) if (this.#last.get(address) === turn) this.#last.delete(address)
    if (this.#last.size === 0) this.#last = new Map() // see SessionStore: a Map that is filled and emptied keeps its garbage
    // What the caller does with this call's outcome comes before the next call's.
    queueMicrotask(() => queueMicrotask(leave))
  }
}

const overdue = new Error('the deadline came first')

function late(): Error {
  return overdue
}

/** An order that costs the deadline is worth less than the deadline. */
function passOver(error: unknown): void {
  if (error !== overdue) throw error
}
