/** One message to every client of every peer: one copy a peer, which gives it to each of its clients. */
import type { Access } from './access/access.ts'
import { HomingError, homingError, type ErrorCode } from './errors.ts'
import type { Encoded } from './router/frame-body.ts'
import { BytesMessage, messageId, originOf, type Sender } from './router/message.ts'
import type { Router } from './router/router.ts'
import type { Directory, Member, Run } from './sessions/directory.ts'
import { isCount } from './wire/count.ts'

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
  /** Clients to whose address the sender may not send, by the allow-list there; absent: none. */
  refused?: number
  /**
   * Why the peer did not answer: `UNREACHABLE` (it was not reached), `TIMEOUT` or `LOST` (it may have been); `TOO_LARGE` or `UNENCODABLE`
   * at every peer: the body cannot be sent.
   */
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

type Counts = Pick<BroadcastAtPeer, 'reached' | 'full' | 'refused'>
const none: Readonly<Counts> = { reached: 0, full: 0 }

interface Packed {
  copy: Copy
  /** The copy as the body of a call. */
  encoded: Encoded
}

export class Broadcasts {
  readonly #self: Run
  readonly #router: Router
  readonly #directory: Directory
  readonly #access: Access
  #lastNumber = 0

  constructor(self: Run, router: Router, directory: Directory, access: Access) {
    this.#self = self
    this.#router = router
    this.#directory = directory
    this.#access = access
    router.serveProtocol(protocol, {
      call: (from, body) => this.#spread(from, this.#router.voucherOf(from), this.#readCopy(body)),
    })
  }

  async send(body: unknown, { from = '', own = false, ...options }: BroadcastOptions): Promise<BroadcastResult> {
    const number = ++this.#lastNumber
    const packed = this.#pack(from, number, body)
    const givenMs = options.deadlineMs ?? this.#router.deadlineMs
    const deadlineAtMs = this.#router.nowMs() + givenMs
    const members = await this.#members(givenMs)
    const peers = members.filter(({ role, identity }) => role === 'peer' && (own || identity !== this.#self.identity))
    const deadlineMs = Math.max(0, deadlineAtMs - this.#router.nowMs())
    const results = await Promise.all(peers.map(member => this.#sendTo(member, packed, { ...options, deadlineMs })))
    results.sort((a, b) => (a.identity < b.identity ? -1 : 1))
    const reached = results.reduce((sum, result) => sum + result.reached, 0)
    return { id: this.#id(this.#self, number), reached, peers: results }
  }

  /** Encoded once, for all of them; or why it cannot be. */
  #pack(from: string, number: number, body: unknown): Packed | HomingError {
    try {
      const copy: Copy = { from, number, bytes: this.#router.encode(body).bytes }
      return { copy, encoded: this.#router.encode(copy) }
    } catch (error) {
      return homingError(error, 'UNENCODABLE', 'the body could not be encoded')
    }
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
    packed: Packed | HomingError,
    options: Pick<BroadcastOptions, 'deadlineMs' | 'signal'>,
  ): Promise<BroadcastAtPeer> {
    const { identity } = member
    if (packed instanceof HomingError) return { ...none, identity, code: packed.code, cause: packed }
    if (identity === this.#self.identity) return { identity, ...this.#spread(this.#self, undefined, packed.copy) }
    try {
      return { identity, ...readCounts(await this.#router.call(member, protocol, packed.encoded, options)) }
    } catch (error) {
      const cause = homingError(error, 'UNREACHABLE', `${identity} was not reached`)
      return { ...none, identity, code: cause.code, cause }
    }
  }

  /** To each client whose address `from` may send to. */
  #spread(from: Run, vouchedBy: string | undefined, copy: Copy): Counts {
    const bytes = Buffer.from(copy.bytes)
    const sender: Sender = { identity: from.identity, origin: broadcastOrigin(from), vouchedBy }
    const may = this.#access.isOn ? this.#access.of(from.identity) : undefined
    const via = from.incarnation === this.#self.incarnation ? 'local' : this.#router.via
    const counts: Counts = { ...none }
    const message = new BytesMessage(copy.from, '', bytes, 0, bytes.length, sender, copy.number, via, undefined)
    for (const inbox of [...this.#router.reception.inboxes()]) {
      if (may && !may.may('send', inbox.address)) counts.refused = (counts.refused ?? 0) + 1
      else if (inbox.offer(message.copyTo(inbox.address))) counts.reached++
      else counts.full++
    }
    return counts
  }

  /** The body in it is decoded by clients: it is checked as one that comes in a message. Throws `REFUSED`. */
  #readCopy(body: unknown): Copy {
    const { from, number, bytes } = (body ?? {}) as Partial<Copy>
    const fine = typeof from === 'string' && Number.isSafeInteger(number) && bytes instanceof Uint8Array
    if (!fine || !this.#router.isBody(bytes)) throw new HomingError('REFUSED', 'not a message of broadcast/1')
    return { from, number: number!, bytes }
  }

  #id(run: Run, number: number): string {
    return messageId(broadcastOrigin(run), number)
  }
}

/** Broadcasts are counted apart from sends. */
function broadcastOrigin(run: Run): string {
  return `${originOf(run)}/broadcast`
}

/** As another peer counted. Throws `REMOTE`. */
function readCounts(answer: unknown): Counts {
  const { reached, full, refused = 0 } = (answer ?? {}) as Partial<Record<keyof Counts, unknown>>
  if (!isCount(reached) || !isCount(full) || !isCount(refused)) throw new HomingError('REMOTE', 'not an answer of broadcast/1')
  return { reached, full, ...(refused > 0 && { refused }) }
}
