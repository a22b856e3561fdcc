/** What a client had not taken goes with its address, from the former owner to the new one. */
import type { Env } from './env/env.ts'
import { HomingError } from './errors.ts'
import type { Inbox, Incoming } from './router/inbox.ts'
import { BytesMessage } from './router/message.ts'
import type { Router } from './router/router.ts'
import type { Directory, Owner } from './sessions/directory.ts'

const protocol = 'sessions/1'
/** Bytes of messages in one answer: within the smallest usual limit of a body. */
const partBytes = 256 * 1024
/** For how long what a displaced client left is kept for its new owner, ms. */
const keepMs = 2_000

/** One message on its way to the new owner. */
interface Moved {
  from: string
  bytes: Uint8Array
  origin: string
  number: number
}

/** A question of the new owner: that address, of that claim of yours, is mine. What is left, from `part` on? */
interface Take {
  address: string
  claim: number
  by: Owner
  part: number
}

interface Part {
  messages: Moved[]
  /** Messages that are still to come after this part. */
  left: number
}

/** Ends the client here under (address, claim), if it is one, and returns what it had not taken. */
export type GiveUp = (address: string, claim: number, by: Owner) => Incoming[]

export class HandOver {
  readonly #env: Env
  readonly #waitMs: number
  readonly #noteAfterMs: number
  readonly #router: Router
  readonly #directory: Directory
  readonly #trouble: (error: unknown) => void
  /** What displaced clients left, by address and claim. */
  readonly #kept = new Map<string, Moved[]>()

  constructor(env: Env, waitMs: number, noteAfterMs: number, router: Router, directory: Directory, trouble: (error: unknown) => void) {
    this.#env = env
    this.#waitMs = waitMs
    this.#noteAfterMs = noteAfterMs
    this.#router = router
    this.#directory = directory
    this.#trouble = trouble
  }

  serve(giveUp: GiveUp): void {
    this.#router.serveProtocol(protocol, {
      call: (from, body) => {
        const take = readTake(body)
        if (take.by.identity !== from.identity) throw new HomingError('REFUSED', 'who takes an address speaks for itself')
        const left = giveUp(take.address, take.claim, take.by)
        if (left.length > 0) this.keep(take.address, take.claim, left)
        return this.#part(take)
      },
    })
  }

  /** Keeps what a displaced client left until its new owner asks for it. Requests among it are lost: their askers hear so. */
  keep(address: string, claim: number, left: readonly Incoming[]): void {
    const messages: Moved[] = []
    for (const { message, serve } of left) {
      if (serve) void serve(message)
      else messages.push({ from: message.from ?? '', bytes: message.bytes, origin: message.origin, number: message.number })
    }
    if (messages.length === 0) return
    const key = `${claim} ${address}`
    this.#kept.set(key, messages)
    this.#env.timers.after(keepMs, () => void this.#kept.delete(key))
  }

  #part({ address, claim, part }: Take): Part {
    const messages = this.#kept.get(`${claim} ${address}`)?.slice(part) ?? []
    let bytes = 0
    let count = 0
    while (count < messages.length && (count === 0 || bytes + messages[count]!.bytes.length <= partBytes)) {
      bytes += messages[count++]!.bytes.length
    }
    return { messages: messages.slice(0, count), left: messages.length - count }
  }

  /**
   * Tells the former owner that the address is ours, takes what its client had not taken, and opens the inbox with it, at the latest
   * after `handOverMs`. Where it does not answer soon, it is left a note in the datastore. Resolves to how many messages are missing:
   * 0, a number, or undefined where it is not known. Never rejects.
   */
  async fetch(inbox: Inbox, by: Owner, previous: Owner): Promise<number | undefined> {
    const untilMs = this.#env.clock.monotonicMs() + this.#waitMs
    const got: Incoming[] = []
    let left: number | undefined
    const note = this.#env.timers.after(this.#noteAfterMs, () => this.#leaveNote(previous, inbox.address, by))
    try {
      do {
        const take: Take = { address: inbox.address, claim: previous.claim, by, part: got.length }
        const deadlineMs = Math.max(1, untilMs - this.#env.clock.monotonicMs())
        const part = readPart(await this.#router.call(previous, protocol, take, { deadlineMs }))
        note.cancel()
        left = part.left
        for (const { from, bytes, origin, number } of part.messages) {
          const owned = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
          got.push({ message: new BytesMessage(from, inbox.address, owned, origin, number, 'direct') })
        }
      } while (left > 0)
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      // It is dead, cut off, or closing. A note reaches it if it lives.
      if (left === undefined && error.code !== 'ABSENT') this.#leaveNote(previous, inbox.address, by)
      if (error.code === 'ABSENT') left = 0
    } finally {
      note.cancel()
      inbox.open(got)
    }
    return left
  }

  #leaveNote(to: Owner, address: string, by: Owner): void {
    // Without a note it learns of it at its next revalidation, or its lease ends.
    this.#directory.leaveNote(to, address, by).catch((error: unknown) => this.#trouble(error))
  }
}

function readTake(body: unknown): Take {
  const { address, claim, by, part } = body as Take
  const fine = typeof address === 'string' && typeof claim === 'number' && typeof by?.identity === 'string' && Number.isSafeInteger(part)
  if (!fine) throw new HomingError('REFUSED', 'not a question of sessions/1')
  return { address, claim, by, part }
}

function readPart(body: unknown): Part {
  const { messages, left } = body as Part
  if (!Array.isArray(messages) || !Number.isSafeInteger(left)) throw new HomingError('REMOTE', 'not an answer of sessions/1')
  return { messages, left }
}
