/** Claims, releases and finds sessions on a datastore, for any run: a peer uses it for itself, a broker for its peers. */

import { HomingError } from '../errors.ts'
import type { Datastore, Entry } from '../datastores/datastore.ts'
import { partsOf } from '../datastores/partial-failure.ts'
import type { Env } from '../env/env.ts'
import { BatchedReads } from './batched-reads.ts'
import type { Claimed, Held, Owner, Released, Run } from './directory.ts'
import { NoteBox, type StoredNotes } from './note-box.ts'
import type { Asker } from './operation.ts'
import { decodeOrTell, decodeSession, isUnreadable, Keys, sameRun, type SessionRecord } from './records.ts'
import { SecondLook } from './second-look.ts'
import { SessionOperations } from './session-operations.ts'

/** A session record as it was read. */
export class StoredSession implements SessionRecord {
  readonly address: string
  readonly owner: Owner
  readonly previous: Owner | undefined
  readonly moving: boolean
  readonly #entry: Entry

  constructor(address: string, { owner, previous, moving }: SessionRecord, entry: Entry) {
    this.address = address
    this.owner = owner
    this.previous = previous
    this.moving = moving
    this.#entry = entry
  }

  /** To be written or removed over. */
  get version(): string {
    return this.#entry.version
  }
}

export interface SessionStoreOptions {
  readonly env: Env
  readonly datastore: Datastore
  readonly cluster: string
  /** What failed in the background, where no caller waits: unreadable records, garbage that could not be removed. */
  readonly trouble?: (error: HomingError) => void
}

/** A record that nobody needs any more, as it was read. */
export type Stale = Pick<StoredSession, 'address' | 'version'>

/** Protects a round trip from becoming longer than an operation may take. */
const batchMax = 1_000

/**
 * Operations on one address take effect in the order of the calls; those on different addresses share round trips. Each settles by its
 * `untilMs` (monotonic clock) at the latest and outlasts failures of the datastore until then; afterwards `DATASTORE`. A call that
 * rejects holds nothing: what had been claimed by it is revoked in the background, as soon as the datastore allows, and whoever may have
 * been displaced by it is told by a note to look again.
 */
export class SessionStore implements AsyncDisposable {
  readonly #datastore: Datastore
  readonly #keys: Keys
  readonly #reads: BatchedReads<StoredSession>
  readonly #notes: NoteBox
  readonly #trouble: (error: HomingError) => void
  /** Only where two claims may have been kept at once. */
  readonly #secondLook: SecondLook | undefined
  readonly #operations: SessionOperations
  #ended: HomingError | undefined

  constructor({ env, datastore, cluster, trouble = () => undefined }: SessionStoreOptions) {
    this.#datastore = datastore
    this.#keys = new Keys(cluster)
    this.#reads = new BatchedReads(addresses => this.readBatch(addresses))
    this.#notes = new NoteBox({ env, datastore, keys: this.#keys })
    this.#trouble = trouble
    if (!datastore.promises.atomicPut) {
      this.#secondLook = new SecondLook({
        env,
        read: async addresses => {
          const keys = addresses.map(address => this.#keys.session(address))
          const entries = await datastore.getMany(keys)
          return entries.map((entry, index) => entry && decodeOrTell(keys[index]!, entry.bytes, trouble))
        },
        overtaken: (claim, address, by) => this.#notes.insist(claim, address, by, false, trouble),
      })
    }
    this.#operations = new SessionOperations({
      env,
      datastore,
      keys: this.#keys,
      notes: this.#notes,
      secondLook: this.#secondLook,
      trouble,
    })
  }

  /**
   * Claims addresses for `run`, whoever held them. In the order of `claims`; `previous` is whoever was displaced elsewhere. `asker` is there
   * where they are made for somebody else: once they are not wanted, the call rejects with `LOST`, and where they may not be revoked either, what was
   * written stays until he releases it.
   */
  async claimMany(run: Run, claims: readonly Held[], untilMs: number, asker?: Asker): Promise<Claimed[]> {
    const moved = await this.#operations.call('claim', run, claims, untilMs, asker)
    return moved.map((result, index) => {
      const { previous, overtakenBy } = result.kind === 'claim' ? result : { previous: undefined }
      // An earlier claim of this run is known to its peer; an earlier run of this identity is gone.
      const { address, claim } = claims[index]!
      const claimed = { address, claim, previous: previous?.identity === run.identity ? undefined : previous }
      return overtakenBy && !sameRun(overtakenBy, run) ? { ...claimed, overtakenBy } : claimed
    })
  }

  /** Puts claims back that are missing. In the order of `claims`: who holds the address instead, or `undefined` where it is ours. */
  async reassertMany(run: Run, claims: readonly Held[], untilMs: number): Promise<(Owner | undefined)[]> {
    const isOvertaken = claims.map(held => this.#operations.isOvertaken(run, held))
    const [moved, found] = await Promise.all([
      this.#operations.call(
        'reassert',
        run,
        claims.filter((_, at) => !isOvertaken[at]),
        untilMs,
      ),
      // Not put back; but what is on its way may be so for long, and the run is not to take itself for the owner until then.
      this.readMany(claims.flatMap(({ address }, at) => (isOvertaken[at] ? [address] : []))),
    ])
    const [moves, sessions] = [moved.values(), found.values()]
    return isOvertaken.map(overtaken => {
      if (!overtaken) {
        const result = moves.next().value
        return result?.kind === 'reassert' ? result.by : undefined
      }
      const owner = sessions.next().value?.owner
      return owner && !sameRun(owner, run) ? owner : undefined
    })
  }

  /** Removes what still carries these claims. In the order of `claims`. */
  async releaseMany(run: Run, claims: readonly Held[], untilMs: number): Promise<Released[]> {
    const moved = await this.#operations.call('release', run, claims, untilMs)
    return moved.map(result => (result.kind === 'release' ? result.released : { at: 'absent' }))
  }

  /** Marks what still carries these claims as moving. */
  async markMoving(run: Run, claims: readonly Held[], untilMs: number): Promise<void> {
    await this.#operations.call('moving', run, claims, untilMs)
  }

  /** Reads afresh: what is resolved was read after the call. Rejects with `DATASTORE`, also when the record cannot be read. */
  async read(address: string): Promise<StoredSession | undefined> {
    this.check(address)
    return this.#reads.read(address)
  }

  /** Throws for an address that nobody can hold, before it is gathered with others; and when this has ended. */
  check(address: string): void {
    this.#keys.session(address)
    if (this.#ended) throw this.#ended
  }

  readMany(addresses: readonly string[]): Promise<(StoredSession | undefined)[]> {
    return Promise.all(addresses.map(address => this.read(address)))
  }

  /** Reads addresses that were checked; an error stands for what cannot be read. Rejects with `DATASTORE`. */
  async readBatch(addresses: readonly string[]): Promise<(StoredSession | HomingError | undefined)[]> {
    const keys = addresses.map(address => this.#keys.session(address))
    const entries = await partsOf(this.#datastore.getMany(keys))
    return entries.map((entry, index) => {
      if (!entry || entry instanceof HomingError) return entry
      try {
        return new StoredSession(addresses[index]!, decodeSession(keys[index]!, entry.bytes), entry)
      } catch (error) {
        if (isUnreadable(error)) return error
        throw error
      }
    })
  }

  /** All sessions, live or not; not a snapshot. Unreadable ones are left out. */
  async *list(): AsyncGenerator<StoredSession> {
    let chunk: string[] = []
    for await (const key of this.#datastore.keys(this.#keys.sessions)) {
      chunk.push(key)
      if (chunk.length < batchMax) continue
      yield* await this.#listed(chunk)
      chunk = []
    }
    if (chunk.length > 0) yield* await this.#listed(chunk)
  }

  async #listed(keys: readonly string[]): Promise<StoredSession[]> {
    const entries = await this.#datastore.getMany(keys)
    const sessions: StoredSession[] = []
    for (const [index, entry] of entries.entries()) {
      const key = keys[index]!
      const record = entry && decodeOrTell(key, entry.bytes, this.#trouble)
      if (!record || record === 'unreadable') continue
      sessions.push(new StoredSession(key.slice(this.#keys.sessions.length), record, entry!))
    }
    return sessions
  }

  /** Removes records as they were read; what was written since stays. Resolves to how many went. Rejects with `DATASTORE`. */
  async removeIf(stale: readonly Stale[]): Promise<number> {
    let removed = 0
    for (let from = 0; from < stale.length; from += batchMax) {
      const chunk = stale.slice(from, from + batchMax)
      const went = await this.#datastore.deleteMany(
        chunk.map(({ address, version }) => ({ key: this.#keys.session(address), ifVersion: version })),
      )
      removed += went.filter(Boolean).length
    }
    return removed
  }

  /** Tells a former owner that `by` has the address now. Rejects with `DATASTORE`. */
  leaveNote(to: Owner, address: string, by: Owner): Promise<void> {
    return this.#ended ? Promise.reject(this.#ended) : this.#notes.leave(to, address, by)
  }

  readNotes(identity: string): Promise<StoredNotes | undefined> {
    return this.#notes.read(identity)
  }

  /** Removes notes that were acted upon, unless more came meanwhile. */
  dropNotes(identity: string, read: StoredNotes): Promise<boolean> {
    return this.#notes.drop(identity, read)
  }

  /** The datastore is said to be back: tries again at once. */
  retryNow(): void {
    this.#operations.retryNow()
  }

  /** Ends it: what waits and what is called from now on rejects with `error`. */
  end(error: HomingError): void {
    if (this.#ended) return
    this.#ended = error
    this.#operations.end(error)
    this.#notes.end(error)
    this.#secondLook?.end()
  }

  /** Also waits for what is on its way to the datastore, so that it may be closed afterwards. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.end(new HomingError('CLOSED', 'the session store is closed'))
    await this.#operations.settled()
    await this.#secondLook?.settled()
    await this.#notes.settled()
  }
}
