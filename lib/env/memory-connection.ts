/** One end of a connection of the memory network: half a kernel's TCP, half what Node makes of it. */

import type { Connection, ConnectionHandler, Random, Timer, Timers, TlsFacts } from './env.ts'
import type { MemoryPipe, Segment } from './memory-pipe.ts'
import { systemError } from './system-error.ts'

/** What a segment carries, and what one read of a socket gives, at most, bytes. */
const segmentBytesMax = 65_536

export interface ConnectionOptions {
  /** Handlers get chunks of random lengths up to that many bytes. Absent: as they come, at most 64 KiB. */
  chunkBytesMax?: number
  /** What one direction of a connection holds while its receiver takes nothing, bytes; then `write` is not flushed any more. */
  kernelBytesMax: number
  /** How long a connection that has sent all it had waits for the other end to close, ms. */
  lingerMs: number
}

/** A host of the network and the one process on it: what happens there happens by its timers, and not at all once it is dead. */
export interface Host {
  readonly name: string
  readonly timers: Timers
  isDead: boolean
  readonly connections: Set<MemoryConnection>
}

interface Writing {
  readonly bytes: Uint8Array
  taken: number
  readonly flushed: (() => void) | undefined
}

/** Who answers calls at an endpoint: gives a new connection its handler, or nothing if it listens no more. */
export type Answer = (connection: MemoryConnection) => ConnectionHandler | undefined

/**
 * `receive` is the kernel: it acts at once, also while the process stalls and after it died. All else is the process.
 * Each chunk, `opened` and `closed` comes in an event of its own, so that promises go on in between, as in Node.
 */
export class MemoryConnection implements Connection {
  readonly tls: TlsFacts | undefined = undefined
  readonly remote: string
  readonly #options: ConnectionOptions
  readonly #random: Random
  /** Dialling; called and not accepted yet; open both; over. */
  #state: 'dialling' | 'called' | 'open' | 'closed'
  #host: Host | undefined
  #handler: ConnectionHandler | undefined
  #answer: Answer | undefined
  #out!: MemoryPipe
  #other!: MemoryConnection
  #pendingBytes = 0
  #queue: Writing[] = []
  #inbox: Segment[] = []
  #isEnding = false
  #finSent = false
  #finReceived = false
  #pumpIsDue = false
  #takeIsDue = false
  /** Gives up dialling, or lingering. */
  #timer: Timer | undefined

  private constructor(remote: string, options: ConnectionOptions, random: Random, state: 'dialling' | 'called') {
    this.remote = remote
    this.#options = options
    this.#random = random
    this.#state = state
  }

  /** Both ends of a connection that is not made yet. `pipe` lays one direction; `dial` sends the first segment through it. */
  static pair(
    names: { dialler: string; endpoint: string },
    options: ConnectionOptions,
    random: Random,
    pipe: (way: 'there' | 'back', receive: (segment: Segment) => void) => MemoryPipe,
    call: (called: MemoryConnection) => void,
  ): MemoryConnection {
    const dialling = new MemoryConnection(names.endpoint, options, random, 'dialling')
    const called = new MemoryConnection(names.dialler, options, random, 'called')
    dialling.#other = called
    called.#other = dialling
    dialling.#out = pipe('there', segment => (segment.kind === 'syn' ? call(called) : called.#receive(segment)))
    called.#out = pipe('back', segment => dialling.#receive(segment))
    return dialling
  }

  get pendingBytes(): number {
    return this.#pendingBytes
  }

  /** The host at the other end. */
  get otherHost(): string {
    return this.#out.to
  }

  /** A process has it; not only its kernel, which was called and waits for the caller's last word. */
  get isKnown(): boolean {
    return this.#state === 'dialling' || this.#state === 'open'
  }

  /** Sends the first segment. */
  dial(host: Host, timeoutMs: number, handler: ConnectionHandler): void {
    this.#host = host
    this.#handler = handler
    if (host.isDead) return // code of a killed process that goes on somehow
    host.connections.add(this)
    this.#out.send({ kind: 'syn' })
    this.#timer = host.timers.after(timeoutMs, () => {
      if (this.#state !== 'dialling') return
      this.#out.send({ kind: 'rst' })
      this.#close(systemError('ETIMEDOUT', 'connect', `${this.remote} after ${timeoutMs} ms`))
    })
  }

  /** Somebody listens here: his kernel says so. */
  answerBy(host: Host, answer: Answer): void {
    this.#host = host
    this.#answer = answer
    // Another host than the one that was dialled may have taken the endpoint over.
    this.#out.from = host.name
    this.#other.#out.to = host.name
    this.#out.send({ kind: 'syn-ack' })
    host.connections.add(this)
  }

  /** Nobody listens here. */
  refuse(): void {
    this.#state = 'closed'
    this.#out.send({ kind: 'rst' })
  }

  write(bytes: Uint8Array, flushed?: () => void): void {
    if (this.#state === 'closed' || this.#isEnding) {
      if (flushed) this.#later(flushed)
      return
    }
    this.#queue.push({ bytes, taken: 0, flushed })
    this.#pendingBytes += bytes.byteLength
    if (this.#state === 'open') this.#pumpSoon()
  }

  end(): void {
    if (this.#state === 'closed' || this.#isEnding) return
    this.#isEnding = true
    if (this.#state === 'open') this.#pumpSoon()
  }

  destroy(): void {
    if (this.#state === 'closed') return
    this.#leave()
    this.#close()
  }

  /** Somebody in between broke it: what was on its way is lost, and this end learns of it. */
  reset(): void {
    this.#out.drop()
    if (this.#state === 'closed') return
    if (this.#handler) this.#close(systemError('ECONNRESET', 'read', this.remote))
    else this.#forget()
  }

  /** The process died; its kernel closes the socket for it, and one way to do that is to lose what it had not sent. */
  die(): void {
    if (this.#state === 'open' && !this.#finSent && this.#random.fraction() < 0.5) {
      this.#out.drop()
      this.#out.send({ kind: 'rst' })
    } else {
      this.#leave()
    }
    this.#forget()
  }

  /** The machine lost its power: what was not sent is lost, and nobody says so. */
  vanish(): void {
    this.#out.drop()
    this.#forget()
  }

  /** Tells the other end. A kernel that holds bytes which nobody read says so with a reset, and drops what it had to send. */
  #leave(): void {
    const isAgreed = this.#state === 'open'
    const hasUnread = this.#inbox.some(({ kind }) => kind === 'data')
    if (isAgreed && hasUnread) this.#out.drop()
    if (!isAgreed || hasUnread) this.#out.send({ kind: 'rst' })
    else if (!this.#finSent) this.#out.send({ kind: 'fin' })
  }

  #receive(segment: Segment): void {
    if (this.#state === 'closed') return this.#decline(segment)
    if (segment.kind === 'syn-ack') this.#out.send({ kind: 'ack' })
    this.#inbox.push(segment)
    this.#takeSoon()
  }

  /** What arrives at a socket that is gone. */
  #decline(segment: Segment): void {
    if (segment.kind === 'data') this.#other.#out.heldBytes -= segment.bytes.byteLength
    if (segment.kind !== 'rst' && segment.kind !== 'fin') this.#out.send({ kind: 'rst' })
  }

  #takeSoon(): void {
    if (this.#takeIsDue) return
    this.#takeIsDue = true
    this.#later(() => {
      this.#takeIsDue = false
      const segment = this.#inbox[0]
      if (segment?.kind === 'data') this.#takeData()
      else if (segment) this.#take(segment)
    })
  }

  #take(segment: Segment): void {
    this.#inbox.shift()
    if (this.#inbox.length > 0) this.#takeSoon()
    switch (segment.kind) {
      case 'syn-ack':
        return this.#opened()
      case 'ack':
        return this.#accepted()
      case 'fin':
        this.#finReceived = true
        this.#isEnding = true // as Node does, unless it is told to allow half-open sockets
        return this.#pump()
      case 'rst': {
        const [code, syscall] = this.#state === 'dialling' ? ['ECONNREFUSED', 'connect'] : ['ECONNRESET', 'read']
        return this.#close(systemError(code!, syscall!, this.remote))
      }
    }
  }

  #opened(): void {
    this.#state = 'open'
    this.#timer?.cancel()
    this.#timer = undefined
    this.#handler?.opened?.()
    this.#pumpSoon()
  }

  #accepted(): void {
    this.#state = 'open'
    this.#handler = this.#answer?.(this)
    if (this.#handler) return
    this.#out.send({ kind: 'rst' })
    this.#forget()
  }

  #takeData(): void {
    const chunk = this.#chunk(this.#chunkBytes())
    const back = this.#other
    back.#out.heldBytes -= chunk.byteLength
    // Not for each byte that became free: a sender is woken when there is room worth it, as by a kernel.
    if (back.#queue.length > 0 && back.#out.heldBytes <= this.#options.kernelBytesMax / 2) back.#pumpSoon()
    if (this.#inbox.length > 0) this.#takeSoon()
    this.#handler?.data(chunk)
  }

  #chunkBytes(): number {
    const { chunkBytesMax } = this.#options
    return chunkBytesMax === undefined ? segmentBytesMax : 1 + Math.floor(this.#random.fraction() * chunkBytesMax)
  }

  /** The next bytes of the inbox, across segments: TCP keeps no borders. */
  #chunk(bytesMax: number): Uint8Array {
    const parts: Uint8Array[] = []
    let count = 0
    for (let next = this.#inbox[0]; next?.kind === 'data' && count < bytesMax; next = this.#inbox[0]) {
      const part = next.bytes.subarray(0, bytesMax - count)
      parts.push(part)
      count += part.byteLength
      if (part.byteLength === next.bytes.byteLength) this.#inbox.shift()
      else this.#inbox[0] = { kind: 'data', bytes: next.bytes.subarray(part.byteLength) }
    }
    return parts.length === 1 ? parts[0]! : joined(parts, count)
  }

  #pumpSoon(): void {
    if (this.#pumpIsDue) return
    this.#pumpIsDue = true
    this.#later(() => {
      this.#pumpIsDue = false
      this.#pump()
    })
  }

  /** Hands the kernel what it has room for, and then, if that was all and there will be no more, the end. */
  #pump(): void {
    if (this.#state !== 'open') return
    const flushed = this.#takeQueue(this.#options.kernelBytesMax - this.#out.heldBytes)
    if (this.#isEnding && this.#queue.length === 0) {
      if (!this.#finSent) this.#out.send({ kind: 'fin' })
      this.#finSent = true
      if (this.#finReceived) this.#close()
      else this.#timer ??= this.#host!.timers.after(this.#options.lingerMs, () => this.destroy())
    }
    for (const call of flushed) call()
  }

  /** Returns whom to tell that their bytes are taken. The bytes are copied: their arrays go back to the writers. */
  #takeQueue(room: number): (() => void)[] {
    const flushed: (() => void)[] = []
    const parts: Uint8Array[] = []
    let count = 0
    for (let next = this.#queue[0]; next && (count < room || next.bytes.byteLength === 0); next = this.#queue[0]) {
      const part = next.bytes.subarray(next.taken, next.taken + room - count)
      parts.push(part)
      count += part.byteLength
      next.taken += part.byteLength
      if (next.taken < next.bytes.byteLength) break
      this.#queue.shift()
      this.#pendingBytes -= next.bytes.byteLength
      if (next.flushed) flushed.push(next.flushed)
    }
    const bytes = joined(parts, count)
    for (let at = 0; at < count; at += segmentBytesMax) {
      this.#out.send({ kind: 'data', bytes: bytes.subarray(at, at + segmentBytesMax) })
    }
    return flushed
  }

  /** The last that the handler hears. */
  #close(error?: Error): void {
    const queue = this.#queue
    this.#forget()
    this.#later(() => {
      for (const { flushed } of queue) flushed?.()
      this.#handler?.closed(error)
    })
  }

  #forget(): void {
    this.#state = 'closed'
    this.#timer?.cancel()
    this.#host?.connections.delete(this)
    for (const segment of this.#inbox) {
      if (segment.kind === 'data') this.#other.#out.heldBytes -= segment.bytes.byteLength
    }
    this.#inbox = []
    this.#queue = []
    this.#pendingBytes = 0
  }

  #later(fn: () => void): void {
    const host = this.#host!
    host.timers.soon(() => {
      if (!host.isDead) fn()
    })
  }
}

function joined(parts: readonly Uint8Array[], count: number): Uint8Array {
  const bytes = new Uint8Array(count)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.byteLength
  }
  return bytes
}
