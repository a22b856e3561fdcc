/** One TCP connection to a Riak node: one request at a time, encoded and decoded by the official client. */

import { connect, type Socket } from 'node:net'
import type { Command } from 'basho-riak-client/lib/commands/commandbase.js'
import type riakprotobuf from 'basho-riak-client/lib/protobuf/riakprotobuf.js'
import type { RiakNodePlace } from './riak-url.ts'

/** Reads the body of a message, by its code. */
export type Protocol = Pick<typeof riakprotobuf, 'getProtoFor'>

/** The request was not sent: it may go to another node, whatever it is. */
export class Unsent extends Error {
  override readonly name = 'Unsent'
}

const lengthBytes = 4
const errorCode = 0

/** Protects the memory from what only looks like a length: no answer holds more than some siblings of the largest values. */
const messageBytesMax = 2 ** 28

/** Hears once that a request was answered, or why it was not. */
export type Answered = (error: Error | undefined) => void

interface Asking {
  readonly command: Command
  readonly answered: Answered
  readonly timeoutMs: number
  /** By the clock of `performance`. */
  readonly untilMs: number
}

export class RiakConnection {
  readonly #socket: Socket
  readonly #protocol: Protocol
  #asking: Asking | undefined
  /** Looks after the request under way: set for the first of many, since most are answered long before. */
  #timer: ReturnType<typeof setTimeout> | undefined
  #timerMs = Infinity
  #chunks: Buffer[] = []
  #pendingBytes = 0
  /** Bytes that have to be there before there is something to read. */
  #wantedBytes = lengthBytes
  #failure: Error | undefined
  #closed = false
  /** By the clock of `performance`: when it was last used. */
  usedMs = performance.now()

  private constructor(socket: Socket, protocol: Protocol, closed: () => void) {
    this.#socket = socket
    this.#protocol = protocol
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 10_000)
    socket.on('data', chunk => this.#received(chunk))
    socket.on('error', error => (this.#failure ??= error))
    socket.on('close', () => {
      this.#ended()
      closed()
    })
  }

  /** Rejects with `Unsent` after `timeoutMs` at the latest. `closed` is called once for a connection that was made. */
  static open(place: RiakNodePlace, protocol: Protocol, timeoutMs: number, closed: () => void): Opening {
    const socket = connect({ host: place.host, port: place.port })
    const where = `${place.host}:${place.port}`
    const connection = new Promise<RiakConnection>((resolve, reject) => {
      let made = false
      // Where this process stood still, it may be made already: that is looked at before it is given up.
      const late = (): void => {
        if (!made) fail(new Error(`no connection within ${Math.round(timeoutMs)} ms`))
      }
      const timer = setTimeout(() => setImmediate(late), timeoutMs)
      const fail = (error: Error): void => {
        clearTimeout(timer)
        socket.destroy()
        reject(new Unsent(`${where}: ${error.message || codeOf(error)}`, { cause: error }))
      }
      const gone = (): void => fail(new Error('the connection was given up'))
      socket.once('error', fail)
      socket.once('close', gone)
      socket.once('connect', () => {
        made = true
        clearTimeout(timer)
        socket.off('error', fail)
        socket.off('close', gone)
        resolve(new RiakConnection(socket, protocol, closed))
      })
    })
    return { connection, giveUp: () => socket.destroy() }
  }

  get closed(): boolean {
    return this.#closed
  }

  /**
   * `answered` is called when the answer is complete and the command's callback was called, with Riak's own refusal as well; with an error
   * when the connection ends before, which it does after `timeoutMs`: an answer that comes later would be taken for that of the next request.
   */
  ask(command: Command, timeoutMs: number, answered: Answered): void {
    if (this.#closed) return answered(new Unsent('the connection has ended'))
    if (this.#asking) return answered(new Error('riak: a connection was asked twice at once')) // a bug of ours
    const message = command.getRiakMessage()
    this.usedMs = performance.now()
    const untilMs = this.usedMs + timeoutMs
    this.#asking = { command, answered, timeoutMs, untilMs }
    if (untilMs < this.#timerMs) this.#lookAt(untilMs)
    this.#send(message)
  }

  #lookAt(atMs: number): void {
    clearTimeout(this.#timer)
    this.#timerMs = atMs
    this.#timer = setTimeout(() => this.#look(), Math.ceil(atMs - performance.now()))
  }

  #look(): void {
    this.#timerMs = Infinity
    const asking = this.#asking
    if (!asking) return
    if (asking.untilMs > performance.now()) return this.#lookAt(asking.untilMs)
    // Where this process stood still, the answer may be there: it is read before it is given up.
    setImmediate(() => {
      if (this.#asking === asking) this.destroy(new Error(`no answer within ${Math.round(asking.timeoutMs)} ms`))
    })
  }

  #settle(error?: Error): void {
    const asking = this.#asking
    this.#asking = undefined
    this.usedMs = performance.now()
    asking?.answered(error)
  }

  /** Ends it now; a request under way fails with `why`. */
  destroy(why?: Error): void {
    this.#failure ??= why
    this.#socket.destroy()
    this.#ended()
  }

  #send({ header, protobuf }: ReturnType<Command['getRiakMessage']>): void {
    // One piece: the system takes it faster than two, and most are some hundred bytes.
    this.#socket.write(protobuf ? Buffer.concat([header, protobuf]) : header)
  }

  #ended(): void {
    if (this.#closed) return
    this.#closed = true
    this.#chunks = []
    clearTimeout(this.#timer)
    this.#settle(this.#failure ?? new Error('the connection was closed'))
  }

  #received(chunk: Buffer): void {
    if (this.#closed) return
    const asking = this.#asking
    // However little it is: kept, it would stand before the answer to the next question.
    if (!asking) return this.destroy(new Error('an answer to no question'))
    this.#chunks.push(chunk)
    this.#pendingBytes += chunk.length
    if (this.#pendingBytes < this.#wantedBytes) return
    let answered = false
    try {
      answered = this.#read(asking, Buffer.concat(this.#chunks, this.#pendingBytes))
    } catch (error) {
      // Undecodable: whoever speaks there, what follows cannot be understood either.
      this.destroy(new Error('an answer cannot be read', { cause: error }))
    }
    if (answered) this.#settle() // last of all: the next request may be made in it
  }

  /**
   * Takes what is complete; returns whether the answer is. What messages keep of the bytes is in this buffer, which belongs to nobody else.
   */
  #read({ command }: Asking, bytes: Buffer): boolean {
    let at = 0
    let answered = false
    this.#wantedBytes = lengthBytes
    while (bytes.length - at >= lengthBytes && !this.#closed) {
      const messageBytes = bytes.readUInt32BE(at)
      if (messageBytes < 1 || messageBytes > messageBytesMax)
        throw new Error(`a message of ${messageBytes} bytes: this is no Riak`)
      if (bytes.length - at < lengthBytes + messageBytes) {
        this.#wantedBytes = lengthBytes + messageBytes
        break
      }
      const begin = at + lengthBytes
      at = begin + messageBytes
      answered = this.#isAnswered(command, bytes[begin]!, bytes.subarray(begin + 1, at))
      if (answered && at < bytes.length) throw new Error('an answer to no question')
    }
    this.#chunks = at < bytes.length ? [bytes.subarray(at)] : []
    this.#pendingBytes = bytes.length - at
    return answered
  }

  /** Whether the answer is complete with this message. */
  #isAnswered(command: Command, code: number, body: Buffer): boolean {
    // A message without a body is only its code: Riak's way to say "not found" and "done".
    const message = body.length === 0 ? null : this.#protocol.getProtoFor(code).decode(body)
    if (code === errorCode) command.onRiakError(message)
    else if (code !== command.getExpectedResponseCode()) throw new Error(`a message of kind ${code} in answer to another kind`)
    else return command.onSuccess(message) === true // otherwise more of it follows
    return true
  }
}

/** A connection that is being made. */
export interface Opening {
  readonly connection: Promise<RiakConnection>
  giveUp(): void
}

/** Errors of several addresses at once have no message of their own. */
function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.name
}
