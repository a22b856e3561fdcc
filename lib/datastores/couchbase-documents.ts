/** The documents of one Couchbase collection as plain bytes, where "it is not there" and "it is another" are answers. */

import type { Cluster, Collection } from 'couchbase'
import { HomingError, type Outcome } from '../errors.ts'
import type { CouchbaseDurability } from './couchbase-url.ts'
import { closedError } from './settling.ts'

export type CouchbasePackage = typeof import('couchbase')

export interface StoredDocument {
  readonly content: Buffer
  /** The number that Couchbase gave this writing. */
  readonly cas: string
}

export interface DocumentsOptions {
  readonly couchbase: CouchbasePackage
  readonly cluster: Cluster
  readonly collection: Collection
  readonly durability: CouchbaseDurability
  /** The longest that one operation may take, ms. */
  readonly timeoutMs: number
}

/** Flags that tell programs in other languages that these are bytes, not JSON. */
const binaryFlags = 3 << 24
const transcoder = { encode: (value: Buffer): [Buffer, number] => [value, binaryFlags], decode: (bytes: Buffer): Buffer => bytes }

/** Calls reject with the client's own errors; `failureOf` makes ours of them. */
export class Documents {
  readonly #options: DocumentsOptions
  readonly #level: number
  /** What has been sent and not answered. */
  readonly #pending = new Set<Promise<unknown>>()
  #closed = false

  constructor(options: DocumentsOptions) {
    this.#options = options
    this.#level = levelOf(options.couchbase, options.durability)
  }

  async get(id: string): Promise<StoredDocument | undefined> {
    const { couchbase, collection, timeoutMs } = this.#options
    try {
      const { content, cas } = await this.#sent(() => collection.get(id, { transcoder, timeout: timeoutMs }))
      return { content: content as Buffer, cas: cas.toString() }
    } catch (error) {
      if (error instanceof couchbase.DocumentNotFoundError) return undefined
      throw error
    }
  }

  /** Resolves to `undefined` where there is one already. */
  insert(id: string, content: Buffer, expirySeconds = 0): Promise<string | undefined> {
    const { couchbase, collection } = this.#options
    return this.#unless(couchbase.DocumentExistsError, () =>
      collection.insert(id, content, { transcoder, expiry: expirySeconds, ...this.#writing() }),
    )
  }

  async upsert(id: string, content: Buffer, expirySeconds = 0): Promise<string> {
    const { collection } = this.#options
    const { cas } = await this.#sent(() =>
      collection.upsert(id, content, { transcoder, expiry: expirySeconds, ...this.#writing() }),
    )
    return cas.toString()
  }

  /** Resolves to `undefined` where it is of another writing, or not there. */
  replace(id: string, content: Buffer, cas: string, expirySeconds = 0): Promise<string | undefined> {
    const { collection } = this.#options
    return this.#unless(undefined, () =>
      collection.replace(id, content, { transcoder, cas, expiry: expirySeconds, ...this.#writing() }),
    )
  }

  /** Adds to the end; resolves to `undefined` where there is none. */
  append(id: string, content: Buffer): Promise<string | undefined> {
    return this.#unless(undefined, () => this.#options.collection.binary().append(id, content, this.#writing()))
  }

  /** Resolves to `undefined` where it is of another writing, or not there. */
  remove(id: string, cas?: string): Promise<string | undefined> {
    return this.#unless(undefined, () =>
      this.#options.collection.remove(id, { ...(cas === undefined ? {} : { cas }), ...this.#writing() }),
    )
  }

  /** Ends the connections, once what was sent is answered or late: the client ends the process of a thread that ends before. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#pending)
    await this.#options.cluster.close()
  }

  /** A failed call as ours: what is known of its effect included. */
  failureOf(what: string, cause: unknown, outcome?: Outcome): HomingError {
    return failureOf(this.#options.couchbase, what, cause, outcome)
  }

  #writing(): { durabilityLevel?: number; timeout: number } {
    const { timeoutMs } = this.#options
    return this.#level === 0 ? { timeout: timeoutMs } : { timeout: timeoutMs, durabilityLevel: this.#level }
  }

  async #unless(
    other: (new () => Error) | undefined,
    send: () => Promise<{ cas: { toString(): string } }>,
  ): Promise<string | undefined> {
    const { CasMismatchError, DocumentNotFoundError } = this.#options.couchbase
    try {
      return (await this.#sent(send)).cas.toString()
    } catch (error) {
      if (other ? error instanceof other : error instanceof CasMismatchError || error instanceof DocumentNotFoundError)
        return undefined
      throw error
    }
  }

  async #sent<T>(send: () => Promise<T>): Promise<T> {
    if (this.#closed) throw closedError('couchbase')
    const answer = send()
    this.#pending.add(answer)
    try {
      return await answer
    } finally {
      this.#pending.delete(answer)
    }
  }
}

function levelOf({ DurabilityLevel }: CouchbasePackage, durability: CouchbaseDurability): number {
  switch (durability) {
    case 'none':
      return DurabilityLevel.None
    case 'majority':
      return DurabilityLevel.Majority
    case 'majorityAndPersistToActive':
      return DurabilityLevel.MajorityAndPersistOnMaster
    case 'persistToMajority':
      return DurabilityLevel.PersistToMajority
  }
}

/** `outcome` absent: what the client's error says of a single write. Others than those listed may have been done. */
export function failureOf(couchbase: CouchbasePackage, what: string, cause: unknown, outcome?: Outcome): HomingError {
  if (cause instanceof HomingError) return cause
  const because = cause instanceof Error ? cause.message || cause.constructor.name : String(cause)
  return new HomingError('DATASTORE', `couchbase: ${what} failed: ${because}`, {
    cause,
    outcome: outcome ?? (neverDone(couchbase, cause) ? 'not-delivered' : 'unknown'),
  })
}

/** It was never sent, or a node refused it. */
export function neverDone(couchbase: CouchbasePackage, error: unknown): boolean {
  return [
    couchbase.AuthenticationFailureError,
    couchbase.BucketNotFoundError,
    couchbase.CollectionNotFoundError,
    couchbase.DocumentLockedError,
    couchbase.DurabilityImpossibleError,
    couchbase.DurabilityLevelNotAvailableError,
    couchbase.DurableWriteInProgressError,
    couchbase.FeatureNotAvailableError,
    couchbase.InvalidArgumentError,
    couchbase.ScopeNotFoundError,
    couchbase.TemporaryFailureError,
    couchbase.UnambiguousTimeoutError,
    couchbase.UnsupportedOperationError,
    couchbase.ValueTooLargeError,
  ].some(kind => error instanceof kind)
}
