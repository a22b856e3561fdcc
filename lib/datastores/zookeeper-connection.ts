/** One connection to one ZooKeeper server, from its dialling to its end: what node-zookeeper-client does well, without its quirks. */

import type { Client, ConnectionManager, Exception, ZooKeeperPackage } from 'node-zookeeper-client'
import { PREFIX } from '../wire/frame.ts'
import { Splitter } from '../wire/splitter.ts'
import { syncRequest } from './zookeeper-sync.ts'

/** A session that an earlier connection began, to be gone on with. */
export interface Resumed {
  readonly id: Buffer
  readonly password: Buffer
  /** The last transaction that was heard of: a server that is behind it refuses. */
  readonly zxid: Buffer
}

/** `lost`: the connection ended; `mute`: nobody answered the dialling; `expired`: the session is over; `denied`: user or password are wrong. */
export type Ending = 'lost' | 'mute' | 'expired' | 'denied'

export interface ConnectionHandler {
  /** It is agreed upon. */
  opened(): void
  /** Last call, exactly once, unless it was closed from here. */
  closed(why: Ending, error: Error): void
}

export interface ConnectionOptions {
  readonly zookeeper: ZooKeeperPackage
  readonly server: { readonly host: string; readonly port: number }
  readonly sessionTimeoutMs: number
  /** The longest that dialling may take, ms. */
  readonly dialTimeoutMs: number
  /** Half of what an answer may take before the connection is given up, ms. */
  readonly timeoutMs: number
  readonly resumed: Resumed | undefined
  /** `user:password`. */
  readonly digest: string | undefined
  readonly handler: ConnectionHandler
}

/** The call was not sent: nothing has happened. */
export class NotSent extends Error {}

/** The call was sent, and no answer will come. */
export class Unanswered extends Error {}

export type Answer<T> = (error: Exception | null, value: T) => void

interface Pending {
  readonly sinceMs: number
  reject(error: Error): void
}

/** States of the client's connection manager. */
const connected = 2
const disconnected = 0
const expired = -3
const denied = -4
/** What the client calls its own calls that a lost connection left without an answer. */
const connectionLoss = -4

/** An answer is as long as the listing that was asked for; above it is nonsense from something that is no ZooKeeper. */
const packetBytesMax = 256 * 2 ** 20

export class ZooKeeperConnection {
  readonly #client: Client
  readonly #manager: ConnectionManager
  readonly #options: ConnectionOptions
  readonly #pending = new Set<Pending>()
  readonly #beganMs = performance.now()
  readonly #timer: ReturnType<typeof setInterval>
  #at: 'dialing' | 'open' | 'closing' | 'ended' = 'dialing'
  #heardMs = performance.now()
  #error: Error | undefined
  #corked = false
  /** Of this turn. */
  #synced: Promise<void> | undefined
  #ended: (() => void) | undefined

  constructor(options: ConnectionOptions) {
    const { zookeeper, server, sessionTimeoutMs, timeoutMs, dialTimeoutMs, resumed, digest } = options
    this.#options = options
    this.#client = zookeeper.createClient('placeholder', {
      sessionTimeout: sessionTimeoutMs,
      spinDelay: 0,
      retries: 0,
      ...(resumed && { sessionId: resumed.id, sessionPassword: resumed.password }),
    })
    this.#manager = this.#client.connectionManager
    this.#manager.servers = [{ ...server }] // its own reader of texts knows no IPv6
    if (resumed) this.#manager.zxid = resumed.zxid
    if (digest !== undefined) this.#client.addAuthInfo('digest', Buffer.from(digest))
    this.#cutPackets()
    this.#manager.on('state', (state: number) => this.#stateChanged(state))
    this.#client.connect()
    // Its own way to a new connection takes half a packet and calls that waited for the old one along: each connection gets a new client.
    this.#manager.connect = () => {}
    process.nextTick(() => this.#dialled())
    this.#timer = setInterval(() => this.#check(), Math.max(1, Math.min(dialTimeoutMs, timeoutMs, sessionTimeoutMs / 3) / 4))
  }

  get isOpen(): boolean {
    return this.#at === 'open'
  }

  /** The session's name, as it was agreed upon. */
  get sessionId(): string {
    return this.#client.getSessionId().toString('hex')
  }

  get sessionTimeoutMs(): number {
    return this.#client.getSessionTimeout()
  }

  /** What another connection needs to go on with the session. */
  get resumable(): Resumed {
    return { id: this.#client.getSessionId(), password: this.#client.getSessionPassword(), zxid: this.#manager.zxid }
  }

  /**
   * Sends at once; what is sent in one turn goes out together, and takes effect in the order of the calls. Rejects with `NotSent`,
   * `Unanswered` or the server's `Exception`.
   */
  call<T>(send: (client: Client, answer: Answer<T>) => void): Promise<T> {
    if (this.#at !== 'open') return Promise.reject(this.#notSent())
    return new Promise((resolve, reject) => {
      const pending: Pending = { sinceMs: performance.now(), reject }
      this.#pending.add(pending)
      this.#cork()
      try {
        send(this.#client, (error, value) => {
          this.#pending.delete(pending)
          if (!error) resolve(value)
          else reject(error.code === connectionLoss ? new Unanswered(error.message, { cause: error }) : error)
        })
      } catch (error) {
        this.#pending.delete(pending)
        reject(error)
      }
    })
  }

  /**
   * As `call`, of all that was acknowledged to anybody until now: the server, which may be behind, is told to catch up first. Those that are
   * sent in one turn share that.
   */
  async read<T>(send: (client: Client, answer: Answer<T>) => void): Promise<T> {
    if (!this.#synced) {
      this.#synced = this.call<unknown>((_, answer) => this.#manager.queue(syncRequest(), answer)).then(() => undefined)
      process.nextTick(() => (this.#synced = undefined))
    }
    // Answers come in the order of the calls, so that nothing is lost by not waiting.
    const [, value] = await Promise.all([this.#synced, this.call(send)])
    return value
  }

  /** Ends the session: the server removes what depended on it. Calls under way get their answers first. Settles within `timeoutMs`. */
  async close(): Promise<void> {
    if (this.#at === 'ended') return
    if (this.#at === 'open') {
      this.#at = 'closing'
      this.#client.close()
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, this.#options.timeoutMs)
        this.#ended = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    this.#end(undefined, new NotSent('the datastore was closed'))
  }

  #notSent(): NotSent {
    return new NotSent(this.#error ? `not connected: ${this.#error.message}` : 'not connected', { cause: this.#error })
  }

  /**
   * The client takes a chunk apart by recursion, one level and one copy of the rest for each packet in it, and a packet that it does not
   * understand (an error code newer than the client, another protocol) is thrown into the event loop. Here it gets one packet at a time,
   * and what it throws ends the connection.
   */
  #cutPackets(): void {
    const manager = this.#manager
    const take = manager.onSocketData
    const splitter = new Splitter(packetBytesMax, (buffer, start, end) =>
      take.call(manager, buffer.subarray(start - PREFIX, end)),
    )
    manager.onSocketData = chunk => {
      this.#heardMs = performance.now()
      try {
        splitter.push(chunk)
      } catch (error) {
        splitter.stop()
        this.#fail(
          new Error(`the answer cannot be read: ${error instanceof Error ? error.message : String(error)}`, { cause: error }),
        )
      }
    }
  }

  /** The client has its socket by now; why a socket failed, it tells nobody. */
  #dialled(): void {
    this.#manager.socket?.on('error', error => {
      this.#error ??= error
    })
    if (this.#at === 'ended') this.#destroy()
  }

  #stateChanged(state: number): void {
    if (state === connected && this.#at === 'dialing') {
      this.#at = 'open'
      this.#options.handler.opened()
    } else if (state === expired) {
      this.#end('expired', new Error('the session has expired'))
    } else if (state === denied) {
      this.#end('denied', new Error('user or password are wrong'))
    } else if (state === disconnected) {
      this.#end('lost', this.#error ?? new Error('the server closed the connection'))
    }
  }

  /** A server that says nothing any more is given up: the client itself would wait for ever. */
  #check(): void {
    const silence = this.#silence()
    if (!silence) return
    const heardMs = this.#heardMs
    // A loop that stood still reads what has come meanwhile before it judges.
    setImmediate(() => {
      if (this.#heardMs === heardMs) this.#fail(new Error(silence))
    })
  }

  #silence(): string | undefined {
    const nowMs = performance.now()
    const { timeoutMs, dialTimeoutMs } = this.#options
    if (this.#at === 'dialing') return nowMs - this.#beganMs >= dialTimeoutMs ? `no answer within ${dialTimeoutMs} ms` : undefined
    const [oldest] = this.#pending
    const silentMs = nowMs - Math.max(this.#heardMs, oldest?.sinceMs ?? 0)
    if (oldest && silentMs >= 2 * timeoutMs) return `no answer for ${Math.round(silentMs)} ms`
    // The client pings after a third of that time.
    return nowMs - this.#heardMs >= (this.sessionTimeoutMs * 2) / 3 ? 'the server is silent' : undefined
  }

  #fail(error: Error): void {
    this.#end(this.#at === 'dialing' ? 'mute' : 'lost', (this.#error ??= error))
  }

  #end(why: Ending | undefined, error: Error): void {
    if (this.#at === 'ended') return
    const wanted = this.#at === 'closing' || why === undefined
    this.#at = 'ended'
    this.#error ??= error
    clearInterval(this.#timer)
    this.#destroy()
    for (const { reject } of this.#pending) reject(new Unanswered(error.message, { cause: error }))
    this.#pending.clear()
    this.#ended?.()
    // Not from within the client, which is in the middle of something.
    if (!wanted) queueMicrotask(() => this.#options.handler.closed(why, error))
  }

  #destroy(): void {
    this.#manager.socket?.destroy()
    // The client leaves it set when a socket ends without an error, and it would keep the process.
    if (this.#manager.connectTimeoutHandler) clearTimeout(this.#manager.connectTimeoutHandler)
  }

  #cork(): void {
    const { socket } = this.#manager
    if (this.#corked || !socket) return
    this.#corked = true
    socket.cork()
    process.nextTick(() => {
      this.#corked = false
      socket.uncork()
    })
  }
}
