/**
 * Makes a simulated process speak as another version of the library would: what it says and what it writes into the datastore is rewritten
 * on its way out. Nothing in the library itself knows of it.
 */
import type { Datastore } from '../datastores/datastore.ts'
import type { Connection, ConnectionHandler, Transport } from '../env/env.ts'
import { decodeBody, encodeBody } from '../wire/body.ts'
import { frameOf } from '../wire/frame.ts'
import { CALL, HELLO, REPLY, TELL, WELCOME } from '../wire/kinds.ts'
import { bodyBytesCeiling, frameOverheadBytes } from '../wire/limits.ts'
import { Splitter } from '../wire/splitter.ts'

/** How another version speaks. Only without a secret, whose proofs are over every byte that was said. */
export interface Dialect {
  /** The lowest and the highest version of the protocol that it says it speaks. What it then speaks is this library's. */
  versions?: readonly [number, number]
  /** What it can do beyond that. */
  capabilities?: readonly string[]
  /** Keys that this library does not know: in introductions, in records, and in every map of what peers say to each other. */
  unknown?: Readonly<Record<string, unknown>>
}

/** The same transport; all that is written to its connections is said in the dialect. */
export function speaking(dialect: Dialect, transport: Transport): Transport {
  return {
    listen: (endpoint, tls, accept, door) =>
      transport.listen(endpoint, tls, (connection, visit) => accept(new SpeakingConnection(dialect, connection), visit), door),
    dial: (endpoint, tls, timeoutMs, handler: ConnectionHandler) =>
      new SpeakingConnection(dialect, transport.dial(endpoint, tls, timeoutMs, handler)),
  }
}

class SpeakingConnection implements Connection {
  readonly #connection: Connection
  readonly #splitter: Splitter
  #said: Buffer[] = []

  constructor(dialect: Dialect, connection: Connection) {
    this.#connection = connection
    this.#splitter = new Splitter(bodyBytesCeiling + frameOverheadBytes, (buffer, start, end) => {
      this.#said.push(said(dialect, buffer[start]!, buffer.subarray(start + 1, end)))
    })
  }

  write(bytes: Uint8Array, flushed?: () => void): void {
    this.#splitter.push(Buffer.from(bytes))
    const whole = Buffer.concat(this.#said)
    this.#said = []
    this.#connection.write(whole, flushed)
  }

  get pendingBytes(): number {
    return this.#connection.pendingBytes
  }

  get remote(): string {
    return this.#connection.remote
  }

  get tls(): Connection['tls'] {
    return this.#connection.tls
  }

  end(): void {
    this.#connection.end()
  }

  destroy(): void {
    this.#connection.destroy()
  }
}

/** One frame as the other version would say it. */
function said(dialect: Dialect, kind: number, payload: Buffer): Buffer {
  const at = bodyAt(kind, payload)
  if (at === undefined) return frameOf(kind, payload)
  const body = decodeBody(payload, at, payload.length)
  const told = kind === HELLO || kind === WELCOME ? introduced(dialect, kind, body) : body
  return frameOf(kind, Buffer.concat([payload.subarray(0, at), encodeBody(richer(told, dialect.unknown ?? {}))]))
}

/** Where the map begins that peers or their libraries say to each other; `undefined` in frames that have none. */
function bodyAt(kind: number, payload: Buffer): number | undefined {
  const numbered = 3 + 4 // label, sequence
  if (kind === HELLO || kind === WELCOME) return 0
  if (kind === REPLY) return numbered + 5
  if (kind === TELL) return numbered + 1 + payload[numbered]!
  if (kind === CALL) return numbered + 8 + 1 + payload[numbered + 8]!
  return undefined
}

function introduced({ versions, capabilities }: Dialect, kind: number, body: unknown): unknown {
  return {
    ...(body as object),
    ...(versions && kind === HELLO && { versions: [...versions] }),
    ...(capabilities && { capabilities: [...capabilities] }),
  }
}

/** The value with more keys in each of its maps. */
function richer(value: unknown, unknown: Readonly<Record<string, unknown>>): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Date) return value
  if (Array.isArray(value)) return value.map(item => richer(item, unknown))
  const entries = Object.entries(value).map(([key, item]) => [key, richer(item, unknown)])
  return { ...Object.fromEntries(entries), ...unknown }
}

/** The same datastore; the records that are written through it have the unknown keys as well. */
export function writing({ unknown }: Dialect, store: Datastore): Datastore {
  if (!unknown) return store
  const record = (bytes: Uint8Array): Uint8Array =>
    bytes.length === 0 ? bytes : encodeBody({ ...(decodeBody(bytes, 0, bytes.length) as object), ...unknown })
  return {
    promises: store.promises,
    presence: store.presence,
    get: key => store.get(key),
    getMany: keys => store.getMany(keys),
    put: (key, bytes, options) => store.put(key, record(bytes), options),
    putMany: writes => store.putMany(writes.map(write => ({ ...write, bytes: record(write.bytes) }))),
    delete: (key, options) => store.delete(key, options),
    deleteMany: removals => store.deleteMany(removals),
    keys: prefix => store.keys(prefix),
    onLoss: lost => store.onLoss?.(lost),
    [Symbol.asyncDispose]: () => store[Symbol.asyncDispose](),
  }
}
