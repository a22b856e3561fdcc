/** What peers say to each other by protocol: who answers here, by the protocol's name. */
import { HomingError } from '../errors.ts'
import type { Channel } from '../mesh/channel.ts'
import type { Run } from '../sessions/directory.ts'
import { decodeBody } from '../wire/body.ts'
import { BAD_BODY, NO_HANDLER, type Reader } from '../wire/frame.ts'
import { scanBody, type BodyLimits } from '../wire/scan.ts'
import type { Budget } from './budget.ts'
import { LibraryRefusal } from './remote-failure.ts'
import type { RequestContext, Serving } from './serving.ts'

/** What answers a protocol here. */
export interface ProtocolHandlers {
  /** A message of another peer; nothing is answered. */
  tell?(from: Run, body: unknown): void
  /** A call of another peer; what it returns is the answer. */
  call?(from: Run, body: unknown, context: RequestContext): unknown
}

/** Counted for each call that is being answered besides its body, bytes: what its objects take. */
const callOverheadBytes = 400

export class Protocols {
  readonly #serving: Serving
  readonly #limits: Readonly<BodyLimits>
  readonly #budget: Budget
  readonly #handlerFailed: (name: string, error: unknown) => void
  readonly #handlers = new Map<string, ProtocolHandlers>()

  constructor(
    serving: Serving,
    limits: Readonly<BodyLimits>,
    budget: Budget,
    handlerFailed: (name: string, error: unknown) => void,
  ) {
    this.#serving = serving
    this.#limits = limits
    this.#budget = budget
    this.#handlerFailed = handlerFailed
  }

  serve(name: string, handlers: ProtocolHandlers): () => void {
    if (this.#handlers.has(name)) throw new HomingError('BAD_OPTION', `the protocol '${name}' is served already`)
    this.#handlers.set(name, handlers)
    return () => void this.#handlers.delete(name)
  }

  /** A message of another peer: 0, or why it is refused. */
  told(channel: Channel, reader: Reader): number {
    const name = reader.shortText()
    const { buffer, at, end } = reader
    if (scanBody(buffer, at, end, this.#limits) < 0) return BAD_BODY
    const handler = this.#handlers.get(name)?.tell
    if (!handler) return NO_HANDLER
    try {
      handler(channel.remote, decodeBody(buffer, at, end))
    } catch (error) {
      this.#handlerFailed(name, error)
    }
    return 0
  }

  /** A call of another peer: 0, or why it is refused. */
  called(channel: Channel, reader: Reader): number {
    const callId = reader.u32()
    const deadlineMs = reader.u32()
    const name = reader.shortText()
    const { buffer, at, end } = reader
    if (scanBody(buffer, at, end, this.#limits) < 0) return BAD_BODY
    const handler = this.#handlers.get(name)?.call
    if (!handler) return NO_HANDLER
    const bytes = end - at + callOverheadBytes
    if (!this.#budget.takeForPeers(bytes)) {
      void this.#serving.answer(channel, callId, deadlineMs, () => {
        throw new LibraryRefusal(new HomingError('OVERLOADED', 'what waits in this process takes all the memory it may'))
      })
      return 0
    }
    const answered = this.#serving.answer(channel, callId, deadlineMs, context =>
      handler(channel.remote, decodeBody(buffer, at, end), context),
    )
    if (answered) void answered.then(() => this.#budget.give(bytes))
    else this.#budget.give(bytes)
    return 0
  }
}
