/** One socket as a `Connection`. */

import type { Socket } from 'node:net'
import type { Connection, ConnectionHandler, TlsFacts } from './env.ts'

/** How long a connection that has sent all it had waits for the other end to close, ms. */
const lingerMs = 2_000

const writeAtOnceBytes = 16 * 1024

/**
 * Small writes of one tick leave in one system call. The socket is read always: a paused one does not notice that the other end died.
 * Of TLS 1.3 a dialler must know: a listener that does not like its certificate closes after `opened`, and says no more.
 */
export class TcpConnection implements Connection {
  readonly remote: string
  readonly #socket: Socket
  #tls: TlsFacts | undefined
  #corked = false

  constructor(socket: Socket, remote: string, tls?: TlsFacts) {
    this.#socket = socket
    this.remote = remote
    this.#tls = tls
  }

  get tls(): TlsFacts | undefined {
    return this.#tls
  }

  get pendingBytes(): number {
    return this.#socket.writableLength
  }

  write(bytes: Uint8Array, flushed?: () => void): void {
    const socket = this.#socket
    if (!socket.writable) {
      if (flushed) process.nextTick(flushed)
      return
    }
    // Much goes at once: the other end can begin with it while more is made.
    if (!this.#corked && bytes.length < writeAtOnceBytes) {
      this.#corked = true
      socket.cork()
      process.nextTick(TcpConnection.#uncork, this)
    }
    socket.write(bytes, flushed)
  }

  end(): void {
    const socket = this.#socket
    if (!socket.writable) return
    socket.once('finish', () => {
      const timer = setTimeout(() => socket.destroy(), lingerMs)
      socket.once('close', () => clearTimeout(timer))
    })
    socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Hands events to `handler` from now on. Called once, in the tick in which the socket came to be. */
  serve(handler: ConnectionHandler): void {
    let error: Error | undefined
    this.#socket
      .on('data', chunk => handler.data(chunk))
      .on('error', cause => (error ??= cause))
      // Node calls back the writes of a socket that never connected within this event, after us: `closed` is to be the last.
      .on('close', () => process.nextTick(() => handler.closed(error)))
  }

  /** TLS was agreed. */
  proved(facts: TlsFacts): void {
    this.#tls = facts
  }

  static #uncork(connection: TcpConnection): void {
    connection.#corked = false
    connection.#socket.uncork()
  }
}
