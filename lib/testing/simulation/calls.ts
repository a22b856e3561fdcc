/** What the applications of a simulated world do, and what they hold the library to besides what the history shows. */
import type { ClientHandlers } from '../../client.ts'
import { HomingError } from '../../errors.ts'
import type { Timers } from '../../env/env.ts'
import type { Message } from '../../router/message.ts'
import type { TakerKind } from './plan.ts'
import type { Scene } from './scene.ts'
import type { Seat } from './seats.ts'
import type { Peer } from '../../peer.ts'

/** A call that must settle. */
interface Open {
  readonly what: string
  readonly seat: Seat
  readonly life: number
  readonly atMs: number
  readonly forMs: number
}

const deadlinesMs = [50, 300, 1_000, 5_000, 10_000, 10_000]
/** What a slow client takes for a message, ms. */
const slowMs = 5
/** Of the largest bodies only so many. */
const largeShare = 0.2
/** Settled later than by its deadline and this, a call is late, ms. */
const graceMs = 100

export class Calls {
  readonly #scene: Scene
  readonly #open = new Set<Open>()
  #bodies = 0

  constructor(scene: Scene) {
    this.#scene = scene
  }

  /** Calls that have not settled, of processes that live. */
  get open(): string[] {
    return [...this.#open].filter(({ seat, life }) => seat.life === life).map(({ what, atMs }) => `${what} at ${atMs} ms`)
  }

  /** Makes one call. */
  make(): void {
    const { draw, plan, seats } = this.#scene
    // Who stands still calls nobody.
    const up = seats.up.filter(({ process }) => !this.#standsStill(process))
    if (up.length === 0) return
    const seat = draw.pick(up)
    const address = draw.pick(plan.addresses)
    switch (draw.weighted(plan.workload.weights)) {
      case 'send':
        return this.#send(seat, address)
      case 'request':
        return this.#request(seat, address)
      case 'broadcast':
        return this.#broadcast(seat)
      case 'connect':
        return this.#connect(seat, draw.chance(0.7) ? [address] : draw.some(plan.addresses, 10))
      case 'disconnect':
        return this.disconnect(address)
    }
  }

  /** The client of an address comes to some peer. */
  connect(address: string): void {
    const up = this.#scene.seats.up.filter(({ process }) => !this.#standsStill(process))
    if (up.length > 0) this.#connect(this.#scene.draw.pick(up), [address])
  }

  disconnect(address: string): void {
    for (const seat of this.#scene.seats.up) {
      if (!seat.peer.client(address)) continue
      // By the deadline of the peer, for the datastore.
      this.#settles(`disconnect of '${address}'`, seat, 10_000, seat.peer.disconnectClient(address))
    }
  }

  /** From each peer to each address, so that whatever is out of date is noticed. */
  sendAround(): void {
    for (const peer of this.#scene.seats.peers)
      for (const address of this.#scene.plan.addresses) void peer.sendMessage(address, this.#body(0))
  }

  #send(seat: Seat & { peer: Peer }, to: string): void {
    const { draw, plan } = this.#scene
    const { burstMax, bodyBytesMax } = plan.workload
    const times = draw.chance(0.1) ? draw.whole(1, burstMax) : 1
    const options = {
      deadlineMs: draw.pick(deadlinesMs),
      ...(draw.chance(0.2) && { waitMs: draw.pick([100, 2_000, 20_000]) }),
      ...(draw.chance(0.1) && { level: 'sent' as const }),
      ...(draw.chance(0.05) && { signal: this.#signal(seat) }),
    }
    for (let n = 0; n < times; n++) void seat.peer.sendMessage(to, this.#body(bodyBytesMax), options)
  }

  #request(seat: Seat & { peer: Peer }, to: string): void {
    const { draw } = this.#scene
    const body = this.#body(60)
    const deadlineMs = draw.pick(deadlinesMs)
    const options = { deadlineMs, ...(draw.chance(0.1) && { signal: this.#signal(seat) }) }
    this.#settles(`request to '${to}'`, seat, deadlineMs, seat.peer.request(to, body, options), answer => {
      if (answer !== body.n) this.#scene.problem(`request ${body.n} to '${to}' was answered ${String(answer)}`)
    })
  }

  #broadcast(seat: Seat & { peer: Peer }): void {
    const deadlineMs = this.#scene.draw.pick(deadlinesMs)
    this.#settles('broadcast', seat, deadlineMs, seat.peer.broadcast(this.#body(60), { deadlineMs }), ({ peers }) => {
      const names = peers.map(({ identity }) => identity)
      if (new Set(names).size < names.length) this.#scene.problem(`a broadcast tells twice of one peer: ${names.join()}`)
    })
  }

  #connect(seat: Seat & { peer: Peer }, addresses: readonly string[]): void {
    const { draw, plan } = this.#scene
    const deadlineMs = draw.pick([300, 5_000, 10_000])
    const kind = draw.pick(plan.workload.takers)
    const timers = this.#timers(seat)
    const connecting = seat.peer.connectClients(addresses, this.#handlers(kind, timers), { deadlineMs })
    this.#settles(`connect of ${addresses.join()}`, seat, deadlineMs, connecting, clients => {
      if (kind === 'reader') for (const client of clients) void this.#readAll(client, timers)
    })
  }

  async #readAll(client: AsyncIterable<Message>, timers: Timers): Promise<void> {
    for await (const _ of client)
      if (this.#bodies % 3 === 0) await new Promise<void>(resolve => void timers.after(slowMs, resolve))
  }

  #handlers(kind: TakerKind, timers: Timers): ClientHandlers {
    const request = (message: Message): unknown => (message.body as { n: number }).n
    switch (kind) {
      case 'prompt':
        return { message: () => {}, request }
      case 'slow':
        return { message: () => new Promise<void>(resolve => void timers.after(slowMs, resolve)), request }
      case 'throwing':
        return {
          message: message => {
            if ((message.body as { n: number }).n % 5 === 0) throw new Error('this client throws now and then')
          },
          request,
        }
      case 'reader':
        return { request }
    }
  }

  /** What the program of a process waits for dies with it. */
  #timers({ process }: Seat): Timers {
    return this.#scene.cluster.time.timersOf(process)
  }

  #body(bytesMax: number): { n: number; pad: string } {
    const { draw } = this.#scene
    const bytes = draw.chance(largeShare) ? bytesMax : Math.floor(draw.fraction() * Math.min(bytesMax, 100))
    return { n: ++this.#bodies, pad: 'x'.repeat(bytes) }
  }

  #signal(seat: Seat): AbortSignal {
    const { draw } = this.#scene
    const ending = new AbortController()
    this.#timers(seat).after(draw.spread(0.1, 1_000), () => ending.abort())
    return ending.signal
  }

  /** Holds a call to its deadline. That it fails is nothing; that it fails with what is no `HomingError` is. */
  #settles<T>(what: string, seat: Seat, forMs: number, call: Promise<T>, well?: (value: T) => void): void {
    const { cluster, log, problem } = this.#scene
    const open = { what, seat, life: seat.life, atMs: cluster.nowMs, forMs }
    const { process } = seat
    this.#open.add(open)
    const settled = (how: string): void => {
      this.#open.delete(open)
      log(`${process}: ${what} of ${round(open.atMs)} ms: ${how}`)
      const lateMs = cluster.nowMs - open.atMs - forMs - this.#excusedMs(process, open) - graceMs
      if (lateMs > 0) problem(`${what} at ${process} of ${round(open.atMs)} ms settled ${round(lateMs)} ms late`)
    }
    call.then(
      value => {
        settled('ok')
        well?.(value)
      },
      (error: unknown) => {
        settled(error instanceof HomingError ? error.code : 'failed')
        if (!(error instanceof HomingError)) problem(`${what} at ${process} failed with ${String(error)}`)
      },
    )
  }

  #standsStill(process: string): boolean {
    const { standstills, cluster } = this.#scene
    return standstills.some(still => still.process === process && cluster.nowMs < still.untilMs)
  }

  /** A process that stands still cannot settle anything, and counts its deadlines by its own clock. */
  #excusedMs(process: string, { atMs, forMs }: Open): number {
    const { standstills, cluster, plan } = this.#scene
    const rate = plan.clockRates.get(process) ?? 1
    const stoodMs = standstills
      .filter(still => still.process === process)
      .reduce((sum, { fromMs, untilMs }) => sum + Math.max(0, Math.min(untilMs, cluster.nowMs) - Math.max(fromMs, atMs)), 0)
    return stoodMs + Math.max(0, forMs / rate - forMs)
  }
}

function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000
}
