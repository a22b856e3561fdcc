/** What a client had not taken goes with its address, from the former owner to the new one. */
import type { Access } from './access/access.ts'
import type { Env } from './env/env.ts'
import { HomingError } from './errors.ts'
import type { Inbox } from './router/inbox.ts'
import { BytesMessage, type Sender } from './router/message.ts'
import type { Router } from './router/router.ts'
import type { Directory, Held, Owner, Run } from './sessions/directory.ts'
import { isCount } from './wire/count.ts'
import { isName } from './wire/name.ts'

const protocol = 'sessions/1'
/** How long a former owner has before it is looked whether it lives at all, ms. */
const lookAfterMs = 30
/** Bytes of messages in one answer: within the smallest usual limit of a body. */
const partBytes = 256 * 1024
/** For how long what a displaced client left is kept for its new owner, ms. */
const keepMs = 2_000
/** Tries to leave a note, in about ten minutes: so long the datastore may be down. */
const noteTriesMax = 300
const noteRetryMsMax = 2_000

/** One message on its way to the new owner. */
interface Moved {
  from: string
  bytes: Uint8Array
  /** Identity of the peer that sent it; a former owner of an older version says it in `origin` only. */
  peer?: string
  origin: string
  number: number
}

/** A question of the new owner: that address, of that claim of yours, is mine. What is left, from `part` on? Told instead: it has come, up to `part`. */
interface Take {
  address: string
  claim: number
  by: Owner
  part: number
  /** Who asks will tell when it has come. */
  confirms?: boolean
}

interface Part {
  messages: Moved[]
  /** Messages that are still to come after this part. */
  left: number
}

/** One message that waits for its new owner. */
interface KeptMessage {
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
  taker: string | undefined
  /** The taker is to tell when it has them, and has not: they may be lost with it, or on the way. */
  unconfirmed: boolean
}

/** Ends the client here under (address, claim), if it is one, and returns what it had not taken. */
export type GiveUp = (address: string, claim: number, by: Owner) => BytesMessage[]

/** A client of the same address on this peer, displaced by a newer one, and what it had not taken. */
export interface Former {
  readonly inbox: Inbox
  readonly left: readonly BytesMessage[]
}

export class HandOver {
  readonly #env: Env
  readonly #waitMs: number
  readonly #noteAfterMs: number
  readonly #router: Router
  readonly #directory: Directory
  readonly #isGone: (run: Run) => Promise<boolean>
  readonly #access: Access
  readonly #trouble: (error: unknown) => void
  #unclaimed: (held: Held, missing: number | undefined) => void = () => {}
  /** What displaced clients left, by address and claim. */
  readonly #kept = new Map<string, Kept>()
  /** Of those that are being filled: addresses that were given back. Nobody comes for what was on its way there. */
  readonly #released = new Set<string>()
  /** Inboxes that are being filled, by address and claim: whoever takes the address over meanwhile gets that too. */
  readonly #filling = new Map<string, Promise<void>>()

  constructor(
    env: Env,
    waitMs: number,
    noteAfterMs: number,
    router: Router,
    directory: Directory,
    isGone: (run: Run) => Promise<boolean>,
    access: Access,
    trouble: (error: unknown) => void,
  ) {
    this.#env = env
    this.#waitMs = waitMs
    this.#noteAfterMs = noteAfterMs
    this.#router = router
    this.#directory = directory
    this.#isGone = isGone
    this.#access = access
    this.#trouble = trouble
  }

  /**
   * `underWay` resolves when a claim of this peer that is being written has its answer: a rival may have heard of it before. `isOurs` asks
   * the datastore: a claim whose first answer was lost may have been written again, over the rival that took it in between. `unclaimed` hears
   * of messages that a displaced client left and nobody came for, or is not known to have got: whoever took the address died before, or was
   * never told of us.
   */
  serve(
    giveUp: GiveUp,
    underWay: (claim: number) => Promise<void> | undefined,
    isOurs: (address: string, claim: number) => Promise<boolean>,
    unclaimed: (held: Held, missing: number | undefined) => void,
  ): void {
    this.#unclaimed = unclaimed
    this.#router.serveProtocol(protocol, {
      call: async (from, body, { signal }) => {
        const take = readTake(body)
        const { identity } = from
        if (!isOf(take.by, from)) throw new HomingError('REFUSED', 'who takes an address speaks for itself')
        // What waits here is for whoever may connect there, whatever the datastore says of it by now.
        if (!this.#access.may(identity, 'connect', take.address))
          throw new HomingError('REFUSED', `the allow-list does not let '${identity}' connect '${take.address}'`)
        const claiming = underWay(take.claim)
        if (claiming) await claiming
        // Only the first question ends the client: whoever asks for more has had an answer to that.
        if (take.part === 0) {
          if (await isOurs(take.address, take.claim)) return { messages: [], left: 0 } satisfies Part
          const left = giveUp(take.address, take.claim, take.by)
          if (left.length > 0) this.keep(take.address, take.claim, left)
        }
        const filling = this.#filling.get(keyOf(take))
        if (filling) await filling
        // Whoever asks next may have it; or it is reported, with how many there are.
        if (signal.aborted) throw new HomingError('TIMEOUT', 'who takes the address waits for this no more')
        return this.#part(take)
      },
      tell: (from, body) => {
        const take = readTake(body)
        if (isOf(take.by, from)) this.#arrived(take)
      },
    })
  }

  /** Keeps what a displaced client left until its new owner asks for it. Requests among it are lost: their askers hear so. */
  keep(address: string, claim: number, left: readonly BytesMessage[]): void {
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
    const key = keyOf({ address, claim })
    const kept: Kept = { address, claim, messages, bytes, taker: undefined, unconfirmed: false }
    this.#forget(key)
    this.#kept.set(key, kept)
    this.#router.budget.force(bytes) // it was accepted, and may not be lost; what comes now finds the less room
    this.#env.timers.after(keepMs, () => {
      if (this.#kept.get(key) === kept) this.#giveUp(key)
    })
  }

  /**
   * The address was given back while that claim was the last one: who connects afterwards has another client, and gets nothing of what this one
   * left, or was still to get; not even where the datastore forgets that it was given back.
   */
  released(held: Held): void {
    const key = keyOf(held)
    if (this.#filling.has(key)) this.#released.add(key)
    else if (this.#kept.get(key)?.taker === undefined) this.#giveUp(key)
  }

  #forget(key: string): Kept | undefined {
    const kept = this.#kept.get(key)
    this.#kept.delete(key)
    if (kept) this.#router.budget.give(kept.bytes)
    return kept
  }

  /** Nobody comes for it any more; or somebody did, and has not said that it came. */
  #giveUp(key: string): void {
    const kept = this.#forget(key)
    if (!kept) return
    if (kept.taker === undefined) this.#unclaimed(kept, kept.messages.length)
    else if (kept.unconfirmed) this.#unclaimed(kept, undefined)
  }

  #arrived({ address, claim, by, part }: Take): void {
    const kept = this.#kept.get(keyOf({ address, claim }))
    if (kept?.taker === takerOf(by) && part >= kept.messages.length) kept.unconfirmed = false
  }

  /** Nobody can come for anything any more. */
  close(): void {
    for (const key of this.#kept.keys()) this.#giveUp(key)
  }

  /** All parts go to the one that asks first: a claim that was written twice has two that it displaced, or was displaced by. */
  #part({ address, claim, by, part, confirms = false }: Take): Part {
    const kept = this.#kept.get(keyOf({ address, claim }))
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

  /**
   * Fills a held inbox with what was left before it, oldest first, and opens it: what a former client of the address on this peer had not
   * taken, and what `previous` had not, who is told by this that the address is ours. At the latest after `handOverMs`; after twice that while
   * this peer is not sure of what it holds, or `revalidate` asks: it is given a time for that, ms, and ends the inbox where the address has
   * gone on. Where `previous` does not answer soon, it is left a note in the datastore. Resolves to how many messages are missing: 0, a
   * number, or undefined where it is not known. Never rejects.
   */
  fill(
    inbox: Inbox,
    by: Owner,
    former: Former | undefined,
    previous: Owner | undefined,
    revalidate: (withinMs: number) => Promise<void> | undefined,
  ): Promise<number | undefined> {
    const filled = this.#fill(inbox, by, former, previous, revalidate)
    const key = keyOf(inbox)
    const filling = filled.then(() => {
      this.#filling.delete(key)
      if (this.#released.delete(key) && this.#kept.get(key)?.taker === undefined) this.#giveUp(key)
    })
    this.#filling.set(key, filling)
    return filled
  }

  async #fill(
    inbox: Inbox,
    by: Owner,
    former: Former | undefined,
    previous: Owner | undefined,
    revalidate: (withinMs: number) => Promise<void> | undefined,
  ): Promise<number | undefined> {
    const untilMs = this.#env.clock.monotonicMs() + 2 * this.#waitMs
    const got: BytesMessage[] = []
    let missing: number | undefined = 0
    try {
      if (previous) {
        // `previous` came between the former client here and this one: what that had left is for `previous` first, and comes through it.
        const requests = former ? this.#leaveFor(former) : []
        missing = await this.#fetch(inbox.address, by, previous, got)
        if (former) got.unshift(...this.#unaskedOf(former), ...requests)
      } else if (former) got.push(...(await this.#lateOf(former.inbox)), ...former.left)
      // A process that has slept may hear of a claim that it made before, and that has been overtaken since: what it is handed is older than
      // what others have given out, and is not given out before it knows.
      await this.#router.untilSure(this.#leftOf(untilMs))
      if (got.length > 0 && inbox.state === 'held') await revalidate(this.#leftOf(untilMs))
    } finally {
      if (inbox.state === 'held') inbox.open(got)
      else this.#keepAhead(inbox, got)
    }
    return missing
  }

  /**
   * For how long to wait to be sure, ms: what was spent on waiting for former clients here, each of which may have waited as well, counts. Who
   * spent more than there is stood still meanwhile, and has not heard yet what became of the address.
   */
  #leftOf(untilMs: number): number {
    const leftMs = untilMs - this.#env.clock.monotonicMs()
    return leftMs < -this.#waitMs / 10 ? this.#waitMs : Math.min(this.#waitMs, Math.max(0, leftMs))
  }

  /** Keeps the messages that a former client here had not taken for whoever displaced it. Returns its requests, which cannot move. */
  #leaveFor({ inbox: { address, claim }, left }: Former): BytesMessage[] {
    const messages = left.filter(({ serve }) => !serve)
    if (messages.length > 0) this.keep(address, claim, messages)
    return left.filter(({ serve }) => serve)
  }

  /** What a former inbox of this peer was still to get when it was closed, and what was kept of it that nobody has asked for. */
  async #lateOf(former: Inbox): Promise<BytesMessage[]> {
    const key = keyOf(former)
    await this.#filling.get(key)
    const late = this.#forget(key)
    if (!late || late.taker !== undefined) return []
    return late.messages.map(kept => this.#restored(former.address, kept))
  }

  /**
   * What a former client here had not taken, where nobody who came between has asked for it. Not what was handed over to that one after its
   * end: that is older than what those between have given out, and is left for them alone.
   */
  #unaskedOf({ inbox: { address, claim }, left }: Former): BytesMessage[] {
    const key = keyOf({ address, claim })
    if (this.#kept.get(key)?.taker !== undefined) return []
    const kept = (this.#forget(key)?.messages ?? []).map(message => this.#restored(address, message))
    const own = new Set(left.map(({ id }) => id))
    this.keep(
      address,
      claim,
      kept.filter(({ id }) => !own.has(id)),
    )
    return kept.filter(({ id }) => own.has(id))
  }

  /** It was displaced while it was filled: what it got goes to its new owner, ahead of what came to it by itself. */
  #keepAhead({ address, claim }: Inbox, got: readonly BytesMessage[]): void {
    const kept = this.#kept.get(keyOf({ address, claim }))?.messages ?? []
    this.keep(address, claim, [...got, ...kept.map(message => this.#restored(address, message))])
  }

  /** Adds to `got` what `previous` gives; resolves to what is missing. */
  async #fetch(address: string, by: Owner, previous: Owner, got: BytesMessage[]): Promise<number | undefined> {
    const untilMs = this.#env.clock.monotonicMs() + this.#waitMs
    let left: number | undefined
    let part = 0
    let noted = false
    const leaveNote = (): void => {
      if (!noted) void this.#leaveNote(previous, address, by)
      noted = true
    }
    const note = this.#env.timers.after(this.#noteAfterMs, leaveNote)
    // A process that is certainly dead is not waited for: its clients connect elsewhere right after it crashed.
    const nobody = new AbortController()
    // Who was gone when it was asked has left its client at its own end; who dies while it is asked may have ended that for us, told by a note.
    let waited = false
    const look = this.#env.timers.after(lookAfterMs, () => {
      waited = true
      void this.#isGone(previous).then(gone => gone && nobody.abort())
    })
    try {
      do {
        const take: Take = { address, claim: previous.claim, by, part, confirms: true }
        const deadlineMs = Math.max(1, untilMs - this.#env.clock.monotonicMs())
        const answer = this.#readPart(await this.#router.call(previous, protocol, take, { deadlineMs, signal: nobody.signal }))
        note.cancel()
        left = answer.left
        part += answer.messages.length
        for (const moved of answer.messages) got.push(this.#incoming(address, moved, previous.identity))
      } while (left > 0 && this.#env.clock.monotonicMs() < untilMs)
      if (part > 0 && left === 0) this.#confirm(previous, { address, claim: previous.claim, by, part })
    } catch (error) {
      if (!(error instanceof HomingError)) throw error
      // It is cut off, or closing, or dead. A note reaches it if it lives.
      if (left === undefined && error.code !== 'ABSENT' && !nobody.signal.aborted) leaveNote()
      if (error.code === 'ABSENT' && !waited) left = 0
    } finally {
      note.cancel()
      look.cancel()
    }
    return left
  }

  /** So that the former owner need not report it as left behind. */
  #confirm(previous: Run, take: Take): void {
    this.#router.tell(previous, protocol, take).catch((error: unknown) => this.#trouble(error))
  }

  /** Bodies in it are decoded by the client: they are checked as those that come in messages. Throws `REMOTE`. */
  #readPart(body: unknown): Part {
    const { messages, left } = (body ?? {}) as Partial<Record<keyof Part, unknown>>
    // Nothing, and more to come, again and again: it would be asked for ever.
    const fine = Array.isArray(messages) && isCount(left) && (left === 0 || messages.length > 0)
    if (!fine || !messages.every((moved): moved is Moved => this.#isMoved(moved))) {
      throw new HomingError('REMOTE', 'not an answer of sessions/1')
    }
    return { messages, left }
  }

  #isMoved(value: unknown): value is Moved {
    const { from, bytes, peer, origin, number } = (value ?? {}) as Partial<Record<keyof Moved, unknown>>
    const named = typeof from === 'string' && typeof origin === 'string' && (peer === undefined || isName(peer))
    return named && Number.isSafeInteger(number) && bytes instanceof Uint8Array && this.#router.isBody(bytes)
  }

  /** What another peer handed over: that one says who sent it. */
  #incoming(address: string, { from, bytes, peer, origin, number }: Moved, vouchedBy: string): BytesMessage {
    const owned = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    const sender: Sender = { identity: peer ?? identityIn(origin), origin, vouchedBy }
    return this.#restored(address, { from, bytes: owned, sender, number })
  }

  #restored(address: string, { from, bytes, sender, number }: KeptMessage): BytesMessage {
    return new BytesMessage(from, address, bytes, 0, bytes.length, sender, number, this.#router.via, undefined)
  }

  /** Tries until it is stored: the datastore may be down just now, and nothing else tells a former owner whose own lease is fine. */
  async #leaveNote(to: Owner, address: string, by: Owner): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.#directory.leaveNote(to, address, by)
      } catch (error) {
        const again = error instanceof HomingError && error.code === 'DATASTORE' && tries < noteTriesMax
        if (!again) return this.#trouble(error)
        await new Promise<void>(
          resolve => void this.#env.timers.after(Math.min(noteRetryMsMax, 100 * 2 ** Math.min(tries, 10)), resolve),
        )
      }
    }
  }
}

function takerOf({ incarnation, claim }: Owner): string {
  return `${incarnation} ${claim}`
}

function isOf({ identity, incarnation }: Owner, run: Run): boolean {
  return identity === run.identity && incarnation === run.incarnation
}

function keyOf({ address, claim }: Held): string {
  return `${claim} ${address}`
}

function readTake(body: unknown): Take {
  const { address, claim, by, part, confirms } = (body ?? {}) as Partial<Record<keyof Take, unknown>>
  const { identity, incarnation, claim: claimed } = (by ?? {}) as Partial<Record<keyof Owner, unknown>>
  const named = isName(address) && isName(identity) && isName(incarnation)
  if (!named || !isCount(claim) || !isCount(claimed) || !isCount(part)) {
    throw new HomingError('REFUSED', 'not a question of sessions/1')
  }
  return { address, claim, by: { identity, incarnation, claim: claimed }, part, confirms: confirms === true }
}

function movedOf({ from, bytes, sender: { identity, origin }, number }: KeptMessage): Moved {
  return { from, bytes, peer: identity, origin, number }
}

/** An origin is identity/incarnation, and an incarnation of this library has no slash. */
function identityIn(origin: string): string {
  return origin.slice(0, Math.max(0, origin.lastIndexOf('/')))
}
