/** Signs of life that the datastore's engine takes away by itself when a process has ended. */

import type { Datastore, Presence } from '../datastores/datastore.ts'
import type { Run } from './directory.ts'
import { Keys } from './records.ts'

export class LifeSigns {
  readonly #datastore: Datastore
  readonly #presence: Presence
  readonly #keys: Keys

  private constructor(datastore: Datastore, presence: Presence, keys: Keys) {
    this.#datastore = datastore
    this.#presence = presence
    this.#keys = keys
  }

  /** `undefined` where the engine has none: leases alone tell who lives. */
  static of(datastore: Datastore, cluster: string): LifeSigns | undefined {
    return datastore.presence && new LifeSigns(datastore, datastore.presence, new Keys(cluster))
  }

  /** Each connection of a run shows its own: the main loop's may be lost while that loop stands still, the pulse's stays. */
  show({ incarnation }: Run, by: 'main' | 'pulse'): AsyncDisposable {
    return this.#presence.show(this.#keys.sign(incarnation, by))
  }

  /** The incarnations that show any. Rejects with `DATASTORE`. */
  async shown(): Promise<ReadonlySet<string>> {
    const shown = new Set<string>()
    for await (const key of this.#datastore.keys(this.#keys.signs)) {
      const name = key.slice(this.#keys.signs.length)
      shown.add(name.slice(0, name.lastIndexOf('/')))
    }
    return shown
  }

  /** Calls `changed` when signs came or went. */
  watch(changed: () => void): AsyncDisposable {
    return this.#presence.watch(this.#keys.signs, changed)
  }

  /** Calls `changed` when records of peers came or went: somebody joined or said goodbye. */
  watchPeers(changed: () => void): AsyncDisposable {
    return this.#presence.watch(this.#keys.peers, changed)
  }
}
