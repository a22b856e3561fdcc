/** A TCP proxy on loopback: as good as the wire, or as bad as it is told to be. */

import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'

/** What the way through a proxy is like; `{}` is as it should be. */
export interface Way {
  /**
   * What goes to the server (`there`), comes from it (`back`), or both, stays on the way, ends of connections too: nobody notices by itself,
   * and nothing is lost. It goes on when this is over.
   */
  held?: 'there' | 'back' | 'both'
  /** It takes so much longer, ms. */
  delayMs?: number
  /** So much gets through, each way of each connection. */
  bytesPerSecond?: number
  /** Who comes is let in and shown out at once. */
  shut?: boolean
}

export interface TcpProxyOptions {
  /** Default: any that is free. */
  port?: number
  way?: Way
}

export interface TcpProxy extends AsyncDisposable {
  readonly port: number
  /** How many came so far. */
  readonly connections: number
  /** What it is like from now on, also for what is connected and for what is on the way. */
  set(way: Way): void
  /** Forwards nothing any more of what is connected now, without closing it: as a router that has forgotten these connections. */
  swallow(): void
  /** Lets nobody through who comes from now on, without closing; `false` goes back to forwarding. */
  mute(muted: boolean): void
  /** Cuts what is connected now. */
  cut(): void
  /** As `cut`, with a reset at both ends: what was on the way is lost. */
  reset(): void
  /** Who comes from now on is refused, as where nobody listens; `false` goes back to forwarding. */
  refuse(refusing: boolean): Promise<void>
}

/** Read from one end and not yet written to the other, bytes; more is left to the sender's system, as on a wire. */
const onTheWayMax = 256 * 1_024
const dripEveryMs = 20

export async function startTcpProxy(target: number, options: TcpProxyOptions = {}): Promise<TcpProxy> {
  const open = new Set<Socket>()
  const pumps = new Set<Pump>()
  let connections = 0
  let muted = false
  let way: Way = options.way ?? {}

  const keep = (socket: Socket): Socket => {
    open.add(socket)
    return socket.on('error', () => socket.destroy()).on('close', () => open.delete(socket))
  }
  const pump = (from: Socket, to: Socket, held: () => boolean): void => {
    const between = new Pump(from, to, () => ({ ...way, held: held() }))
    pumps.add(between)
    from.on('close', () => to.on('close', () => pumps.delete(between)))
  }
  const server = createServer({ allowHalfOpen: true }, socket => {
    connections++
    keep(socket)
    if (way.shut) return void socket.destroy()
    if (muted) return void socket.resume()
    const onward = keep(createConnection({ port: target, host: '127.0.0.1', allowHalfOpen: true }))
    pump(socket, onward, () => way.held === 'there' || way.held === 'both')
    pump(onward, socket, () => way.held === 'back' || way.held === 'both')
  })
  await listening(server, options.port ?? 0)
  const { port } = server.address() as AddressInfo

  return {
    port,
    get connections() {
      return connections
    },
    set(next) {
      way = next
      for (const each of pumps) each.run()
    },
    swallow() {
      for (const each of pumps) each.swallow()
    },
    mute(on) {
      muted = on
    },
    cut() {
      for (const socket of open) socket.destroy()
    },
    reset() {
      for (const socket of open) socket.resetAndDestroy()
    },
    async refuse(refusing) {
      if (refusing !== server.listening) return
      if (refusing) server.close()
      else await listening(server, port)
    },
    async [Symbol.asyncDispose]() {
      const closed = server.listening ? once(server, 'close') : undefined
      server.close()
      for (const socket of open) socket.destroy()
      await closed
    },
  }
}

async function listening(server: Server, port: number): Promise<void> {
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
}

/** What it is like one way. */
interface OneWay {
  readonly held: boolean
  readonly delayMs?: number
  readonly bytesPerSecond?: number
}

/** Carries bytes one way: all of them, in order, and then the end; later, more slowly or not now. */
class Pump {
  readonly #from: Socket
  readonly #to: Socket
  readonly #way: () => OneWay
  #chunks: { bytes: Buffer; dueMs: number }[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #over: 'ended' | 'closed' | 'reset' | undefined
  #swallows = false

  constructor(from: Socket, to: Socket, way: () => OneWay) {
    this.#from = from
    this.#to = to
    this.#way = way
    from.on('data', bytes => this.#took(bytes))
    from.on('end', () => this.#ends('ended'))
    from.on('close', failed => this.#ends(failed ? 'reset' : 'closed'))
    to.on('drain', () => this.#more())
    to.on('close', () => this.swallow())
  }

  swallow(): void {
    this.#swallows = true
    this.#chunks = []
    this.#bytes = 0
    clearTimeout(this.#timer)
    this.#from.resume()
  }

  #took(bytes: Buffer): void {
    if (this.#swallows) return
    this.#chunks.push({ bytes, dueMs: performance.now() + (this.#way().delayMs ?? 0) })
    this.#bytes += bytes.length
    if (this.#bytes > onTheWayMax) this.#from.pause()
    this.#more()
  }

  #ends(over: 'ended' | 'closed' | 'reset'): void {
    if (this.#swallows || this.#over === 'reset') return
    this.#over = over
    this.#more()
  }

  /** Unless it waits for its time: what drips would else drip with each byte that comes. */
  #more(): void {
    if (this.#timer === undefined) this.run()
  }

  /** Carries what may go now. */
  run(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { held, bytesPerSecond } = this.#way()
    if (held || this.#swallows) return
    const nowMs = performance.now()
    let quota = bytesPerSecond === undefined ? Infinity : Math.ceil((bytesPerSecond * dripEveryMs) / 1_000)
    while (this.#chunks.length > 0) {
      if (this.#to.writableNeedDrain) return
      const first = this.#chunks[0]!
      if (first.dueMs > nowMs) return this.#later(first.dueMs - nowMs)
      if (quota === 0) return this.#later(dripEveryMs)
      quota -= this.#carry(first, quota)
    }
    this.#from.resume()
    this.#finish()
  }

  /** Returns how many bytes went. */
  #carry(chunk: { bytes: Buffer }, quota: number): number {
    const piece = chunk.bytes.subarray(0, quota)
    chunk.bytes = chunk.bytes.subarray(piece.length)
    if (chunk.bytes.length === 0) this.#chunks.shift()
    this.#bytes -= piece.length
    this.#to.write(piece)
    return piece.length
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => this.run(), ms)
  }

  #finish(): void {
    if (this.#over === 'ended') this.#to.end()
    else if (this.#over === 'closed') this.#to.destroySoon()
    else if (this.#over === 'reset') this.#to.resetAndDestroy()
  }
}
