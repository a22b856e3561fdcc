/** The places of a simulated world that should always be taken: each is an identity, and the process that has it at present. */
import type { Peer } from '../../peer.ts'
import type { Cluster } from '../cluster.ts'

/** How a seat's processes are started, by the name of the process. */
export type StartPeer = (process: string, identity: string) => Promise<Peer>

export interface Seat {
  readonly identity: string
  /** The name of its present process: it has two, for the time in which its identity is started twice. */
  process: string
  /** Absent while it is down or on its way up. */
  peer: Peer | undefined
  /** Names what was begun with it last, so that what was begun before knows that it is over. */
  life: number
  /** A process is on its way up. */
  starting: boolean
  /** It ends because somebody wants it to. */
  leaving: boolean
  /** Started beside it with the same identity, and not decided yet. */
  rival: string | undefined
  /** Lost its identity to the present process, and may not know it yet; or it gets it back, when that one stays silent for a lease. */
  former: Former | undefined
}

interface Former {
  readonly process: string
  /** Absent while it is on its way up. */
  peer: Peer | undefined
  readonly life: number
}

/** A supervisor looks again after that, ms. */
const tryAgainMs = 500

export class Seats {
  readonly all: readonly Seat[]
  readonly #cluster: Cluster
  readonly #start: StartPeer
  readonly #failed: (text: string, error: unknown) => void
  #lives = 0

  /** `failed` is told what did not start or leave, and why. */
  constructor(cluster: Cluster, identities: readonly string[], start: StartPeer, failed: (text: string, error: unknown) => void) {
    this.#cluster = cluster
    this.#start = start
    this.#failed = failed
    this.all = identities.map(identity => ({
      identity,
      process: identity,
      peer: undefined,
      life: 0,
      starting: false,
      leaving: false,
      rival: undefined,
      former: undefined,
    }))
  }

  /** Those that are up, and take calls. */
  get up(): (Seat & { peer: Peer })[] {
    return this.all.filter((seat): seat is Seat & { peer: Peer } => seat.peer !== undefined && !seat.leaving)
  }

  get peers(): Peer[] {
    return this.up.map(({ peer }) => peer)
  }

  /** Starts a process in the seat; where that fails, again and again. */
  start(seat: Seat): void {
    const life = this.#newLife(seat)
    const { process } = seat
    seat.leaving = false
    seat.starting = true
    this.#start(process, seat.identity).then(
      peer => {
        if (seat.life === life) return this.#sit(seat, peer)
        if (seat.former?.life === life) seat.former.peer = peer
        peer.on('closed', () => this.#closed(seat, peer, process))
      },
      (error: unknown) => {
        this.#failed(`${process} did not start`, error)
        if (seat.life !== life) return this.#left(seat, process)
        seat.starting = false
        this.#after(tryAgainMs, seat, () => this.#next(seat))
      },
    )
  }

  /** `end` is `kill` or `powerOff`. The seat stays empty until `start`. */
  kill(seat: Seat, end: 'kill' | 'powerOff'): void {
    this.#newLife(seat)
    seat.peer = undefined
    seat.starting = false
    this.#cluster[end](seat.process)
  }

  /** The present process is about to leave, and another follows when it has. */
  leave(seat: Seat & { peer: Peer }, farewell: (peer: Peer) => Promise<void>): void {
    const { life } = seat
    seat.leaving = true
    farewell(seat.peer).then(
      () => {
        if (seat.life === life) this.#replace(seat)
      },
      (error: unknown) => this.#failed(`${seat.process} did not leave`, error),
    )
  }

  /** They leave, and nobody follows. */
  async close(leaving: readonly (Seat & { peer: Peer })[]): Promise<void> {
    for (const seat of leaving) {
      seat.leaving = true
      this.#newLife(seat)
    }
    await Promise.all(leaving.map(({ peer }) => peer.close()))
  }

  /** Starts a second process with the identity of the seat, beside the first. */
  startTwice(seat: Seat): void {
    if (seat.rival !== undefined || seat.former !== undefined) return
    const rival = seat.process === seat.identity ? `${seat.identity}-twin` : seat.identity
    seat.rival = rival
    this.#start(rival, seat.identity).then(
      peer => {
        if (seat.rival !== rival) return
        seat.rival = undefined
        const { process, life } = seat
        seat.former = seat.peer || seat.starting ? { process, peer: seat.peer, life } : undefined
        seat.process = rival
        this.#newLife(seat)
        this.#sit(seat, peer)
      },
      (error: unknown) => {
        this.#failed(`${rival} did not become ${seat.identity}`, error)
        if (seat.rival === rival) this.endRival(seat)
      },
    )
  }

  endRival(seat: Seat): void {
    if (seat.rival === undefined) return
    const { rival } = seat
    seat.rival = undefined
    this.#cluster.kill(rival)
  }

  #sit(seat: Seat, peer: Peer): void {
    seat.peer = peer
    seat.starting = false
    seat.leaving = false
    const { process } = seat
    peer.on('closed', () => this.#closed(seat, peer, process))
  }

  #closed(seat: Seat, peer: Peer, process: string): void {
    this.#left(seat, process)
    if (seat.peer !== peer) return
    seat.peer = undefined
    if (seat.leaving) return
    // Fenced: by the one that had the identity before and has come back, or nobody has it now.
    this.#after(tryAgainMs, seat, () => this.#replace(seat))
  }

  /** The present process has ended. Where the former one lives, it is the only one again: it may never have heard that it was not. */
  #next(seat: Seat): void {
    if (!seat.former) return this.start(seat)
    const { process, peer, life } = seat.former
    seat.former = undefined
    seat.process = process
    seat.peer = peer
    seat.starting = !peer
    seat.leaving = false
    seat.life = life
  }

  #left(seat: Seat, process: string): void {
    if (seat.former?.process === process) seat.former = undefined
  }

  #newLife(seat: Seat): number {
    return (seat.life = ++this.#lives)
  }

  #replace(seat: Seat): void {
    this.kill(seat, 'kill')
    this.#next(seat)
  }

  #after(ms: number, seat: Seat, then: () => void): void {
    const { life } = seat
    this.#cluster.time.timers.after(ms, () => {
      if (seat.life === life) then()
    })
  }
}
