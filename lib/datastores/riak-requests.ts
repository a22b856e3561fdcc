/** What is asked of a Riak cluster: one method a request, in the words of the driver; the messages are those of the official client. */

import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
import type { BucketProps } from 'basho-riak-client/lib/commands/kv/fetchbucketprops.js'
import type { Fetched } from 'basho-riak-client/lib/commands/kv/fetchvalue.js'
import type RiakObject from 'basho-riak-client/lib/commands/kv/riakobject.js'
import type { Indexed } from 'basho-riak-client/lib/commands/kv/secondaryindexquery.js'
import type { Stored } from 'basho-riak-client/lib/commands/kv/storevalue.js'
import { HomingError } from '../errors.ts'
import { RiakNodes } from './riak-nodes.ts'
import { headText, rangeOf, readHead, termText, type Found, type Sibling } from './riak-siblings.ts'
import type { RiakPlace } from './riak-url.ts'

export interface RiakRequestsOptions extends RiakPlace {
  readonly operationTimeoutMs: number
}

/** A value to be stored. */
export interface Storing {
  readonly key: string
  readonly sibling: Sibling
  /** Of what it is written over; absent: it is not known, or there is nothing. */
  readonly vclock?: Buffer
  /** `absent`: only where nothing is; `unchanged`: only if `vclock` is still that of what is there. Judged by Riak, and then written. */
  readonly only?: 'absent' | 'unchanged'
}

/** One page of the index. */
export interface IndexPage {
  readonly rows: readonly { readonly key: string; readonly term: string }[]
  /** Where the next one begins; `undefined`: there is none. */
  readonly next: Buffer | undefined
}

/** Riak answered that it will not do it. */
export class Refusal extends Error {
  override readonly name = 'Refusal'
}

const indexName = 'homing_bin'
const headName = 'homing'
const pageRows = 1_000

/** The client's messages; each file by itself, see basho-riak-client.d.ts. */
async function loadClient() {
  const [protocol, ping, object, fetch, store, remove, page, list, props, setProps] = await Promise.all([
    import('basho-riak-client/lib/protobuf/riakprotobuf.js'),
    import('basho-riak-client/lib/commands/ping.js'),
    import('basho-riak-client/lib/commands/kv/riakobject.js'),
    import('basho-riak-client/lib/commands/kv/fetchvalue.js'),
    import('basho-riak-client/lib/commands/kv/storevalue.js'),
    import('basho-riak-client/lib/commands/kv/deletevalue.js'),
    import('basho-riak-client/lib/commands/kv/secondaryindexquery.js'),
    import('basho-riak-client/lib/commands/kv/listkeys.js'),
    import('basho-riak-client/lib/commands/kv/fetchbucketprops.js'),
    import('basho-riak-client/lib/commands/kv/storebucketprops.js'),
  ])
  return {
    protocol: protocol.default,
    Ping: ping.default,
    RiakObject: object.default,
    FetchValue: fetch.default,
    StoreValue: store.default,
    DeleteValue: remove.default,
    SecondaryIndexQuery: page.default,
    ListKeys: list.default,
    FetchBucketProps: props.default,
    StoreBucketProps: setProps.default,
  }
}

/** Every method rejects with `HomingError` `DATASTORE`, or with `Refusal`. `untilMs` is by the clock of `performance`. */
export class RiakRequests {
  readonly #client: Awaited<ReturnType<typeof loadClient>>
  readonly #nodes: RiakNodes
  readonly #place: { readonly bucketType: string; readonly bucket: string }

  private constructor(client: Awaited<ReturnType<typeof loadClient>>, options: RiakRequestsOptions) {
    this.#client = client
    this.#place = { bucketType: options.bucketType, bucket: options.bucket }
    this.#nodes = new RiakNodes({
      places: options.nodes,
      protocol: client.protocol,
      ping: () => new client.Ping(() => {}), // that it was answered is all there is to know
      timeoutMs: options.operationTimeoutMs,
    })
  }

  static async load(options: RiakRequestsOptions): Promise<RiakRequests> {
    return new RiakRequests(await loadClient(), options)
  }

  /** Resolves when the first node answers. */
  start(): Promise<void> {
    return this.#nodes.start()
  }

  close(): Promise<void> {
    return this.#nodes.close()
  }

  /** What is under the key; with `headOnly` without the bytes. */
  async fetch(key: string, untilMs: number, headOnly: boolean): Promise<Found> {
    const { vclock, values } = await this.#read<Fetched>(untilMs, callback => {
      const options = { ...this.#under(key), notFoundOk: true, returnDeletedVClock: true, headOnly, timeout: leftMs(untilMs) }
      return new this.#client.FetchValue(options, callback)
    })
    return { vclock: vclock ?? undefined, siblings: values.flatMap(siblingOf) }
  }

  /** What is under the key then, without the bytes; `undefined` if it was not written because of `only`. */
  async store({ key, sibling, vclock, only }: Storing, untilMs: number): Promise<Found | undefined> {
    const value = new this.#client.RiakObject()
      .setValue(Buffer.from(sibling.bytes))
      .setContentType('application/octet-stream')
      .setUserMeta([{ key: headName, value: headText(sibling) }])
      .addToIndex(indexName, termText(key, sibling.untilMs))
    const condition = only === 'absent' ? { ifNoneMatch: true } : only === 'unchanged' ? { ifNotModified: true } : {}
    try {
      const stored = await this.#write<Stored>(untilMs, callback => {
        const options = { ...this.#under(key), value, returnHead: true, timeout: leftMs(untilMs), ...condition }
        return new this.#client.StoreValue(vclock ? { ...options, vclock } : options, callback)
      })
      return { vclock: stored.vclock ?? undefined, siblings: stored.values.flatMap(siblingOf) }
    } catch (error) {
      if (only && error instanceof Refusal && ['match_found', 'modified', 'notfound'].includes(error.message)) return undefined
      throw error
    }
  }

  /** Removes all that has `vclock` seen; what was written since, or at the same time, stays. */
  async remove(key: string, vclock: Buffer, untilMs: number): Promise<void> {
    await this.#write<boolean>(untilMs, callback => {
      return new this.#client.DeleteValue({ ...this.#under(key), vclock, timeout: leftMs(untilMs) }, callback)
    })
  }

  /** Keys whose term begins with `prefix`, in order; from `next` of the page before. */
  async page(prefix: string, from: Buffer | undefined, untilMs: number): Promise<IndexPage> {
    const { start, end } = rangeOf(prefix)
    const { values, continuation } = await this.#read<Indexed>(untilMs, callback => {
      const range = { rangeStart: start, rangeEnd: end, returnKeyAndIndex: true, maxResults: pageRows }
      const options = { ...this.#place, indexName, ...range, stream: false, timeout: leftMs(untilMs) } as const
      return new this.#client.SecondaryIndexQuery(from ? { ...options, continuation: from } : options, callback)
    })
    const rows = values.map(({ indexKey, objectKey }) => ({ key: objectKey, term: indexKey ?? '' }))
    return { rows, next: continuation?.toBuffer() }
  }

  /** All keys of the bucket, removed ones among them for a while. Costs Riak a walk through all that it holds. */
  async list(untilMs: number): Promise<readonly string[]> {
    const { keys } = await this.#read<{ readonly keys: readonly string[] }>(untilMs, callback => {
      return new this.#client.ListKeys({ ...this.#place, stream: false, timeout: leftMs(untilMs) }, callback)
    })
    return keys
  }

  props(untilMs: number): Promise<BucketProps> {
    return this.#read(untilMs, callback => new this.#client.FetchBucketProps(this.#place, callback))
  }

  /** For this bucket alone, and for all nodes, which hear of it one after the other. */
  async keepSiblings(untilMs: number): Promise<void> {
    await this.#write<boolean>(untilMs, callback => {
      return new this.#client.StoreBucketProps({ ...this.#place, allowMult: true, lastWriteWins: false }, callback)
    })
  }

  #under(key: string) {
    return { ...this.#place, key: Buffer.from(key) }
  }

  #read<T>(untilMs: number, make: (callback: Callback<T>) => Command): Promise<T> {
    return this.#ask(untilMs, true, make)
  }

  #write<T>(untilMs: number, make: (callback: Callback<T>) => Command): Promise<T> {
    return this.#ask(untilMs, false, make)
  }

  async #ask<T>(untilMs: number, repeatable: boolean, make: (callback: Callback<T>) => Command): Promise<T> {
    const answers: Parameters<Callback<T>>[] = []
    await this.#nodes.perform({
      untilMs,
      repeatable,
      make: () => make((...answer) => void answers.push(answer)),
    })
    const [error, response, data] = answers.at(-1)!
    if (error === null) return response as T
    if (data) throw new Refusal(data.msg)
    throw error instanceof Error ? error : new Error(error)
  }
}

/** Riak gives up by itself when nobody waits any more. */
function leftMs(untilMs: number): number {
  return Math.max(1, Math.ceil(untilMs - performance.now()))
}

/** None for a tombstone. */
function siblingOf({ isTombstone, userMeta, value }: RiakObject): Sibling[] {
  if (isTombstone) return []
  const text = userMeta?.find(({ key }) => key === headName)?.value
  const head = text === undefined ? undefined : readHead(text)
  if (!head) throw new HomingError('DATASTORE', 'riak: a key holds what Homing did not write')
  // A copy: the client's is a part of the whole answer.
  return [{ ...head, bytes: Buffer.isBuffer(value) ? new Uint8Array(value) : new Uint8Array(0) }]
}
