/** What displaced clients left: kept for a while for whoever took their address, and reported where nobody comes for it. */
import type { Env } from '../env/env.ts'
import { BytesMessage, type Sender } from '../router/message.ts'
import type { Router } from '../router/router.ts'
import type { Held, Owner } from '../sessions/directory.ts'
import { ByClaim } from './by-claim.ts'
import type { Moved, Part, Take } from './hand-over-protocol.ts'

/** Bytes of messages in one answer: within the smallest usual limit of a body. */
const partBytes = 256 * 1024
/** For how long it is kept, ms. */
const keepMs = 2_000

/** One message that waits for its new owner. */
export interface KeptMessage {
  readonly from: string
  readonly bytes: Buffer
  readonly sender: Sender
  readonly number: number
}

/** What a displaced client left, and who has begun to take it. */
interface Kept extends Held {
  readonly messages: readonly KeptMessage[]
  /** What they take of the peer's memory, overhead counted. */
  readonly bytes: number
  /** Who took the address from it, where that is known. */
  readonly by: Owner | undefined
  taker: string | undefined
  /** The taker is to tell when it has them, and has not: they may be lost with it, or on the way. */
  unconfirmed: boolean
}

export interface LeftoversSetup {
  readonly env: Env
  readonly router: Pick<Router, 'budget' | 'via'>
  /** Nobody came for so many, or it is not known whether they came where they were to. */
  unclaimed(held: Held, missing: number | undefined): void
}

export class Leftovers {
  readonly #setup: LeftoversSetup
  readonly #kept = new ByClaim<Kept>()
  /** The same, by address and who took it. */
  readonly #takenBy = new Map<string, Kept>()

  constructor(setup: LeftoversSetup) {
    this.#setup = setup
  }

  /** Keeps what a client left that `by` displaced, until that one asks for it. Requests among it are lost: their askers hear so. */
  keep({ address, claim }: Held, left: readonly BytesMessage[], by: Owner | undefined): void {
    const messages: KeptMessage[] = []
    let bytes = 0
    for (const message of left) {
      if (message.serve) void message.serve(message)
      else {
        messages.push({ from: message.from ?? '', bytes: message.bytes, sender: message.sender, number: message.number })
        bytes += message.size
      }
    }
    if (messages.length === 0) return
    const kept: Kept = { address, claim, messages, bytes, by, taker: undefined, unconfirmed: false }
    this.#forget(this.#kept.get(kept))
    this.#kept.set(kept)
    if (by) this.#takenBy.set(takingOf(address, by), kept)
    const { env, router } = this.#setup
    router.budget.force(bytes) // it was accepted, and may not be lost; what comes now finds the less room
    env.timers.after(keepMs, () => {
      if (this.#kept.get(kept) === kept) this.#giveUp(kept)
    })
  }

  /** Keeps `left` ahead of what is kept already. */
  keepAhead(held: Held, left: readonly BytesMessage[], by: Owner | undefined): void {
    const kept = this.#kept.get(held)
    this.keep(held, [...left, ...this.#messagesOf(kept)], by ?? kept?.by)
  }

  /** Takes out what was kept, where nobody has asked for it. */
  unasked(held: Held): BytesMessage[] {
    const kept = this.#kept.get(held)
    return kept?.taker === undefined ? this.#messagesOf(this.#forget(kept)) : []
  }

  /** Nobody will come for it, if nobody has yet. */
  giveUp(held: Held): void {
    const kept = this.#kept.get(held)
    if (kept?.taker === undefined) this.#giveUp(kept)
  }

  /** The same for all that older claims of the address left. */
  giveUpOlder(held: Held): void {
    for (const kept of this.#kept.olderThan(held)) if (kept.taker === undefined) this.#giveUp(kept)
  }

  /** All parts go to the one that asks first: a claim that was written twice has two that it displaced, or was displaced by. */
  part(take: Take): Part {
    const { by, part, confirms = false } = take
    const kept = this.#find(take)
    const taker = takerOf(by)
    if (kept && kept.taker === undefined) {
      kept.taker = taker
      kept.unconfirmed = confirms
    }
    const messages = kept?.taker === taker ? kept.messages.slice(part) : []
    let bytes = 0
    let count = 0
    while (count < messages.length && (count === 0 || bytes + messages[count]!.bytes.length <= partBytes)) {
      bytes += messages[count++]!.bytes.length
    }
    return { messages: messages.slice(0, count).map(movedOf), left: messages.length - count }
  }

  /** Who took it says so. */
  arrived(take: Take): void {
    const kept = this.#find(take)
    if (kept?.taker === takerOf(take.by) && take.part >= kept.messages.length) kept.unconfirmed = false
  }

  /**
   * Where two claims were written over one, and both stay for a moment, whoever stays in the end asks for what the one before both had left:
   * what the other one had of it by then is kept under the other's claim. And whoever displaced a claim that was overtaken before its answer
   * asks for what that one left, though it never had a client: what the client before it had is kept under that one's claim.
   */
  #find({ address, claim, by }: Take): Kept | undefined {
    return this.#kept.get({ address, claim }) ?? this.#takenBy.get(takingOf(address, by))
  }

  /** Nobody can come for anything any more. */
  close(): void {
    for (const kept of this.#kept) this.#giveUp(kept)
  }

  /** A message as it was when it was kept, or elsewhere before it was handed over. */
  restored(address: string, { from, bytes, sender, number }: KeptMessage): BytesMessage {
    return new BytesMessage(from, address, bytes, 0, bytes.length, sender, number, this.#setup.router.via, undefined)
  }

  #messagesOf(kept: Kept | undefined): BytesMessage[] {
    return kept ? kept.messages.map(message => this.restored(kept.address, message)) : []
  }

  #forget(kept: Kept | undefined): Kept | undefined {
    if (!kept) return undefined
    this.#kept.delete(kept)
    const taking = kept.by && takingOf(kept.address, kept.by)
    if (taking !== undefined && this.#takenBy.get(taking) === kept) this.#takenBy.delete(taking)
    this.#setup.router.budget.give(kept.bytes)
    return kept
  }

  /** Nobody comes for it any more; or somebody did, and has not said that it came. */
  #giveUp(kept: Kept | undefined): void {
    if (!kept) return
    this.#forget(kept)
    if (kept.taker === undefined) this.#setup.unclaimed(kept, kept.messages.length)
    else if (kept.unconfirmed) this.#setup.unclaimed(kept, undefined)
  }
}

/** Names what a client of another peer did: it took that address. */
export function takingOf(address: string, by: Owner): string {
  return `${takerOf(by)} ${address}`
}

function takerOf({ incarnation, claim }: Owner): string {
  return `${incarnation} ${claim}`
}

function movedOf({ from, bytes, sender: { identity, origin }, number }: KeptMessage): Moved {
  return { from, bytes, peer: identity, origin, number }
}
