/** Histories made by hand: who does what when, in few words; bodies stand for their own hashes. */
import type { CheckOptions, HistoryEvent, RuleName } from '../../lib/testing/index.ts'
import type { Fault, ToldByPeer } from '../../lib/testing/history-event.ts'

/** `rule` is the one that it breaks; none: it is as it should be. */
export interface Story {
  readonly name: string
  readonly rule?: RuleName
  readonly options?: CheckOptions
  /** Who of `cast` is named has started when it begins. */
  tell(cast: Cast, world: World): void
}

/** The peers of a story: each starts when it is first named. */
export type Cast = Readonly<Record<'a' | 'b' | 'c' | 'd', Actor>>

export class World {
  readonly cast: Cast = castOf(this)
  readonly #events: HistoryEvent[] = []
  #runs = 0

  /** Time after time; at the same moment as they were told. */
  get events(): HistoryEvent[] {
    return this.#events.toSorted((one, other) => one.atMs - other.atMs)
  }

  add(event: HistoryEvent): void {
    this.#events.push(event)
  }

  /** A run of a peer starts. */
  peer(name: string, atMs = 0): Actor {
    return new Actor(this, name, `${name}${++this.#runs}`, 'peer', atMs)
  }

  /** A run of a broker starts. */
  broker(name: string, atMs = 0): Actor {
    return new Actor(this, name, `${name}${++this.#runs}`, 'broker', atMs)
  }

  fault(atMs: number, fault: Fault): void {
    this.add({ atMs, what: 'fault', text: fault.fault, ...fault })
  }

  kill(atMs: number, { name }: Actor): void {
    this.fault(atMs, { fault: 'kill', name })
  }

  exit(atMs: number, { name }: Actor, code: number | null): void {
    this.add({ atMs, what: 'exit', name, code, signal: code === null ? 'SIGKILL' : null })
  }

  /** Nothing more happens until then. */
  until(atMs: number): void {
    this.fault(atMs, { fault: 'other' })
  }
}

/** The datastore loses the newer claim, at 1,000 ms, and is not to be had for its owner, until 19,900 ms; the former one goes on. */
export function forgetsNewer(former: Holding, newer: Holding, sender: Actor, world: World): void {
  const { name } = newer.by
  world.fault(1_200, { fault: 'storeForgot', lostMs: 300 })
  world.fault(1_300, { fault: 'storeDown', name })
  former.takes(9_001, sender.sends(9_000, 'bob', 'hello').gets(9_002, 'delivered'))
  world.fault(19_900, { fault: 'storeUp', name })
  newer.ends(20_000, 'displaced')
}

/** A sends, gives up after 50 ms, and what it sent is taken at `atMs`, behind what somebody else sent right before. */
export function givenUpAndTaken({ a, b, c }: Cast, world: World, atMs: number): void {
  const bob = b.connects(10, 'bob')
  const early = a.sends(5_000, 'bob', 'early', 50).gets(5_050, 'unknown')
  bob.takes(atMs - 2, c.sends(atMs - 3, 'bob', 'late').gets(atMs - 1, 'delivered'))
  bob.takes(atMs, early)
  world.until(20_000)
}

/** A peer behind a broker, which finds at `atMs` that their link has ended, is killed at 5 s and judged dead at 21 s. */
export function diesBehindABroker(world: World, atMs: number): void {
  const { a, b } = world.cast
  const hub = world.broker('hub')
  hub.tells(1_000, { what: 'linkUp', other: 'b' })
  a.judges(3_000, b, 'up')
  world.kill(5_000, b)
  hub.tells(atMs, { what: 'linkDown', other: 'b', why: 'stale' })
  a.judges(21_000, b, 'lapsed')
}

/** One run of a peer. */
export class Actor {
  readonly world: World
  readonly name: string
  readonly incarnation: string
  #calls = 0
  #clients = 0
  #broadcasts = 0

  constructor(world: World, name: string, incarnation: string, role: 'peer' | 'broker', atMs: number) {
    this.world = world
    this.name = name
    this.incarnation = incarnation
    this.tells(atMs, { what: 'started', identity: name, role })
  }

  tells(atMs: number, event: ToldByPeer): void {
    this.world.add({ atMs, peer: this.name, incarnation: this.incarnation, ...event } as HistoryEvent)
  }

  nextCall(): number {
    return ++this.#calls
  }

  sends(atMs: number, address: string, hash: string, deadlineMs = 10_000): Sent {
    const sent = new Sent(this, address, hash)
    this.tells(atMs, { what: 'send', call: sent.call, address, dueMs: atMs + deadlineMs, level: 'delivered', hash })
    return sent
  }

  /** `tookMs` after `atMs` the claim is written. */
  connects(atMs: number, address: string, { reads = false, claim = 0, tookMs = 1 } = {}): Holding {
    const holding = new Holding(this, address, ++this.#clients)
    holding.tells(atMs, { what: 'connecting', dueMs: atMs + 10_000, reads })
    holding.tells(atMs + tookMs, { what: 'connected', claim: claim === 0 ? holding.client : claim })
    return holding
  }

  failsToConnect(atMs: number, address: string, { tookMs = 1 } = {}): void {
    const holding = new Holding(this, address, ++this.#clients)
    holding.tells(atMs, { what: 'connecting', dueMs: atMs + 10_000, reads: false })
    holding.tells(atMs + tookMs, { what: 'connectFailed', code: 'DATASTORE' })
  }

  broadcasts(atMs: number, hash: string): Announced {
    const announced = new Announced(this, hash, ++this.#broadcasts)
    this.tells(atMs, { what: 'broadcast', call: announced.call, dueMs: atMs + 10_000, hash })
    return announced
  }

  appends(atMs: number, topic: string, hash: string, offset: number): void {
    const call = this.nextCall()
    this.tells(atMs, { what: 'topicAppend', call, topic, dueMs: atMs + 10_000, hash })
    this.tells(atMs + 1, { what: 'topicAppended', call, topic, offset })
  }

  /** Record after record, from offset 0 on. */
  fills(topic: string, hashes: readonly string[]): void {
    for (const [n, hash] of hashes.entries()) this.appends(10 * n, topic, hash, n)
  }

  /** Record after record: hashes from `offset` on. */
  reads(atMs: number, topic: string, hashes: readonly string[], offset = 0): void {
    for (const [n, hash] of hashes.entries())
      this.tells(atMs + n, { what: 'topicRead', topic, reader: 1, offset: offset + n, hash })
  }

  asks(atMs: number, id: string, answeredMs: number, hash: string): void {
    const call = this.nextCall()
    this.tells(atMs, { what: 'serviceAsked', call, type: 'mail', id, dueMs: atMs + 10_000 })
    this.tells(answeredMs, { what: 'serviceAnswered', call, type: 'mail', id, hash })
  }

  judges(atMs: number, other: Actor, why: 'up' | 'left' | 'lapsed' | 'replaced'): void {
    const about = { other: other.name, otherIncarnation: other.incarnation }
    this.tells(atMs, why === 'up' ? { what: 'memberUp', ...about } : { what: 'memberDown', ...about, why })
  }
}

/** A message that somebody sent. */
export class Sent {
  readonly by: Actor
  readonly address: string
  readonly hash: string
  readonly call: number

  constructor(by: Actor, address: string, hash: string) {
    this.by = by
    this.address = address
    this.hash = hash
    this.call = by.nextCall()
  }

  get id(): string {
    return `${this.by.name}/${this.by.incarnation}/${this.call}`
  }

  gets(atMs: number, status: 'delivered' | 'unknown' | 'absent' | 'expired'): this {
    this.by.tells(atMs, { what: 'receipt', call: this.call, address: this.address, id: this.id, status })
    return this
  }
}

/** A broadcast that somebody made. */
export class Announced {
  readonly by: Actor
  readonly id: string
  readonly hash: string
  readonly call: number

  constructor(by: Actor, hash: string, number: number) {
    this.by = by
    this.id = `${by.name}/${by.incarnation}/broadcast/${number}`
    this.hash = hash
    this.call = by.nextCall()
  }

  reaches(atMs: number, reached: number): this {
    this.by.tells(atMs, { what: 'broadcastDone', call: this.call, id: this.id, reached })
    return this
  }
}

/** A client, as long as it holds its address. */
export class Holding {
  readonly by: Actor
  readonly address: string
  readonly client: number

  constructor(by: Actor, address: string, client: number) {
    this.by = by
    this.address = address
    this.client = client
  }

  tells(atMs: number, event: object): void {
    this.by.tells(atMs, { address: this.address, client: this.client, ...event } as ToldByPeer)
  }

  takes(atMs: number, { id, hash }: { id: string; hash: string }): this {
    this.tells(atMs, { what: 'delivery', id, hash })
    return this
  }

  /** Its handler is busy from then on, or until `untilMs`. */
  isBusy(atMs: number, untilMs?: number): this {
    this.tells(atMs, { what: 'busy' })
    if (untilMs !== undefined) this.tells(untilMs, { what: 'idle' })
    return this
  }

  /** At 5 s it takes `one`, and is busy with it from then on; what is `waiting` was accepted 100 ms later. */
  isBusyWithOneOf(sender: Actor, ...waiting: readonly string[]): this {
    this.takes(5_001, sender.sends(5_000, this.address, 'one').gets(5_002, 'delivered')).isBusy(5_001)
    for (const text of waiting) sender.sends(5_100, this.address, text).gets(5_102, 'delivered')
    return this
  }

  ends(atMs: number, end: 'disconnected' | 'displaced' | 'closed'): this {
    this.tells(atMs, { what: 'ended', end })
    return this
  }

  /** Took the address over, and did not get all that waited at `former`. */
  lacks(atMs: number, former: Holding, missing?: number): this {
    const from = { fromIncarnation: former.by.incarnation, fromClaim: former.client }
    this.by.tells(atMs, { what: 'handOverIncomplete', address: this.address, ...from, ...(missing !== undefined && { missing }) })
    return this
  }
}

function castOf(world: World): Cast {
  const started = new Map<string, Actor>()
  const actor = (name: string): Actor => {
    const known = started.get(name) ?? world.peer(name)
    started.set(name, known)
    return known
  }
  return {
    get a() {
      return actor('a')
    },
    get b() {
      return actor('b')
    },
    get c() {
      return actor('c')
    },
    get d() {
      return actor('d')
    },
  }
}
