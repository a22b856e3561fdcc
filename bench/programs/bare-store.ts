/**
 * The client of a datastore as a program would use it that needs only this: records packed as plain maps, look-ups of one turn read as one
 * batch with a promise each, connects written as one batch, each only where nothing is.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { open as openLmdb } from 'lmdb'
import { Packr } from 'msgpackr'
import { Series, Window } from '../kit/load.ts'
import { loadPeer } from '../kit/peers.ts'
import type { Part, Role } from '../kit/role.ts'
import { Routes, waysTo } from '../kit/traffic.ts'
import { serverStore } from './bare-servers.ts'
import { removeFolder, urlOf, type StoreSetup } from './homing-store.ts'

export interface Store {
  readMany(keys: readonly string[]): Promise<(Uint8Array | null | undefined)[]>
  /** Resolves to how many were written, each only where nothing was. `recordOf` makes the next one's record: each has a number of its own. */
  claimMany(keys: readonly string[], recordOf: () => Uint8Array): Promise<number>
  /** The same with all that Homing asks of this engine for it, where that is more than one request or a larger record. */
  claimFullyMany?(keys: readonly string[], recordOf: () => Uint8Array): Promise<number>
  removeMany(keys: readonly string[]): Promise<void>
  close(): Promise<void>
}

/** As much of ioredis as is used here. */
interface Client {
  mgetBuffer(keys: readonly string[]): Promise<(Buffer | null)[]>
  pipeline(): Pipeline
  unlink(keys: readonly string[]): Promise<number>
  quit(): Promise<unknown>
}
interface Pipeline {
  set(key: string, bytes: Uint8Array, condition: 'NX'): void
  exec(): Promise<[Error | null, unknown][]>
}
interface IoRedis {
  readonly Redis: new (url: string) => Client
}

interface Session {
  readonly i: string
  readonly n: string
  readonly c: number
}

const packr = new Packr({ useRecords: false })

/** What is read or removed in one command. */
const keysAtOnce = 5_000

async function openStore(url: string): Promise<Store> {
  if (url.startsWith('memory:')) return memoryStore()
  if (url.startsWith('lmdb:')) return lmdbStore(url.slice('lmdb:'.length))
  return /^rediss?:/.test(url) ? redisStore(url) : serverStore(url)
}

function memoryStore(): Store {
  const rows = new Map<string, Uint8Array>()
  return {
    readMany: async keys => keys.map(key => rows.get(key)),
    async claimMany(keys, recordOf) {
      let written = 0
      for (const key of keys) {
        if (rows.has(key)) continue
        rows.set(key, recordOf())
        written++
      }
      return written
    },
    removeMany: async () => rows.clear(),
    close: async () => {},
  }
}

/** Not synced, as Homing's: nothing in it outlives this start of the machine. */
function lmdbStore(folder: string): Store {
  mkdirSync(folder, { recursive: true })
  const path = join(folder, 'bare.mdb')
  const rows = openLmdb<Uint8Array, string>({ path, encoding: 'binary', noSync: true, useVersions: true })
  // The declarations do not know null, which is lmdb's "only if absent".
  const onlyIfAbsent = null as unknown as number
  return {
    async readMany(keys) {
      rows.resetReadTxn() // what others wrote is seen, as by Homing
      return keys.map(key => rows.getBinary(key))
    },
    async claimMany(keys, recordOf) {
      const written = await Promise.all(keys.map(key => rows.put(key, recordOf() as Buffer, 1, onlyIfAbsent)))
      return written.filter(Boolean).length
    },
    removeMany: async () => {}, // the file is
    close: () => rows.close(),
  }
}

function redisStore(url: string): Store {
  const { Redis } = loadPeer('ioredis') as IoRedis
  const client = new Redis(url)
  return {
    readMany: keys => client.mgetBuffer(keys),
    async claimMany(keys, recordOf) {
      const pipeline = client.pipeline()
      for (const key of keys) pipeline.set(key, recordOf(), 'NX')
      const done = await pipeline.exec()
      return done.filter(([, answer]) => answer === 'OK').length
    },
    async removeMany(keys) {
      for (let from = 0; from < keys.length; from += keysAtOnce) await client.unlink(keys.slice(from, from + keysAtOnce))
    },
    close: async () => void (await client.quit()),
  }
}

/** Look-ups of one turn are read together. */
class LookUps {
  readonly #store: Store
  #wanted: { key: string; resolve: (found: Session | undefined) => void }[] = []
  readonly #read = async (): Promise<void> => {
    const wanted = this.#wanted
    this.#wanted = []
    const found = await this.#store.readMany(wanted.map(({ key }) => key))
    found.forEach((bytes, index) => wanted[index]!.resolve(bytes ? (packr.unpack(bytes) as Session) : undefined))
  }

  constructor(store: Store) {
    this.#store = store
  }

  read(key: string): Promise<Session | undefined> {
    if (this.#wanted.length === 0) queueMicrotask(() => void this.#read())
    return new Promise(resolve => this.#wanted.push({ key, resolve }))
  }
}

function keyIn(part: Part): (address: string) => string {
  const { cluster } = part.setup as StoreSetup
  return address => `homing:${cluster}:sessions:${address}`
}

function records(): () => Uint8Array {
  let claim = 0
  return () => packr.pack({ i: 'holder', n: '0123456789abcdef', c: ++claim } satisfies Session)
}

function claimer(store: Store, how: 'simply' | 'fully'): Store['claimMany'] {
  return how === 'fully' && store.claimFullyMany ? store.claimFullyMany : store.claimMany
}

async function looker(part: Part): Promise<Role> {
  const { sessions, outstanding } = part.setup as StoreSetup
  const store = await openStore(urlOf(part))
  const keyOf = keyIn(part)
  const ways = waysTo(sessions)
  const keys = ways.map(({ to }) => keyOf(to))
  const recordOf = records()
  for (let from = 0; from < keys.length; from += keysAtOnce) {
    await claimer(store, 'fully')(keys.slice(from, from + keysAtOnce), recordOf)
  }
  const routes = new Routes(ways, 'at random')
  const lookUps = new LookUps(store)
  let count = 0
  let wrong = 0
  const lookUp = (): Promise<Session | undefined> => lookUps.read(keyOf(routes.next().to))
  const window = new Window(outstanding, lookUp, found => {
    if (found?.i === 'holder') count++
    else wrong++
  })
  return {
    count: () => count,
    faults: () => ({ 'not found': wrong }),
    start: () => window.start(),
    stop: async () => {
      await window.stop()
      await store.removeMany(keys)
      await store.close()
      removeFolder(part)
    },
    close: async () => {},
  }
}

const connector = (part: Part): Promise<Role> => connecting(part, 'simply')
const fullConnector = (part: Part): Promise<Role> => connecting(part, 'fully')

async function connecting(part: Part, how: 'simply' | 'fully'): Promise<Role> {
  const { batch } = part.setup as StoreSetup
  const store = await openStore(urlOf(part))
  const claimMany = claimer(store, how)
  const keyOf = keyIn(part)
  const recordOf = records()
  let next = 0
  let refused = 0
  // Whoever holds clients finds them by their address.
  const clients = new Map<string, { readonly address: string; readonly take: () => void }>()
  const series = new Series(async () => {
    const addresses = Array.from({ length: batch }, () => `client-${next++}`)
    refused += batch - (await claimMany(addresses.map(keyOf), recordOf))
    for (const address of addresses) clients.set(address, { address, take() {} })
    return batch
  })
  return {
    count: () => series.count,
    faults: () => ({ refused }),
    start: () => series.start(),
    stop: async () => {
      await series.stop()
      await store.removeMany(Array.from({ length: next }, (_, index) => keyOf(`client-${index}`)))
      await store.close()
      removeFolder(part)
    },
    close: async () => {},
  }
}

export const roles = { looker, connector, fullConnector }
