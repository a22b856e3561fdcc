/** One message to every client of every peer: one copy a peer, which gives it to each of its clients. */
import { HomingError, homingError, type ErrorCode } from './errors.ts'
import { Encoded } from './router/frame-body.ts'
import { BytesMessage, messageId, originOf } from './router/message.ts'
import type { Router } from './router/router.ts'
import type { Directory, Member, Run } from './sessions/directory.ts'
import { encodeBody } from './wire/body.ts'

const protocol = 'broadcast/1'

export interface BroadcastOptions {
  /** The address of this peer's client that sends. */
  from?: string
  /** Also to this peer's own clients. */
  own?: boolean
  deadlineMs?: number
  signal?: AbortSignal
}

/** What became of a broadcast at one peer. */
export interface BroadcastAtPeer {
  identity: string
  /** Clients whose inbox took it. */
  reached: number
  /** Clients whose inbox was full. */
  full: number
  /** Why the peer did not answer: `UNREACHABLE` (it was not reached), `TIMEOUT` or `LOST` (it may have been). */
  code?: ErrorCode
  cause?: HomingError
}

export interface BroadcastResult {
  id: string
  /** Clients reached, of all peers that answered. */
  reached: number
  /** One entry a member, in the order of their identities. */
  peers: BroadcastAtPeer[]
}

interface Copy {
  from: string
  number: number
  bytes: Uint8Array
}

export class Broadcasts {
  readonly #self: Run
  readonly #router: Router
  readonly #directory: Directory
  #lastNumber = 0

  constructor(self: Run, router: Router, directory: Directory) {
    this.#self = self
    this.#router = router
    this.#directory = directory
    router.serveProtocol(protocol, { call: (from, body) => this.#spread(from, readCopy(body)) })
  }

  async send(body: unknown, { from = '', own = false, ...options }: BroadcastOptions): Promise<BroadcastResult> {
    const copy: Copy = { from, number: ++this.#lastNumber, bytes: encodeBody(body) }
    const givenMs = options.deadlineMs ?? this.#router.deadlineMs
    const deadlineAtMs = this.#router.nowMs() + givenMs
    const members = await this.#members(givenMs)
    const peers = members.filter(({ role, identity }) => role === 'peer' && (own || identity !== this.#self.identity))
    const deadlineMs = Math.max(0, deadlineAtMs - this.#router.nowMs())
    const encoded = new Encoded(encodeBody(copy)) // once, for all of them
    const results = await Promise.all(peers.map(member => this.#sendTo(member, copy, encoded, { ...options, deadlineMs })))
    results.sort((a, b) => (a.identity < b.identity ? -1 : 1))
    const reached = results.reduce((sum, result) => sum + result.reached, 0)
    return { id: this.#id(this.#self, copy.number), reached, peers: results }
  }

  /** Read afresh, so that who has just joined is reached; those that are known where that takes half of the time, or fails. */
  #members(deadlineMs: number): Promise<readonly Member[]> {
    return new Promise((resolve, reject) => {
      const known = (): void => resolve(this.#directory.members())
      const timer = this.#router.after(deadlineMs / 2, known)
      this.#directory.readMembers().then(
        members => {
          timer.cancel()
          resolve(members)
        },
        (error: unknown) => {
          timer.cancel()
          if (error instanceof HomingError && error.code === 'DATASTORE') known()
          else reject(error as Error)
        },
      )
    })
  }

  async #sendTo(
    member: Member,
    copy: Copy,
    encoded: Encoded,
    options: Pick<BroadcastOptions, 'deadlineMs' | 'signal'>,
  ): Promise<BroadcastAtPeer> {
    const { identity } = member
    if (identity === this.#self.identity) return { identity, ...this.#spread(this.#self, copy) }
    try {
      const answer = (await this.#router.call(member, protocol, encoded, options)) as { reached: number; full: number }
      return { identity, reached: Number(answer.reached), full: Number(answer.full) }
    } catch (error) {
      const cause = homingError(error, 'UNREACHABLE', `${identity} was not reached`)
      return { identity, reached: 0, full: 0, code: cause.code, cause }
    }
  }

  #spread(from: Run, copy: Copy): { reached: number; full: number } {
    const bytes = Buffer.from(copy.bytes)
    const origin = broadcastOrigin(from)
    const via = from.incarnation === this.#self.incarnation ? 'local' : this.#router.via
    let reached = 0
    let full = 0
    const message = new BytesMessage(copy.from, '', bytes, 0, bytes.length, origin, copy.number, via, undefined)
    for (const inbox of [...this.#router.reception.inboxes()]) {
      if (inbox.offer(message.copyTo(inbox.address))) reached++
      else full++
    }
    return { reached, full }
  }

  #id(run: Run, number: number): string {
    return messageId(broadcastOrigin(run), number)
  }
}

/** Broadcasts are counted apart from sends. */
function broadcastOrigin(run: Run): string {
  return `${originOf(run)}/broadcast`
}

function readCopy(body: unknown): Copy {
  const { from, number, bytes } = body as Copy
  if (typeof from !== 'string' || !Number.isSafeInteger(number) || !(bytes instanceof Uint8Array)) {
    throw new HomingError('REFUSED', 'not a message of broadcast/1')
  }
  return { from, number, bytes }
}
