/** The seed's conversation, held by one process: its clients connect, talk, and leave, each step at its time. */
import type { Disconnected, Message, Peer, Receipt } from '../index.ts'
import type { Ending } from './ending.ts'
import { because } from './failure.ts'
import type { Step } from './schedule.ts'
import { clientNotFound, noLongerAvailable } from './seed-lines.ts'

/** What a program says of its conversation. */
export interface Voice {
  connected(address: string): void
  disconnected(address: string, found: Disconnected): void
  received(message: Message): void
  /** A message was not delivered; `line` says why. */
  undelivered(line: string): void
  /** A step failed: the datastore or the broker was out of reach for too long. */
  failed(line: string): void
}

export interface ConversationOptions {
  /** How long an absent address is waited for, ms. */
  waitMs: number
}

/** Beyond `waitMs`, how long the answer to a message may take, ms; a message that was held up by others has at least the lesser time. */
const answerMs = 5_000
const answerMsMin = 200
/** How long the clients that are left may take to be unregistered at the end, ms. Then the lease does it. */
const farewellMs = 2_000

export class Conversation {
  readonly #peer: Peer
  readonly #voice: Voice
  readonly #options: ConversationOptions
  readonly #ending: Ending
  /** Clients that were connected and not disconnected since, in the order of connecting. */
  readonly #clients = new Set<string>()
  /** Claims and releases take effect, and are told, in the order of the steps. */
  #claims: Promise<void> = Promise.resolve()
  /** Messages leave in the order of the steps: one that waits for its receiver holds up those after it, each at most to its own deadline. */
  #sends: Promise<void> = Promise.resolve()
  readonly receipts: Receipt[] = []

  constructor(peer: Peer, voice: Voice, options: ConversationOptions, ending: Ending) {
    this.#peer = peer
    this.#voice = voice
    this.#options = options
    this.#ending = ending
  }

  /** Takes each step at its time from now; resolves when the last one has been answered, or the end is asked for. */
  async run(steps: readonly Step[]): Promise<void> {
    const startedMs = performance.now()
    for (const step of steps) {
      await this.#ending.pause(startedMs + step.atMs - performance.now())
      if (this.#ending.isRequested) return
      this.#take(step)
    }
    await Promise.race([Promise.all([this.#claims, this.#sends]), this.#ending.requested])
  }

  #take(step: Step): void {
    if (step.does === 'send') {
      const untilMs = performance.now() + this.#options.waitMs
      this.#sends = this.#sends.then(() => this.#send(step.from, step.to, step.text, untilMs))
    } else {
      const work = step.does === 'connect' ? () => this.#connect(step.address) : () => this.#disconnect(step.address)
      this.#claims = this.#claims
        .then(work)
        .catch((error: unknown) => this.#voice.failed(`could not ${step.does} ${step.address}: ${because(error)}`))
    }
  }

  async #connect(address: string): Promise<void> {
    if (this.#ending.isRequested) return
    await this.#peer.connectClient(address, message => this.#voice.received(message))
    this.#clients.add(address)
    this.#voice.connected(address)
  }

  async #disconnect(address: string): Promise<void> {
    this.#clients.delete(address)
    this.#voice.disconnected(address, await this.#peer.disconnectClient(address))
  }

  async #send(from: string, to: string, text: string, untilMs: number): Promise<void> {
    const { signal } = this.#ending
    if (signal.aborted) return
    const waitMs = Math.max(0, untilMs - performance.now())
    const deadlineMs = Math.max(answerMsMin, untilMs + answerMs - performance.now())
    // Asked now, because the record may be gone when the message turns out to be undeliverable.
    const holder = this.#holderOf(to)
    const receipt = await this.#peer.sendMessage(to, text, { from, waitMs, deadlineMs, signal })
    if (signal.aborted && receipt.status !== 'delivered') return
    this.receipts.push(receipt)
    if (receipt.status !== 'delivered')
      this.#voice.undelivered(undeliveredLine(to, receipt, (await this.#holderOf(to)) ?? (await holder)))
  }

  /** Undefined also when it cannot be asked: the receipt says more than this look-up. */
  async #holderOf(address: string): Promise<string | undefined> {
    return this.#peer.whereIs(address).then(
      found => found?.identity,
      () => undefined,
    )
  }

  /** Disconnects the clients that are left, and says so; gives up after a while, because a broker or store that is gone must not hold up the end. */
  async end(): Promise<void> {
    const farewells = this.#claims.then(() => Promise.allSettled([...this.#clients].map(address => this.#disconnect(address))))
    const timedOut = await Promise.race([
      farewells.then(() => false),
      new Promise<boolean>(resolve => setTimeout(resolve, farewellMs, true)),
    ])
    if (timedOut)
      this.#voice.failed('the clients could not be unregistered in time; they are absent when the lease of this process is over')
  }
}

/** The seed's words where it had some. */
function undeliveredLine(to: string, { status, code, cause }: Receipt, holder: string | undefined): string {
  if (status === 'absent') return clientNotFound
  const holderGone = (status === 'unreachable' && code !== 'DATASTORE') || status === 'unknown'
  if (holderGone && holder !== undefined) return noLongerAvailable(holder)
  return `Message to ${to} was not delivered: ${status}${cause ? `, ${because(cause)}` : ''}`
}
