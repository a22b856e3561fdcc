/** The broker's part of the wire: forwards frames from link to link by their labels, and keeps nothing for a message. */
import type { Env } from '../env/env.ts'
import type { Link } from '../link/link.ts'
import type { Run } from '../sessions/directory.ts'
import {
  badFrame,
  labelAt,
  labelMax,
  PREFIX,
  Reader,
  readRoute,
  ROUTE_DROPPED,
  ROUTE_FULL,
  ROUTE_GONE,
  routeFrame,
  unrouteFrame,
  writeLabel,
  writeUint32,
  type Route,
} from '../wire/frame.ts'
import { FIRST_OF_CHANNEL, ROUTE, UNROUTE } from '../wire/kinds.ts'

/** One direction between two peers: in on one link under one label, out on another under another. */
interface Way {
  readonly from: Port
  readonly inLabel: number
  readonly to: Port
  readonly outLabel: number
}

/** A link, and what passes through it. */
interface Port {
  readonly link: Link
  /** Ways that come in here, by the label that the other end gave. */
  readonly incoming: Map<number, Way>
  /** Ways that go out here, by the label that we gave. */
  readonly outgoing: Map<number, Way>
  lastLabel: number
  /** What is gathered for this link in the present read, copied: slices would cost ten times as much once destinations interleave. */
  buffer: Buffer
  view: DataView
  filled: number
  /** What waited for this link when it was looked at last, bytes: since then it can only have become less, but for what is gathered. */
  pendingBytes: number
}

const gatherBytes = 64 * 1024
/** Up to this many bytes a loop over words is faster than a call of `Buffer.copy`. */
const shortBytes = 256
/** What may wait for one destination even so, bytes: whoever reads has less than that before it nearly always. */
const littleBytes = 256 * 1024
/** Ways that one link may open: more than a peer has others to talk to, few enough that nobody fills our memory with them. */
const waysMax = 65_536

export interface RelayOptions {
  /** Bytes that may wait for one destination; what does not fit is refused to its sender, who sends it again. */
  outboxBytesMax: number
  /** Bytes that may wait for all of them together; beyond it only those go on for whom little waits. */
  outboxesBytesMax: number
}

export const relayDefaults: Readonly<RelayOptions> = { outboxBytesMax: 32 << 20, outboxesBytesMax: 256 << 20 }

/** What a relay needs to know of runs. */
export interface Whereabouts {
  /** The link that leads to a run: its own, or that of the broker it is behind. `from` is where the frame came from. */
  linkTo(to: Run, from: Link): Link | undefined
  /** Whether the other end is a broker, whose word counts for whom a way is from. */
  speaksForOthers(link: Link): boolean
  /** The run has spoken through this broker's link: it is behind that broker. */
  isBehind(run: Run, broker: Link): void
}

export class FrameRelay {
  readonly #env: Env
  readonly #options: RelayOptions
  readonly #whereabouts: Whereabouts
  readonly #ports = new Map<Link, Port>()
  /** Ports with something gathered. */
  readonly #gathered = new Set<Port>()
  /** Ports for which more than a little waited when they were looked at last. */
  readonly #heavy = new Set<Port>()
  /** Bytes that may wait for one destination now. */
  #outboxBytesMax: number
  readonly #reader = new Reader()
  #last: Port | undefined
  /** The chunk that is being read. */
  #chunk: Buffer = nothing
  #chunkView = viewOf(nothing)
  #flushDue = false
  forwarded = 0

  constructor(env: Env, options: RelayOptions, whereabouts: Whereabouts) {
    this.#env = env
    this.#options = options
    this.#outboxBytesMax = options.outboxBytesMax
    this.#whereabouts = whereabouts
  }

  add(link: Link): void {
    const out = { buffer: nothing, view: viewOf(nothing), filled: 0, pendingBytes: 0 }
    this.#ports.set(link, { link, incoming: new Map(), outgoing: new Map(), lastLabel: 0, ...out })
  }

  /** Ends all ways through a link that is gone. */
  remove(link: Link): void {
    const port = this.#ports.get(link)
    if (!port) return
    this.#ports.delete(link)
    this.#last = undefined
    this.#gathered.delete(port)
    this.#heavy.delete(port)
    for (const way of [...port.incoming.values()]) this.#end(way, ROUTE_GONE)
    for (const way of [...port.outgoing.values()]) this.#end(way, ROUTE_GONE)
  }

  /** A frame that is not for the broker itself. Throws `BAD_FRAME`. */
  frame(link: Link, buffer: Buffer, start: number, end: number): void {
    // Frames come many in a row from one link.
    const port = this.#last?.link === link ? this.#last : this.#ports.get(link)
    if (!port) throw badFrame('a frame to forward from a link that may not')
    this.#last = port
    const kind = buffer[start]!
    if (kind === ROUTE) return this.#route(port, readRoute(this.#reader.set(buffer, start + 1, end)))
    if (kind === UNROUTE) return this.#unroute(port, this.#reader.set(buffer, start + 1, end))
    if (kind < FIRST_OF_CHANNEL || end - start < 4) throw badFrame(`a frame of kind ${kind}`)
    const way = port.incoming.get(labelAt(buffer, start))
    if (way) this.#forward(way, buffer, start - PREFIX, end)
  }

  #route(port: Port, { label, pair, from, to }: Route): void {
    const { remote } = port.link
    if (label === 0) throw badFrame('a route under the label 0')
    // A peer speaks for itself; what a broker passes on, it has checked.
    if (this.#whereabouts.speaksForOthers(port.link)) this.#whereabouts.isBehind(from, port.link)
    else if (from.identity !== remote.identity || from.incarnation !== remote.incarnation) {
      throw badFrame(`a route in the name of '${from.identity}'`)
    }
    const old = port.incoming.get(label)
    if (old) this.#end(old, ROUTE_DROPPED)
    const link = this.#whereabouts.linkTo(to, port.link)
    const target = link && this.#ports.get(link)
    if (!target) return port.link.write(unrouteFrame(label, false, ROUTE_GONE))
    if (port.incoming.size >= waysMax || waiting(target) > this.#outboxBytesMax) {
      return port.link.write(unrouteFrame(label, false, ROUTE_FULL))
    }
    const way: Way = { from: port, inLabel: label, to: target, outLabel: freeLabel(target) }
    port.incoming.set(label, way)
    target.outgoing.set(way.outLabel, way)
    this.#flush(target)
    target.link.write(routeFrame({ label: way.outLabel, pair, from, to }))
  }

  #unroute(port: Port, reader: Reader): void {
    const label = reader.u24()
    const way = reader.u8() === 1 ? port.incoming.get(label) : port.outgoing.get(label)
    const reason = reader.u8()
    if (way) this.#end(way, reason, port)
  }

  /** Both ends are told, but not `except`, who said it. */
  #end(way: Way, reason: number, except?: Port): void {
    way.from.incoming.delete(way.inLabel)
    way.to.outgoing.delete(way.outLabel)
    if (way.from !== except && this.#ports.has(way.from.link)) way.from.link.write(unrouteFrame(way.inLabel, false, reason))
    if (way.to !== except && this.#ports.has(way.to.link)) {
      this.#flush(way.to)
      way.to.link.write(unrouteFrame(way.outLabel, true, reason))
    }
  }

  #forward(way: Way, buffer: Buffer, start: number, end: number): void {
    const { to } = way
    const bytes = end - start
    if (to.pendingBytes + to.filled + bytes > this.#outboxBytesMax) {
      to.pendingBytes = to.link.pendingBytes
      this.#weigh()
      const ahead = to.pendingBytes + to.filled
      // An empty outbox takes one frame of any size: refused for its size alone, it would come again for ever.
      if (ahead > 0 && ahead + bytes > this.#outboxBytesMax) return this.#end(way, ROUTE_FULL)
    }
    if (to.filled + bytes > to.buffer.length) {
      this.#flush(to)
      to.buffer = Buffer.allocUnsafeSlow(Math.max(gatherBytes, bytes))
      to.view = viewOf(to.buffer)
    }
    const at = to.filled
    this.#copy(buffer, start + PREFIX, end, to, at + PREFIX)
    // The prefix is written anew: a frame that came in pieces is handed over without the bytes before its kind.
    writeUint32(to.buffer, at, bytes - PREFIX)
    writeLabel(to.buffer, at, way.outLabel)
    to.filled = at + bytes
    this.forwarded++
    if (this.#gathered.has(to)) return
    this.#gathered.add(to)
    if (this.#flushDue) return
    this.#flushDue = true
    this.#env.timers.soon(() => this.flush())
  }

  #copy(from: Buffer, start: number, end: number, { buffer, view }: Port, to: number): void {
    if (end - start > shortBytes) {
      from.copy(buffer, to, start, end)
      return
    }
    if (from !== this.#chunk) {
      this.#chunk = from
      this.#chunkView = viewOf(from)
    }
    const chunk = this.#chunkView
    let at = start
    for (; at + 4 <= end; at += 4, to += 4) view.setUint32(to, chunk.getUint32(at))
    for (; at < end; at++, to++) buffer[to] = from[at]!
  }

  #flush(port: Port): void {
    this.#gathered.delete(port)
    if (port.filled === 0) return
    port.link.write(port.buffer.subarray(0, port.filled))
    // The rest of the buffer is filled on: what was written is not touched again.
    port.buffer = port.buffer.subarray(port.filled)
    port.view = viewOf(port.buffer)
    port.filled = 0
    port.pendingBytes = port.link.pendingBytes
    if (port.pendingBytes > littleBytes) this.#heavy.add(port)
  }

  /** How much may wait for one destination depends on what waits for all those who are slow. */
  #weigh(): void {
    let bytes = 0
    for (const port of this.#heavy) {
      port.pendingBytes = port.link.pendingBytes
      if (port.pendingBytes <= littleBytes) this.#heavy.delete(port)
      else bytes += port.pendingBytes
    }
    const { outboxBytesMax, outboxesBytesMax } = this.#options
    this.#outboxBytesMax = bytes > outboxesBytesMax ? Math.min(littleBytes, outboxBytesMax) : outboxBytesMax
  }

  flush(): void {
    this.#flushDue = false
    for (const port of this.#gathered) this.#flush(port)
    if (this.#heavy.size > 0) this.#weigh()
    this.#chunk = nothing // it is not held on to
    this.#chunkView = viewOf(nothing)
  }
}

const nothing: Buffer = Buffer.alloc(0)

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
}

/** Bytes that wait for this link. */
function waiting({ link, filled }: Port): number {
  return link.pendingBytes + filled
}

function freeLabel(port: Port): number {
  do port.lastLabel = (port.lastLabel % labelMax) + 1
  while (port.outgoing.has(port.lastLabel))
  return port.lastLabel
}
