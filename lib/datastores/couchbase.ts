/** A datastore on a Couchbase bucket: a document a key, in one collection. */

import { randomBytes } from 'node:crypto'
import type { Cluster } from 'couchbase'
import { hostAndPort } from '../env/endpoint.ts'
import { HomingError } from '../errors.ts'
import { type CouchbasePackage, Documents, failureOf, type StoredDocument } from './couchbase-documents.ts'
import { CouchbaseIndex, indexPrefix, type KeyState } from './couchbase-index.ts'
import { type CouchbasePlace, hostText, ofBucket } from './couchbase-url.ts'
import type { Datastore, Entry, PutOptions, Removal, Write } from './datastore.ts'
import { chunkCallsMax, inTurn } from './in-turn.ts'
import { checkKey, checkPut, checkText } from './limits.ts'
import { closedError, within } from './settling.ts'
import { userFrom } from './url-parts.ts'

export interface CouchbaseDatastoreOptions extends CouchbasePlace {
  operationTimeoutMs: number
}

/**
 * Connects, and checks that the collection can be written to as durably as it is asked for. Fails with `DATASTORE` within
 * `operationTimeoutMs`; the caller tries again. Later the client reconnects by itself.
 */
export async function couchbaseDatastore(options: CouchbaseDatastoreOptions): Promise<Datastore> {
  const couchbase = await import('couchbase')
  const { operationTimeoutMs, bucket, scope, collection, durability } = options
  const connecting = connect(couchbase, options).then(async cluster => {
    await openBucket(cluster, bucket)
    return new Documents({
      couchbase,
      cluster,
      collection: cluster.bucket(bucket).scope(scope).collection(collection),
      durability,
      timeoutMs: clientTimeoutMs(operationTimeoutMs),
    })
  })
  const checked = connecting.then(async documents => {
    await checkWriting(couchbase, documents, options)
    return new CouchbaseDatastore(documents, options, await worldOf(documents))
  })
  try {
    return await within(operationTimeoutMs, checked, () => tooLong(operationTimeoutMs))
  } catch (error) {
    // Also what connects when nobody waits for it any more; why it did not connect, is thrown below.
    connecting.then(documents => documents.close()).catch(() => {})
    throw failureOf(couchbase, 'connecting', error, 'not-delivered')
  }
}

/** The client gives up earlier than we do: its error says whether the call was sent. */
function clientTimeoutMs(operationTimeoutMs: number): number {
  return Math.max(1, Math.round(operationTimeoutMs - Math.min(200, operationTimeoutMs / 5)))
}

function connect(couchbase: CouchbasePackage, options: CouchbaseDatastoreOptions): Promise<Cluster> {
  const { hosts, tls, operationTimeoutMs } = options
  const names = hosts.map(({ host, port }) => (port === undefined ? hostText(host) : hostAndPort(host, port))).join(',')
  const ca = process.env['HOMING_STORE_CA']
  const timeoutMs = clientTimeoutMs(operationTimeoutMs)
  return couchbase.connect(`couchbase${tls ? 's' : ''}://${names}`, {
    ...(userFrom(options) ?? { username: '', password: '' }),
    ...(tls && ca !== undefined ? { security: { trustStorePath: ca } } : {}),
    timeouts: {
      kvTimeout: timeoutMs,
      kvDurableTimeout: timeoutMs,
      connectTimeout: timeoutMs,
      bootstrapTimeout: timeoutMs,
      resolveTimeout: timeoutMs,
    },
    // What the client would gather, and write into the application's log. Its report of late answers has to stay: with
    // `enableOrphanReporting: false`, client 4.7.0 ends the process when a connection is lost with calls on it.
    tracingConfig: { enableTracing: false },
    metricsConfig: { enableMetrics: false },
    appTelemetryConfig: { enabled: false },
  })
}

/** As `cluster.bucket` does, which goes on without it and prints to the console where that fails (its issue JSCBC-1011). */
async function openBucket(cluster: Cluster, name: string): Promise<void> {
  const { _openBuckets: open } = cluster as unknown as { _openBuckets: string[] }
  try {
    await new Promise<void>((resolve, reject) => cluster.conn.openBucket(name, error => (error ? reject(error) : resolve())))
    open.push(name)
  } catch (error) {
    await cluster.close()
    throw error
  }
}

/** A durability that cannot be had is told now, not with the first claim. */
async function checkWriting(
  couchbase: CouchbasePackage,
  documents: Documents,
  { bucket, durability }: CouchbaseDatastoreOptions,
): Promise<void> {
  try {
    await documents.upsert(`${indexPrefix}check`, Buffer.of(0))
  } catch (error) {
    const canceled = error instanceof couchbase.RequestCanceledError // by a server that closes the connection on what it does not know
    if (durability !== 'none' && (canceled || isAbout(couchbase, error))) {
      const advice = `bucket '${bucket}' takes no durable writes: as many nodes as half its copies must be up (a single node: no replicas), on Couchbase Server 6.5 or later; durability=none does without`
      throw new HomingError('DATASTORE', `couchbase: ${advice}`, { cause: error })
    }
    throw error
  }
}

/** The name of what the bucket holds: who finds another one, or none, finds another world. */
async function worldOf(documents: Documents): Promise<string> {
  for (;;) {
    await documents.insert(worldId, Buffer.from(randomBytes(12).toString('base64url')))
    const found = await documents.get(worldId)
    if (found) return found.content.toString('latin1')
  }
}

const worldId = `${indexPrefix}world`

/** Whether it is the durability that cannot be had. */
function isAbout(couchbase: CouchbasePackage, error: unknown): boolean {
  const { DurabilityImpossibleError, DurabilityLevelNotAvailableError, FeatureNotAvailableError } = couchbase
  return [DurabilityImpossibleError, DurabilityLevelNotAvailableError, FeatureNotAvailableError].some(
    kind => error instanceof kind,
  )
}

/** A key in a collection other than the bucket's own has four bytes less. */
const keyBytesMaxInCollection = 246

/** A document begins with a byte that says whether the end of a lifetime follows. */
const forEver = 0
const forAWhile = 1
const lifetimeBytes = 8

/** Couchbase removes a document that nobody sees any more by its own clock: some time later, so that ours decides. */
const expiryMarginSeconds = 60
const expirySecondsMax = 40 * 365 * 86_400

class CouchbaseDatastore implements Datastore {
  readonly promises: Datastore['promises']
  readonly #documents: Documents
  readonly #index: CouchbaseIndex
  readonly #timeoutMs: number
  readonly #ofBucket: boolean
  readonly #calls = new Set<Promise<unknown>>()
  readonly #lossListeners: (() => void)[] = []
  #world: string
  #closing: Promise<void> | undefined

  constructor(documents: Documents, options: CouchbaseDatastoreOptions, world: string) {
    const { durability, scope, collection, operationTimeoutMs } = options
    // With `majority` it depends on the bucket's replicas, which no operation on documents tells.
    const durable = durability === 'majorityAndPersistToActive' || durability === 'persistToMajority'
    this.promises = { atomicPut: true, durable, shared: true }
    this.#documents = documents
    this.#index = new CouchbaseIndex(documents)
    this.#timeoutMs = operationTimeoutMs
    this.#world = world
    this.#ofBucket = scope === ofBucket && collection === ofBucket
  }

  async get(key: string): Promise<Entry | undefined> {
    const [entry] = await this.getMany([key])
    return entry
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    for (const key of keys) this.#checkKey(key)
    return this.#reading(async () => {
      const found = await this.#storedMany(keys)
      if (found.includes(undefined)) await this.#checkWorld()
      return found.map(liveOf).map(entryOf)
    })
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    const [version] = await this.putMany([{ ...options, key, bytes }])
    return version
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const write of writes) {
      this.#checkKey(write.key)
      checkPut(write.key, write)
    }
    // At the call: what the caller does with the bytes later is not stored.
    const taken = writes.map(({ key, bytes, ifVersion, ttlMs }) => ({
      key,
      ifVersion,
      ttlMs,
      content: encode(bytes, ttlMs),
      bytes,
    }))
    return this.#writing(taken, true, (write, check) => this.#put(write, check))
  }

  async delete(key: string, options: { ifVersion?: string } = {}): Promise<boolean> {
    const [gone] = await this.deleteMany([{ ...options, key }])
    return gone!
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    for (const { key } of removals) this.#checkKey(key)
    return this.#writing(removals, false, (removal, check) => this.#remove(removal, check))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    checkText(prefix)
    const listing = this.#index.list(prefix, async keys => (await this.#storedMany(keys)).map(stateOf))
    // Each step by itself: the listing as a whole may take longer than an operation.
    for (;;) {
      const next = await this.#reading(() => listing.next())
      if (next.done) return
      yield next.value
    }
  }

  /** Told before anything reads as absent for it; of a fail-over that lost only the latest writes, nothing is known. */
  onLoss(lost: () => void): void {
    this.#lossListeners.push(lost)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Calls under way get their answers first, each within its time. */
  async #close(): Promise<void> {
    await Promise.allSettled(this.#calls)
    await this.#documents.close()
  }

  /** What is not there may have been lost with everything else. */
  async #checkWorld(): Promise<void> {
    const found = await this.#documents.get(worldId)
    if (found?.content.toString('latin1') === this.#world) return
    const world = await worldOf(this.#documents)
    if (world === this.#world) return // somebody was faster, and told
    this.#world = world
    this.#index.forget()
    for (const lost of this.#lossListeners) lost()
  }

  #checkKey(key: string): void {
    checkKey(key)
    if (key.startsWith(indexPrefix)) throw new HomingError('BAD_OPTION', `couchbase: no key begins with '${indexPrefix}'`)
    if (!this.#ofBucket && Buffer.byteLength(key) > keyBytesMaxInCollection)
      throw new HomingError('BAD_OPTION', `couchbase: a key of a collection has at most ${keyBytesMaxInCollection} bytes`)
  }

  async #storedMany(keys: readonly string[]): Promise<(Stored | undefined)[]> {
    const found: (Stored | undefined)[] = []
    for (let from = 0; from < keys.length; from += chunkCallsMax) {
      const chunk = keys.slice(from, from + chunkCallsMax)
      found.push(...(await Promise.all(chunk.map(key => this.#stored(key)))))
    }
    return found
  }

  async #stored(key: string): Promise<Stored | undefined> {
    const document = await this.#documents.get(key)
    return document && decode(document)
  }

  async #put({ key, ifVersion, ttlMs, content }: Taken, check: () => void): Promise<string | undefined> {
    const expiry = expirySeconds(ttlMs)
    if (ifVersion === undefined) return versionOf(await this.#documents.upsert(key, content, expiry), ttlMs)
    if (ifVersion !== null) {
      const cas = await this.#casOf(key, ifVersion)
      check()
      return cas === undefined ? undefined : versionOf(await this.#documents.replace(key, content, cas, expiry), ttlMs)
    }
    for (;;) {
      const inserted = await this.#documents.insert(key, content, expiry)
      if (inserted !== undefined) return versionOf(inserted, ttlMs)
      const found = await this.#stored(key)
      if (liveOf(found)) return undefined
      check()
      // What nobody can see any more is no obstacle, and may be written over as it is.
      const replaced = found && (await this.#documents.replace(key, content, found.cas, expiry))
      if (replaced !== undefined) return versionOf(replaced, ttlMs)
      check()
    }
  }

  async #remove({ key, ifVersion }: Removal, check: () => void): Promise<boolean> {
    if (ifVersion === undefined) {
      await this.#documents.remove(key)
      return true
    }
    const cas = await this.#casOf(key, ifVersion)
    check()
    return cas !== undefined && (await this.#documents.remove(key, cas)) !== undefined
  }

  /** The number to compare with; `undefined` where it cannot hold, as far as Couchbase does not see to it: it knows our lifetimes roughly. */
  async #casOf(key: string, version: string): Promise<string | undefined> {
    const read = readVersion(version)
    if (!read?.lapses) return read?.cas
    const found = entryOf(liveOf(await this.#stored(key)))
    return found?.version === version ? read.cas : undefined
  }

  // How calls end

  async #reading<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing) throw closedError('couchbase')
    try {
      return await this.#inTime(work())
    } catch (error) {
      throw this.#documents.failureOf('reading', error, 'not-delivered')
    }
  }

  async #inTime<T>(work: Promise<T>): Promise<T> {
    const call = within(this.#timeoutMs, work, () => tooLong(this.#timeoutMs))
    this.#calls.add(call)
    try {
      return await call
    } finally {
      this.#calls.delete(call)
    }
  }

  /** Each by itself, in the order of `all`; `making` keys that may not have been there. */
  async #writing<O extends { key: string; bytes?: Uint8Array }, R>(
    all: readonly O[],
    making: boolean,
    work: (one: O, check: () => void) => Promise<R>,
  ): Promise<R[]> {
    if (this.#closing) throw closedError('couchbase')
    const untilMs = performance.now() + this.#timeoutMs
    const check = (): void => {
      if (performance.now() > untilMs) throw tooLong(this.#timeoutMs)
    }
    const listed = making ? this.#index.add(all.map(({ key }) => key)) : undefined
    const write = async (one: O): Promise<R> => {
      await listed?.get(one.key)
      check()
      return work(one, check)
    }
    try {
      return await this.#inTime(inTurn(all, check, write))
    } catch (error) {
      throw this.#documents.failureOf('writing', error, all.length === 1 ? undefined : 'unknown')
    }
  }
}

/** A write whose bytes are our own. */
interface Taken {
  readonly key: string
  readonly content: Buffer
  readonly ifVersion: string | null | undefined
  readonly ttlMs: number | undefined
}

interface Stored {
  readonly bytes: Uint8Array
  readonly cas: string
  /** When it ends, by the wall clock of who wrote it; absent: never. */
  readonly untilMs: number | undefined
}

function encode(bytes: Uint8Array, ttlMs: number | undefined): Buffer {
  const head = 1 + (ttlMs === undefined ? 0 : lifetimeBytes)
  const content = Buffer.allocUnsafe(head + bytes.length)
  content[0] = ttlMs === undefined ? forEver : forAWhile
  if (ttlMs !== undefined) content.writeDoubleBE(Date.now() + ttlMs, 1)
  content.set(bytes, head)
  return content
}

function decode({ content, cas }: StoredDocument): Stored {
  const kind = content[0]
  const head = 1 + (kind === forAWhile ? lifetimeBytes : 0)
  if ((kind !== forEver && kind !== forAWhile) || content.length < head) throw new Error('a key holds what Homing did not write')
  const untilMs = kind === forAWhile ? content.readDoubleBE(1) : undefined
  return { bytes: new Uint8Array(content.subarray(head)), cas, untilMs }
}

function liveOf(stored: Stored | undefined): Stored | undefined {
  return stateOf(stored) === 'live' ? stored : undefined
}

function stateOf(stored: Stored | undefined): KeyState {
  if (!stored) return 'absent'
  return stored.untilMs === undefined || Date.now() < stored.untilMs ? 'live' : 'lapsed'
}

function entryOf(stored: Stored | undefined): Entry | undefined {
  return stored && { bytes: stored.bytes, version: versionOf(stored.cas, stored.untilMs)! }
}

/** A version is the number that Couchbase gave the writing (its hybrid clock: it gives none twice), and whether it may lapse. */
function versionOf(cas: string | undefined, lifetime: number | undefined): string | undefined {
  return cas === undefined || lifetime === undefined ? cas : `${cas}t`
}

/** `undefined` for a text that is no version. Zero is none either: to Couchbase it means any. */
function readVersion(text: string): { cas: string; lapses: boolean } | undefined {
  const [, cas, t] = /^([1-9]\d{0,19})(t?)$/.exec(text) ?? []
  return cas === undefined || BigInt(cas) >= 2n ** 64n ? undefined : { cas, lapses: t === 't' }
}

function expirySeconds(ttlMs: number | undefined): number {
  return ttlMs === undefined ? 0 : Math.min(Math.ceil(ttlMs / 1_000) + expiryMarginSeconds, expirySecondsMax)
}

function tooLong(timeoutMs: number): Error {
  return new Error(`no answer within ${timeoutMs} ms`)
}
