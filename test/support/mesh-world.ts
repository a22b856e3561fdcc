/** A network of simulated peers that meet in one mesh, direct or through a broker. */

import type { Connection, Env, Transport } from '../../lib/env/env.ts'
import { MemoryNetwork, type MemoryNetworkOptions } from '../../lib/env/memory-network.ts'
import { killProcess, virtualEnv } from '../../lib/env/virtual-env.ts'
import { VirtualTime } from '../../lib/env/virtual-time.ts'
import type { Role } from '../../lib/link/handshake.ts'
import { Link, type CloseReason, type LinkSetup } from '../../lib/link/link.ts'
import { linkOptions, type LinkOptions } from '../../lib/link/options.ts'
import { channelDefaults, type ChannelOptions } from '../../lib/mesh/channel.ts'
import { DirectMesh, type Relay } from '../../lib/mesh/direct.ts'
import type { PathFacts } from '../../lib/mesh/mesh.ts'
import { FrameRelay, relayDefaults, type RelayOptions } from '../../lib/mesh/relay.ts'
import { RelayedMesh } from '../../lib/mesh/relayed.ts'
import type { Run } from '../../lib/sessions/directory.ts'
import {
  closeFrame,
  CHANNEL_HEADER,
  NUMBERED_HEADER,
  routeFrame,
  writeChannelHeader,
  writeNumberedHeader,
} from '../../lib/wire/frame.ts'
import { FIRST_NUMBERED } from '../../lib/wire/kinds.ts'
import { MeshPeer } from './mesh-peer.ts'

export interface WorldOptions {
  seed?: number | string
  network?: Partial<MemoryNetworkOptions>
  link?: Partial<LinkOptions>
  channel?: Partial<ChannelOptions>
  relay?: Partial<RelayOptions>
}

/** The parts that both kinds of world share. Identities are names of hosts. */
export abstract class MeshWorld {
  abstract readonly kind: PathFacts['kind']
  readonly time: VirtualTime
  readonly network: MemoryNetwork
  readonly link: Readonly<LinkOptions>
  readonly channel: Readonly<ChannelOptions>
  readonly #open = new Map<string, number>()
  #runs = 0

  constructor({ seed = 1, network, link, channel }: WorldOptions = {}) {
    this.time = new VirtualTime({ seed })
    this.network = new MemoryNetwork(this.time.timers, this.time.random, network)
    this.link = linkOptions(link)
    this.channel = { ...channelDefaults, ...channel }
  }

  /** A new life of this identity. */
  abstract start(identity: string): Promise<MeshPeer>
  /** The hosts at the two ends of what can be cut between `a` and `b`. */
  protected abstract wire(a: string, b: string): [string, string]
  /** Somebody who has proved that he belongs here, and now writes to `to` what he likes. */
  abstract hostile(to: MeshPeer): Promise<Hostile>

  until(predicate: () => boolean, maxMs = 10_000): Promise<void> {
    return this.time.until(predicate, maxMs)
  }

  run(ms: number): Promise<void> {
    return this.time.run(ms)
  }

  kill(identity: string): void {
    killProcess(this.time, this.network, identity)
    this.#open.delete(identity)
  }

  cut(a: string, b: string, options: { oneWay?: boolean } = {}): void {
    this.network.cut(...this.wire(a, b), options)
  }

  heal(a: string, b: string): void {
    this.network.heal(...this.wire(a, b))
  }

  /** Breaks the connection that leads from `a` to `b`, with what is on its way. */
  reset(a: string, b: string): void {
    this.network.reset(...this.wire(a, b))
  }

  /** Connections that this host has open. */
  connections(host: string): number {
    return this.#open.get(host) ?? 0
  }

  newRun(identity: string): Run {
    return { identity, incarnation: `run-${++this.#runs}` }
  }

  envOf(host: string): Env {
    const env = virtualEnv(this.time, this.network, host)
    return { ...env, transport: counted(env.transport, by => this.#open.set(host, this.connections(host) + by)) }
  }

  setup(run: Run, role: Role = 'peer'): LinkSetup {
    return {
      options: this.link,
      cluster: 'world',
      secrets: [],
      tls: undefined,
      introduce: () => ({ ...run, role, capabilities: [] }),
    }
  }
}

export class DirectWorld extends MeshWorld {
  readonly kind = 'direct'
  /** The present run of each identity, as a directory would know it. */
  readonly current = new Map<string, Run>()

  async start(identity: string): Promise<MeshPeer> {
    if (this.current.has(identity)) this.kill(identity)
    const peer = new MeshPeer(this.newRun(identity), this.envOf(identity))
    this.current.set(identity, peer.run)
    const mesh = new DirectMesh({
      env: peer.env,
      link: this.setup(peer.run),
      channel: this.channel,
      handler: peer,
      self: peer.run,
      endpointsOf: run => [`memory:${run.identity}`],
      isCurrent: async run => this.current.get(run.identity)?.incarnation === run.incarnation,
    })
    peer.mesh = mesh
    await mesh.listen(`memory:${identity}`)
    return peer
  }

  protected wire(a: string, b: string): [string, string] {
    return [a, b]
  }

  async hostile(to: MeshPeer): Promise<Hostile> {
    return Hostile.dial(this, `memory:${to.run.identity}`, 0)
  }
}

const brokerHost = 'broker'

/** A broker without sessions: a direct mesh whose relay knows who is linked. */
export class TestBroker {
  readonly run: Run
  readonly relay: FrameRelay
  /** The broker's own end of the channels to its peers. */
  readonly peer: MeshPeer
  readonly links = new Map<string, Link>()

  constructor(world: MeshWorld, run: Run, options: RelayOptions, endpointsOf: (run: Run) => readonly string[] = () => []) {
    this.run = run
    this.peer = new MeshPeer(run, world.envOf(run.identity))
    this.relay = new FrameRelay(this.peer.env, options, {
      linkTo: to => {
        const link = this.links.get(to.identity)
        return link?.isOpen && link.remote.incarnation === to.incarnation ? link : undefined
      },
      speaksForOthers: ({ remote }) => remote.role === 'broker',
      isBehind: () => undefined,
    })
    this.peer.mesh = new DirectMesh({
      env: this.peer.env,
      link: world.setup(run, 'broker'),
      channel: world.channel,
      handler: this.peer,
      self: run,
      endpointsOf,
      isCurrent: async () => true,
      relay: this.#part(),
    })
  }

  get mesh(): DirectMesh {
    return this.peer.mesh as DirectMesh
  }

  #part(): Relay {
    return {
      admit: async () => undefined,
      linkUp: link => {
        this.links.set(link.remote.identity, link)
        this.relay.add(link)
      },
      frame: (link, buffer, start, end) => this.relay.frame(link, buffer, start, end),
      linkDown: link => {
        this.relay.remove(link)
        if (this.links.get(link.remote.identity) === link) this.links.delete(link.remote.identity)
      },
    }
  }
}

export class RelayedWorld extends MeshWorld {
  readonly kind = 'broker'
  readonly #relay: RelayOptions
  broker: TestBroker

  constructor(options: WorldOptions = {}) {
    super(options)
    this.#relay = { ...relayDefaults, ...options.relay }
    this.broker = new TestBroker(this, this.newRun(brokerHost), this.#relay)
  }

  /** The broker listens; again after `kill`. */
  async startBroker(): Promise<void> {
    this.broker = new TestBroker(this, this.newRun(brokerHost), this.#relay)
    await this.broker.mesh.listen(`memory:${brokerHost}`)
  }

  async start(identity: string): Promise<MeshPeer> {
    if (this.broker.mesh.endpoints.length === 0) await this.broker.mesh.listen(`memory:${brokerHost}`)
    this.kill(identity)
    const peer = new MeshPeer(this.newRun(identity), this.envOf(identity))
    const mesh = new RelayedMesh({
      env: peer.env,
      link: this.setup(peer.run),
      channel: this.channel,
      handler: peer,
      self: peer.run,
      brokers: [`memory:${brokerHost}`],
      brokerUp: broker => void peer.events.push(`broker up ${broker.incarnation}`),
      brokerDown: () => void peer.events.push('broker down'),
      brokerFailed: error => void peer.dialErrors.push(error),
    })
    peer.mesh = mesh
    mesh.start()
    return peer
  }

  protected wire(a: string): [string, string] {
    return [a, brokerHost]
  }

  async hostile(to: MeshPeer): Promise<Hostile> {
    const hostile = await Hostile.dial(this, `memory:${brokerHost}`, 1)
    hostile.raw(routeFrame({ label: 1, pair: 9, from: hostile.run, to: to.run }))
    return hostile
  }
}

/** Speaks the protocol byte by byte. */
export class Hostile {
  readonly run: Run
  readonly label: number
  link!: Link
  /** Kinds of the frames that came. */
  readonly kinds: number[] = []
  closed: CloseReason | undefined

  private constructor(run: Run, label: number) {
    this.run = run
    this.label = label
  }

  static async dial(
    world: MeshWorld,
    endpoint: string,
    label: number,
    run = world.newRun('evil'),
    role: Role = 'peer',
  ): Promise<Hostile> {
    const hostile = new Hostile(run, label)
    let isOpen = false
    hostile.link = Link.dial(world.envOf(run.identity), world.setup(run, role), endpoint, undefined, {
      opened: () => (isOpen = true),
      frame: (_link, buffer, start) => void hostile.kinds.push(buffer[start]!),
      batch: () => undefined,
      closed: (_link, reason) => (hostile.closed = reason),
    })
    await world.until(() => isOpen)
    return hostile
  }

  raw(bytes: Uint8Array): void {
    this.link.write(bytes)
  }

  /** A frame of a channel; numbered ones by their sequence. */
  frame(kind: number, payload: Uint8Array | readonly number[], sequence = 0): void {
    const header = kind >= FIRST_NUMBERED ? NUMBERED_HEADER : CHANNEL_HEADER
    const bytes = Buffer.alloc(header + payload.length)
    if (kind >= FIRST_NUMBERED) writeNumberedHeader(bytes, 0, kind, this.label, sequence)
    else writeChannelHeader(bytes, 0, kind, this.label)
    bytes.set(payload, header)
    closeFrame(bytes, 0, bytes.length)
    this.raw(bytes)
  }
}

/** Numbers as the wire has them. */
export function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, index) => bytes.writeUInt32BE(value >>> 0, index * 4))
  return bytes
}

function counted(transport: Transport, count: (by: 1 | -1) => void): Transport {
  return {
    listen: (endpoint, tls, accept, door) =>
      transport.listen(
        endpoint,
        tls,
        (connection, visit) => {
          count(1)
          const handler = accept(connection, visit)
          return {
            data: chunk => handler.data(chunk),
            closed: error => {
              count(-1)
              handler.closed(error)
            },
          }
        },
        door,
      ),
    dial(endpoint, tls, timeoutMs, handler): Connection {
      let isOpen = false
      return transport.dial(endpoint, tls, timeoutMs, {
        opened: () => {
          isOpen = true
          count(1)
          handler.opened?.()
        },
        data: chunk => handler.data(chunk),
        closed: error => {
          if (isOpen) count(-1)
          handler.closed(error)
        },
      })
    },
  }
}
