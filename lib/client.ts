/** A connected client as its own server holds it: takes what is sent to its address, by handlers or by iteration. */
import type { Inbox } from './router/inbox.ts'
import type { BytesMessage, Message } from './router/message.ts'
import { isThenable, type RequestContext } from './router/serving.ts'

/** What takes the messages of a client. A handler that throws is an event of the peer and changes no receipt. */
export interface ClientHandlers {
  /** Takes messages one at a time, in order: a promise makes the next one wait. Absent: iterate the client. */
  message?(message: Message): unknown
  /** Answers `peer.request`; what it returns or throws goes back. Absent: requests to the address are refused. */
  request?(message: Message, context: RequestContext): unknown
}

/**
 * Why a client is connected no more. `displaced`: a newer connect took the address. `refused`: an allow-list lets its peer hold the address
 * no more.
 */
export type ClientEnd = 'disconnected' | 'displaced' | 'refused' | 'closed'

/** What the clients of one call share: their handlers, and what they need of their peer. */
export interface ClientHost {
  readonly handlers: ClientHandlers
  handlerFailed(where: string, error: unknown): void
  disconnect(client: Client): Promise<unknown>
}

interface Waiters {
  readonly forEnd: ((end: ClientEnd) => void)[]
  wakeReader: (() => void) | undefined
}

/**
 * A client of this peer. Iterating it takes its messages in order and ends when the client is disconnected or displaced; leaving the loop
 * does not disconnect it.
 */
export class Client implements AsyncIterable<Message>, AsyncDisposable {
  readonly address: string
  readonly #host: ClientHost
  #inbox: Inbox | undefined
  #end: ClientEnd | undefined
  /** Made when first needed: a peer may hold 100,000 clients. */
  #waiting: Waiters | undefined

  /** @internal */
  constructor(address: string, host: ClientHost) {
    this.address = address
    this.#host = host
  }

  get #waiters(): Waiters {
    return (this.#waiting ??= { forEnd: [], wakeReader: undefined })
  }

  /** Why it is connected no more; undefined while it is. */
  get end(): ClientEnd | undefined {
    return this.#end
  }

  /** Resolves when the client is connected no more, with the reason. */
  get ended(): Promise<ClientEnd> {
    const end = this.#end
    if (end) return Promise.resolve(end)
    return new Promise(resolve => this.#waiters.forEnd.push(resolve))
  }

  /** Gives the address back: see `peer.disconnectClient`. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#end) await this.#host.disconnect(this)
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    for (;;) {
      const message = this.#inbox?.next()
      if (message) yield message
      else if (this.#end) return
      else await new Promise<void>(resolve => (this.#waiters.wakeReader = resolve))
    }
  }

  /** @internal */
  get hasReader(): boolean {
    return this.#host.handlers.message === undefined
  }

  /** @internal */
  get answers(): boolean {
    return this.#host.handlers.request !== undefined
  }

  /** @internal */
  get inbox(): Inbox | undefined {
    return this.#inbox
  }

  /** @internal */
  serve(inbox: Inbox): void {
    this.#inbox = inbox
  }

  /** @internal Gives one message to the handler; a promise means that it is busy with it. */
  take(message: BytesMessage): Promise<void> | undefined {
    try {
      const taken = this.#host.handlers.message?.(message)
      if (!isThenable(taken)) return undefined
      return Promise.resolve(taken).then(
        () => {},
        (error: unknown) => this.#host.handlerFailed(`client '${this.address}'`, error),
      )
    } catch (error) {
      this.#host.handlerFailed(`client '${this.address}'`, error)
      return undefined
    }
  }

  /** @internal */
  answer(message: Message, context: RequestContext): unknown {
    return this.#host.handlers.request?.(message, context)
  }

  /** @internal Wakes the reader. */
  wake(): void {
    const wake = this.#waiting?.wakeReader
    if (!wake) return
    this.#waiters.wakeReader = undefined
    wake()
  }

  /** @internal */
  finish(end: ClientEnd): void {
    if (this.#end) return
    this.#end = end
    for (const resolve of this.#waiting?.forEnd ?? []) resolve(end)
    this.wake()
    this.#waiting = undefined
  }
}
