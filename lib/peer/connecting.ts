/** Connects of clients until their claims have their answers: all of one call or none, in rows that are written together. */
import { Client, type ClientHandlers, type ClientHost } from '../client.ts'
import type { Env } from '../env/env.ts'
import { homingError, type HomingError } from '../errors.ts'
import { Inbox } from '../router/inbox.ts'
import type { Router } from '../router/router.ts'
import { passing } from '../sessions/deadline.ts'
import type { Claimed, Directory } from '../sessions/directory.ts'

/** When a claim was asked for, and how often this peer had doubted what it holds by then. */
export interface Asked {
  readonly atMs: number
  readonly doubts: number
}

export interface ConnectingSetup {
  readonly env: Env
  readonly router: Pick<Router, 'doubts' | 'inboxHost' | 'reception'>
  readonly directory: Pick<Directory, 'claim' | 'release'>
  /** Throws `REFUSED` where this peer may not hold the address. */
  checkAllowed(address: string): void
  /** The claim of this inbox is written. Called for all of a row in one turn. */
  connected(client: Client, inbox: Inbox, claimed: Claimed, asked: Asked): void
  disconnect(client: Client): Promise<unknown>
  /** A handler threw. */
  handlerFailed(where: string, error: unknown): void
  /** Waits for work that may fail. Never rejects. */
  quietly(what: string, work: PromiseLike<unknown>): Promise<void>
}

/** Claims of one call that are written together: enough to fill a batch, few enough that a call with 100,000 stays small in memory. */
const rowMax = 1_000
/** Rows of one call are in two lanes: while the datastore writes one row, the next is made. */
const staggerMs = 1

export class Connecting {
  readonly #setup: ConnectingSetup
  #lastClaim = 0
  /** Claims that are being written, in rows of consecutive counters; each row resolves with its answer, good or bad. */
  readonly #underWay = new Set<{ from: number; to: number; answer: Promise<void> }>()
  #ended: HomingError | undefined

  constructor(setup: ConnectingSetup) {
    this.#setup = setup
  }

  /** Claims addresses, each given once, for new clients. All or none; in the order of `addresses`. Rejects with a `HomingError`. */
  async connect(addresses: readonly string[], handlers: ClientHandlers, deadlineMs: number): Promise<Client[]> {
    const { env, checkAllowed, disconnect, handlerFailed, quietly } = this.#setup
    for (const address of addresses) checkAllowed(address)
    const untilMs = env.clock.monotonicMs() + deadlineMs
    const host: ClientHost = { handlers, handlerFailed, disconnect }
    const rows: Client[][] = []
    const starts = rowStarts(addresses.length)
    const lane = async (): Promise<void> => {
      // Shared by the lanes: where one of them fails, the others begin no more.
      for (const from of starts) {
        rows[from / rowMax] = await this.#connectRow(addresses.slice(from, from + rowMax), host, untilMs)
      }
    }
    // The second one begins a little later: rows that are written together are answered together, and nothing is made meanwhile.
    const lanes = await Promise.allSettled(addresses.length <= rowMax ? [lane()] : [lane(), passing(env, staggerMs).then(lane)])
    for (const outcome of lanes) {
      if (outcome.status === 'fulfilled') continue
      await quietly('undo', Promise.all(rows.flat().map(client => disconnect(client))))
      throw homingError(outcome.reason, 'DATASTORE', 'the claim could not be written')
    }
    return rows.flat()
  }

  async #connectRow(addresses: readonly string[], host: ClientHost, untilMs: number): Promise<Client[]> {
    const { env, router, directory, connected } = this.#setup
    const { reception } = router
    const asked: Asked = { atMs: env.clock.monotonicMs(), doubts: router.doubts }
    const clients = addresses.map(address => new Client(address, host))
    const inboxes = clients.map(client => this.#inboxFor(client))
    reception.claiming(inboxes)
    let answered!: () => void
    const answer = new Promise<void>(resolve => (answered = resolve))
    const underWay = { from: inboxes[0]!.claim, to: inboxes.at(-1)!.claim, answer }
    this.#underWay.add(underWay)
    try {
      const claimed = await directory.claim(inboxes, untilMs)
      if (this.#ended) throw this.#ended
      this.#checkStillAllowed(inboxes, untilMs)
      claimed.forEach((one, at) => connected(clients[at]!, inboxes[at]!, one, asked))
      return clients
    } catch (error) {
      for (const inbox of inboxes) inbox.close(false)
      throw error
    } finally {
      reception.claimsEnded(inboxes)
      this.#underWay.delete(underWay)
      answered()
    }
  }

  #inboxFor(client: Client): Inbox {
    const inbox = new Inbox(++this.#lastClaim, this.#setup.router.inboxHost, client)
    client.serve(inbox)
    return inbox
  }

  /** The list may have been replaced while the claims were written. */
  #checkStillAllowed(inboxes: readonly Inbox[], untilMs: number): void {
    const { directory, checkAllowed, quietly } = this.#setup
    try {
      for (const { address } of inboxes) checkAllowed(address)
    } catch (error) {
      void quietly('release', directory.release(inboxes, untilMs))
      throw error
    }
  }

  /** Resolves when a claim that is being written has its answer; undefined for one that is not. */
  answerTo(claim: number): Promise<void> | undefined {
    for (const { from, to, answer } of this.#underWay) if (from <= claim && claim <= to) return answer
    return undefined
  }

  /** What is being written is not connected any more, and rejects with `why`. */
  end(why: HomingError): void {
    this.#ended = why
  }
}

function* rowStarts(count: number): Generator<number, void> {
  for (let from = 0; from < count; from += rowMax) yield from
}
