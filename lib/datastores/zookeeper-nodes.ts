/** How nodes of ZooKeeper are made and removed: a key is an entry and its mark, always both. */

import type { Stat, Transaction, TransactionResult, ZooKeeperPackage } from 'node-zookeeper-client'
import type { KeyPlace } from './folders.ts'
import { userFrom } from './url-parts.ts'
import type { ZooKeeperPlace } from './zookeeper-url.ts'
import { decodeEntry, type StoredEntry, type Version } from './zookeeper-entry.ts'
import { failures, isFailure, type ZooKeeperSession } from './zookeeper-session.ts'
import { Tree } from './zookeeper-tree.ts'

export const none = Buffer.alloc(0)

/** The number that a condition on `dataVersion` is without. */
export const anyVersion = -1

/** Nodes below one root. */
export class Nodes {
  readonly tree: Tree
  readonly #session: ZooKeeperSession
  readonly #acls: readonly unknown[]

  constructor(session: ZooKeeperSession, zookeeper: ZooKeeperPackage, place: ZooKeeperPlace) {
    this.tree = new Tree(place.root)
    this.#session = session
    this.#acls = userFrom(place) === undefined ? zookeeper.ACL.OPEN_ACL_UNSAFE : zookeeper.ACL.CREATOR_ALL_ACL
  }

  /** What is there, lapsed or not. */
  async read(place: KeyPlace): Promise<StoredEntry | undefined> {
    const path = this.tree.entry(place)
    try {
      const { data, stat } = await this.#session.read<{ data: Buffer | undefined; stat: Stat }>((client, answer) =>
        client.getData(path, (error, data, stat) => answer(error, { data, stat })),
      )
      return decodeEntry(data, stat)
    } catch (error) {
      if (isFailure(error, failures.noNode)) return undefined
      throw error
    }
  }

  create(transaction: Transaction, path: string, data: Buffer, how: 'persistent' | 'ephemeral' = 'persistent'): void {
    transaction.create(path, data, this.#acls, how === 'ephemeral' ? 1 : 0)
  }

  /** All of it or nothing. Rejects with the failure of the step that did not hold. */
  commit(plan: (transaction: Transaction) => void): Promise<TransactionResult[]> {
    return this.#session.call<TransactionResult[]>((client, answer) => {
      const transaction = client.transaction()
      plan(transaction)
      transaction.commit(answer)
    })
  }

  /** Makes the node and all above it, where they are missing. */
  async makeFolders(path: string): Promise<void> {
    const names = path.split('/').slice(1)
    const paths = names.map((_, at) => `/${names.slice(0, at + 1).join('/')}`)
    for (const each of paths) {
      try {
        await this.#session.call<string>((client, answer) => client.create(each, none, this.#acls, 0, answer))
      } catch (error) {
        // Whoever may not make what is there already may still use it.
        if (!isFailure(error, failures.nodeExists, failures.noAuth)) throw error
      }
    }
  }

  /** Resolves to false where the key is not of this version (any more). */
  async remove(place: KeyPlace, { mark, dataVersion }: Version): Promise<boolean> {
    const results = await held(
      this.commit(transaction => {
        transaction.remove(this.tree.mark(place, mark)).remove(this.tree.entry(place))
        only(transaction, dataVersion)
      }),
    )
    return results !== undefined
  }

  async makeFolder(folder: string): Promise<void> {
    await this.makeFolders(this.tree.entries(folder))
    await this.makeFolders(this.tree.marks(folder))
  }
}

/** The client takes version 0 for "any" in a transaction (`version || -1`): so it is written into what it is going to send. */
export function only(transaction: Transaction, dataVersion: number): void {
  transaction.ops.at(-1)!.version = dataVersion
}

/** `undefined` where a step of the transaction did not hold: what it is about is gone, or of another version. */
export async function held(committed: Promise<TransactionResult[]>): Promise<TransactionResult[] | undefined> {
  try {
    return await committed
  } catch (error) {
    if (isFailure(error, failures.noNode, failures.badVersion)) return undefined
    throw error
  }
}
