/** The code of the pulse, thread or process: renews the leases of a process's peers while their main loop moves. */

// The entry point of a thread is where its environment begins: here, and only here in this folder, the real one is taken. What this
// thread does not need of it (sockets, TLS) is not loaded: every server has this thread.
import { openDatastore } from '../datastores/open.ts'
import type { Datastore } from '../datastores/datastore.ts'
import { realClock } from '../env/clock.ts'
import type { Env, Timer } from '../env/env.ts'
import { realTimers } from '../env/timers.ts'
import { workerPort } from '../env/worker-port.ts'
import { homingError } from '../errors.ts'
import { LifeSigns } from './life-signs.ts'
import { mergeRecords } from './merge.ts'
import { PeerRecords, type Renewal } from './peer-records.ts'
import { doubtCell, movedCell, pulseCells, renewedCell, toMicros, type FromPulse, type ToPulse } from './pulse-messages.ts'

type ThreadEnv = Pick<Env, 'clock' | 'timers'>
type Added = Extract<ToPulse, { at: 'add' }>

const pollMsMax = 250

/** One connection a store, however many peers use it. */
class Connections {
  readonly #open = new Map<string, Promise<Datastore>>()

  async use<T>(key: string, open: () => Promise<Datastore>, work: (datastore: Datastore) => Promise<T>): Promise<T> {
    const opening = this.#open.get(key) ?? open()
    this.#open.set(key, opening)
    let datastore: Datastore
    try {
      datastore = await opening
    } catch (error) {
      if (this.#open.get(key) === opening) this.#open.delete(key) // the next renewal tries again
      throw error
    }
    return work(datastore)
  }

  async close(key: string): Promise<void> {
    const opening = this.#open.get(key)
    this.#open.delete(key)
    if (opening) await (await opening)[Symbol.asyncDispose]()
  }
}

/** The beat of one peer. */
class Heartbeat {
  readonly #env: ThreadEnv
  readonly #added: Added
  readonly #cells: BigInt64Array
  readonly #say: (message: FromPulse) => void
  readonly #use: <T>(work: (datastore: Datastore) => Promise<T>) => Promise<T>
  readonly #poll: Timer
  #renewal: Promise<void> | undefined
  #dueMs: number
  #moved = -1n
  #movedMs: number
  /** The main loop's clock less this one, at least: what is written there was read a moment ago. */
  #aheadMs = -Infinity
  #renewedMs: number | undefined
  #beat = 0
  #begun = false
  /** Shows that this process lives, also while its main loop stands still. */
  #sign: AsyncDisposable | undefined

  constructor(
    env: ThreadEnv,
    added: Added,
    say: (message: FromPulse) => void,
    use: <T>(work: (datastore: Datastore) => Promise<T>) => Promise<T>,
  ) {
    this.#env = env
    this.#added = added
    const { memory } = added
    this.#cells = pulseCells(memory.at === 'shared' ? memory.cells : new ArrayBuffer(pulseCells.bytes))
    if (memory.at === 'apart') this.moved(memory.movedMs)
    this.#say = say
    this.#use = use
    this.#dueMs = this.#movedMs = env.clock.monotonicMs()
    this.#look()
    this.#poll = env.timers.every(Math.min(pollMsMax, added.options.renewEveryMs / 4), () => this.#look())
  }

  /** What a thread reads from shared memory, a process is told. */
  moved(nowMs: number): void {
    Atomics.store(this.#cells, movedCell, toMicros(nowMs))
  }

  async stop(): Promise<void> {
    this.#poll.cancel()
    await this.#renewal
    await this.#sign?.[Symbol.asyncDispose]()
  }

  #look(): void {
    const nowMs = this.#env.clock.monotonicMs()
    const moved = Atomics.load(this.#cells, movedCell)
    if (moved !== this.#moved) {
      this.#moved = moved
      this.#aheadMs = Math.max(this.#aheadMs, Number(moved) / 1_000 - nowMs)
      // Not "now": who stood still may read late what was said long ago.
      this.#movedMs = Number(moved) / 1_000 - this.#aheadMs
    }
    // A main loop that stands still for too long is as good as dead: its lease may lapse.
    if (nowMs - this.#movedMs > this.#added.options.stallMs || nowMs < this.#dueMs || this.#renewal) return
    this.#dueMs = nowMs + this.#added.options.renewEveryMs
    this.#renewal = this.#renew(nowMs).finally(() => {
      this.#renewal = undefined
    })
  }

  async #renew(startedMs: number): Promise<void> {
    const { id, run, cluster } = this.#added
    try {
      const [renewal] = await this.#use(datastore => {
        this.#sign ??= LifeSigns.of(datastore, cluster)?.show(run, 'pulse')
        return new PeerRecords(datastore, cluster).renewMany([{ run }])
      })
      this.#learn(renewal!, startedMs)
    } catch (error) {
      this.#say({ at: 'failed', id, error: homingError(error, 'DATASTORE', 'renewing').message })
    }
  }

  #learn(renewal: Renewal, startedMs: number): void {
    const { id } = this.#added
    switch (renewal.at) {
      case 'renewed':
        return this.#renewed(renewal, startedMs)
      case 'failed':
        return this.#say({ at: 'failed', id, error: renewal.error.message })
      case 'fenced':
        this.#doubt() // nothing may be delivered before the main loop has looked
        return this.#say({ at: 'lost', id })
      case 'missing':
        return this.#say({ at: 'lost', id })
    }
  }

  #renewed({ beat, noted }: Extract<Renewal, { at: 'renewed' }>, startedMs: number): void {
    const { id, options } = this.#added
    const gapMs = startedMs - (this.#renewedMs ?? startedMs)
    if (gapMs >= options.leaseMs - options.guardMs) this.#doubt()
    this.#renewedMs = startedMs
    const mainMs = startedMs + this.#aheadMs
    Atomics.store(this.#cells, renewedCell, toMicros(mainMs))
    const forgot = beat <= this.#beat
    this.#beat = beat
    if (!this.#begun) this.#say({ at: 'begun', id })
    this.#begun = true
    this.#say({ at: 'renewed', id, renewal: { startedMs: mainMs, beat, noted, forgot } })
  }

  #doubt(): void {
    const { id, memory } = this.#added
    Atomics.store(this.#cells, doubtCell, 1n)
    if (memory.at === 'apart') this.#say({ at: 'doubted', id })
  }
}

function run(): void {
  const port = workerPort()
  const env: ThreadEnv = { clock: realClock(), timers: realTimers() }
  const connections = new Connections()
  const beats = new Map<number, { beat: Heartbeat; key: string }>()
  const say = (message: FromPulse): void => port.post(message)

  const add = (added: Added): void => {
    const { id, storeUrl, cluster, options } = added
    const key = `${cluster} ${storeUrl}`
    const { operationTimeoutMs } = options
    const open = (): Promise<Datastore> => openDatastore(storeUrl, { cluster, operationTimeoutMs, merge: mergeRecords })
    beats.set(id, { key, beat: new Heartbeat(env, added, say, work => connections.use(key, open, work)) })
  }
  const remove = async (id: number): Promise<void> => {
    const known = beats.get(id)
    beats.delete(id)
    try {
      const last = known && ![...beats.values()].some(({ key }) => key === known.key)
      // Side by side: a closing connection begins nothing more, so that a renewal under way is over after one operation at the latest.
      await Promise.all([known?.beat.stop(), last ? connections.close(known.key) : undefined])
    } catch (error) {
      say({ at: 'failed', id, error: homingError(error, 'DATASTORE', 'closing').message })
    }
    say({ at: 'removed', id })
  }
  const removals = new Set<Promise<void>>()
  port.onMessage(said => {
    const message = said as ToPulse
    switch (message.at) {
      case 'add':
        return add(message)
      case 'moved':
        return beats.get(message.id)?.beat.moved(message.movedMs)
      case 'remove': {
        const removal = remove(message.id).finally(() => removals.delete(removal))
        return void removals.add(removal)
      }
      case 'end':
        return void Promise.all(removals).then(() => port.close())
    }
  })
}

run()
