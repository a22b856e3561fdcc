/** Everything that comes from outside a peer. The rest of lib gets it handed in, so that a whole cluster can run in one process. */

/** Clocks. None of them is ever compared with a clock of another machine. */
export interface Clock {
  /** Milliseconds since some fixed moment, never going back; stands still while the machine is suspended. */
  monotonicMs(): number
  /** Milliseconds since 1970 as this machine believes. For people; it decides only which of two claims is later that a datastore kept both. */
  wallMs(): number
  /** Like `monotonicMs`, but runs on while the machine is suspended. */
  bootMs(): number
}

/** A timer that was set. */
export interface Timer {
  /** Idempotent; a cancelled timer never fires. */
  cancel(): void
}

export interface Timers {
  /** Runs `fn` once after at least `ms`. */
  after(ms: number, fn: () => void): Timer
  /** Runs `fn` each `ms`, until cancelled. */
  every(ms: number, fn: () => void): Timer
  /** Runs `fn` after the present turn of the event loop (`setImmediate`). */
  soon(fn: () => void): void
}

export interface Random {
  /** `count` bytes, unpredictable in production, seeded in simulation. */
  bytes(count: number): Uint8Array
  /** In [0, 1). */
  fraction(): number
}

/** What TLS proved of the other end. */
export interface TlsFacts {
  /** 32 bytes that only the two ends of this connection know (RFC 5705 exporter). */
  exporter: Uint8Array
  /** The name in the certificate of the other end, when it was verified: the subject's common name. */
  peerName?: string
}

/** A byte stream to one other party. */
export interface Connection {
  /**
   * Queues bytes for the other end. The array belongs to the connection until `flushed` was called: do not write into it before.
   * Does nothing on an ended connection (`flushed` is still called).
   */
  write(bytes: Uint8Array, flushed?: () => void): void
  /** Bytes given to `write` that were not flushed yet. */
  readonly pendingBytes: number
  /** Sends what is queued, then closes. */
  end(): void
  /** Closes now; what is queued is lost. The handler's `closed` follows (not from within this call). Idempotent. */
  destroy(): void
  /** The other end, for people: `127.0.0.1:50312`. */
  readonly remote: string
  /** Present on TLS connections, after `opened`. */
  readonly tls: TlsFacts | undefined
}

/** What the user of a connection does with it. */
export interface ConnectionHandler {
  /** It is connected (and TLS, if any, is agreed). Called on dialled connections; an accepted one is open when it is handed over. */
  opened?(): void
  /** Bytes, in order. The array is the receiver's to keep and is not written to afterwards. */
  data(chunk: Uint8Array): void
  /** Last call, exactly once, also when dialling failed. `error` has the system's `code` (`ECONNREFUSED`, ...) where there is one. */
  closed(error?: Error): void
}

/** TLS of a listener or a dialler: PEM texts, as `node:tls` takes them. */
export interface TlsOptions {
  cert?: string | Buffer
  key?: string | Buffer
  /** Who is trusted. */
  ca?: string | Buffer | readonly (string | Buffer)[]
  /** The listener asks for a certificate and refuses who has none that `ca` signed. */
  requireClientCertificate?: boolean
  /** The name to expect in the listener's certificate; default: the host that was dialled. */
  serverName?: string
}

/** Whom a listener asks about each connection before it spends anything on it. */
export interface Door {
  /**
   * Somebody has connected from `host`, an address without its port. `undefined`: the connection is closed at once. `cut` closes it; it may
   * be called until the visit is over.
   */
  enter(host: string, cut: () => void): Visit | undefined
}

/** A connection that may prove itself now. Over with `left` or `proved`, whichever comes first. */
export interface Visit {
  /** Closes it. Who takes the connection over may put better words here. */
  cut: () => void
  /** It is closed. */
  left(): void
  proved(): void
}

/** Gives each new connection its handler. `visit` is there where the listener has a door: from now on it is for this function to end it. */
export type Accept = (connection: Connection, visit?: Visit) => ConnectionHandler

export interface Listener extends AsyncDisposable {
  /** Where it listens, with the real port: `tcp://127.0.0.1:41234`. */
  readonly endpoint: string
  /** Stops accepting. Connections that were accepted live on. */
  close(): Promise<void>
}

/**
 * Streams between processes. Duties of an implementation (test/contract/transport.ts):
 * bytes arrive in order, unchanged, at any chunking; `closed` comes exactly once; a failed dial is `closed(error)`, never a throw;
 * an end with a `handler` that throws is a bug and may end the process.
 */
export interface Transport {
  /**
   * @param endpoint `tcp://host:port` (port 0: any), `unix:/path`, or a name of the memory network.
   * @param door is asked first, also for connections on which TLS is not agreed yet.
   * Rejects with the system's error (`EADDRINUSE`, ...), or `HomingError` `BAD_OPTION` for an endpoint that it cannot read.
   */
  listen(endpoint: string, tls: TlsOptions | undefined, accept: Accept, door?: Door): Promise<Listener>
  /** Starts to connect; gives up after `timeoutMs`. Throws `BAD_OPTION` for an endpoint that it cannot read. */
  dial(endpoint: string, tls: TlsOptions | undefined, timeoutMs: number, handler: ConnectionHandler): Connection
}

/** Where a peer runs. */
export interface Env {
  readonly clock: Clock
  readonly timers: Timers
  readonly random: Random
  readonly transport: Transport
  /**
   * Two peers with the same text share loopback: host name, boot id and network namespace. A refused loopback endpoint of the same
   * machine proves that nobody lives there.
   */
  readonly machine: string
  /**
   * Starts code that goes on while the main loop is blocked, or says that this environment has none (memory stores, simulation: the
   * pulse is then a timer of the main loop). `module` is a file URL of a worker's code; `data` is structured-cloneable.
   */
  startWorker: ((module: URL, data: unknown) => BackgroundWorker) | undefined
  /**
   * Starts code that may not live in a thread of this process in a process of its own, which ends with this one; or says that this environment has none.
   * No memory can be shared with it. `module` is a file URL.
   */
  startProcess: ((module: URL) => BackgroundWorker) | undefined
}

/** A thread or a process; `workerPort` is its own side of it. */
export interface BackgroundWorker {
  /** What can be cloned; to a thread also memory to share. */
  post(message: unknown): void
  onMessage(fn: (message: unknown) => void): void
  /** It ended although nobody asked it to. */
  onFailure(fn: (error: Error) => void): void
  /**
   * Ends it at once; or, where it was told to end by itself, after `patienceMs` at the latest: native code in it may be about to call back,
   * and keeps the process alive meanwhile.
   */
  stop(patienceMs?: number): Promise<void>
}
