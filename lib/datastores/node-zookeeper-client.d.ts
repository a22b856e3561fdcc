/** What is used of node-zookeeper-client, which brings no declarations. */

declare module 'node-zookeeper-client' {
  import type { EventEmitter } from 'node:events'
  import type { Socket } from 'node:net'

  /** Numbers of 64 bits are buffers of 8 bytes, big endian. */
  export interface Stat {
    czxid: Buffer
    mzxid: Buffer
    /** When it was written, ms since 1970 by the clock of the leader. */
    mtime: Buffer
    /** Counts the writes of this node since it was made. */
    version: number
    ephemeralOwner: Buffer
  }

  /** A failure that the server or the connection reported: `code` is ZooKeeper's number for it. */
  export interface Exception extends Error {
    code: number
    name: string
  }

  export interface WatchEvent {
    type: number
    path: string
  }

  export interface TransactionResult {
    type: number
    /** Of a `setData`. */
    stat?: Stat
  }

  export interface Transaction {
    /** What is going to be sent. */
    ops: { version?: number }[]
    create(path: string, data: Buffer, acls: readonly unknown[], mode: number): Transaction
    check(path: string, version?: number): Transaction
    setData(path: string, data: Buffer, version?: number): Transaction
    remove(path: string, version?: number): Transaction
    commit(callback: (error: Exception | null, results: TransactionResult[]) => void): void
  }

  /** Inside a client: what holds its connection. */
  export interface ConnectionManager extends EventEmitter {
    servers: { host: string; port: number }[]
    /** The last transaction that this client knows of: a server that is behind it is not talked to. */
    zxid: Buffer
    socket: Socket | undefined
    connectTimeoutHandler: NodeJS.Timeout | null
    connect(): void
    onSocketData(chunk: Buffer): void
    queue(request: Request, callback: (error: Exception | null, response: unknown) => void): void
  }

  /** What the client sends. Of what it gets back it reads as much as answers of this type have. */
  export interface Request {
    readonly header: { xid: number; readonly type: number }
    toBuffer(): Buffer
  }

  export interface Client extends EventEmitter {
    connectionManager: ConnectionManager
    connect(): void
    close(): void
    addAuthInfo(scheme: string, auth: Buffer): void
    getSessionId(): Buffer
    getSessionPassword(): Buffer
    getSessionTimeout(): number
    transaction(): Transaction
    create(
      path: string,
      data: Buffer,
      acls: readonly unknown[],
      mode: number,
      callback: (error: Exception | null, path: string) => void,
    ): void
    setData(path: string, data: Buffer, version: number, callback: (error: Exception | null, stat: Stat) => void): void
    getData(path: string, callback: (error: Exception | null, data: Buffer | undefined, stat: Stat) => void): void
    exists(
      path: string,
      watcher: ((event: WatchEvent) => void) | undefined,
      callback: (error: Exception | null, stat: Stat | null) => void,
    ): void
    getChildren(
      path: string,
      watcher: ((event: WatchEvent) => void) | undefined,
      callback: (error: Exception | null, children: string[]) => void,
    ): void
  }

  export interface ClientOptions {
    sessionTimeout: number
    spinDelay: number
    retries: number
    sessionId?: Buffer
    sessionPassword?: Buffer
  }

  export interface ZooKeeperPackage {
    createClient(servers: string, options: ClientOptions): Client
    readonly ACL: { OPEN_ACL_UNSAFE: readonly unknown[]; CREATOR_ALL_ACL: readonly unknown[] }
  }

  const zookeeper: ZooKeeperPackage
  export default zookeeper
}
