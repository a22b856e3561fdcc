/** A network inside one process, with everything that can go wrong on a real one. */

import { HomingError } from '../errors.ts'
import { endpointText, parseEndpoint } from './endpoint.ts'
import type { Accept, Connection, ConnectionHandler, Door, Listener, Random, Timers, TlsOptions, Transport } from './env.ts'
import { MemoryConnection, type ConnectionOptions, type Host } from './memory-connection.ts'
import { MemoryPipe, type Wire, type WireOptions } from './memory-pipe.ts'
import { systemError } from './system-error.ts'

export interface MemoryNetworkOptions extends WireOptions, ConnectionOptions {}

export const memoryNetworkDefaults: Readonly<MemoryNetworkOptions> = {
  latencyMs: 1,
  jitterMs: 0,
  bytesPerMs: Infinity,
  resumeMsMax: 0,
  kernelBytesMax: 256 * 1_024,
  lingerMs: 2_000,
}

/** Time as the network needs it: that of the wires and, where hosts have their own (`VirtualTime.timers`), that of each host. */
export interface NetworkTimers extends Timers {
  of?(host: string): Timers
}

/** The first port that is given to who asks for port 0. */
const portMin = 40_000

/**
 * Hosts are free names, each with a `Transport` for the one process on it. Endpoints are `memory:<name>` or `tcp://host:port`; which host
 * one is on is known by who listens there, the name in it decides nothing. Connections keep TCP's promise under all of the below: bytes
 * arrive in order and unchanged, what is lost is a tail. There is no TLS: it would prove nothing.
 */
export class MemoryNetwork {
  /** May be changed: holds for what is sent from then on. */
  readonly options: MemoryNetworkOptions
  readonly #timers: NetworkTimers
  readonly #random: Random
  readonly #wire: Wire
  readonly #hosts = new Map<string, Host>()
  readonly #listeners = new Map<string, MemoryListener>()
  /** Who listened last at an endpoint: there a dial goes, and finds somebody, or is refused, or nothing gets through. */
  readonly #hostOf = new Map<string, string>()
  /** From whom nothing gets to whom. */
  readonly #cuts = new Map<string, Set<string>>()
  /** How much longer everything travels, ms: by sender and receiver. */
  readonly #detours = new Map<string, number>()
  /** Hosts without power: nothing gets there, and nobody there says so. */
  readonly #dark = new Set<string>()
  /** What waits for a heal. */
  readonly #stuck = new Set<MemoryPipe>()
  #port = portMin

  constructor(timers: NetworkTimers, random: Random, options: Partial<MemoryNetworkOptions> = {}) {
    this.#timers = timers
    this.#random = random
    this.options = { ...memoryNetworkDefaults, ...options }
    this.#wire = {
      timers,
      random,
      options: this.options,
      isStuck: pipe => this.#isStuck(pipe),
      detourMs: pipe => (this.#detours.size === 0 ? 0 : (this.#detours.get(`${pipe.from} ${pipe.to}`) ?? 0)),
    }
  }

  /** The transport of the process that lives on `host` now; after `kill`, of a new one. */
  transportOf(host: string): Transport {
    const on = this.#host(host)
    if (this.#dark.delete(host)) this.#resume()
    return {
      listen: (endpoint, tls, accept, door) => this.#listen(on, endpoint, tls, accept, door),
      dial: (endpoint, tls, timeoutMs, handler) => this.#dial(on, endpoint, tls, timeoutMs, handler),
    }
  }

  /** Swallows everything between the hosts (`oneWay`: from `a` to `b`). Neither end notices; TCP keeps the bytes until `heal`. */
  cut(a: string, b: string, { oneWay = false }: { oneWay?: boolean } = {}): void {
    this.#cutFrom(a, b)
    if (!oneWay) this.#cutFrom(b, a)
  }

  /** Undoes each cut between the hosts; what was held back goes on. */
  heal(a: string, b: string): void {
    this.#cuts.get(a)?.delete(b)
    this.#cuts.get(b)?.delete(a)
    this.#resume()
  }

  /** From now on everything from `a` to `b` travels that much longer; 0: as usual again. What is on its way is not overtaken. */
  detour(a: string, b: string, ms: number): void {
    if (ms > 0) this.#detours.set(`${a} ${b}`, ms)
    else this.#detours.delete(`${a} ${b}`)
  }

  /** Connections that living processes dialled or accepted and that have not ended: each is counted at both ends. */
  get connections(): number {
    let count = 0
    for (const { connections } of this.#hosts.values()) for (const { isKnown } of connections) if (isKnown) count++
    return count
  }

  /** Breaks all connections between the hosts: `ECONNRESET` at both ends, what was on its way is lost. */
  reset(a: string, b: string): void {
    this.#resetEnds(a, b)
    if (a !== b) this.#resetEnds(b, a)
  }

  /**
   * The process on `host` dies: it hears nothing more, its listeners are gone, and the other ends see its connections close or reset, as
   * its kernel pleases, when that gets to them.
   */
  kill(host: string): void {
    for (const connection of this.#end(host)) connection.die()
  }

  /**
   * The machine under the process on `host` loses its power: no kernel says goodbye, and the other ends wait, half-open, for somebody who
   * will not come back. Who sends to it hears nothing either, until the host has a process again: whose kernel knows none of it, and says so.
   */
  powerOff(host: string): void {
    const connections = this.#end(host)
    this.#dark.add(host)
    for (const connection of connections) connection.vanish()
  }

  /** Takes the process off the network; returns what it had open. */
  #end(host: string): Iterable<MemoryConnection> {
    const ended = this.#hosts.get(host)
    if (!ended) return []
    ended.isDead = true
    this.#hosts.delete(host)
    for (const [endpoint, listener] of this.#listeners) {
      if (listener.host === ended) this.#listeners.delete(endpoint)
    }
    return ended.connections
  }

  #host(name: string): Host {
    const timers = this.#timers.of?.(name) ?? this.#timers
    const known = this.#hosts.get(name)
    if (known?.timers === timers) return known
    // Its process was halted and has a successor.
    if (known) this.kill(name)
    const host = { name, timers, isDead: false, connections: new Set<MemoryConnection>() }
    this.#hosts.set(name, host)
    return host
  }

  async #listen(
    host: Host,
    endpoint: string,
    tls: TlsOptions | undefined,
    accept: Accept,
    door: Door | undefined,
  ): Promise<Listener> {
    const at = this.#withPort(readName(endpoint, tls))
    if (this.#listeners.has(at)) throw systemError('EADDRINUSE', 'listen', at)
    const listener = new MemoryListener(at, host, accept, door, () => this.#listeners.delete(at))
    if (host.isDead) return listener
    this.#listeners.set(at, listener)
    this.#hostOf.set(at, host.name)
    return listener
  }

  #dial(host: Host, endpoint: string, tls: TlsOptions | undefined, timeoutMs: number, handler: ConnectionHandler): Connection {
    const at = readName(endpoint, tls)
    if (at.endsWith(':0') && at.startsWith('tcp:'))
      throw new HomingError('BAD_OPTION', `endpoint '${at}': port 0 cannot be dialled`)
    const to = this.#hostOf.get(at) ?? this.#hostIn(at)
    const connection = MemoryConnection.pair(
      { dialler: host.name, endpoint: at },
      this.options,
      this.#random,
      (way, receive) =>
        way === 'there' ? new MemoryPipe(this.#wire, host.name, to, receive) : new MemoryPipe(this.#wire, to, host.name, receive),
      called => this.#call(at, called),
    )
    connection.dial(host, timeoutMs, handler)
    return connection
  }

  /** A dial got to where it was sent. */
  #call(endpoint: string, called: MemoryConnection): void {
    const listener = this.#listeners.get(endpoint)
    if (listener) called.answerBy(listener.host, connection => listener.accept(connection))
    else called.refuse()
  }

  #withPort(name: string): string {
    if (name.startsWith('memory:')) return name
    const where = parseEndpoint(name)
    if (where.at !== 'tcp' || where.port !== 0) return name
    for (;;) {
      const given = endpointText({ ...where, port: this.#port++ })
      if (this.#port > 65_535) this.#port = portMin
      if (!this.#listeners.has(given)) return given
    }
  }

  /** Where nobody ever listened, the name itself may be that of a host. */
  #hostIn(name: string): string {
    if (name.startsWith('memory:')) return name.slice('memory:'.length)
    const where = parseEndpoint(name)
    return where.at === 'tcp' ? where.host : name
  }

  #cutFrom(from: string, to: string): void {
    const cut = this.#cuts.get(from)
    if (cut) cut.add(to)
    else this.#cuts.set(from, new Set([to]))
  }

  #isCut(from: string, to: string): boolean {
    return this.#dark.has(to) || (this.#cuts.get(from)?.has(to) ?? false)
  }

  /** What is not held back any more goes on. */
  #resume(): void {
    for (const pipe of this.#stuck) {
      if (this.#isCut(pipe.from, pipe.to)) continue
      this.#stuck.delete(pipe)
      pipe.resume()
    }
  }

  #isStuck(pipe: MemoryPipe): boolean {
    const isCut = this.#isCut(pipe.from, pipe.to)
    if (isCut) this.#stuck.add(pipe)
    return isCut
  }

  #resetEnds(host: string, other: string): void {
    const connections = this.#hosts.get(host)?.connections ?? []
    for (const connection of connections) {
      if (connection.otherHost === other) connection.reset()
    }
  }
}

class MemoryListener implements Listener {
  readonly endpoint: string
  readonly host: Host
  readonly #accept: Accept
  readonly #door: Door | undefined
  readonly #release: () => void
  #closed = false

  constructor(endpoint: string, host: Host, accept: Accept, door: Door | undefined, release: () => void) {
    this.endpoint = endpoint
    this.host = host
    this.#accept = accept
    this.#door = door
    this.#release = release
  }

  accept(connection: MemoryConnection): ConnectionHandler | undefined {
    if (this.#closed) return undefined
    const visit = this.#door?.enter(connection.otherHost, () => connection.destroy())
    if (!this.#door || visit) return this.#accept(connection, visit)
    connection.destroy()
    return turnedAway
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    // After its process died the endpoint may have gone to another.
    if (!this.host.isDead) this.#release()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

const turnedAway: ConnectionHandler = { data() {}, closed() {} }

/** Throws `BAD_OPTION` for what is no name here. */
function readName(endpoint: string, tls: TlsOptions | undefined): string {
  if (tls) throw new HomingError('BAD_OPTION', 'the memory network has no TLS')
  if (/^memory:[^\s]+$/.test(endpoint)) return endpoint
  if (endpoint.startsWith('tcp:') && parseEndpoint(endpoint)) return endpoint
  throw new HomingError('BAD_OPTION', `endpoint '${endpoint}' is neither memory:name nor tcp://host:port`)
}
