/**
 * The nodes of a Riak cluster: which of them is asked next, over how many connections, and what happens when one is away. The official
 * client has a pool as well; it is not used, for reasons that docs/datastores.md tells.
 */

import type { Command } from 'basho-riak-client/lib/commands/commandbase.js'
import { HomingError } from '../errors.ts'
import { RiakConnection, Unsent, type Opening, type Protocol } from './riak-connection.ts'
import type { RiakNodePlace } from './riak-url.ts'
import { closedError, within } from './settling.ts'

export interface RiakNodesOptions {
  readonly places: readonly RiakNodePlace[]
  readonly protocol: Protocol
  /** Makes the question that shows whether a node answers. */
  readonly ping: () => Command
  /** The longest that a question to a node may take, ms. */
  readonly timeoutMs: number
}

export interface Asked {
  /** Makes the request anew for each attempt. */
  readonly make: () => Command
  /** Not begun after that, by the clock of `performance`. */
  readonly untilMs: number
  /** It changes nothing, so it may go to another node although the first may have had it. */
  readonly repeatable: boolean
}

/** Protects the server: a connection costs it a process. */
const connectionsMax = 24
/** Protects the memory; beyond it the caller is told. */
const waitingMax = 100_000
/** A connection that was not used for so long is closed, but for one a node. */
const idleMsMax = 30_000
const idleLookMs = 10_000
const leastMsMax = 20
const probeMsMin = 50
/** With the time of a question it keeps the recovery after an outage within two seconds (FAULTS.md, F5). */
const probeMsMax = 600

interface Job {
  readonly asked: Asked
  attempts: number
  /** One entry an attempt. */
  readonly tried: Node[]
  lost: Error | undefined
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** `suspect`: a request to it was not answered, and it is being asked whether it lives; used where there is no better one. */
type NodeState = 'up' | 'suspect' | 'down'

class Node {
  readonly place: RiakNodePlace
  state: NodeState = 'down'
  /** Why it was last found down. */
  error: Error = new Error('not asked yet')
  readonly idle: RiakConnection[] = []
  readonly connections = new Set<RiakConnection>()
  readonly openings = new Set<Opening>()
  probing = false

  constructor(place: RiakNodePlace) {
    this.place = place
  }

  get busy(): number {
    return this.connections.size + this.openings.size - this.idle.length
  }

  get hasRoom(): boolean {
    return this.idle.length > 0 || this.busy < connectionsMax
  }

  /** A new connection. Rejects with `Unsent`. */
  async open(protocol: Protocol, timeoutMs: number): Promise<RiakConnection> {
    const opening = RiakConnection.open(this.place, protocol, timeoutMs, () => this.#forget())
    this.openings.add(opening)
    try {
      const connection = await opening.connection
      this.connections.add(connection)
      return connection
    } finally {
      this.openings.delete(opening)
    }
  }

  giveBack(connection: RiakConnection): void {
    if (connection.closed) this.connections.delete(connection)
    else this.idle.push(connection)
  }

  closeUnused(beforeMs: number): void {
    // The one that was used last is kept, so that the next call need not wait.
    for (const connection of this.idle.slice(0, -1)) if (connection.usedMs < beforeMs) connection.destroy()
    this.#forget()
  }

  end(): void {
    for (const opening of this.openings) opening.giveUp()
    for (const connection of this.connections) connection.destroy()
  }

  #forget(): void {
    for (const connection of this.connections) if (connection.closed) this.connections.delete(connection)
    for (let i = this.idle.length - 1; i >= 0; i--) if (this.idle[i]!.closed) this.idle.splice(i, 1)
  }
}

export class RiakNodes {
  readonly #options: RiakNodesOptions
  readonly #nodes: readonly Node[]
  #waiting: Job[] = []
  /** Jobs before it were taken. */
  #next = 0
  #running = 0
  #turn = 0
  #closed: Promise<void> | undefined
  /** Ends the pauses between probes. */
  readonly #pauses = new Map<ReturnType<typeof setTimeout>, () => void>()
  readonly #reaper: ReturnType<typeof setInterval>
  #drained: (() => void) | undefined
  #ended = false

  constructor(options: RiakNodesOptions) {
    this.#options = options
    this.#nodes = options.places.map(place => new Node(place))
    this.#reaper = setInterval(() => {
      for (const node of this.#nodes) node.closeUnused(performance.now() - idleMsMax)
    }, idleLookMs)
    this.#reaper.unref()
  }

  /** Resolves as soon as one node answers; rejects when none of them does. The others are tried on in the background. */
  async start(): Promise<void> {
    const first = this.#nodes.map(node => new Promise<void>((resolve, reject) => void this.#probe(node, { resolve, reject })))
    try {
      await Promise.any(first)
    } catch {
      throw this.#away() // it has the reasons of all nodes
    }
  }

  /**
   * Resolves when the command was answered, and its callback called. Rejects with `HomingError` `DATASTORE`; the outcome is `unknown`
   * where it was sent, and not answered. Sent to another node only if it changes nothing, or was never sent to the first.
   */
  perform(asked: Asked): Promise<void> {
    if (this.#closed) return Promise.reject(closedError('riak'))
    if (this.#waiting.length - this.#next >= waitingMax)
      return Promise.reject(new HomingError('DATASTORE', `riak: ${waitingMax} requests are waiting`))
    return new Promise((resolve, reject) => {
      this.#waiting.push({ asked, attempts: 0, tried: [], lost: undefined, resolve, reject })
      this.#pump()
    })
  }

  /** Lets requests end that were made before, for a while; then nothing of it is left. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close())
  }

  async #close(): Promise<void> {
    if (this.#unfinished) {
      const drained = new Promise<void>(resolve => (this.#drained = resolve))
      const late = new Error('late')
      await within(this.#options.timeoutMs, drained, () => late).catch((error: unknown) => {
        if (error !== late) throw error
      })
    }
    clearInterval(this.#reaper)
    this.#ended = true
    for (const job of this.#waiting.splice(0)) job.reject(closedError('riak'))
    for (const node of this.#nodes) node.end()
    for (const [timer, wake] of this.#pauses) {
      clearTimeout(timer)
      wake()
    }
  }

  get #unfinished(): boolean {
    return this.#running > 0 || this.#next < this.#waiting.length
  }

  // ---- requests

  /** With less time left a request is not begun: it would most likely cost a connection, and be unknown. */
  get #leastMs(): number {
    return Math.min(leastMsMax, this.#options.timeoutMs / 20)
  }

  /** Gives out what waits, as long as a node has room. */
  #pump(): void {
    while (this.#next < this.#waiting.length) {
      const job = this.#waiting[this.#next]!
      const node = this.#pick(job)
      const leftMs = job.asked.untilMs - performance.now()
      if (node === 'busy' && leftMs > this.#leastMs) return
      this.#next++
      if (this.#next === this.#waiting.length || this.#next > 10_000) {
        this.#waiting.splice(0, this.#next)
        this.#next = 0
      }
      if (leftMs <= this.#leastMs) job.reject(failure(job.lost ?? new Unsent('there was no time left for it')))
      else if (node === 'away' || node === 'busy') job.reject(this.#away(job.lost))
      else this.#work(job, node)
    }
    if (!this.#unfinished) this.#drained?.()
  }

  /** The least busy of those that answer; one that has failed this request already only if there is no other. */
  #pick({ tried }: Job): Node | 'busy' | 'away' {
    let best: Node | undefined
    let bestRank = Infinity
    let usable = false
    this.#turn = (this.#turn + 1) % this.#nodes.length
    for (let i = 0; i < this.#nodes.length; i++) {
      const node = this.#nodes[(this.#turn + i) % this.#nodes.length]!
      if (node.state === 'down') continue
      usable = true
      if (!node.hasRoom) continue
      const rank = node.busy + (node.state === 'suspect' ? 1_000 : 0) + (tried.includes(node) ? 2_000 : 0)
      if (rank < bestRank) {
        best = node
        bestRank = rank
      }
    }
    return best ?? (usable ? 'busy' : 'away')
  }

  #work(job: Job, node: Node): void {
    this.#running++
    job.attempts++
    job.tried.push(node)
    const connection = node.idle.pop()
    if (connection) this.#ask(connection, job, node)
    else void this.#askOnNew(job, node)
  }

  async #askOnNew(job: Job, node: Node): Promise<void> {
    try {
      this.#ask(await this.#opened(node, this.#shareMs(job)), job, node)
    } catch (error) {
      this.#worked(job, node, error as Error)
    }
  }

  #ask(connection: RiakConnection, job: Job, node: Node): void {
    const { make, repeatable, untilMs } = job.asked
    try {
      connection.ask(make(), repeatable ? this.#shareMs(job) : untilMs - performance.now(), error => {
        node.giveBack(connection)
        if (error) this.#suspect(node)
        this.#worked(job, node, error)
      })
    } catch (error) {
      // It was given wrong options, a bug of ours, and was not sent.
      node.giveBack(connection)
      this.#worked(job, node, error as Error)
    }
  }

  #worked(job: Job, node: Node, error: Error | undefined): void {
    if (error) this.#failed(job, node, error)
    else job.resolve()
    this.#running--
    this.#pump()
  }

  /** That a request has no time left to wait for a connection says nothing of the node: others may use it when it is made. */
  async #opened(node: Node, withinMs: number): Promise<RiakConnection> {
    const { protocol, timeoutMs } = this.#options
    const opening = node.open(protocol, timeoutMs)
    const late = new Unsent('it waited for a connection for too long')
    try {
      return await within(withinMs, opening, () => late)
    } catch (error) {
      if (error === late) void this.#comeLate(node, opening)
      else this.#down(node, error as Error)
      throw error
    }
  }

  async #comeLate(node: Node, opening: Promise<RiakConnection>): Promise<void> {
    try {
      node.giveBack(await opening)
    } catch (error) {
      this.#down(node, error as Error)
    }
    this.#pump()
  }

  /** What is left of the request's time, or half of it where there is another node for the other half. */
  #shareMs({ asked: { untilMs }, tried }: Job): number {
    const other = this.#nodes.some(node => node.state !== 'down' && !tried.includes(node))
    return Math.max(1, (untilMs - performance.now()) / (other ? 2 : 1))
  }

  #failed(job: Job, node: Node, error: Error): void {
    job.lost = error
    const again = job.asked.repeatable || error instanceof Unsent
    const possible = job.attempts <= this.#nodes.length && job.asked.untilMs > performance.now() && !this.#ended
    if (!again || !possible) return job.reject(failure(error, node))
    // At the front: it has waited for its turn.
    if (this.#next > 0) this.#waiting[--this.#next] = job
    else this.#waiting.unshift(job)
  }

  #away(lost?: Error): HomingError {
    const reasons = this.#nodes.map(({ error }) => error.message)
    const cause =
      lost ?? (this.#nodes.length === 1 ? this.#nodes[0]!.error : new AggregateError(this.#nodes.map(({ error }) => error)))
    const sentence = this.#nodes.length === 1 ? 'the node does not answer' : `none of ${this.#nodes.length} nodes answers`
    const outcome = lost && !(lost instanceof Unsent) ? 'unknown' : 'not-delivered'
    return new HomingError('DATASTORE', `riak: ${sentence}: ${[...new Set(reasons)].join('; ')}`, { cause, outcome })
  }

  // ---- health

  #down(node: Node, error: Error): void {
    node.state = 'down'
    node.error = error
    void this.#probe(node)
  }

  #suspect(node: Node): void {
    if (node.state === 'up') node.state = 'suspect'
    void this.#probe(node)
  }

  /** Asks until it answers. One at a time for each node. */
  async #probe(node: Node, first?: { resolve(): void; reject(error: Error): void }): Promise<void> {
    if (node.probing) return
    node.probing = true
    // One that failed to connect a moment ago is left alone for a moment.
    for (let failures = node.state === 'down' && !first ? 1 : 0; !this.#ended; failures++) {
      if (failures > 0) await this.#pause(Math.min(probeMsMax, probeMsMin * 2 ** Math.min(failures - 1, 10)))
      if (this.#ended) break
      try {
        await this.#pinged(node)
        node.state = 'up'
        first?.resolve()
        break
      } catch (error) {
        node.state = 'down'
        node.error = error as Error
        first?.reject(node.error)
      }
      this.#pump() // who waits for it waits in vain
    }
    node.probing = false
    this.#pump()
  }

  /** On a connection of its own: those that are there may be as dead as the node. */
  async #pinged(node: Node): Promise<void> {
    const { protocol, timeoutMs, ping } = this.#options
    const connection = await node.open(protocol, timeoutMs)
    try {
      await answered(connection, ping(), timeoutMs)
    } catch (error) {
      throw new Error(`${node.place.host}:${node.place.port}: ${(error as Error).message}`, { cause: error })
    } finally {
      node.giveBack(connection)
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => {
      const wake = (): void => {
        this.#pauses.delete(timer)
        resolve()
      }
      const timer = setTimeout(wake, ms * (0.5 + Math.random() / 2))
      this.#pauses.set(timer, wake)
    })
  }
}

function answered(connection: RiakConnection, command: Command, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => connection.ask(command, timeoutMs, error => (error ? reject(error) : resolve())))
}

function failure(error: Error, node?: Node): HomingError {
  const where = node && !(error instanceof Unsent) ? `${node.place.host}:${node.place.port}: ` : ''
  const outcome = error instanceof Unsent ? 'not-delivered' : 'unknown'
  return new HomingError('DATASTORE', `riak: ${where}${error.message}`, { cause: error, outcome })
}
