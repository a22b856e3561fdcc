/**
 * The official clients of servers that have no batches, as a program would use them that needs only this: what is asked for together is
 * sent together.
 */
import { readPlace, type Place } from '../../lib/datastores/url.ts'
import { loadPeer } from '../kit/peers.ts'
import type { Store } from './bare-store.ts'

type PlaceOf<E extends Place['engine']> = Extract<Place, { engine: E }>

/** Removals sent at a time. */
const removalsMax = 1_000

export async function serverStore(url: string): Promise<Store> {
  const place = readPlace(url, 'bench')
  switch (place.engine) {
    case 'riak':
      return riakStore(place)
    case 'couchbase':
      return couchbaseStore(place)
    case 'zookeeper':
      return zooKeeperStore(place)
    default:
      throw new Error(`no bare client for ${place.engine}`)
  }
}

async function inParts<T>(all: readonly T[], work: (one: T) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < all.length; from += removalsMax) {
    await Promise.all(all.slice(from, from + removalsMax).map(work))
  }
}

async function countTrue(all: readonly Promise<boolean>[]): Promise<number> {
  return (await Promise.all(all)).filter(Boolean).length
}

// Riak

type Answer = (error: unknown, response: { readonly values: readonly { readonly value: Buffer }[] } | undefined) => void

/** As much of its objects as is used here. */
interface RiakObject {
  setValue(value: Buffer): RiakObject
  setContentType(type: string): RiakObject
  setUserMeta(pairs: readonly { key: string; value: string }[]): RiakObject
  addToIndex(name: string, term: string): RiakObject
}

/** As much of basho-riak-client as is used here. */
interface RiakClient {
  fetchValue(options: object, answer: Answer): void
  storeValue(options: object, answer: Answer): void
  deleteValue(options: object, answer: Answer): void
  stop(answer: () => void): void
}
interface RiakPackage {
  readonly Commands: { readonly KV: { readonly RiakObject: new () => RiakObject } }
  readonly Client: new (cluster: object, ready: (error: unknown) => void) => RiakClient
  readonly Node: new (options: object) => object
  readonly Cluster: new (options: object) => object
}

/**
 * Of each node. One request at a time goes over a connection; the client's own queue would be looked at every half second, so that no more is
 * asked at a time than there are connections.
 */
const riakConnections = 32

/** Work of which no more than so much is under way at a time. */
class Gate {
  #free: number
  readonly #waiting: (() => void)[] = []

  constructor(max: number) {
    this.#free = max
  }

  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next) next()
      else this.#free++
    }
  }
}

async function riakStore({ nodes, bucketType, bucket }: PlaceOf<'riak'>): Promise<Store> {
  const riak = loadPeer('basho-riak-client') as RiakPackage
  const cluster = new riak.Cluster({
    nodes: nodes.map(
      ({ host, port }) =>
        new riak.Node({
          remoteAddress: host,
          remotePort: port,
          minConnections: riakConnections,
          maxConnections: riakConnections,
        }),
    ),
  })
  const gate = new Gate(nodes.length * riakConnections)
  const client = await new Promise<RiakClient>((resolve, reject) => {
    const made = new riak.Client(cluster, error => (error ? reject(error as Error) : resolve(made)))
  })
  const at = (key: string): object => ({ bucketType, bucket, key })
  const asked = <T>(ask: (answer: Answer) => void, meaning: (values: readonly { readonly value: Buffer }[]) => T): Promise<T> =>
    gate.pass(
      () =>
        new Promise((resolve, reject) =>
          ask((error, response) => (error ? reject(error as Error) : resolve(meaning(response?.values ?? [])))),
        ),
    )
  const claim = (key: string, record: Uint8Array): Promise<boolean> =>
    asked(
      answer => client.storeValue({ ...at(key), value: Buffer.from(record), ifNoneMatch: true }, answer),
      () => true,
    )
  /** With what says when it was written and how long it lives, and what lists it; the version comes back. */
  const claimFully = (key: string, record: Uint8Array): Promise<boolean> => {
    const value = new riak.Commands.KV.RiakObject()
      .setValue(Buffer.from(record))
      .setContentType('application/octet-stream')
      .setUserMeta([{ key: 'bench', value: `${Date.now()} writer-of-this 9007199254740991` }])
      .addToIndex('bench_bin', `${key} 9007199254740991`)
    return asked(
      answer => client.storeValue({ ...at(key), value, ifNoneMatch: true, returnHead: true }, answer),
      () => true,
    )
  }
  // Who wrote beside it, at the same moment, is seen when it is read a second later.
  const claimed: { readonly atMs: number; readonly keys: readonly string[] }[] = []
  const lookAgain = async (): Promise<void> => {
    while (claimed[0] && claimed[0].atMs < Date.now() - 1_000) await readMany(claimed.shift()!.keys)
  }
  const readMany = (keys: readonly string[]): Promise<(Buffer | undefined)[]> =>
    Promise.all(
      keys.map(key =>
        asked(
          answer => client.fetchValue({ ...at(key), convertToJs: false }, answer),
          values => values[0]?.value,
        ),
      ),
    )
  return {
    readMany,
    claimMany: (keys, recordOf) => countTrue(keys.map(key => claim(key, recordOf()))),
    async claimFullyMany(keys, recordOf) {
      const [count] = await Promise.all([countTrue(keys.map(key => claimFully(key, recordOf()))), lookAgain()])
      claimed.push({ atMs: Date.now(), keys })
      return count
    },
    removeMany: keys =>
      inParts(keys, key =>
        asked(
          answer => client.deleteValue(at(key), answer),
          () => undefined,
        ),
      ),
    close: () => new Promise(resolve => client.stop(resolve)),
  }
}

// Couchbase

/** As much of couchbase as is used here. */
interface CouchbaseCollection {
  get(id: string, options: object): Promise<{ readonly content: unknown }>
  insert(id: string, content: unknown, options: object): Promise<unknown>
  upsert(id: string, content: unknown, options: object): Promise<unknown>
  remove(id: string): Promise<unknown>
  binary(): { append(id: string, content: Buffer): Promise<unknown> }
}
interface CouchbasePackage {
  connect(
    hosts: string,
    options: object,
  ): Promise<{
    bucket(name: string): { scope(name: string): { collection(name: string): CouchbaseCollection } }
    close(): Promise<void>
  }>
  readonly DocumentNotFoundError: new () => Error
  readonly DocumentExistsError: new () => Error
}

const asBytes = { encode: (value: Buffer): [Buffer, number] => [value, 3 << 24], decode: (bytes: Buffer): Buffer => bytes }
/** For ten times what is asked for at a time. */
const couchbaseTimeoutMs = 60_000

async function couchbaseStore(place: PlaceOf<'couchbase'>): Promise<Store> {
  const { hosts, bucket, scope, collection, username = '', password = '' } = place
  const couchbase = loadPeer('couchbase') as CouchbasePackage
  const names = hosts.map(({ host, port }) => (port === undefined ? host : `${host}:${port}`)).join(',')
  const cluster = await couchbase.connect(`couchbase://${names}`, {
    username,
    password,
    timeouts: { kvTimeout: couchbaseTimeoutMs },
    // As Homing has them: the client would gather them for nobody.
    tracingConfig: { enableTracing: false },
    metricsConfig: { enableMetrics: false },
    appTelemetryConfig: { enabled: false },
  })
  const documents = cluster.bucket(bucket).scope(scope).collection(collection)
  const options = { transcoder: asBytes }
  const read = async (key: string): Promise<Buffer | undefined> => {
    try {
      return (await documents.get(key, options)).content as Buffer
    } catch (error) {
      if (error instanceof couchbase.DocumentNotFoundError) return undefined
      throw error
    }
  }
  const claim = async (key: string, record: Uint8Array): Promise<boolean> => {
    try {
      await documents.insert(key, Buffer.from(record), options)
      return true
    } catch (error) {
      if (error instanceof couchbase.DocumentExistsError) return false
      throw error
    }
  }
  // Couchbase lists no keys: who wants to know them keeps logs of them.
  const logOf = (key: string): string => `bench-log-${Buffer.from(key).reduce((sum, byte) => (sum * 31 + byte) % 256, 7)}`
  const addTo = async (log: string, keys: Buffer): Promise<void> => {
    try {
      await documents.binary().append(log, keys)
    } catch (error) {
      if (!(error instanceof couchbase.DocumentNotFoundError)) throw error
      await documents.upsert(log, keys, options)
    }
  }
  return {
    readMany: keys => Promise.all(keys.map(read)),
    claimMany: (keys, recordOf) => countTrue(keys.map(key => claim(key, recordOf()))),
    async claimFullyMany(keys, recordOf) {
      const logs = new Map<string, string[]>()
      for (const key of keys) {
        const log = logOf(key)
        const listed = logs.get(log)
        if (listed) listed.push(key)
        else logs.set(log, [key])
      }
      await Promise.all([...logs].map(([log, listed]) => addTo(log, Buffer.from(listed.join('\n')))))
      return countTrue(keys.map(key => claim(key, recordOf())))
    },
    removeMany: keys => inParts(keys, key => documents.remove(key)),
    close: () => cluster.close(),
  }
}

// ZooKeeper

type ZooKeeperAnswer<T> = (error: { readonly name: string } | null, value: T) => void

/** As much of node-zookeeper-client as is used here. */
interface ZooKeeperClient {
  once(event: 'connected', fn: () => void): void
  connect(): void
  close(): void
  getData(path: string, answer: ZooKeeperAnswer<Buffer>): void
  create(path: string, data: Buffer, answer: ZooKeeperAnswer<string>): void
  remove(path: string, version: number, answer: ZooKeeperAnswer<undefined>): void
  transaction(): ZooKeeperTransaction
}
interface ZooKeeperTransaction {
  create(path: string, data: Buffer): ZooKeeperTransaction
  commit(answer: ZooKeeperAnswer<unknown>): void
}
interface ZooKeeperPackage {
  createClient(servers: string): ZooKeeperClient
}

async function zooKeeperStore({ servers }: PlaceOf<'zookeeper'>): Promise<Store> {
  const zookeeper = loadPeer('node-zookeeper-client') as ZooKeeperPackage
  const client = zookeeper.createClient(servers.map(({ host, port }) => `${host}:${port}`).join(','))
  await new Promise<void>(resolve => {
    client.once('connected', resolve)
    client.connect()
  })
  const asked = <T>(ask: (answer: ZooKeeperAnswer<T>) => void, except: string): Promise<T | undefined> =>
    new Promise((resolve, reject) =>
      ask((error, value) => {
        if (!error) resolve(value)
        else if (error.name === except) resolve(undefined)
        else reject(error as unknown as Error)
      }),
    )
  const pathOf = (key: string): string => `/${key}`
  const markOf = (key: string): string => `/mark:${key}`
  return {
    readMany: keys => Promise.all(keys.map(key => asked<Buffer>(answer => client.getData(pathOf(key), answer), 'NO_NODE'))),
    claimMany: (keys, recordOf) =>
      countTrue(
        keys.map(async key => {
          const made = await asked<string>(answer => client.create(pathOf(key), Buffer.from(recordOf()), answer), 'NODE_EXISTS')
          return made !== undefined
        }),
      ),
    // A second node beside it: the versions of one that is made anew begin at zero again, so something else tells its lives apart.
    claimFullyMany: (keys, recordOf) =>
      countTrue(
        keys.map(async key => {
          const both = client.transaction().create(pathOf(key), Buffer.from(recordOf())).create(markOf(key), Buffer.alloc(0))
          return (await asked(answer => both.commit(answer), 'NODE_EXISTS')) !== undefined
        }),
      ),
    removeMany: keys =>
      inParts(
        keys.flatMap(key => [pathOf(key), markOf(key)]),
        path => asked(answer => client.remove(path, -1, answer), 'NO_NODE'),
      ),
    close: async () => client.close(),
  }
}
