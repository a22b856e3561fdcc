/** The gate before a listener: bounds what those may take who have not proved themselves, and lets those through who mean it. */
import type { Clock, Door, Visit } from '../env/env.ts'
import type { LinkOptions } from './options.ts'

export type GateOptions = Pick<LinkOptions, 'handshakesPerSecondMax' | 'strangersMax' | 'strangersPerHostMax'>

/** For how long a host is suspect from which somebody came and went without having proved himself, ms. */
const suspectMs = 10_000
/** Hosts that are remembered: those that proved themselves, and for their rate those that did not. */
const hostsMax = 8_192

/** So many a second, and at once as many as a second brings. */
class Bucket {
  #left: number
  #atMs: number

  constructor(nowMs: number, perSecond: number) {
    this.#left = perSecond
    this.#atMs = nowMs
  }

  take(nowMs: number, perSecond: number): boolean {
    this.#left = Math.min(perSecond, this.#left + ((nowMs - this.#atMs) * perSecond) / 1_000)
    this.#atMs = nowMs
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}

/** A host, and who of it has not proved itself yet, oldest first. */
class Origin {
  readonly strangers = new Set<Stranger>()
  bucket: Bucket
  /** Somebody from there has proved himself. */
  isProven = false
  suspectUntilMs = 0

  constructor(bucket: Bucket) {
    this.bucket = bucket
  }
}

class Stranger implements Visit {
  cut: () => void
  readonly origin: Origin
  readonly #gate: Gate

  constructor(gate: Gate, origin: Origin, cut: () => void) {
    this.#gate = gate
    this.origin = origin
    this.cut = cut
  }

  left(): void {
    this.#gate.left(this)
  }

  proved(): void {
    this.#gate.proved(this)
  }
}

/**
 * A stranger above the number that one host may have, or all hosts together, takes the place of the one of the greediest host that has
 * taken longest: who means it is done in milliseconds, who says nothing is cut off. Who comes above the rate is closed at once. A host from
 * which somebody has proved himself has a rate of its own; the others share one, each at most as much a second as it may have strangers, and
 * half of it is for those that have wasted nothing lately: so a crowd of strangers keeps neither members nor a new host out.
 */
export class Gate implements Door {
  readonly #clock: Clock
  readonly #options: GateOptions
  readonly #origins = new Map<string, Origin>()
  /** Oldest first. */
  readonly #strangers = new Set<Stranger>()
  /** Halves of the rate of hosts that have not proved themselves: for those that are suspect too, and for the others alone. */
  readonly #rate: Bucket
  readonly #reserve: Bucket
  /** Closed at once since the start. */
  turnedAway = 0

  constructor(clock: Clock, options: GateOptions) {
    this.#clock = clock
    this.#options = options
    this.#rate = new Bucket(clock.monotonicMs(), options.handshakesPerSecondMax / 2)
    this.#reserve = new Bucket(clock.monotonicMs(), options.handshakesPerSecondMax / 2)
  }

  /** Connections that have not proved themselves. */
  get strangers(): number {
    return this.#strangers.size
  }

  enter(host: string, cut: () => void): Visit | undefined {
    const origin = this.#originOf(host)
    if (!this.#mayBegin(origin)) {
      this.turnedAway++
      return undefined
    }
    const { strangersMax, strangersPerHostMax } = this.#options
    if (origin.strangers.size >= strangersPerHostMax) this.#cutOldest(origin)
    else if (this.#strangers.size >= strangersMax) this.#cutOldest(this.#greediest())
    const stranger = new Stranger(this, origin, cut)
    origin.strangers.add(stranger)
    this.#strangers.add(stranger)
    return stranger
  }

  #mayBegin(origin: Origin): boolean {
    const nowMs = this.#clock.monotonicMs()
    const { handshakesPerSecondMax, strangersPerHostMax } = this.#options
    if (origin.isProven) return origin.bucket.take(nowMs, handshakesPerSecondMax)
    const own = Math.min(handshakesPerSecondMax, strangersPerHostMax)
    if (!origin.bucket.take(nowMs, own)) return false
    if (this.#rate.take(nowMs, handshakesPerSecondMax / 2)) return true
    return nowMs >= origin.suspectUntilMs && this.#reserve.take(nowMs, handshakesPerSecondMax / 2)
  }

  #cutOldest({ strangers }: Origin): void {
    const [oldest] = strangers
    if (!oldest) return
    this.left(oldest)
    oldest.cut()
  }

  /** Of equals the one whose oldest stranger has been here longest. */
  #greediest(): Origin {
    let greediest: Origin | undefined
    for (const { origin } of this.#strangers)
      if (!greediest || origin.strangers.size > greediest.strangers.size) greediest = origin
    return greediest!
  }

  /** @internal */
  left(stranger: Stranger): void {
    if (this.#removed(stranger)) stranger.origin.suspectUntilMs = this.#clock.monotonicMs() + suspectMs
  }

  #removed(stranger: Stranger): boolean {
    stranger.origin.strangers.delete(stranger)
    return this.#strangers.delete(stranger)
  }

  /** @internal */
  proved(stranger: Stranger): void {
    this.#removed(stranger)
    const { origin } = stranger
    if (origin.isProven) return
    origin.isProven = true
    origin.bucket = new Bucket(this.#clock.monotonicMs(), this.#options.handshakesPerSecondMax)
  }

  #originOf(address: string): Origin {
    const host = hostOf(address)
    let origin = this.#origins.get(host)
    if (origin) return origin
    if (this.#origins.size >= hostsMax) this.#forget()
    const { handshakesPerSecondMax, strangersPerHostMax } = this.#options
    origin = new Origin(new Bucket(this.#clock.monotonicMs(), Math.min(handshakesPerSecondMax, strangersPerHostMax)))
    this.#origins.set(host, origin)
    return origin
  }

  /** Those of whom nobody is here: all that have not proved themselves, or else an eighth, oldest first. */
  #forget(): void {
    const idle = [...this.#origins].filter(([, { strangers }]) => strangers.size === 0)
    const unproven = idle.filter(([, { isProven }]) => !isProven)
    for (const [host] of unproven.length > 0 ? unproven : idle.slice(0, hostsMax / 8)) this.#origins.delete(host)
  }
}

/** What counts as one host: an address, of IPv6 the network of 64 bits that is given to a single customer. */
function hostOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const groups = head === '' ? [] : head.split(':')
  if (tail !== undefined) {
    const behind = tail === '' ? 0 : tail.split(':').length
    while (groups.length < 8 - behind) groups.push('0')
    if (tail !== '') groups.push(...tail.split(':'))
  }
  return groups.slice(0, 4).join(':')
}
