/** The thread that holds pulse links: as long as the main loop shows that it moves, each peer stays linked to its broker. */

// The entry point of a thread is where its environment begins: here the real one is taken.
import { parentPort } from 'node:worker_threads'
import type { Env, Timer } from '../env/env.ts'
import { realEnv } from '../env/real.ts'
import { Backoff } from '../link/backoff.ts'
import { Link, type LinkHandler } from '../link/link.ts'
import type { FromPulseLinks, ToPulseLinks } from './pulse-messages.ts'

type Added = Extract<ToPulseLinks, { at: 'add' }>

const lookEveryMs = 250

class PulseLink implements LinkHandler {
  readonly #env: Env
  readonly #added: Added
  readonly #cell: BigInt64Array
  readonly #backoff: Backoff
  readonly #ticker: Timer
  #endpoint: string | undefined
  #link: Link | undefined
  #dialAtMs = 0
  #moved = -1n
  #movedMs = 0

  constructor(env: Env, added: Added) {
    this.#env = env
    this.#added = added
    this.#cell = new BigInt64Array(added.shared)
    this.#backoff = new Backoff(added.options, env.random)
    this.#ticker = env.timers.every(lookEveryMs, () => this.#look())
  }

  linkTo(endpoint: string | undefined): void {
    if (endpoint === this.#endpoint) return
    this.#endpoint = endpoint
    this.#link?.close('local')
    this.#dialAtMs = 0
    this.#look()
  }

  stop(): void {
    this.#ticker.cancel()
    this.linkTo(undefined)
  }

  #look(): void {
    const nowMs = this.#env.clock.monotonicMs()
    const moved = Atomics.load(this.#cell, 0)
    if (moved !== this.#moved) {
      this.#moved = moved
      this.#movedMs = nowMs
    }
    // A main loop that stands still for too long is as good as dead: its lease may lapse.
    if (nowMs - this.#movedMs > this.#added.stallMs) return this.#link?.close('local')
    if (this.#link || this.#endpoint === undefined || nowMs < this.#dialAtMs) return
    const { options, cluster, secrets, tls, run } = this.#added
    const setup = { options, cluster, secrets, tls, introduce: () => ({ ...run, role: 'pulse' as const, capabilities: [] }) }
    this.#link = Link.dial(this.#env, setup, this.#endpoint, undefined, this)
  }

  opened(): void {}
  frame(): void {}
  batch(): void {}

  closed(link: Link): void {
    if (this.#link !== link) return
    this.#link = undefined
    const nowMs = this.#env.clock.monotonicMs()
    this.#dialAtMs = nowMs + this.#backoff.failed(nowMs)
  }
}

function run(): void {
  const port = parentPort
  if (!port) throw new Error('pulse-links-worker is the code of a worker thread')
  const env = realEnv()
  const links = new Map<number, PulseLink>()
  const say = (message: FromPulseLinks): void => port.postMessage(message)
  port.on('message', (message: ToPulseLinks) => {
    if (message.at === 'add') links.set(message.id, new PulseLink(env, message))
    else if (message.at === 'link') links.get(message.id)?.linkTo(message.endpoint)
    else {
      links.get(message.id)?.stop()
      links.delete(message.id)
      say({ at: 'removed', id: message.id })
    }
  })
}

run()
