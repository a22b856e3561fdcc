/** A datastore whose calls wait until a test lets each take effect, and a walk through all orders of them. */

import type { Datastore, PutOptions, Removal, Write } from '../../lib/datastores/datastore.ts'
import { HomingError } from '../../lib/errors.ts'

/** `pass`; `refuse`: fails without effect; `lose`: takes effect, and fails. */
export type Fate = 'pass' | 'refuse' | 'lose'

export interface WaitingCall {
  readonly by: string
  readonly what: string
  run(fate: Fate): void
}

/** Where the calls of all users of one store wait. */
export class Gate {
  readonly waiting: WaitingCall[] = []

  datastore(by: string, store: Datastore): Datastore {
    return new SteppedDatastore(by, store, this)
  }

  take(index: number): WaitingCall {
    return this.waiting.splice(index, 1)[0]!
  }
}

class SteppedDatastore implements Datastore {
  readonly #by: string
  readonly #store: Datastore
  readonly #gate: Gate

  constructor(by: string, store: Datastore, gate: Gate) {
    this.#by = by
    this.#store = store
    this.#gate = gate
  }

  get promises(): Datastore['promises'] {
    return this.#store.promises
  }

  get(key: string): ReturnType<Datastore['get']> {
    return this.#wait('get', () => this.#store.get(key))
  }

  getMany(keys: readonly string[]): ReturnType<Datastore['getMany']> {
    return this.#wait(`getMany ${keys.join(' ')}`, () => this.#store.getMany(keys))
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): ReturnType<Datastore['put']> {
    return this.#wait('put', () => this.#store.put(key, bytes, options))
  }

  putMany(writes: readonly Write[]): ReturnType<Datastore['putMany']> {
    return this.#wait('putMany', () => this.#store.putMany(writes))
  }

  delete(key: string, options?: { ifVersion?: string }): ReturnType<Datastore['delete']> {
    return this.#wait('delete', () => this.#store.delete(key, options))
  }

  deleteMany(removals: readonly Removal[]): ReturnType<Datastore['deleteMany']> {
    return this.#wait('deleteMany', () => this.#store.deleteMany(removals))
  }

  keys(prefix: string): AsyncIterable<string> {
    return this.#store.keys(prefix)
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #wait<T>(what: string, work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const failure = new HomingError('DATASTORE', `${what} of ${this.#by} failed on purpose`)
      this.#gate.waiting.push({
        by: this.#by,
        what,
        run(fate) {
          if (fate === 'refuse') reject(failure)
          else work().then(result => (fate === 'lose' ? reject(failure) : resolve(result)), reject)
        },
      })
    })
  }
}

/**
 * Runs `scenario` once for every order in which its waiting calls can be let go (and for every fate of `fates`), depth first. The scenario
 * asks `choose(n)` which of `n` possibilities comes next. Resolves to how many runs there were.
 */
export async function everyOrder(
  scenario: (choose: (count: number) => number) => Promise<void>,
  runsMax = 20_000,
): Promise<number> {
  const path: { chosen: number; count: number }[] = []
  for (let runs = 1; ; runs++) {
    let depth = 0
    await scenario(count => {
      if (count <= 1) return 0
      const step = (path[depth] ??= { chosen: 0, count })
      depth++
      return step.chosen
    })
    path.length = depth
    while (path.length > 0 && path.at(-1)!.chosen + 1 >= path.at(-1)!.count) path.pop()
    const last = path.at(-1)
    if (!last) return runs
    last.chosen++
    if (runs >= runsMax) throw new Error(`more than ${runsMax} orders`)
  }
}

/** Lets promises go as far as they can without any I/O. */
export function settle(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
