/** An engine that is always there to be written to and sometimes of two minds, as Riak: values written at one moment are kept side by side. */
import type { Datastore, Entry, Merge, PutOptions, Removal, Write } from '../../datastores/datastore.ts'
import { checkKey, checkPut, checkText } from '../../datastores/limits.ts'
import { closedError } from '../../datastores/settling.ts'
import type { VirtualTime } from '../../env/virtual-time.ts'
import type { Engine } from '../cluster.ts'

/** One value under a key; its number names the write. */
interface Sibling {
  readonly write: number
  readonly bytes: Uint8Array
  readonly untilMs: number
}

/** A write on its way to the copies: some readers see it already. */
interface Spreading {
  /** Absent: a removal. */
  readonly sibling: Sibling | undefined
  /** What its writer had seen, and replaces. */
  readonly over: readonly number[]
}

interface Cell {
  siblings: readonly Sibling[]
  /** Every write that ever was here: what is missing among the siblings was replaced. */
  readonly seen: Set<number>
  readonly spreading: Set<Spreading>
  /** When the oldest sibling came: a listing may not have heard of it yet. */
  sinceMs: number
}

/** The copies that reach each other. */
type Side = Map<string, Cell>

export interface EventualOptions {
  readonly merge: Merge
  /** How long a write takes at most to a quorum of copies, ms: conditions were judged before. */
  readonly spreadMsMax: number
}

/** How far a listing may be behind, ms. */
const listingLagMs = 500

export class EventualEngine implements Engine {
  readonly #time: VirtualTime
  readonly #options: EventualOptions
  #sides: [Side] | [Side, Side] = [new Map()]
  /** Processes that reach the second side while there are two. */
  #beyond: ReadonlySet<string> = new Set()
  #writes = 0

  constructor(time: VirtualTime, options: EventualOptions) {
    this.#time = time
    this.#options = options
  }

  connect(process: string): Datastore {
    return new EventualConnection(this, process)
  }

  /** The copies fall apart: `beyond` reach one part of them, all others the other one. Both go on taking reads and writes. */
  split(beyond: Iterable<string>): void {
    this.heal()
    this.#beyond = new Set(beyond)
    const [one] = this.#sides
    const other: Side = new Map()
    for (const [key, cell] of one) {
      for (const each of cell.spreading) this.#apply(cell, each)
      other.set(key, { ...cell, seen: new Set(cell.seen), spreading: new Set() })
    }
    this.#sides = [one, other]
  }

  heal(): void {
    const [one, other] = this.#sides
    if (!other) return
    this.#sides = [one]
    for (const [key, cell] of other) {
      const mine = one.get(key)
      if (mine) join(mine, cell)
      else one.set(key, cell)
    }
  }

  read(process: string, key: string): Entry | undefined {
    checkKey(key)
    const cell = this.#side(process).get(key)
    if (!cell) return undefined
    // Whoever has seen a write has made it known to all: copies that differ are repaired by the reading.
    for (const each of cell.spreading) if (this.#chance() < 0.5) this.#apply(cell, each)
    const siblings = this.#living(cell)
    return siblings.length === 0 ? undefined : { bytes: this.#merged(key, siblings), version: versionOf(siblings) }
  }

  async put(process: string, key: string, bytes: Uint8Array, options: PutOptions): Promise<string | undefined> {
    checkPut(key, options, bytes)
    const cell = this.#cell(process, key)
    const before = this.#living(cell)
    const { ifVersion, ttlMs } = options
    if (ifVersion !== undefined && (before.length === 0 ? null : versionOf(before)) !== ifVersion) return undefined
    const untilMs = ttlMs === undefined ? Infinity : this.#time.nowMs + ttlMs
    const sibling = { write: ++this.#writes, bytes: new Uint8Array(bytes), untilMs }
    await this.#spread(process, key, { sibling, over: cell.siblings.map(({ write }) => write) })
    const siblings = this.#living(this.#cell(process, key))
    const isMine = siblings.length > 0 && Buffer.compare(this.#merged(key, siblings), bytes) === 0
    // It was done, and what others wrote at that moment has replaced it already: no condition on it holds any more.
    return isMine ? versionOf(siblings) : `past ${sibling.write}`
  }

  async delete(process: string, key: string, ifVersion: string | undefined): Promise<boolean> {
    checkKey(key)
    const cell = this.#cell(process, key)
    const siblings = this.#living(cell)
    if (ifVersion !== undefined && (siblings.length === 0 || versionOf(siblings) !== ifVersion)) return false
    if (siblings.length > 0)
      await this.#spread(process, key, { sibling: undefined, over: cell.siblings.map(({ write }) => write) })
    return true
  }

  /** Made from single copies: what is new may be missing. */
  keys(process: string, prefix: string): string[] {
    checkText(prefix)
    const newMs = this.#time.nowMs - listingLagMs
    return [...this.#side(process)].flatMap(([key, cell]) => {
      if (!key.startsWith(prefix) || this.#living(cell).length === 0) return []
      return cell.sinceMs < newMs || this.#chance() < 0.5 ? [key] : []
    })
  }

  #spread(process: string, key: string, spreading: Spreading): Promise<void> {
    this.#cell(process, key).spreading.add(spreading)
    return new Promise(resolve => {
      this.#time.timers.after(this.#chance() * this.#options.spreadMsMax, () => {
        // It may have been on its way while the sides came together.
        for (const side of this.#sides) {
          const cell = side?.get(key)
          if (cell?.spreading.has(spreading)) this.#apply(cell, spreading)
        }
        resolve()
      })
    })
  }

  #apply(cell: Cell, spreading: Spreading): void {
    if (!cell.spreading.delete(spreading)) return
    const { sibling, over } = spreading
    const left = cell.siblings.filter(({ write }) => !over.includes(write))
    for (const write of over) cell.seen.add(write)
    if (left.length === 0) cell.sinceMs = this.#time.nowMs
    if (sibling) cell.seen.add(sibling.write)
    cell.siblings = sibling ? [...left, sibling] : left
  }

  #cell(process: string, key: string): Cell {
    const side = this.#side(process)
    let cell = side.get(key)
    if (!cell) side.set(key, (cell = { siblings: [], seen: new Set(), spreading: new Set(), sinceMs: this.#time.nowMs }))
    return cell
  }

  #side(process: string): Side {
    const [one, other] = this.#sides
    return (this.#beyond.has(process) ? other : one) ?? one
  }

  #living(cell: Cell): readonly Sibling[] {
    const { nowMs } = this.#time
    return cell.siblings.filter(({ untilMs }) => untilMs > nowMs)
  }

  #merged(key: string, [first, ...rest]: readonly Sibling[]): Uint8Array {
    const { merge } = this.#options
    return new Uint8Array(rest.reduce((bytes, next) => merge(key, bytes, next.bytes), first!.bytes))
  }

  #chance(): number {
    return this.#time.random.fraction()
  }
}

/** Both know what the other had seen: what only one still has, though both had it, was replaced. */
function join(mine: Cell, other: Cell): void {
  const ours = new Set(mine.siblings.map(({ write }) => write))
  const theirs = new Set(other.siblings.map(({ write }) => write))
  mine.siblings = [
    ...mine.siblings.filter(({ write }) => theirs.has(write) || !other.seen.has(write)),
    ...other.siblings.filter(({ write }) => !ours.has(write) && !mine.seen.has(write)),
  ]
  for (const write of other.seen) mine.seen.add(write)
  for (const each of other.spreading) mine.spreading.add(each)
}

function versionOf(siblings: readonly Sibling[]): string {
  return siblings
    .map(({ write }) => write)
    .sort((a, b) => a - b)
    .join('+')
}

/** Writes of one connection to one key go one after the other, as the driver for Riak sends them. */
class EventualConnection implements Datastore {
  readonly promises = { atomicPut: false, durable: false, shared: true }
  readonly #process: string
  #engine: EventualEngine | undefined
  readonly #turns = new Map<string, Promise<unknown>>()
  /** What it wrote itself is in its listings. */
  readonly #own = new Set<string>()

  constructor(engine: EventualEngine, process: string) {
    this.#engine = engine
    this.#process = process
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#open().read(this.#process, key)
  }

  async getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    const engine = this.#open()
    return keys.map(key => engine.read(this.#process, key))
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<string | undefined> {
    const engine = this.#open()
    return this.#inTurn(key, async () => {
      const version = await engine.put(this.#process, key, bytes, options)
      if (version !== undefined) this.#own.add(key)
      return version
    })
  }

  async putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    for (const write of writes) checkPut(write.key, write)
    return Promise.all(writes.map(write => this.put(write.key, write.bytes, write)))
  }

  async delete(key: string, { ifVersion }: { ifVersion?: string } = {}): Promise<boolean> {
    const engine = this.#open()
    return this.#inTurn(key, () => engine.delete(this.#process, key, ifVersion))
  }

  async deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    return Promise.all(removals.map(({ key, ...condition }) => this.delete(key, condition)))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    const engine = this.#open()
    const listed = engine.keys(this.#process, prefix)
    yield* listed
    const known = new Set(listed)
    for (const key of this.#own) if (key.startsWith(prefix) && !known.has(key) && engine.read(this.#process, key)) yield key
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#turns.values())
    this.#engine = undefined
  }

  #open(): EventualEngine {
    if (!this.#engine) throw closedError('eventual')
    return this.#engine
  }

  #inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key)
    const turn = before ? before.then(work, work) : work()
    this.#turns.set(key, turn)
    const left = (): void => {
      if (this.#turns.get(key) === turn) this.#turns.delete(key)
    }
    turn.then(left, left)
    return turn
  }
}
