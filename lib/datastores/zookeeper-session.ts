/** A session with a ZooKeeper ensemble: one connection after the other, resumed where that is possible, begun anew where it is not. */

import type { Client, Exception, ZooKeeperPackage } from 'node-zookeeper-client'
import { userFrom } from './url-parts.ts'
import type { ZooKeeperPlace } from './zookeeper-url.ts'
import { type Answer, type Ending, NotSent, type Resumed, ZooKeeperConnection } from './zookeeper-connection.ts'

export interface ZooKeeperSessionOptions {
  readonly zookeeper: ZooKeeperPackage
  readonly place: ZooKeeperPlace
  readonly operationTimeoutMs: number
}

/** ZooKeeper's numbers for what may go wrong with a call. */
export const failures = { noNode: -101, noAuth: -102, badVersion: -103, nodeExists: -110 } as const

export function isFailure(error: unknown, ...codes: number[]): error is Exception {
  return error instanceof Error && 'code' in error && codes.includes(error.code as number)
}

const redialMsMin = 50
/** With an operation's own second it keeps the recovery after an outage within two (FAULTS.md, F5). */
const redialMsMax = 800

/** What a server takes in while it starts, it may never answer: it is soon dialled again, with more patience each time. */
const dialMsMin = 1_000

/** How many operations' time a session outlives its connection; the server has limits of its own, by default 4 to 40 s. */
const sessionOperations = 4

export class ZooKeeperSession {
  readonly #options: ZooKeeperSessionOptions
  readonly #listeners = new Set<() => void>()
  #connection: ZooKeeperConnection | undefined
  #resumed: Resumed | undefined
  /** Until when the session is worth resuming. */
  #resumableUntilMs = 0
  /** A random one first, so that the peers of a cluster spread over the servers. */
  #server: number
  #failed = 0
  #dialMs = dialMsMin
  #redial: ReturnType<typeof setTimeout> | undefined
  #opening: { resolve(): void; reject(error: Error): void } | undefined
  #error: Error | undefined
  #closed = false

  constructor(options: ZooKeeperSessionOptions) {
    this.#options = options
    this.#server = Math.floor(Math.random() * options.place.servers.length)
  }

  /** Rejects when every server was tried once in vain, or denied us. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject }
      this.#dial()
    })
  }

  /** The name of the session that is connected now. */
  get id(): string | undefined {
    return this.#connection?.isOpen ? this.#connection.sessionId : undefined
  }

  /** Calls `connected` after each connecting, also if the session is the same: watches do not outlive a connection. */
  onConnected(connected: () => void): Disposable {
    this.#listeners.add(connected)
    return { [Symbol.dispose]: () => void this.#listeners.delete(connected) }
  }

  /** See `ZooKeeperConnection.call`. */
  call<T>(send: (client: Client, answer: Answer<T>) => void): Promise<T> {
    const connection = this.#connection
    return connection?.isOpen ? connection.call(send) : Promise.reject(this.#notSent())
  }

  /** See `ZooKeeperConnection.read`. */
  read<T>(send: (client: Client, answer: Answer<T>) => void): Promise<T> {
    const connection = this.#connection
    return connection?.isOpen ? connection.read(send) : Promise.reject(this.#notSent())
  }

  #notSent(): NotSent {
    const because = this.#error ? `: ${this.#error.message}` : ''
    return new NotSent(`not connected${because}`, { cause: this.#error })
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#listeners.clear()
    clearTimeout(this.#redial)
    this.#opening?.reject(new Error('closed'))
    this.#opening = undefined
    await this.#connection?.close()
  }

  #dial(): void {
    const { zookeeper, place, operationTimeoutMs } = this.#options
    const { servers } = place
    const user = userFrom(place)
    // A session that is over would be refused; so would one that knows more than a server whose data was lost: for ever.
    if (performance.now() >= this.#resumableUntilMs) this.#resumed = undefined
    const connection: ZooKeeperConnection = new ZooKeeperConnection({
      zookeeper,
      server: servers[this.#server++ % servers.length]!,
      sessionTimeoutMs: sessionOperations * operationTimeoutMs,
      timeoutMs: operationTimeoutMs,
      dialTimeoutMs: Math.min(this.#dialMs, operationTimeoutMs),
      resumed: this.#resumed,
      digest: user && `${user.username}:${user.password}`,
      handler: {
        opened: () => this.#opened(),
        closed: (why, error) => this.#ended(connection, why, error),
      },
    })
    this.#connection = connection
  }

  #opened(): void {
    this.#failed = 0
    this.#dialMs = dialMsMin
    this.#resumableUntilMs = Infinity
    this.#opening?.resolve()
    this.#opening = undefined
    for (const connected of this.#listeners) connected()
  }

  #ended(connection: ZooKeeperConnection, why: Ending, error: Error): void {
    this.#error = error
    if (this.#resumableUntilMs === Infinity) {
      this.#resumed = connection.resumable
      this.#resumableUntilMs = performance.now() + connection.sessionTimeoutMs
    }
    if (why === 'mute') this.#dialMs = Math.min(this.#dialMs * 2, 60_000)
    if (why === 'expired' || why === 'denied') this.#resumableUntilMs = 0
    if (this.#closed) return
    this.#failed++
    const { servers } = this.#options.place
    if (this.#opening && (why === 'denied' || this.#failed >= servers.length)) {
      this.#opening.reject(error)
      this.#opening = undefined
      return
    }
    this.#redial = setTimeout(() => this.#dial(), why === 'expired' ? 0 : this.#pauseMs())
  }

  /** The first round through the servers goes quickly, the next ones take their time. */
  #pauseMs(): number {
    const rounds = Math.floor((this.#failed - 1) / this.#options.place.servers.length)
    return Math.min(redialMsMin * 2 ** Math.min(rounds, 10), redialMsMax) * (0.5 + Math.random() / 2)
  }
}
