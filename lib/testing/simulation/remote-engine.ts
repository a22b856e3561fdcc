/** A datastore at the other end of a network: answers take their time, or do not come, and every call ends within its own. */
import type { Datastore, Entry, PutOptions, Removal, Write } from '../../datastores/datastore.ts'
import { closedError } from '../../datastores/settling.ts'
import type { Env, Random, Timers } from '../../env/env.ts'
import type { VirtualTime } from '../../env/virtual-time.ts'
import { HomingError } from '../../errors.ts'
import type { Engine } from '../cluster.ts'

/** What lies between a process and the engine. May be changed: holds for what is sent from then on. */
export interface Road {
  /** What a question takes on its way there, ms. */
  thereMs: number
  /** What an answer takes on its way back, ms. */
  backMs: number
  /** Up to that much longer, each way, ms. */
  jitterMs: number
  /** The share of calls that are not answered: of half of them the question was lost, of the others the answer. */
  unanswered: number
  /** Nobody is reached: calls fail at once, those under way too. */
  down: boolean
}

/** Puts a road between each process and another engine. */
export class RemoteEngine implements Engine {
  readonly #engine: Engine
  readonly #time: VirtualTime
  /** What a process gets that has none yet. */
  readonly #present: Road
  readonly #timeoutMs: number
  readonly #roads = new Map<string, Road>()

  constructor(engine: Engine, time: VirtualTime, usual: Road, timeoutMs: number) {
    this.#engine = engine
    this.#time = time
    this.#present = { ...usual }
    this.#timeoutMs = timeoutMs
  }

  /** That of all lives of a process. */
  roadOf(process: string): Road {
    let road = this.#roads.get(process)
    if (!road) this.#roads.set(process, (road = { ...this.#present }))
    return road
  }

  /** Of all processes, and those that come later. */
  change(change: Partial<Road>): void {
    for (const road of [this.#present, ...this.#roads.values()]) Object.assign(road, change)
  }

  connect(process: string, env: Env): Datastore {
    if (this.roadOf(process).down) throw isDown()
    const random = this.#time.randomOf(`road of ${process}`)
    const store = this.#engine.connect(process, env)
    return new RemoteDatastore(store, this.roadOf(process), this.#time, env.timers, random, this.#timeoutMs)
  }
}

/** Questions of one connection arrive in their order, also those that nobody waits for any more, and those of a process that has died. */
class RemoteDatastore implements Datastore {
  readonly #store: Datastore
  readonly #road: Road
  readonly #world: VirtualTime
  readonly #timers: Timers
  readonly #random: Random
  readonly #timeoutMs: number
  #arrivalMs = 0
  #closed = false

  constructor(store: Datastore, road: Road, world: VirtualTime, timers: Timers, random: Random, timeoutMs: number) {
    this.#store = store
    this.#road = road
    this.#world = world
    this.#timers = timers
    this.#random = random
    this.#timeoutMs = timeoutMs
  }

  get promises(): Datastore['promises'] {
    return this.#store.promises
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#call('read', () => this.#store.get(key))
  }

  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    const asked = [...keys]
    return this.#call('read', () => this.#store.getMany(asked))
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string | undefined> {
    const copy = new Uint8Array(bytes) // what was given at the time of the call
    return this.#call('write', () => this.#store.put(key, copy, options))
  }

  putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    const copies = writes.map(write => ({ ...write, bytes: new Uint8Array(write.bytes) }))
    return this.#call('write', () => this.#store.putMany(copies))
  }

  delete(key: string, options?: { ifVersion?: string }): Promise<boolean> {
    return this.#call('write', () => this.#store.delete(key, options))
  }

  deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    const copies = [...removals]
    return this.#call('write', () => this.#store.deleteMany(copies))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    yield* await this.#call('read', async () => {
      const listed: string[] = []
      for await (const key of this.#store.keys(prefix)) listed.push(key)
      return listed
    })
  }

  onLoss(lost: () => void): void {
    this.#store.onLoss?.(lost)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    await this.#store[Symbol.asyncDispose]()
  }

  #call<T>(kind: 'read' | 'write', work: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(closedError('simulated'))
    if (this.#road.down) return Promise.reject(isDown())
    return new Promise((resolve, reject) => {
      const fail = (text: string): void =>
        reject(new HomingError('DATASTORE', text, kind === 'write' ? { outcome: 'unknown' } : {}))
      const timer = this.#timers.after(this.#timeoutMs, () => fail(`no answer within ${this.#timeoutMs} ms`))
      /** What comes back is the process's business: it may stand still, or be dead. */
      const back = (settle: () => void): void => {
        const broken = this.#road.down
        this.#timers.after(this.#takes(this.#road.backMs), () => {
          timer.cancel()
          if (broken) fail('the connection to the datastore broke')
          else settle()
        })
      }
      const fate = this.#fate()
      if (fate === 'question lost') return
      this.#arrive(() => {
        if (this.#road.down) return back(() => {})
        work().then(
          value => {
            if (fate !== 'answer lost') back(() => resolve(value))
            else if (this.#random.fraction() < 0.5) back(() => fail('the connection to the datastore broke'))
          },
          (error: unknown) => back(() => reject(error as Error)),
        )
      })
    })
  }

  #fate(): 'answered' | 'question lost' | 'answer lost' {
    const { unanswered } = this.#road
    if (unanswered === 0 || this.#random.fraction() >= unanswered) return 'answered'
    return this.#random.fraction() < 0.5 ? 'question lost' : 'answer lost'
  }

  #arrive(then: () => void): void {
    const { nowMs, timers } = this.#world
    this.#arrivalMs = Math.max(this.#arrivalMs, nowMs + this.#takes(this.#road.thereMs))
    timers.after(this.#arrivalMs - nowMs, then)
  }

  #takes(ms: number): number {
    const { jitterMs } = this.#road
    return jitterMs > 0 ? ms + this.#random.fraction() * jitterMs : ms
  }
}

function isDown(): HomingError {
  return new HomingError('DATASTORE', 'the datastore is down')
}
