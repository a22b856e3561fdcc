/**
 * Those whose clients the addresses are: they connect to some server, move on now and then, and connect again wherever they can when they lose
 * their server.
 */

import type { Random } from '../../lib/env/env.ts'
import { OrderFailed, type Place } from './place.ts'
import type { Manner } from './task.ts'

interface User {
  readonly address: string
  readonly manner: Manner
  /** Counts its connects: what it hears of an earlier one is of no interest. */
  turn: number
  home: Place | undefined
  isConnected: boolean
}

/** How long somebody waits for a server before trying another one, ms. */
const patienceMs = 6_000
const manners: readonly Manner[] = ['at once', 'at once', 'slowly', 'by reading']

export class Users {
  readonly #users: readonly User[]
  readonly #places: readonly Place[]
  readonly #random: Random
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #unexpected: (text: string) => void
  #ended = false

  constructor(addresses: readonly string[], places: readonly Place[], random: Random, unexpected: (text: string) => void) {
    this.#users = addresses.map((address, at) => {
      const manner = manners[at % manners.length]!
      return { address, manner, turn: 0, home: undefined, isConnected: false }
    })
    this.#places = places
    this.#random = random
    this.#unexpected = unexpected
  }

  /** All connect. */
  begin(): void {
    for (const user of this.#users) this.#connect(user)
  }

  /** One of them goes elsewhere: mostly by connecting there, sometimes after a goodbye. */
  move(): void {
    const user = this.#pick(this.#users)
    if (!user.isConnected || !user.home) return
    if (this.#random.fraction() < 0.1) this.#leave(user)
    else this.#connect(user)
  }

  /** Nobody is between two servers. */
  get areConnected(): boolean {
    return this.#users.every(({ isConnected }) => isConnected)
  }

  /** The server that each takes itself to be at. */
  homes(): Map<string, string | undefined> {
    return new Map(this.#users.map(({ address, home, isConnected }) => [address, isConnected ? home?.name : undefined]))
  }

  end(): void {
    this.#ended = true
    for (const timer of this.#timers) clearTimeout(timer)
  }

  /** Its server has told it to go elsewhere. */
  moving(place: Place, address: string): void {
    const user = this.#at(address)
    if (user.home !== place) return
    place.ask('disconnect', address).catch((error: unknown) => this.#expected(error))
    this.#lost(user, 300)
  }

  /** Its connection to the server has ended. */
  ended(place: Place, address: string, turn: number): void {
    const user = this.#at(address)
    if (user.home === place && user.turn === turn && user.isConnected) this.#lost(user, 1_000)
  }

  /** The server is gone. */
  gone(place: Place): void {
    for (const user of this.#users) if (user.home === place) this.#lost(user, 1_500)
  }

  #leave(user: User): void {
    const { home } = user
    home!.ask('disconnect', user.address).catch((error: unknown) => this.#expected(error))
    this.#lost(user, 3_000)
  }

  #lost(user: User, withinMs: number): void {
    user.isConnected = false
    user.home = undefined
    const turn = ++user.turn
    this.#after(this.#random.fraction() * withinMs, () => {
      if (user.turn === turn) this.#connect(user)
    })
  }

  #connect(user: User): void {
    if (this.#ended) return
    const turn = ++user.turn
    const up = this.#places.filter(({ isUp }) => isUp)
    if (up.length === 0) return this.#lost(user, 500)
    const place = this.#pick(up)
    user.home = place
    user.isConnected = false
    this.#after(patienceMs, () => {
      if (user.turn === turn && !user.isConnected) this.#lost(user, 100)
    })
    place.ask('connect', user.address, user.manner, turn).then(
      () => {
        if (user.turn === turn) user.isConnected = true
        // It has gone elsewhere meanwhile: its socket here is closed, and its server notices.
        else if (user.home !== place) place.ask('disconnect', user.address).catch((error: unknown) => this.#expected(error))
      },
      (error: unknown) => {
        this.#expected(error)
        if (user.turn === turn) this.#lost(user, 1_000)
      },
    )
  }

  #after(ms: number, work: () => void): void {
    if (this.#ended) return
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, ms)
    this.#timers.add(timer)
  }

  #at(address: string): User {
    return this.#users.find(user => user.address === address)!
  }

  /** Codes of the library; everything else is a finding. */
  #expected(error: unknown): void {
    if (!(error instanceof OrderFailed)) throw error
    if (!/^(gone|[A-Z_]+)$/.test(error.message)) this.#unexpected(error.message)
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random.fraction() * from.length)]!
  }
}
