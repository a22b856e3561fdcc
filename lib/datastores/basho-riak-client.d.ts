/**
 * What Homing uses of basho-riak-client 2.4, which has no types: its messages, one file each. The index of the package would load its
 * pool of connections and a logger that writes to stdout; these do not.
 */

declare module 'basho-riak-client/lib/commands/commandbase.js' {
  /** `error` is a text, or an `Error` where the answer could not be read; `data` is there when Riak itself refused. */
  export type Callback<T> = (
    error: string | Error | null,
    response: T | null,
    data?: { readonly msg: string; readonly code: number } | null,
  ) => void

  /** One request. Its callback is called when its answer is complete. */
  export interface Command {
    getRiakMessage(): { readonly header: Buffer; readonly protobuf?: Buffer }
    getExpectedResponseCode(): number
    /** Resolves to true when this was the last message of the answer. `null`: a message without a body. */
    onSuccess(message: unknown): boolean | null
    onRiakError(message: unknown): void
  }
}

declare module 'basho-riak-client/lib/protobuf/riakprotobuf.js' {
  const protocol: {
    /** By the code of a message. */
    getProtoFor(code: number): { decode(bytes: Buffer): unknown }
    getCodeFor(name: string): number
  }
  export default protocol
}

declare module 'basho-riak-client/lib/commands/ping.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  const Ping: new (callback: Callback<boolean>) => Command
  export default Ping
}

declare module 'basho-riak-client/lib/commands/kv/riakobject.js' {
  class RiakObject {
    /** A copy is made when it is sent. After a request for the head only: empty. Of a tombstone: an empty object. */
    value?: unknown
    userMeta?: readonly { readonly key: string; readonly value: string }[]
    readonly isTombstone?: boolean
    setValue(value: Buffer): this
    setContentType(type: string): this
    setUserMeta(meta: readonly { readonly key: string; readonly value: string }[]): this
    addToIndex(index: string, term: string): this
  }
  export default RiakObject
}

declare module 'basho-riak-client/lib/commands/kv/fetchvalue.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  import type RiakObject from 'basho-riak-client/lib/commands/kv/riakobject.js'
  export interface Fetched {
    readonly isNotFound: boolean
    readonly vclock: Buffer | null
    readonly values: readonly RiakObject[]
  }
  export interface FetchOptions {
    readonly bucketType: string
    readonly bucket: string
    readonly key: Buffer
    readonly notFoundOk: boolean
    readonly returnDeletedVClock: boolean
    readonly headOnly: boolean
    readonly timeout: number
  }
  const FetchValue: new (options: FetchOptions, callback: Callback<Fetched>) => Command
  export default FetchValue
}

declare module 'basho-riak-client/lib/commands/kv/storevalue.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  import type RiakObject from 'basho-riak-client/lib/commands/kv/riakobject.js'
  export interface Stored {
    readonly vclock: Buffer | null
    readonly values: readonly RiakObject[]
  }
  export interface StoreOptions {
    readonly bucketType: string
    readonly bucket: string
    readonly key: Buffer
    readonly value: RiakObject
    readonly vclock?: Buffer
    readonly ifNoneMatch?: boolean
    readonly ifNotModified?: boolean
    readonly returnHead: boolean
    readonly timeout: number
  }
  const StoreValue: new (options: StoreOptions, callback: Callback<Stored>) => Command
  export default StoreValue
}

declare module 'basho-riak-client/lib/commands/kv/deletevalue.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  export interface DeleteOptions {
    readonly bucketType: string
    readonly bucket: string
    readonly key: Buffer
    readonly vclock: Buffer
    readonly timeout: number
  }
  const DeleteValue: new (options: DeleteOptions, callback: Callback<boolean>) => Command
  export default DeleteValue
}

declare module 'basho-riak-client/lib/commands/kv/secondaryindexquery.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  export interface Indexed {
    readonly values: readonly { readonly indexKey: string | null; readonly objectKey: string }[]
    /** Where the next page begins; absent after the last one. */
    readonly continuation: { toBuffer(): Buffer } | null
  }
  export interface IndexOptions {
    readonly bucketType: string
    readonly bucket: string
    readonly indexName: string
    readonly rangeStart: string
    readonly rangeEnd: string
    readonly returnKeyAndIndex: boolean
    readonly maxResults: number
    readonly continuation?: Buffer
    readonly stream: false
    readonly timeout: number
  }
  const SecondaryIndexQuery: new (options: IndexOptions, callback: Callback<Indexed>) => Command
  export default SecondaryIndexQuery
}

declare module 'basho-riak-client/lib/commands/kv/listkeys.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  export interface ListOptions {
    readonly bucketType: string
    readonly bucket: string
    readonly stream: false
    readonly timeout: number
  }
  const ListKeys: new (options: ListOptions, callback: Callback<{ readonly keys: readonly string[] }>) => Command
  export default ListKeys
}

declare module 'basho-riak-client/lib/commands/kv/fetchbucketprops.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  export interface BucketProps {
    readonly nVal: number | null
    readonly allowMult: boolean | null
    readonly lastWriteWins: boolean | null
    readonly consistent: boolean | null
    /** A count, or one of the words for counts: see `riak.ts`. */
    readonly r: number | null
    readonly w: number | null
    /** Of buckets whose values are counters, sets or maps. */
    readonly dataType?: string
  }
  const FetchBucketProps: new (
    options: { readonly bucketType: string; readonly bucket: string },
    callback: Callback<BucketProps>,
  ) => Command
  export default FetchBucketProps
}

declare module 'basho-riak-client/lib/commands/kv/storebucketprops.js' {
  import type { Callback, Command } from 'basho-riak-client/lib/commands/commandbase.js'
  export interface PropsOptions {
    readonly bucketType: string
    readonly bucket: string
    readonly allowMult: boolean
    readonly lastWriteWins: boolean
  }
  const StoreBucketProps: new (options: PropsOptions, callback: Callback<boolean>) => Command
  export default StoreBucketProps
}
