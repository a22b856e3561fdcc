/** Signs of life as ephemeral nodes, and watches on folders. */

import type { Stat } from 'node-zookeeper-client'
import { HomingError } from '../errors.ts'
import type { Presence } from './datastore.ts'
import { type KeyPlace, placeOf } from './folders.ts'
import { checkKey, checkText } from './limits.ts'
import { NotSent, Unanswered } from './zookeeper-connection.ts'
import { encodeEntry, type Marks } from './zookeeper-entry.ts'
import { anyVersion, type Nodes, none } from './zookeeper-nodes.ts'
import { failures, isFailure, type ZooKeeperSession } from './zookeeper-session.ts'

export interface ZooKeeperPresenceOptions {
  readonly session: ZooKeeperSession
  readonly nodes: Nodes
  readonly marks: Marks
  readonly warn: (text: string) => void
}

/** More lost races than this for one sign are no races. */
const roundsMax = 10

export class ZooKeeperPresence implements Presence {
  readonly #options: ZooKeeperPresenceOptions

  constructor(options: ZooKeeperPresenceOptions) {
    this.#options = options
  }

  show(key: string): AsyncDisposable {
    checkKey(key)
    return new Sign(placeOf(key), this.#options)
  }

  watch(prefix: string, changed: () => void): AsyncDisposable {
    checkText(prefix)
    const { folder, leaf } = placeOf(prefix)
    if (leaf !== '')
      throw new HomingError('BAD_OPTION', `'${prefix}' cannot be watched: a kind of records ends with its third colon`)
    return new FolderWatch(folder, changed, this.#options)
  }
}

/** Something that has to be looked after again after each connecting, and whenever a watch fires: one time after the other. */
abstract class Errand implements AsyncDisposable {
  protected readonly options: ZooKeeperPresenceOptions
  readonly #listening: Disposable
  #running: Promise<void> | undefined
  #again = false
  #over = false

  constructor(options: ZooKeeperPresenceOptions) {
    this.options = options
    this.#listening = options.session.onConnected(() => this.run())
    if (options.session.id !== undefined) queueMicrotask(() => this.run())
  }

  /** May be called at any time, any number of times. */
  run(): void {
    this.#again = true
    if (this.#over) return
    this.#running ??= this.#runAll().finally(() => {
      this.#running = undefined
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true
    this.#listening[Symbol.dispose]()
    await this.#running
    await this.#trying(() => this.end())
  }

  protected abstract once(): Promise<void>
  protected abstract end(): Promise<void>

  async #runAll(): Promise<void> {
    while (this.#again && !this.#over) {
      this.#again = false
      await this.#trying(() => this.once())
    }
  }

  async #trying(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      // Without a connection there is nothing to be done: the next one runs it again, and a session that is over takes its nodes along.
      if (error instanceof NotSent || error instanceof Unanswered) return
      this.options.warn(`zookeeper: ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

class Sign extends Errand {
  readonly #place: KeyPlace

  constructor(place: KeyPlace, options: ZooKeeperPresenceOptions) {
    super(options)
    this.#place = place
  }

  protected async once(): Promise<void> {
    const { session } = this.options
    for (let round = 0; round < roundsMax; round++) {
      const stat = await this.#look()
      if (stat && stat.ephemeralOwner.toString('hex') === session.id) return
      // Of a session of this process that the server has not given up yet: it would take the node along when it does.
      if (stat) await this.#remove()
      await this.#create()
    }
    throw new Error(`the sign of life '${this.#place.folder}${this.#place.leaf}' is being removed by others`)
  }

  protected async end(): Promise<void> {
    await this.#remove()
  }

  /** Whoever removes it, makes it be put back. */
  #look(): Promise<Stat | null> {
    const { session, nodes } = this.options
    return session.call<Stat | null>((client, answer) => client.exists(nodes.tree.entry(this.#place), () => this.run(), answer))
  }

  async #create(): Promise<void> {
    const { nodes, marks } = this.options
    const mark = marks.next(undefined)
    try {
      await nodes.commit(transaction => {
        nodes.create(transaction, nodes.tree.entry(this.#place), encodeEntry(mark, none, undefined), 'ephemeral')
        nodes.create(transaction, nodes.tree.mark(this.#place, mark), none, 'ephemeral')
      })
    } catch (error) {
      if (isFailure(error, failures.noNode)) await nodes.makeFolder(this.#place.folder)
      else if (!isFailure(error, failures.nodeExists)) throw error
    }
  }

  async #remove(): Promise<void> {
    const { nodes } = this.options
    const entry = await nodes.read(this.#place)
    if (entry) await nodes.remove(this.#place, { ...entry, dataVersion: anyVersion })
  }
}

class FolderWatch extends Errand {
  readonly #folder: string
  readonly #changed: () => void

  constructor(folder: string, changed: () => void, options: ZooKeeperPresenceOptions) {
    super(options)
    this.#folder = folder
    this.#changed = changed
  }

  /** Armed first, told then: what changes in between fires the watch again. */
  protected async once(): Promise<void> {
    const { session, nodes } = this.options
    const path = nodes.tree.entries(this.#folder)
    try {
      await session.call<string[]>((client, answer) => client.getChildren(path, () => this.run(), answer))
      queueMicrotask(this.#changed)
    } catch (error) {
      if (!isFailure(error, failures.noNode)) throw error
      await nodes.makeFolder(this.#folder)
      this.run()
    }
  }

  protected async end(): Promise<void> {}
}
