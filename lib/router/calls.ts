/** Requests that wait for their reply, and those that are being served here. */
import { HomingError, type ErrorCode } from '../errors.ts'
import type { Channel } from '../mesh/channel.ts'
import { decodeBody, encodeBody } from '../wire/body.ts'
import { Pending } from './pending.ts'

/** A request of this peer whose reply has not come. */
class Asked {
  id = 0
  /** An address, or the identity of a peer. */
  readonly of: string
  /** Of a call to a peer; else ''. */
  readonly protocol: string
  readonly deadlineAtMs: number
  /** Where it was written last: a reply counts only from there. */
  written: Channel | 'here' | undefined = undefined
  /** Where it was accepted. */
  channel: Channel | undefined = undefined
  readonly reply: Promise<unknown>
  readonly resolve: (body: unknown) => void
  readonly reject: (error: HomingError) => void

  constructor(of: string, protocol: string, deadlineAtMs: number) {
    this.of = of
    this.protocol = protocol
    this.deadlineAtMs = deadlineAtMs
    this.reply = new Promise(catchBoth)
    this.resolve = caughtResolve
    this.reject = caughtReject
  }
}

// What ends a promise, without a function of our own for each promise.
let caughtResolve: (body: unknown) => void
let caughtReject: (error: HomingError) => void
function catchBoth(resolve: (body: unknown) => void, reject: (error: HomingError) => void): void {
  caughtResolve = resolve
  caughtReject = reject
}

/** What a handler is told besides the request. */
export interface RequestContext {
  /** Aborts when the asker gives up, its peer goes away, or the deadline passes. */
  readonly signal: AbortSignal
  /** Time left when it arrived, ms. */
  readonly deadlineMs: number
}

/** A request that a handler here is busy with. */
export class Serving implements RequestContext {
  readonly deadlineMs: number
  readonly deadlineAtMs: number
  /** Made when it is asked for: most handlers never look at it. */
  #controller: AbortController | undefined
  #reason: HomingError | undefined
  #reject: ((error: HomingError) => void) | undefined

  constructor(deadlineMs: number, deadlineAtMs: number) {
    this.deadlineMs = deadlineMs
    this.deadlineAtMs = deadlineAtMs
  }

  get signal(): AbortSignal {
    const controller = (this.#controller ??= new AbortController())
    if (this.#reason && !controller.signal.aborted) controller.abort(this.#reason)
    return controller.signal
  }

  abort(reason: HomingError): void {
    if (this.#reason) return
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#reject?.(reason)
  }

  /** What `work` comes to, or the reason of an abort before. */
  unlessAborted<T>(work: PromiseLike<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#reject = reject
      work.then(resolve, reject)
    })
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as PromiseLike<unknown>).then === 'function'
}

/** The body of a reply that says why there is none. */
interface RemoteFailure {
  code: string
  message: string
}

/** Codes that keep their meaning when the other side's library (not its handler) says them. */
const ownCodes: ReadonlySet<string> = new Set<ErrorCode>([
  'CLOSED',
  'REFUSED',
  'FENCED',
  'DATASTORE',
  'TOO_LARGE',
  'UNENCODABLE',
  'LOST',
  'IDENTITY_IN_USE',
  'BAD_OPTION',
  'OVERLOADED',
])

export class Calls {
  readonly #asked = new Pending<Asked>()
  readonly #served = new Map<Channel | 'here', Map<number, Serving>>()

  get waiting(): number {
    return this.#asked.size
  }

  /** Opens a request to an address, or a call of a protocol to a peer; its id goes with it. */
  open(of: string, protocol: string, deadlineAtMs: number): { id: number; reply: Promise<unknown> } {
    const asked = new Asked(of, protocol, deadlineAtMs)
    return { id: this.#asked.add(asked), reply: asked.reply }
  }

  /** It leaves for the run that is to answer it. */
  written(id: number, to: Channel | 'here'): void {
    const asked = this.#asked.get(id)
    if (asked) asked.written = to
  }

  /** The other end has it: from now on its end is ours. */
  accepted(id: number, channel: Channel | undefined): void {
    const asked = this.#asked.get(id)
    if (asked) asked.channel = channel
  }

  fail(id: number, error: HomingError): void {
    const asked = this.#asked.get(id)
    if (asked) this.#fail(asked, error)
  }

  #fail(asked: Asked, error: HomingError): void {
    this.#asked.delete(asked)
    asked.reject(error)
  }

  /** A reply came; one to a request that nobody waits for any more, or from somebody else than was asked, is dropped. */
  replied(id: number, ok: boolean, buffer: Buffer, start: number, end: number, from: Channel | 'here'): void {
    const asked = this.#asked.get(id)
    if (!asked || asked.written !== from) return
    this.#asked.delete(asked)
    const body = decodeBody(buffer, start, end)
    if (ok) asked.resolve(body)
    else asked.reject(remoteError(nameOf(asked), body))
  }

  /** Requests that the ended channel had accepted. */
  lostOn(channel: Channel): void {
    for (const asked of this.#asked.values()) {
      if (asked.channel === channel)
        this.#fail(asked, new HomingError('LOST', `${nameOf(asked)}: its peer went away before it answered`))
    }
    this.#abortAll(channel, `the asking peer ${channel.remote.identity} went away`)
  }

  /** Ends what is past its deadline; `cancel` tells the other end. */
  sweep(nowMs: number, cancel: (id: number, channel: Channel) => void): void {
    for (const asked of this.#asked.values()) {
      if (asked.deadlineAtMs > nowMs) continue
      if (asked.channel) cancel(asked.id, asked.channel)
      this.#fail(asked, new HomingError('TIMEOUT', `${nameOf(asked)}: no answer by the deadline`))
    }
    for (const served of this.#served.values()) {
      for (const serving of served.values())
        if (serving.deadlineAtMs <= nowMs) serving.abort(new HomingError('TIMEOUT', 'the deadline of the request passed'))
    }
  }

  /** The asker gave up; returns where to say so. */
  giveUp(id: number, reason: unknown): Channel | undefined {
    const asked = this.#asked.get(id)
    if (!asked) return undefined
    this.#fail(asked, new HomingError('TIMEOUT', `${nameOf(asked)}: aborted by the caller`, { cause: reason }))
    return asked.channel
  }

  // Serving

  /** A handler is busy with a request; `ended` must follow. */
  serving(from: Channel | 'here', id: number, serving: Serving): void {
    let served = this.#served.get(from)
    if (!served) this.#served.set(from, (served = new Map()))
    served.set(id, serving)
  }

  ended(from: Channel | 'here', id: number): void {
    const served = this.#served.get(from)
    served?.delete(id)
    if (served?.size === 0) this.#served.delete(from)
  }

  /** The asker cancelled. */
  cancelled(from: Channel | 'here', id: number): void {
    this.#served.get(from)?.get(id)?.abort(new HomingError('TIMEOUT', 'cancelled by the asker'))
  }

  #abortAll(from: Channel | 'here', why: string): void {
    for (const serving of this.#served.get(from)?.values() ?? []) serving.abort(new HomingError('LOST', why))
    this.#served.delete(from)
  }

  close(error: HomingError): void {
    for (const asked of this.#asked.values()) this.#fail(asked, error)
    for (const from of [...this.#served.keys()]) this.#abortAll(from, 'this peer is closing')
  }
}

function nameOf({ of, protocol }: Asked): string {
  return protocol === '' ? `request to '${of}'` : `${protocol} of ${of}`
}

/** A failure of a handler as the body of a reply: its code and text, never its stack. */
export function failureBody(error: unknown): Buffer {
  const given = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'ERROR'
  const code = given.replace(libraryPrefix, '')
  const message = error instanceof Error ? error.message : String(error)
  return encodeBody({ code: code.slice(0, 64), message: message.slice(0, 1_000) } satisfies RemoteFailure)
}

function remoteError(what: string, body: unknown): HomingError {
  const { code, message } = readFailure(body)
  const library = code.startsWith(libraryPrefix) ? code.slice(libraryPrefix.length) : undefined
  if (library !== undefined && ownCodes.has(library)) return new HomingError(library as ErrorCode, message)
  const cause = Object.assign(new Error(message), { code })
  return new HomingError('REMOTE', `${what}: the other side failed with ${code}: ${message}`, { cause })
}

/** Marks a code as the library's own, so that a handler cannot speak in its name. */
const libraryPrefix = 'homing:'

/** A refusal of the library itself as the body of a reply. */
export function libraryFailureBody(error: HomingError): Buffer {
  return encodeBody({ code: libraryPrefix + error.code, message: error.message.slice(0, 1_000) } satisfies RemoteFailure)
}

function readFailure(body: unknown): RemoteFailure {
  const { code, message } = (typeof body === 'object' && body !== null ? body : {}) as Partial<
    Record<keyof RemoteFailure, unknown>
  >
  return {
    code: typeof code === 'string' ? code : 'ERROR',
    message: typeof message === 'string' ? message : 'no reason was given',
  }
}
