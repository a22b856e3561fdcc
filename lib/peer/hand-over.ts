/** What a client had not taken goes with its address, from the former owner to the new one. */
import type { Access } from '../access/access.ts'
import type { Env } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { Inbox } from '../router/inbox.ts'
import type { BytesMessage, Sender } from '../router/message.ts'
import type { Router } from '../router/router.ts'
import type { Directory, Held, Owner, Run } from '../sessions/directory.ts'
import { ByClaim } from './by-claim.ts'
import { handOverProtocol, identityIn, isOf, readPart, readTake, type Moved, type Part, type Take } from './hand-over-protocol.ts'
import { Leftovers, takingOf } from './leftovers.ts'

/** How long a former owner has before it is looked whether it lives at all, ms. */
const lookAfterMs = 30
/** Tries to leave a note, in about ten minutes: so long the datastore may be down. */
const noteTriesMax = 300
const noteRetryMsMax = 2_000

/** Ends the client here under (address, claim), if it is one, and returns what it had not taken. */
export type GiveUp = (address: string, claim: number, by: Owner) => GivenUp

export interface GivenUp {
  readonly left: BytesMessage[]
  /** It had begun to give out messages. */
  readonly opened: boolean
}

/** A client of the same address on this peer, displaced by a newer one, and what it had not taken. */
export interface Former {
  readonly inbox: Inbox
  readonly left: readonly BytesMessage[]
}

export interface HandOverSetup {
  readonly env: Env
  /** How long a former owner is waited for, ms. */
  readonly waitMs: number
  /** When it is left a note, ms. */
  readonly noteAfterMs: number
  readonly router: Router
  readonly directory: Directory
  /** Whether a run is certainly dead, whatever its lease says. */
  isGone(run: Run): Promise<boolean>
  readonly access: Access
  trouble(error: unknown): void
}

/** A held inbox, and what was there before it. */
export interface Filling {
  readonly inbox: Inbox
  readonly by: Owner
  readonly former: Former | undefined
  readonly previous: Owner | undefined
  /** Given a time, ms: ends the inbox where the address has gone on. Undefined: there was no time for that. */
  revalidate(withinMs: number): Promise<void> | undefined
}

/** An inbox that is being filled. */
interface Fill extends Held {
  readonly done: Promise<void>
  displacedBy: Owner | undefined
  /** Nobody is to get what is on its way there any more, if the inbox itself does not. */
  givenUp: boolean
}

export class HandOver {
  readonly #setup: HandOverSetup
  #unclaimed: (held: Held, missing: number | undefined) => void = () => {}
  readonly #leftovers: Leftovers
  /** Inboxes that are being filled: whoever takes the address over meanwhile gets that too. */
  readonly #fills = new ByClaim<Fill>()
  /** Of those that were displaced: by taking. */
  readonly #takenFrom = new Map<string, Fill>()

  constructor(setup: HandOverSetup) {
    this.#setup = setup
    const { env, router } = setup
    this.#leftovers = new Leftovers({ env, router, unclaimed: (held, missing) => this.#unclaimed(held, missing) })
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
    this.#setup.router.serveProtocol(handOverProtocol, {
      call: async (from, body, { signal }) => {
        const take = readTake(body)
        const { identity } = from
        if (!isOf(take.by, from)) throw new HomingError('REFUSED', 'who takes an address speaks for itself')
        // What waits here is for whoever may connect there, whatever the datastore says of it by now.
        if (!this.#setup.access.may(identity, 'connect', take.address))
          throw new HomingError('REFUSED', `the allow-list does not let '${identity}' connect '${take.address}'`)
        const claiming = underWay(take.claim)
        if (claiming) await claiming
        // Only the first question ends the client: whoever asks for more has had an answer to that.
        let opened = false
        if (take.part === 0) {
          if (await isOurs(take.address, take.claim)) return { messages: [], left: 0 } satisfies Part
          // It has long found out otherwise, and may have lost the address since: if it has not, it has left a note.
          if (signal.aborted) throw new HomingError('TIMEOUT', 'who took the address waits for this no more')
          const given = giveUp(take.address, take.claim, take.by)
          opened = given.opened
          if (given.left.length > 0) this.#leftovers.keep(take, given.left, take.by)
        }
        const fill = this.#fills.get(take) ?? this.#takenFrom.get(takingOf(take.address, take.by))
        if (fill) await fill.done
        // Whoever asks next may have it; or it is reported, with how many there are.
        if (signal.aborted) throw new HomingError('TIMEOUT', 'who takes the address waits for this no more')
        const part = this.#leftovers.part(take)
        return opened ? { ...part, opened } : part
      },
      tell: (from, body) => {
        const take = readTake(body)
        if (isOf(take.by, from)) this.#leftovers.arrived(take)
      },
    })
  }

  /** Keeps what a client left that `by` displaced, until that one asks for it. */
  keep(held: Held, left: readonly BytesMessage[], by: Owner): void {
    const fill = this.#fills.get(held)
    if (fill) {
      this.#notTaken(fill)
      fill.displacedBy = by
      this.#takenFrom.set(takingOf(held.address, by), fill)
    }
    this.#leftovers.keep(held, left, by)
  }

  /**
   * The address was given back while that claim was the last one: who connects afterwards has another client, and gets nothing of what this one
   * left, or was still to get; not even where the datastore forgets that it was given back.
   */
  released(held: Held): void {
    const fill = this.#fills.get(held)
    if (fill) fill.givenUp = true
    else this.#leftovers.giveUp(held)
  }

  /**
   * That client gives out messages from now on: what an older one of the address here left, or is still to get, is older than those, and is
   * given to nobody who has not asked for it yet.
   */
  opened(held: Held): void {
    for (const fill of this.#fills.olderThan(held)) fill.givenUp = true
    this.#leftovers.giveUpOlder(held)
  }

  /** Nobody can come for anything any more. */
  close(): void {
    this.#leftovers.close()
  }

  /**
   * Fills a held inbox with what was left before it, oldest first, and opens it: what a former client of the address on this peer had not
   * taken, and what `previous` had not, who is told by this that the address is ours. At the latest after `handOverMs`; after twice that while
   * this peer is not sure of what it holds, or `revalidate` asks. Where `previous` does not answer soon, it is left a note in the datastore.
   * Resolves to how many messages are missing: 0, a number, or undefined where it is not known. Never rejects.
   */
  fillInbox(filling: Filling): Promise<number | undefined> {
    const { inbox } = filling
    const { address, claim } = inbox
    const filled = this.#fetchAndOpen(filling)
    const done = filled.then(() => {
      this.#fills.delete(fill)
      this.#notTaken(fill)
      if (fill.givenUp) this.#leftovers.giveUp(fill)
    })
    const fill: Fill = { address, claim, done, displacedBy: undefined, givenUp: false }
    this.#fills.set(fill)
    return filled
  }

  #notTaken(fill: Fill): void {
    const taking = fill.displacedBy && takingOf(fill.address, fill.displacedBy)
    if (taking !== undefined && this.#takenFrom.get(taking) === fill) this.#takenFrom.delete(taking)
  }

  async #fetchAndOpen({ inbox, by, former, previous, revalidate }: Filling): Promise<number | undefined> {
    const untilMs = this.#setup.env.clock.monotonicMs() + 2 * this.#setup.waitMs
    const got: BytesMessage[] = []
    let missing: number | undefined = 0
    try {
      if (previous) {
        // `previous` came between the former client here and this one: what that had left is for `previous` first, and comes through it.
        const requests = former ? this.#leaveFor(former) : []
        const fetched = await this.#fetch(inbox.address, by, previous, got)
        missing = fetched.missing
        // Who gave out messages without having asked for what was here before has given out later ones.
        if (former) got.unshift(...(fetched.opened ? [] : this.#unaskedOf(former)), ...requests)
      } else if (former) got.push(...(await this.#lateOf(former.inbox)), ...former.left)
      // A process that has slept may hear of a claim that it made before, and that has been overtaken since: what it is handed is older than
      // what others have given out, and is not given out before it knows.
      await this.#setup.router.untilSure(this.#leftOf(untilMs))
      if (got.length > 0 && inbox.state === 'held') await revalidate(this.#leftOf(untilMs))
    } finally {
      if (inbox.state === 'held') {
        inbox.open(got)
        this.opened(inbox)
      } else {
        // Displaced meanwhile: it is older than what came to it by itself.
        this.#leftovers.keepAhead(inbox, got, this.#fills.get(inbox)?.displacedBy)
      }
    }
    return missing
  }

  /**
   * For how long to wait to be sure, ms: what was spent on waiting for former clients here, each of which may have waited as well, counts. Who
   * spent more than there is stood still meanwhile, and has not heard yet what became of the address.
   */
  #leftOf(untilMs: number): number {
    const leftMs = untilMs - this.#setup.env.clock.monotonicMs()
    return leftMs < -this.#setup.waitMs / 10 ? this.#setup.waitMs : Math.min(this.#setup.waitMs, Math.max(0, leftMs))
  }

  /** Keeps the messages that a former client here had not taken for whoever displaced it. Returns its requests, which cannot move. */
  #leaveFor({ inbox, left }: Former): BytesMessage[] {
    const messages = left.filter(({ serve }) => !serve)
    if (messages.length > 0) this.#leftovers.keep(inbox, messages, undefined)
    return left.filter(({ serve }) => serve)
  }

  /** What a former inbox of this peer was still to get when it was closed, and what was kept of it that nobody has asked for. */
  async #lateOf(former: Inbox): Promise<BytesMessage[]> {
    await this.#fills.get(former)?.done
    return this.#leftovers.unasked(former)
  }

  /**
   * What a former client here had not taken, where nobody who came between has asked for it. Not what was handed over to that one after its
   * end: that is older than what those between have given out, and is left for them, until this client gives out messages of its own.
   */
  #unaskedOf({ inbox, left }: Former): BytesMessage[] {
    const kept = this.#leftovers.unasked(inbox)
    const own = new Set(left.map(({ id }) => id))
    this.#leftovers.keep(
      inbox,
      kept.filter(({ id }) => !own.has(id)),
      undefined,
    )
    return kept.filter(({ id }) => own.has(id))
  }

  /** Adds to `got` what `previous` gives; resolves to what is missing, and whether it is known to have given out messages. */
  async #fetch(
    address: string,
    by: Owner,
    previous: Owner,
    got: BytesMessage[],
  ): Promise<{ missing: number | undefined; opened: boolean }> {
    const untilMs = this.#setup.env.clock.monotonicMs() + this.#setup.waitMs
    let left: number | undefined
    let opened = false
    let part = 0
    let noted = false
    const leaveNote = (): void => {
      if (!noted) void this.#leaveNote(previous, address, by)
      noted = true
    }
    const note = this.#setup.env.timers.after(this.#setup.noteAfterMs, leaveNote)
    // A process that is certainly dead is not waited for: its clients connect elsewhere right after it crashed.
    const nobody = new AbortController()
    // Who was gone when it was asked has left its client at its own end; who dies while it is asked may have ended that for us, told by a note.
    let waited = false
    const look = this.#setup.env.timers.after(lookAfterMs, () => {
      waited = true
      void this.#setup.isGone(previous).then(gone => gone && nobody.abort())
    })
    try {
      do {
        const take: Take = { address, claim: previous.claim, by, part, confirms: true }
        const deadlineMs = Math.max(1, untilMs - this.#setup.env.clock.monotonicMs())
        const body = await this.#setup.router.call(previous, handOverProtocol, take, { deadlineMs, signal: nobody.signal })
        const answer = readPart(body, bytes => this.#setup.router.isBody(bytes))
        note.cancel()
        left = answer.left
        opened ||= answer.opened === true
        part += answer.messages.length
        for (const moved of answer.messages) got.push(this.#incoming(address, moved, previous.identity))
      } while (left > 0 && this.#setup.env.clock.monotonicMs() < untilMs)
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
    return { missing: left, opened }
  }

  /** So that the former owner need not report it as left behind. */
  #confirm(previous: Run, take: Take): void {
    this.#setup.router.tell(previous, handOverProtocol, take).catch((error: unknown) => this.#setup.trouble(error))
  }

  /** What another peer handed over: that one says who sent it. */
  #incoming(address: string, { from, bytes, peer, origin, number }: Moved, vouchedBy: string): BytesMessage {
    const owned = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    const sender: Sender = { identity: peer ?? identityIn(origin), origin, vouchedBy }
    return this.#leftovers.restored(address, { from, bytes: owned, sender, number })
  }

  /** Tries until it is stored: the datastore may be down just now, and nothing else tells a former owner whose own lease is fine. */
  async #leaveNote(to: Owner, address: string, by: Owner): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.#setup.directory.leaveNote(to, address, by)
      } catch (error) {
        const again = error instanceof HomingError && error.code === 'DATASTORE' && tries < noteTriesMax
        if (!again) return this.#setup.trouble(error)
        await new Promise<void>(
          resolve => void this.#setup.env.timers.after(Math.min(noteRetryMsMax, 100 * 2 ** Math.min(tries, 10)), resolve),
        )
      }
    }
  }
}
