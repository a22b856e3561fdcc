/**
 * The nodes of a Riak cluster of the test server: each holds a copy of everything and coordinates what it is asked. They hear of each
 * other's writes over links that take their time and can be cut; then each side stores for the other what it hands over later.
 */

import {
  coordinated,
  descends,
  isTombstone,
  merged,
  reconciled,
  sameClock,
  type Clock,
  type Content,
  type Resolution,
  type RiakObject,
} from './riak-object.ts'

/** Riak's words for how many copies have to answer. */
export type Quorum = 'one' | 'quorum' | 'all' | number

export interface Props extends Resolution {
  readonly r: Quorum
  readonly w: Quorum
  readonly dw: Quorum
  readonly pr: Quorum
  readonly pw: Quorum
  readonly notFoundOk: boolean
  readonly basicQuorum: boolean
  readonly consistent: boolean
}

/** Of one request; what is absent comes from the bucket. */
export interface ReadOptions {
  r?: Quorum
  pr?: Quorum
  notFoundOk?: boolean
  basicQuorum?: boolean
  timeoutMs?: number
}

export interface WriteOptions {
  w?: Quorum
  dw?: Quorum
  pw?: Quorum
  timeoutMs?: number
}

/** Why a request failed, in Riak's words. */
export class RiakError extends Error {
  override readonly name = 'RiakError'
}

/** `tombstone`: it was removed, and its copies are not cleared away yet. */
export type Got = { at: 'found'; object: RiakObject } | { at: 'tombstone'; clock: Clock } | { at: 'absent' }

export interface ReplicasSettings {
  readonly nodes: number
  /** How long a tombstone stays, ms; or for ever; or not at all. */
  readonly deleteMode: number | 'keep' | 'immediate'
  readonly types: ReadonlyMap<string, Props>
  /** How long a change of a bucket's properties takes to the other nodes, ms. */
  readonly gossipMs: number
}

const requestTimeoutMs = 60_000

/** The copies that one node holds, for itself or in place of another: by bucket, then by key (one character a byte). */
class Store {
  readonly buckets = new Map<string, Map<string, RiakObject>>()
  /** How many keys it has begun: names the actor of a key, so that a key made anew does not count on where the old one ended. */
  epochs = 0

  get(bucket: string, key: string): RiakObject | undefined {
    return this.buckets.get(bucket)?.get(key)
  }

  set(bucket: string, key: string, object: RiakObject): void {
    let objects = this.buckets.get(bucket)
    if (!objects) this.buckets.set(bucket, (objects = new Map()))
    objects.set(key, object)
  }

  delete(bucket: string, key: string): void {
    this.buckets.get(bucket)?.delete(key)
  }
}

class Node {
  readonly index: number
  alive = true
  /** Work that came while it stood still. */
  held: (() => void)[] | undefined
  /** By the node that each is for. */
  readonly stores: Store[]
  /** Of single buckets, where they differ from their type. */
  readonly props = new Map<string, Partial<Props>>()

  constructor(index: number, nodes: number) {
    this.index = index
    this.stores = Array.from({ length: nodes }, () => new Store())
  }
}

interface Copy {
  readonly holder: Node
  readonly owner: number
  readonly primary: boolean
}

export class Replicas {
  readonly #settings: ReplicasSettings
  readonly #nodes: readonly Node[]
  readonly #timers = new Set<ReturnType<typeof setTimeout>>()
  /** Which nodes reach each other: those of the same group. */
  #groups: number[]
  /** By sender and receiver, ms. */
  readonly #lagMs = new Map<string, number>()
  /** In turn another copy is listed, as coverage plans do. */
  #covering = 0

  constructor(settings: ReplicasSettings) {
    this.#settings = settings
    this.#nodes = Array.from({ length: settings.nodes }, (_, i) => new Node(i, settings.nodes))
    this.#groups = this.#nodes.map(() => 0)
  }

  /** Copies of everything. */
  get count(): number {
    return this.#nodes.length
  }

  // ---- faults

  /** Nodes of different groups hear nothing of each other. */
  partition(groups: readonly (readonly number[])[]): void {
    for (const [group, members] of groups.entries()) for (const member of members) this.#groups[member] = group
  }

  heal(): void {
    this.#groups = this.#nodes.map(() => 0)
    this.#handOver()
  }

  /** How long messages take to a node, from all others, ms. 0: the next turn of the event loop. */
  lag(to: number, ms: number): void {
    for (const { index } of this.#nodes) if (index !== to) this.#lagMs.set(`${index} ${to}`, ms)
  }

  kill(index: number): void {
    this.#nodes[index]!.alive = false
  }

  /** What it had written is still there. */
  revive(index: number): void {
    this.#nodes[index]!.alive = true
    this.#handOver()
  }

  stall(index: number): void {
    this.#nodes[index]!.held ??= []
  }

  resume(index: number): void {
    const node = this.#nodes[index]!
    const held = node.held ?? []
    node.held = undefined
    for (const work of held) work()
  }

  isStalled(index: number): boolean {
    return this.#nodes[index]!.held !== undefined
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    for (const node of this.#nodes) node.alive = false
  }

  /** What one node holds of a key, for tests that look inside. */
  copyOf(index: number, bucket: string, key: Buffer): RiakObject | undefined {
    return this.#nodes[index]!.stores[index]!.get(bucket, key.toString('latin1'))
  }

  // ---- properties

  propsOf(index: number, type: string, bucket: string): Props {
    const props = this.#settings.types.get(type)
    if (!props) throw new RiakError(`No bucket-type named '${type}'`)
    return { ...props, ...this.#nodes[index]!.props.get(`${type}/${bucket}`) }
  }

  setProps(index: number, type: string, bucket: string, change: Partial<Props>): void {
    this.propsOf(index, type, bucket)
    for (const node of this.#nodes) {
      const set = (): void => void node.props.set(`${type}/${bucket}`, { ...node.props.get(`${type}/${bucket}`), ...change })
      if (node.index === index) set()
      else this.#after(this.#settings.gossipMs, set)
    }
  }

  // ---- requests, coordinated by one node

  async get(index: number, type: string, bucket: string, key: Buffer, options: ReadOptions = {}): Promise<Got> {
    const props = this.propsOf(index, type, bucket)
    const n = this.#nodes.length
    const r = this.#needed(options.r ?? props.r)
    const pr = this.#needed(options.pr ?? props.pr)
    const notFoundOk = options.notFoundOk ?? props.notFoundOk
    const failuresMax = (options.basicQuorum ?? props.basicQuorum) ? Math.min(n - r + 1, Math.floor(n / 2) + 1) : n - r + 1
    const name = key.toString('latin1')
    const answers: { copy: Copy; object: RiakObject | undefined }[] = []
    let answered = false

    const got = await this.#gather<Got>(options.timeoutMs, settle => {
      for (const copy of this.#copies(index)) {
        this.#call(
          index,
          copy.holder,
          () => copy.holder.stores[copy.owner]!.get(`${type}/${bucket}`, name),
          object => {
            answers.push({ copy, object })
            const oks = answers.filter(one => one.object ?? notFoundOk)
            const primaries = oks.filter(one => one.copy.primary).length
            if (!answered && oks.length >= r && primaries >= pr) {
              answered = true
              settle(stateOf(answers, props))
            } else if (!answered && (answers.length - oks.length >= failuresMax || answers.length === n)) {
              answered = true
              settle(unsatisfied(answers, r, pr, oks.length, primaries, props))
            }
            if (answers.length === n) this.#afterRead(index, `${type}/${bucket}`, name, answers, props)
          },
        )
      }
    })
    return got
  }

  /** Resolves to what the answers of the copies that had to answer have in common: also others' siblings. */
  async put(
    index: number,
    type: string,
    bucket: string,
    key: Buffer,
    put: RiakObject,
    options: WriteOptions = {},
  ): Promise<RiakObject> {
    const props = this.propsOf(index, type, bucket)
    const n = this.#nodes.length
    const w = Math.max(this.#needed(options.w ?? props.w), this.#needed(options.dw ?? props.dw))
    const pw = this.#needed(options.pw ?? props.pw)
    const at = `${type}/${bucket}`
    const name = key.toString('latin1')
    const copies = this.#copies(index)
    if (copies.filter(({ primary }) => primary).length < pw) {
      throw new RiakError(`{pw_val_unsatisfied,${pw},${copies.filter(({ primary }) => primary).length}}`)
    }
    const answers: RiakObject[] = []
    let primaries = 0

    return this.#gather<RiakObject>(options.timeoutMs, settle => {
      const answer = (copy: Copy, object: RiakObject): void => {
        answers.push(object)
        if (copy.primary) primaries++
        if (answers.length >= w && primaries >= pw) settle(reconciled(answers, props))
        else if (answers.length === n) settle(new RiakError(`{w_val_unsatisfied,${w},${answers.length}}`))
      }
      const own = copies.find(({ owner }) => owner === index)!
      this.#call(
        index,
        own.holder,
        () => this.#coordinate(own, at, name, put, props),
        object => {
          answer(own, object)
          for (const copy of copies) {
            if (copy === own) continue
            this.#call(
              index,
              copy.holder,
              () => this.#replicate(copy, at, name, object, props),
              replica => answer(copy, replica),
            )
          }
        },
      )
    })
  }

  async delete(
    index: number,
    type: string,
    bucket: string,
    key: Buffer,
    clock: Clock | undefined,
    options: ReadOptions & WriteOptions = {},
  ): Promise<void> {
    let over = clock
    if (!over) {
      const got = await this.get(index, type, bucket, key, options)
      if (got.at === 'absent') return
      over = got.at === 'found' ? got.object.clock : got.clock
    }
    await this.put(index, type, bucket, key, { clock: over, contents: [tombstone()] }, options)
    // The look at all copies that clears them away, when they agree.
    void this.get(index, type, bucket, key, { r: 'all' }).catch((error: unknown) => {
      if (!(error instanceof RiakError)) throw error
    })
  }

  /** Names and terms of an index (`$key`: the keys themselves), as one copy of each key has them. Tombstones have keys, but no terms. */
  index(index: number, type: string, bucket: string, name: string): Promise<{ term: Buffer; key: Buffer }[]> {
    this.propsOf(index, type, bucket)
    const found: { term: Buffer; key: Buffer }[] = []
    return this.#covered(index, `${type}/${bucket}`, (key, object) => {
      const bytes = Buffer.from(key, 'latin1')
      if (name === '$key' || name === '$bucket') found.push({ term: bytes, key: bytes })
      else {
        const terms = object.contents.flatMap(({ indexes }) =>
          indexes.filter(([of]) => of.toString() === name).map(([, term]) => term),
        )
        // Siblings that agree have one entry together.
        const once = new Map(terms.map(term => [term.toString('latin1'), term]))
        for (const term of once.values()) found.push({ term, key: bytes })
      }
    }).then(() => found)
  }

  async keys(index: number, type: string, bucket: string): Promise<Buffer[]> {
    return (await this.index(index, type, bucket, '$key')).map(({ key }) => key)
  }

  async buckets(index: number, type: string): Promise<string[]> {
    const own = this.#nodes[index]!.stores[index]!
    return [...own.buckets].flatMap(([name, objects]) =>
      name.startsWith(`${type}/`) && objects.size > 0 ? [name.slice(type.length + 1)] : [],
    )
  }

  // ---- copies

  async #covered(index: number, at: string, look: (key: string, object: RiakObject) => void): Promise<void> {
    const reached = this.#nodes.filter(node => this.#reaches(index, node))
    const holder = reached[this.#covering++ % reached.length]!
    await this.#gather<true>(undefined, settle =>
      this.#call(
        index,
        holder,
        () => {
          for (const [key, object] of holder.stores[holder.index]!.buckets.get(at) ?? []) look(key, object)
          return true as const
        },
        settle,
      ),
    )
  }

  /** A copy for each node: with itself where it is reached, else with another that takes its place. */
  #copies(index: number): Copy[] {
    const reached = this.#nodes.filter(node => this.#reaches(index, node))
    return this.#nodes.map(node => {
      if (reached.includes(node)) return { holder: node, owner: node.index, primary: true }
      return { holder: reached[node.index % reached.length]!, owner: node.index, primary: false }
    })
  }

  #coordinate({ holder, owner }: Copy, at: string, key: string, put: RiakObject, props: Props): RiakObject {
    const store = holder.stores[owner]!
    const before = store.get(at, key)
    const actor = before ? actorIn(before, owner) : undefined
    const object = coordinated(before, put, actor ?? `node${owner}/${++store.epochs}`, Date.now(), props)
    store.set(at, key, object)
    return object
  }

  #replicate({ holder, owner }: Copy, at: string, key: string, object: RiakObject, props: Props): RiakObject {
    const store = holder.stores[owner]!
    const before = store.get(at, key)
    const after = before ? merged(before, object, props) : object
    store.set(at, key, after)
    return after
  }

  #afterRead(
    index: number,
    at: string,
    key: string,
    answers: readonly { copy: Copy; object: RiakObject | undefined }[],
    props: Props,
  ): void {
    const objects = answers.flatMap(({ object }) => object ?? [])
    if (objects.length === 0) return
    const latest = reconciled(objects, props)
    const stale = answers.filter(({ object }) => !object || !descends(object.clock, latest.clock))
    for (const { copy } of stale)
      this.#call(
        index,
        copy.holder,
        () => this.#replicate(copy, at, key, latest, props),
        () => {},
      )
    if (stale.length > 0 || !isTombstone(latest) || answers.some(({ copy }) => !copy.primary)) return
    const { deleteMode } = this.#settings
    if (deleteMode === 'keep') return
    for (const { copy } of answers) {
      const store = copy.holder.stores[copy.owner]!
      const reap = (): void => {
        const object = store.get(at, key)
        if (object && sameClock(object.clock, latest.clock)) store.delete(at, key)
      }
      if (deleteMode === 'immediate') reap()
      else this.#after(deleteMode, reap)
    }
  }

  /** What nodes store in the place of others goes to them, where they are reached. */
  #handOver(): void {
    for (const node of this.#nodes) {
      for (const [owner, store] of node.stores.entries()) {
        const to = this.#nodes[owner]!
        if (to === node || !this.#reaches(node.index, to)) continue
        for (const [at, objects] of store.buckets) {
          for (const [key, object] of objects) {
            const [type, bucket] = [at.slice(0, at.indexOf('/')), at.slice(at.indexOf('/') + 1)]
            const props = this.propsOf(owner, type, bucket)
            this.#call(
              node.index,
              to,
              () => this.#replicate({ holder: to, owner, primary: true }, at, key, object, props),
              () => store.get(at, key) === object && store.delete(at, key),
            )
          }
        }
      }
    }
  }

  // ---- messages

  #reaches(from: number, { index, alive }: Node): boolean {
    return alive && this.#nodes[from]!.alive && this.#groups[from] === this.#groups[index]
  }

  /** Runs `work` at another node and `back` here. If either way is cut meanwhile, or a node dies, nothing comes back. */
  #call<T>(from: number, to: Node, work: () => T, back: (result: T) => void): void {
    this.#travel(from, to, () => {
      const result = work()
      this.#travel(to.index, this.#nodes[from]!, () => back(result))
    })
  }

  #travel(from: number, to: Node, arrive: () => void): void {
    const ms = from === to.index ? 0 : (this.#lagMs.get(`${from} ${to.index}`) ?? 0)
    this.#after(ms, () => {
      if (!this.#reaches(from, to)) return
      if (to.held) to.held.push(arrive)
      else arrive()
    })
  }

  #after(ms: number, work: () => void): void {
    if (ms === 0) {
      setImmediate(work)
      return
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      work()
    }, ms)
    timer.unref()
    this.#timers.add(timer)
  }

  /** Settles once; rejects with Riak's `timeout` if it does not. */
  #gather<T>(timeoutMs: number | undefined, begin: (settle: (result: T | RiakError) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(new RiakError('timeout')), timeoutMs ?? requestTimeoutMs)
      timer.unref()
      this.#timers.add(timer)
      const settle = (result: T | RiakError): void => {
        clearTimeout(timer)
        this.#timers.delete(timer)
        if (result instanceof RiakError) reject(result)
        else resolve(result)
      }
      begin(settle)
    })
  }

  #needed(quorum: Quorum): number {
    const n = this.#nodes.length
    if (quorum === 'one') return 1
    if (quorum === 'quorum') return Math.floor(n / 2) + 1
    if (quorum === 'all') return n
    return Math.min(quorum, n)
  }
}

/** The actor under which a node has counted for this key; `undefined`: it has not yet. */
function actorIn({ clock }: RiakObject, owner: number): string | undefined {
  return [...clock.keys()].findLast(actor => actor.startsWith(`node${owner}/`))
}

function stateOf(answers: readonly { object: RiakObject | undefined }[], props: Props): Got {
  const objects = answers.flatMap(({ object }) => object ?? [])
  if (objects.length === 0) return { at: 'absent' }
  const object = reconciled(objects, props)
  return isTombstone(object) ? { at: 'tombstone', clock: object.clock } : { at: 'found', object }
}

function unsatisfied(
  answers: readonly { object: RiakObject | undefined }[],
  r: number,
  pr: number,
  oks: number,
  primaries: number,
  props: Props,
): Got | RiakError {
  if (stateOf(answers, props).at !== 'found') return { at: 'absent' }
  return new RiakError(pr > 0 && primaries < pr ? `{pr_val_unsatisfied,${pr},${primaries}}` : `{r_val_unsatisfied,${r},${oks}}`)
}

function tombstone(): Content {
  return {
    value: Buffer.alloc(0),
    contentType: undefined,
    charset: undefined,
    encoding: undefined,
    links: [],
    userMeta: [],
    indexes: [],
    vtag: freshTag(),
    lastModifiedMs: performance.timeOrigin + performance.now(),
    deleted: true,
    dot: undefined,
  }
}

let tags = 0

/** Names a write. */
export function freshTag(): string {
  return (++tags).toString(36)
}
