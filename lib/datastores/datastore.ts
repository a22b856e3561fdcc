/** The small interface behind which every datastore stands. */

/** Bytes, and the version they were written as: opaque, never used twice for a key; only equality may be asked of it. */
export interface Entry {
  readonly bytes: Uint8Array
  readonly version: string
}

export interface PutOptions {
  /** Forget the entry this long after the write, ms. Absent: keep it. */
  ttlMs?: number
  /** Write only over this version; `null` means "only if absent". Absent: always write. */
  ifVersion?: string | null
}

/** One write of a batch. */
export interface Write extends PutOptions {
  key: string
  bytes: Uint8Array
}

/** One removal of a batch. */
export interface Removal {
  key: string
  /** Remove only this version. Absent: whatever is there. */
  ifVersion?: string
}

/** What an engine can promise and what it cannot; docs/datastores.md says it in sentences. */
export interface Promises {
  /** `ifVersion` decides between writers on different machines, at once. */
  readonly atomicPut: boolean
  /** What was acknowledged survives a crash of the engine's machine. */
  readonly durable: boolean
  /** Other processes see it. */
  readonly shared: boolean
}

/**
 * What two values become that were written under one key at the same time, where an engine keeps both: see docs/datastores.md, "Riak".
 * Commutative, associative, idempotent: whoever merges which of them first, all see the same. Never throws.
 */
export type Merge = (key: string, a: Uint8Array, b: Uint8Array) => Uint8Array

/**
 * What only an engine with sessions of its own can tell; everything works without it, a little later. Duties: both go on over outages
 * by themselves until they are disposed of, and neither rejects. What they tell is a hint to look, never a verdict.
 */
export interface Presence {
  /**
   * Keeps an empty entry under `key` while this process lives: the engine removes it by itself soon after the process has ended, and
   * the driver puts it back whenever it is gone for another reason. Disposal removes it.
   */
  show(key: string): AsyncDisposable
  /**
   * Calls `changed` soon after a key with `prefix` came or went (not: was written over), and when one may have done so unseen: a listing
   * that begins then shows it. `prefix` is that of a kind of records: `homing:<cluster>:<kind>:`.
   */
  watch(prefix: string, changed: () => void): AsyncDisposable
}

/**
 * A map from key to bytes, shared by the peers of a cluster. Duties of a driver, each a statement of lib/testing/contract:
 * keys are UTF-8 text of 1 to 250 bytes, values 0 bytes to 1 MiB (limits.ts); an absent or forgotten key reads as `undefined`, never as an
 * error; every call settles within `operationTimeoutMs`; a failing engine rejects with `HomingError` `DATASTORE`, its client's error
 * as `cause`; a driver retries nothing by itself that could be done twice, and recovers when the engine is back without being reopened;
 * after disposal every call rejects with `CLOSED` and nothing of the driver keeps the process alive.
 */
export interface Datastore extends AsyncDisposable {
  readonly promises: Promises
  readonly presence?: Presence | undefined
  get(key: string): Promise<Entry | undefined>
  /** In the order of the keys; one round trip where the engine can. Fails as a whole, perhaps with a `PartialFailure`. */
  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]>
  /** Resolves to the new version, or to `undefined` when `ifVersion` did not hold. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string | undefined>
  /**
   * Each write by itself as `put` would, in one round trip where the engine can; not atomic as a whole. Resolves in the order of the
   * writes; rejects if the outcome of any one is not known: then each may or may not have happened, unless a `PartialFailure` says more.
   */
  putMany(writes: readonly Write[]): Promise<(string | undefined)[]>
  /** Resolves to false when `ifVersion` did not hold (which includes: nothing is there); without `ifVersion` always to true. */
  delete(key: string, options?: { ifVersion?: string }): Promise<boolean>
  /** Each removal by itself as `delete` would. */
  deleteMany(removals: readonly Removal[]): Promise<boolean[]>
  /** Live keys with the prefix, each once, in no promised order; not a snapshot. */
  keys(prefix: string): AsyncIterable<string>
  /**
   * `lost` is called, from now on until disposal, whenever entries that were acknowledged may be gone or older than they were: a server is
   * back after a crash, or another one has taken over; before an answer of that server is given to anybody. Once too often does no harm.
   * Absent: the engine keeps what it acknowledged.
   */
  onLoss?(lost: () => void): void
}
