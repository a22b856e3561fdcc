/**
 * A test server that speaks Riak's protocol buffers: a cluster of nodes in this process, each on a port of its own, with siblings,
 * tombstones, quorums and indexes as Riak has them. It is no Riak: it keeps nothing on disk, and has only what is needed to try a client in
 * fair and foul weather.
 *
 * Run by itself, it is a cluster to try the programs on: `node dist/test/support/riak-server.js [first port]`.
 */

import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { decodeClock, encodeClock, sameClock, type Content, type RiakObject } from './riak-object.ts'
import { freshTag, Replicas, RiakError, type Props, type Quorum } from './riak-replicas.ts'
import { Fields, frame, Message } from './riak-wire.ts'

export interface RiakServerOptions {
  /** Default: 3, each with a copy of everything. */
  nodes?: number
  /** One a node; default: any that are free. */
  ports?: readonly number[]
  /** How long a tombstone stays, ms (Riak's default: 3,000); `keep` and `immediate` are the other modes of Riak. */
  deleteMode?: number | 'keep' | 'immediate'
  /** Bitcask has no secondary indexes. */
  backend?: 'leveldb' | 'bitcask'
  /** Bucket types besides `default`, by what differs from a new type: which keeps siblings. */
  types?: Readonly<Record<string, Partial<Props>>>
  gossipMs?: number
}

export interface RiakServer extends AsyncDisposable {
  /** Of all nodes. */
  readonly url: string
  readonly ports: readonly number[]
  readonly replicas: Replicas
  /** Requests that arrived, by the code of their message. */
  readonly requests: ReadonlyMap<number, number>
  /** Open now, by node. */
  readonly connections: readonly number[]
  /** Ends a node as a crash would. */
  kill(node: number): Promise<void>
  /** Starts it again on the same port; what it had stored is still there. */
  restart(node: number): Promise<void>
  /** A node stands still: it accepts connections, and answers nobody. */
  stall(node: number): void
  resume(node: number): void
}

const quorumProps = { r: 'quorum', w: 'quorum', dw: 'quorum', pr: 0, pw: 0 } as const
const typeProps: Props = {
  ...quorumProps,
  allowMult: true,
  lastWriteWins: false,
  dotted: true,
  notFoundOk: true,
  basicQuorum: false,
  consistent: false,
}
/** As Riak 2 and 3 have it. */
const defaultProps: Props = { ...typeProps, allowMult: false, dotted: false }

export async function startRiakServer(options: RiakServerOptions = {}): Promise<RiakServer> {
  const { nodes: count = options.ports?.length ?? 3, deleteMode = 3_000, backend = 'leveldb', gossipMs = 5 } = options
  const types = new Map(Object.entries(options.types ?? {}).map(([name, props]) => [name, { ...typeProps, ...props }]))
  const replicas = new Replicas({ nodes: count, deleteMode, gossipMs, types: types.set('default', defaultProps) })
  const requests = new Map<number, number>()
  const nodes = Array.from({ length: count }, (_, index) => new RiakNode(index, replicas, backend, requests))
  for (const [index, node] of nodes.entries()) await node.listen(options.ports?.[index] ?? 0)
  const ports = nodes.map(({ port }) => port)
  return {
    url: `riak://${ports.map(port => `127.0.0.1:${port}`).join(',')}`,
    ports,
    replicas,
    requests,
    get connections() {
      return nodes.map(node => node.connections)
    },
    async kill(index) {
      replicas.kill(index)
      await nodes[index]!.close()
    },
    async restart(index) {
      replicas.revive(index)
      await nodes[index]!.listen(ports[index]!)
    },
    stall: index => replicas.stall(index),
    resume(index) {
      replicas.resume(index)
      nodes[index]!.goOn()
    },
    async [Symbol.asyncDispose]() {
      replicas.close()
      await Promise.all(nodes.map(node => node.close()))
    },
  }
}

/** Codes of messages. Each answer's is the one after its question's, but for errors. */
const code = {
  error: 0,
  ping: 1,
  getClientId: 3,
  setClientId: 5,
  serverInfo: 7,
  get: 9,
  put: 11,
  delete: 13,
  listBuckets: 15,
  listKeys: 17,
  getBucket: 19,
  setBucket: 21,
  index: 25,
  startTls: 255,
} as const

const rowsAMessage = 100

class RiakNode {
  readonly #index: number
  readonly #replicas: Replicas
  readonly #backend: 'leveldb' | 'bitcask'
  readonly #requests: Map<number, number>
  readonly #sockets = new Map<Socket, Talk>()
  #server: Server | undefined
  port = 0

  constructor(index: number, replicas: Replicas, backend: 'leveldb' | 'bitcask', requests: Map<number, number>) {
    this.#index = index
    this.#replicas = replicas
    this.#backend = backend
    this.#requests = requests
  }

  get connections(): number {
    return this.#sockets.size
  }

  async listen(port: number): Promise<void> {
    const server = createServer({ noDelay: true }, socket => this.#accept(socket))
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    this.port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async close(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (!server) return
    const closed = once(server, 'close')
    server.close()
    for (const socket of this.#sockets.keys()) socket.destroy()
    await closed
  }

  goOn(): void {
    for (const talk of this.#sockets.values()) talk.goOn()
  }

  #accept(socket: Socket): void {
    const talk = new Talk(
      socket,
      () => this.#replicas.isStalled(this.#index),
      (kind, body) => this.#answer(kind, body),
    )
    this.#sockets.set(socket, talk)
    socket.on('data', chunk => talk.received(chunk))
    socket.on('error', () => socket.destroy()) // the other side has gone
    socket.on('close', () => this.#sockets.delete(socket))
  }

  async #answer(kind: number, body: Buffer): Promise<Buffer> {
    this.#requests.set(kind, (this.#requests.get(kind) ?? 0) + 1)
    try {
      return await this.#do(kind, body)
    } catch (error) {
      if (!(error instanceof Error)) throw error
      return frame(code.error, new Message().bytes(1, error.message).number(2, 1).encoded())
    }
  }

  async #do(kind: number, body: Buffer): Promise<Buffer> {
    const fields = Fields.read(body)
    switch (kind) {
      case code.ping:
      case code.setClientId:
        return frame(kind + 1)
      case code.getClientId:
        return frame(kind + 1, new Message().bytes(1, Buffer.alloc(4)).encoded())
      case code.serverInfo: {
        const info = new Message().bytes(1, `node${this.#index}@127.0.0.1`).bytes(2, 'test server')
        return frame(kind + 1, info.encoded())
      }
      case code.get:
        return this.#get(fields)
      case code.put:
        return this.#put(fields)
      case code.delete:
        return this.#delete(fields)
      case code.listBuckets:
        return this.#listBuckets(fields)
      case code.listKeys:
        return this.#listKeys(fields)
      case code.getBucket:
        return this.#getBucket(fields)
      case code.setBucket:
        return this.#setBucket(fields)
      case code.index:
        return this.#query(fields)
      case code.startTls:
        throw new RiakError('Security not enabled; STARTTLS not allowed.')
      default:
        throw new RiakError('Unknown message code.')
    }
  }

  async #get(fields: Fields): Promise<Buffer> {
    const { type, bucket, key } = named(fields, 13)
    const got = await this.#replicas.get(this.#index, type, bucket, key, {
      ...option('r', quorumOf(fields.number(3))),
      ...option('pr', quorumOf(fields.number(4))),
      ...option('basicQuorum', fields.flag(5)),
      ...option('notFoundOk', fields.flag(6)),
      ...option('timeoutMs', fields.number(10)),
    })
    const answer = new Message()
    if (got.at === 'absent' || (got.at === 'tombstone' && !fields.flag(9))) return frame(code.get + 1)
    if (got.at === 'tombstone') return frame(code.get + 1, answer.bytes(2, encodeClock(got.clock)).encoded())
    const unless = fields.bytes(7)
    if (unless && sameClock(decodeClock(unless), got.object.clock)) return frame(code.get + 1, answer.flag(3, true).encoded())
    return frame(code.get + 1, writeObject(answer, got.object, fields.flag(8) === true).encoded())
  }

  async #put(fields: Fields): Promise<Buffer> {
    const { type, bucket, key } = named(fields, 16)
    const clock = decodeClock(fields.bytes(3))
    // As Riak does: it looks, and then it writes. What others write in between becomes a sibling.
    const [notModified, noneMatch] = [fields.flag(9), fields.flag(10)]
    if (notModified || noneMatch) {
      const got = await this.#replicas.get(this.#index, type, bucket, key).catch((error: unknown) => {
        if (!noneMatch || !(error instanceof RiakError)) throw error
        return { at: 'absent' } as const
      })
      if (noneMatch && got.at === 'found') throw new RiakError('match_found')
      if (notModified && got.at !== 'found') throw new RiakError('notfound')
      if (notModified && got.at === 'found' && !sameClock(got.object.clock, clock)) throw new RiakError('modified')
    }
    const put: RiakObject = { clock, contents: [readContent(fields.required(4))] }
    const stored = await this.#replicas.put(this.#index, type, bucket, key, put, {
      ...option('w', quorumOf(fields.number(5))),
      ...option('dw', quorumOf(fields.number(6))),
      ...option('pw', quorumOf(fields.number(8))),
      ...option('timeoutMs', fields.number(12)),
    })
    const [body, head] = [fields.flag(7), fields.flag(11)]
    if (!body && !head) return frame(code.put + 1)
    return frame(code.put + 1, writeObject(new Message(), stored, !body).encoded())
  }

  async #delete(fields: Fields): Promise<Buffer> {
    const { type, bucket, key } = named(fields, 13)
    const clock = fields.bytes(4)
    await this.#replicas.delete(this.#index, type, bucket, key, clock && decodeClock(clock), {
      ...option('r', quorumOf(fields.number(5))),
      ...option('w', quorumOf(fields.number(6))),
      ...option('pr', quorumOf(fields.number(7))),
      ...option('pw', quorumOf(fields.number(8))),
      ...option('dw', quorumOf(fields.number(9))),
      ...option('timeoutMs', fields.number(10)),
    })
    return frame(code.delete + 1)
  }

  async #listBuckets(fields: Fields): Promise<Buffer> {
    const buckets = await this.#replicas.buckets(this.#index, textOf(fields.bytes(3), 'default'))
    return frame(
      code.listBuckets + 1,
      new Message()
        .all(1, buckets)
        .flag(2, fields.flag(2) || undefined)
        .encoded(),
    )
  }

  async #listKeys(fields: Fields): Promise<Buffer> {
    const { type, bucket } = named(fields, 3, null)
    const keys = await this.#replicas.keys(this.#index, type, bucket)
    return streamed(code.listKeys + 1, keys, rows => new Message().all(1, rows), new Message().flag(2, true))
  }

  async #getBucket(fields: Fields): Promise<Buffer> {
    const { type, bucket } = named(fields, 2, null)
    const props = this.#replicas.propsOf(this.#index, type, bucket)
    const message = new Message()
      .number(1, this.#replicas.count)
      .flag(2, props.allowMult)
      .flag(3, props.lastWriteWins)
      .number(14, quorumNumber(props.pr))
      .number(15, quorumNumber(props.r))
      .number(16, quorumNumber(props.w))
      .number(17, quorumNumber(props.pw))
      .number(18, quorumNumber(props.dw))
      .flag(20, props.basicQuorum)
      .flag(21, props.notFoundOk)
      .flag(27, props.consistent || undefined)
    return frame(code.getBucket + 1, new Message().bytes(1, message.encoded()).encoded())
  }

  async #setBucket(fields: Fields): Promise<Buffer> {
    const { type, bucket } = named(fields, 3, null)
    const props = Fields.read(fields.required(2))
    this.#replicas.setProps(this.#index, type, bucket, {
      ...option('allowMult', props.flag(2)),
      ...option('lastWriteWins', props.flag(3)),
      ...option('r', quorumOf(props.number(15))),
      ...option('w', quorumOf(props.number(16))),
    })
    return frame(code.setBucket + 1)
  }

  async #query(fields: Fields): Promise<Buffer> {
    const { type, bucket } = named(fields, 12, null)
    const index = textOf(fields.bytes(2), '')
    if (this.#backend === 'bitcask') throw new RiakError('{error,{indexes_not_supported,riak_kv_bitcask_backend}}')
    const exact = fields.number(3) === 0
    const [min, max] = exact ? [fields.required(4), fields.required(4)] : [fields.required(5), fields.required(6)]
    const from = fields.bytes(10)
    const limit = fields.number(9)
    let rows = (await this.#replicas.index(this.#index, type, bucket, index)).filter(
      ({ term }) => Buffer.compare(term, min) >= 0 && Buffer.compare(term, max) <= 0,
    )
    if (limit !== undefined || from || fields.flag(14)) rows.sort((a, b) => compareRows(a, b))
    if (from) {
      const [term, key] = JSON.parse(from.toString()) as [string, string]
      const last = { term: Buffer.from(term, 'base64'), key: Buffer.from(key, 'base64') }
      rows = rows.filter(row => compareRows(row, last) > 0)
    }
    if (limit !== undefined) rows = rows.slice(0, limit)
    const full = limit !== undefined && rows.length >= limit ? rows.at(-1) : undefined
    const next = full && JSON.stringify([full.term.toString('base64'), full.key.toString('base64')])
    const terms = fields.flag(7) && !exact && !index.startsWith('$')
    const pageOf = (page: typeof rows): Message =>
      terms
        ? new Message().all(
            2,
            page.map(({ term, key }) => new Message().bytes(1, term).bytes(2, key).encoded()),
          )
        : new Message().all(
            1,
            page.map(({ key }) => key),
          )
    if (!fields.flag(8)) return frame(code.index + 1, pageOf(rows).bytes(3, next).encoded())
    return streamed(code.index + 1, rows, pageOf, new Message().bytes(3, next).flag(4, true))
  }
}

/** One connection: questions are answered one after the other. */
class Talk {
  readonly #socket: Socket
  readonly #stalled: () => boolean
  readonly #answer: (kind: number, body: Buffer) => Promise<Buffer>
  #bytes = Buffer.alloc(0)
  #answering = false

  constructor(socket: Socket, stalled: () => boolean, answer: (kind: number, body: Buffer) => Promise<Buffer>) {
    this.#socket = socket
    this.#stalled = stalled
    this.#answer = answer
  }

  received(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk])
    this.goOn()
  }

  goOn(): void {
    if (!this.#answering) void this.#work()
  }

  async #work(): Promise<void> {
    this.#answering = true
    for (let message = this.#next(); message; message = this.#next()) {
      this.#socket.write(await this.#answer(message[0]!, message.subarray(1)))
    }
    this.#answering = false
  }

  #next(): Buffer | undefined {
    if (this.#stalled() || this.#bytes.length < 4) return undefined
    const end = 4 + this.#bytes.readUInt32BE(0)
    if (this.#bytes.length < end) return undefined
    const message = this.#bytes.subarray(4, end)
    this.#bytes = this.#bytes.subarray(end)
    return message
  }
}

// ---- messages

function named(fields: Pick<Fields, 'bytes'>, typeField: number, keyField: number | null = 2) {
  const type = textOf(fields.bytes(typeField), 'default')
  const bucket = textOf(fields.bytes(1), '')
  const key = keyField === null ? Buffer.alloc(0) : (fields.bytes(keyField) ?? Buffer.alloc(0))
  if (bucket === '') throw new RiakError('Bucket cannot be zero-length')
  if (keyField !== null && key.length === 0) throw new RiakError('Key cannot be zero-length')
  if (type === '') throw new RiakError('Type cannot be zero-length')
  return { type, bucket, key }
}

function textOf(bytes: Buffer | undefined, absent: string): string {
  return bytes ? bytes.toString('latin1') : absent
}

function option<K extends string, V>(name: K, value: V | undefined): { [P in K]?: V } {
  return (value === undefined ? {} : { [name]: value }) as { [P in K]?: V }
}

const words = { 4_294_967_294: 'one', 4_294_967_293: 'quorum', 4_294_967_292: 'all' } as const

function quorumOf(value: number | undefined): Quorum | undefined {
  if (value === undefined || value === 4_294_967_291) return undefined
  return words[value as keyof typeof words] ?? value
}

function quorumNumber(quorum: Quorum): number {
  if (typeof quorum === 'number') return quorum
  return quorum === 'one' ? 4_294_967_294 : quorum === 'quorum' ? 4_294_967_293 : 4_294_967_292
}

function readContent(bytes: Buffer): Content {
  const fields = Fields.read(bytes)
  return {
    value: fields.required(1),
    contentType: fields.bytes(2),
    charset: fields.bytes(3),
    encoding: fields.bytes(4),
    links: fields.all(6),
    userMeta: fields.all(9),
    indexes: fields.all(10).map(pair => {
      const index = Fields.read(pair)
      return [index.required(1), index.bytes(2) ?? Buffer.alloc(0)]
    }),
    vtag: freshTag(),
    lastModifiedMs: performance.timeOrigin + performance.now(),
    deleted: fields.flag(11) === true,
    dot: undefined,
  }
}

function writeObject(message: Message, { clock, contents }: RiakObject, headOnly: boolean): Message {
  return message
    .all(
      1,
      contents.map(content => writeContent(content, headOnly)),
    )
    .bytes(2, encodeClock(clock))
}

function writeContent(content: Content, headOnly: boolean): Buffer {
  const pairs = content.indexes.map(([name, term]) => new Message().bytes(1, name).bytes(2, term).encoded())
  return new Message()
    .bytes(1, headOnly ? Buffer.alloc(0) : content.value)
    .bytes(2, content.contentType)
    .bytes(3, content.charset)
    .bytes(4, content.encoding)
    .bytes(5, content.vtag)
    .all(6, content.links)
    .number(7, Math.floor(content.lastModifiedMs / 1_000))
    .number(8, Math.floor((content.lastModifiedMs % 1_000) * 1_000))
    .all(9, content.userMeta)
    .all(10, pairs)
    .flag(11, content.deleted || undefined)
    .encoded()
}

function compareRows(a: { term: Buffer; key: Buffer }, b: { term: Buffer; key: Buffer }): number {
  return Buffer.compare(a.term, b.term) || Buffer.compare(a.key, b.key)
}

/** Pages of some rows each, and a last message that says that it is the last. */
function streamed<T>(kind: number, rows: readonly T[], pageOf: (rows: T[]) => Message, last: Message): Buffer {
  const frames: Buffer[] = []
  for (let at = 0; at < rows.length; at += rowsAMessage)
    frames.push(frame(kind, pageOf(rows.slice(at, at + rowsAMessage)).encoded()))
  return Buffer.concat([...frames, frame(kind, last.encoded())])
}

// ---- the program

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const first = Number(process.argv[2] ?? 0)
  const server = await startRiakServer({ ports: [0, 1, 2].map(index => (first === 0 ? 0 : first + index)) })
  process.stdout.write(`a test server that speaks Riak's protocol, three nodes, nothing kept: ${server.url}\n`)
}
