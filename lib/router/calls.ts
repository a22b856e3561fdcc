/** Requests and calls of this peer that wait for their reply. */
import { HomingError } from '../errors.ts'
import type { Channel } from '../mesh/channel.ts'
import { decodeBody } from '../wire/body.ts'
import { Pending } from './pending.ts'
import { remoteError } from './remote-failure.ts'

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

export class Calls {
  readonly #asked = new Pending<Asked>()

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
    if (ok) asked.resolve(decodeBody(buffer, start, end))
    else asked.reject(remoteError(nameOf(asked), buffer, start, end))
  }

  /** Requests that the ended channel had accepted. */
  lostOn(channel: Channel): void {
    for (const asked of this.#asked.values()) {
      if (asked.channel === channel)
        this.#fail(asked, new HomingError('LOST', `${nameOf(asked)}: its peer went away before it answered`))
    }
  }

  /** Ends what is past its deadline; `cancel` tells the other end. */
  sweep(nowMs: number, cancel: (id: number, channel: Channel) => void): void {
    for (const asked of this.#asked.values()) {
      if (asked.deadlineAtMs > nowMs) continue
      if (asked.channel) cancel(asked.id, asked.channel)
      this.#fail(asked, new HomingError('TIMEOUT', `${nameOf(asked)}: no answer by the deadline`))
    }
  }

  /** The asker gave up; returns where to say so. */
  giveUp(id: number, reason: unknown): Channel | undefined {
    const asked = this.#asked.get(id)
    if (!asked) return undefined
    this.#fail(asked, new HomingError('TIMEOUT', `${nameOf(asked)}: aborted by the caller`, { cause: reason }))
    return asked.channel
  }

  close(error: HomingError): void {
    for (const asked of this.#asked.values()) this.#fail(asked, error)
  }
}

function nameOf({ of, protocol }: Asked): string {
  return protocol === '' ? `request to '${of}'` : `${protocol} of ${of}`
}
