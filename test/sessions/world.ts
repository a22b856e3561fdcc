/** A cluster's directories on virtual time, over one memory store that each reaches through faults of its own. */

import type { Presence } from '../../lib/datastores/datastore.ts'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import type { Env } from '../../lib/env/env.ts'
import { MemoryNetwork } from '../../lib/env/memory-network.ts'
import { virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { HomingError } from '../../lib/errors.ts'
import type { Claimed, Held, Member, Owner, Probe, Self } from '../../lib/sessions/directory.ts'
import { sessionOptions, type SessionOptions } from '../../lib/sessions/options.ts'
import { StoreDirectory } from '../../lib/sessions/store-directory.ts'
import { FaultyDatastore } from '../../lib/testing/faulty-datastore.ts'

export interface PeerSettings {
  identity?: string
  machine?: string
  incarnation?: string
  probe?: (incumbent: Member) => Promise<Probe>
  options?: Partial<SessionOptions>
  /** What the engine can tell of processes; absent: nothing, as most engines. */
  presence?: Presence
  endpoints?: readonly string[]
}

/** What one peer has, and what it was told. */
export interface TestPeer {
  readonly host: string
  readonly env: Env
  readonly self: Self
  readonly store: FaultyDatastore
  readonly held: Map<string, number>
  /** One line an event: `up b`, `down b lapsed`, `displaced alice 1 by b`, `lease unsure store`, ... with the time it came. */
  readonly told: { atMs: number; what: string }[]
  readonly troubles: HomingError[]
  directory: StoreDirectory
  claim(address: string, forMs?: number): Promise<Claimed>
}

export class World {
  readonly time: VirtualTime
  readonly engine: MemoryEngine
  readonly network: MemoryNetwork
  #incarnations = 0

  constructor(seed: number) {
    this.time = new VirtualTime({ seed, clockSpreadMs: 1e6 })
    this.engine = new MemoryEngine(this.time.clock)
    this.network = new MemoryNetwork(this.time.timers, this.time.random)
  }

  /** Runs the clock until the promise settles, and passes on how. */
  async soon<T>(promise: Promise<T>, maxMs = 60_000): Promise<T> {
    let settled = false
    const done = (): void => void (settled = true)
    promise.then(done, done)
    await this.time.until(() => settled, maxMs)
    return promise
  }

  async peer(host: string, settings: PeerSettings = {}): Promise<TestPeer> {
    const { peer, joining } = this.joining(host, settings)
    peer.directory = await this.soon(joining)
    return peer
  }

  /** A peer that is about to join; `directory` is there once `joining` resolved. */
  joining(
    host: string,
    {
      identity = host,
      machine,
      incarnation,
      probe = async () => 'silent',
      options = {},
      presence,
      endpoints = [`tcp://${host}:1`],
    }: PeerSettings = {},
  ) {
    const env = virtualEnv(this.time, this.network, host, machine)
    const store = new FaultyDatastore(Object.assign(this.engine.connect(), presence && { presence }), env.timers)
    const self: Self = {
      identity,
      incarnation: incarnation ?? `run-${++this.#incarnations}`,
      endpoints,
      role: 'peer',
      state: 'up',
      version: '0.1.0',
      machine: env.machine,
      metadata: {},
    }
    const held = new Map<string, number>()
    const told: TestPeer['told'] = []
    const troubles: HomingError[] = []
    const tell = (what: string): void => void told.push({ atMs: this.time.nowMs, what })
    let claims = 0
    const peer: TestPeer = {
      host,
      env,
      self,
      store,
      held,
      told,
      troubles,
      directory: undefined as unknown as StoreDirectory,
      claim: async (address, forMs = 5_000) => {
        const claim = ++claims
        const [claimed] = await this.soon(peer.directory.claim([{ address, claim }], env.clock.monotonicMs() + forMs))
        held.set(address, claim)
        return claimed!
      },
    }
    const joining = StoreDirectory.join({
      env,
      datastore: store,
      cluster: 'test',
      self,
      options: sessionOptions(options),
      probe,
      waiting: incumbent => tell(`waiting for ${incumbent.identity}`),
      trouble: error => troubles.push(error),
      handler: {
        held: function* (): Generator<Held> {
          for (const [address, claim] of held) yield { address, claim }
        },
        displaced: (address, claim, by) => {
          tell(`displaced ${address} ${claim} by ${by?.identity}`)
          if (held.get(address) === claim) held.delete(address)
        },
        memberUp: member => tell(`up ${member.identity}`),
        memberChanged: member => tell(`changed ${member.identity} ${member.state}`),
        memberDown: (run, why) => tell(`down ${run.identity} ${why}`),
        storeDown: () => tell('store down'),
        storeUp: () => tell('store up'),
        lease: (state, why) => tell(`lease ${state}${why === undefined ? '' : ` ${why}`}`),
        fenced: by => tell(`fenced by ${by?.incarnation}`),
      },
    })
    return { peer, joining }
  }
}

export const seed = Number(process.env['SEED'] ?? 1)

export function whats(peer: TestPeer): string[] {
  return peer.told.map(({ what }) => what)
}

export function ownerOf(peer: TestPeer, claim: number): Owner {
  return { identity: peer.self.identity, incarnation: peer.self.incarnation, claim }
}
