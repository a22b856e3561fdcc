/** The masters of a Redis Cluster: which of them holds which slot, found anew whenever one of them fails or says otherwise. */

import type { Redis } from 'ioredis'
import {
  backoffMs,
  checkMaster,
  connected,
  disconnected,
  escaped,
  NeverSent,
  type NewClient,
  type RedisServers,
  type Referral,
  type ServerRuns,
  usable,
} from './redis-servers.ts'
import type { RedisHost } from './redis-url.ts'
import { within } from './settling.ts'

const slotsCount = 16_384

/** So many nodes are asked who holds what; the one that knows of the latest fail-over is believed. */
const askedMax = 5

/** The slots as one node sees them. */
interface View {
  readonly epoch: number
  readonly ok: boolean
  readonly masters: readonly (RedisHost & { readonly from: number; readonly to: number })[]
}

export interface ClusterOptions {
  readonly seeds: readonly RedisHost[]
  readonly newClient: NewClient
  /** Watches the connections that `newClient` makes. */
  readonly runs: ServerRuns
  readonly timeoutMs: number
  readonly warn: (text: string) => void
}

/**
 * The package's own cluster client is not used: it sends again what was under way when a connection broke, and keeps commands for
 * connections that do not stand yet. A conditional write that is done twice answers "did not hold" the second time.
 *
 * Names are key tags: `{key}`, so that the whole key decides where it lies and braces in an address choose nothing. Records of peers and
 * notes for them are together under the tag of their cluster: while one node is away, either all peers can renew their leases or none, and
 * nobody who can judges those who cannot.
 */
export class RedisCluster implements RedisServers {
  readonly takesMany = false
  readonly #options: ClusterOptions
  readonly #nodes = new Map<string, Redis>()
  /** The address of the master of each slot. */
  readonly #slots = new Array<string | undefined>(slotsCount).fill(undefined)
  #looking: Promise<void> | undefined
  #wake: (() => void) | undefined
  #closed = false

  constructor(options: ClusterOptions) {
    this.#options = options
  }

  /** Finds and checks all masters. Rejects with why it could not; then it is to be closed. */
  async begin(): Promise<void> {
    const { seeds, timeoutMs, warn } = this.#options
    const views = await Promise.allSettled(seeds.slice(0, askedMax).map(async seed => viewOf(await this.#reach(seed, timeoutMs))))
    const view = this.#apply(views)
    if (!view) throw firstFailure(views)
    if (!view.ok) throw new Error('the cluster is down: it says so itself (cluster_state)')
    await Promise.all([...this.#nodes.values()].map(client => connected(client, timeoutMs)))
    const told = new Set<string>()
    const warnOnce = (text: string): void => {
      if (!told.has(text)) warn(text)
      told.add(text)
    }
    await Promise.all(this.clients().map(client => checkMaster(client, 'cluster', warnOnce)))
  }

  nameOf(key: string): string {
    const [, cluster, rest] = together.exec(key) ?? []
    return cluster === undefined ? `{${closed(key)}}` : `homing:{${cluster}}${rest}`
  }

  keyOf(name: string): string {
    const [, cluster, rest] = togetherNamed.exec(name) ?? []
    return cluster === undefined ? opened(name.slice(1, -1)) : `homing:${cluster}${rest}`
  }

  patternsOf(prefix: string): readonly string[] {
    if (together.test(prefix)) return [`${escaped(this.nameOf(prefix))}*`]
    const whole = `${escaped(`{${closed(prefix)}`)}*}`
    // A prefix that ends before the kind of the record is clear may have names of both forms.
    return mayBecomeTogether(prefix) ? [whole, 'homing:{*}:*'] : [whole]
  }

  clientOf(name: string): Redis {
    const address = this.#slots[slotOf(name)]
    const client = address === undefined ? undefined : this.#nodes.get(address)
    if (!client) throw new NeverSent('no node of the cluster holds this key at present')
    return usable(client)
  }

  clients(): readonly Redis[] {
    const clients = new Set<Redis>()
    for (const address of this.#slots) {
      const client = address === undefined ? undefined : this.#nodes.get(address)
      if (!client) throw new NeverSent('some keys are held by no node of the cluster at present')
      clients.add(client)
    }
    return [...clients].map(usable)
  }

  referral(answer: unknown, timeoutMs: number): Promise<Referral> | undefined {
    if (!(answer instanceof Error)) return undefined
    const [, kind, slot, host, port] = /^(MOVED|ASK) (\d+) (\S*):(\d+)$/.exec(answer.message) ?? []
    if (kind === undefined) return undefined
    // Without a host it is the port of the server that said it, which is the one that we know.
    const known = this.#nodes.get(this.#slots[Number(slot)] ?? '')?.options.host
    const to = { host: host === '' || host === undefined ? (known ?? '') : host, port: Number(port) }
    if (kind === 'MOVED') {
      this.#slots[Number(slot)] = addressOf(to)
      this.suspect()
    }
    return this.#reach(to, timeoutMs).then(client => ({ client, asking: kind === 'ASK' }))
  }

  suspect(): void {
    if (this.#closed || this.#looking) return
    this.#looking = this.#lookUntilWhole().finally(() => {
      this.#looking = undefined
    })
  }

  onLoss(lost: () => void): void {
    this.#options.runs.onChange(lost)
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true
    this.#wake?.()
    const clients = [...this.#nodes.values()]
    this.#nodes.clear()
    await Promise.all(clients.map(client => disconnected(client, timeoutMs)))
  }

  /** As long as a slot is without a master that can be reached, somebody may be taking over. */
  async #lookUntilWhole(): Promise<void> {
    for (let tries = 1; !this.#closed; tries++) {
      await this.#look()
      if (this.#isWhole()) return
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, backoffMs(tries))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async #look(): Promise<void> {
    const { seeds, timeoutMs } = this.#options
    const ready = shuffled([...this.#nodes.values()].filter(client => client.status === 'ready'))
    const asked = await Promise.allSettled(ready.slice(0, askedMax).map(client => bounded(viewOf(client), timeoutMs)))
    if (this.#closed || this.#apply(asked)) return
    // Nobody that we know of answers: as at the start.
    const begun = await Promise.allSettled(
      shuffled(seeds)
        .slice(0, askedMax)
        .map(async seed => bounded(viewOf(await this.#reach(seed, timeoutMs)), timeoutMs)),
    )
    if (!this.#closed) this.#apply(begun)
  }

  /** Believes one of the views, and connects to whom it names. */
  #apply(views: readonly PromiseSettledResult<View>[]): View | undefined {
    const answers = views.flatMap(view => (view.status === 'fulfilled' ? [view.value] : []))
    const [view] = answers.sort((a, b) => Number(b.ok) - Number(a.ok) || b.epoch - a.epoch)
    if (!view || view.masters.length === 0) return undefined
    const before = new Set(this.#slots)
    this.#slots.fill(undefined)
    for (const { host, port, from, to } of view.masters) this.#slots.fill(addressOf({ host, port }), from, to + 1)
    const needed = new Set(view.masters.map(addressOf))
    // A master that is none any more was taken over from, and what it had not told its replica is gone.
    if ([...before].some(address => address !== undefined && !needed.has(address))) this.#options.runs.change()
    for (const master of view.masters) this.#node(master)
    for (const [address, client] of this.#nodes) {
      if (needed.has(address)) continue
      this.#nodes.delete(address)
      void disconnected(client, this.#options.timeoutMs)
    }
    return view
  }

  #isWhole(): boolean {
    return this.#slots.every(address => address !== undefined && this.#nodes.get(address)?.status === 'ready')
  }

  /** The connection to a node, which may not stand yet. */
  #node(host: RedisHost): Redis {
    const address = addressOf(host)
    const known = this.#nodes.get(address)
    if (known) return known
    const client = this.#options.newClient(host)
    this.#nodes.set(address, client)
    client.on('close', () => {
      if (this.#nodes.get(address) === client) this.suspect()
    })
    // What goes wrong is said by the event, and tried again.
    client.connect().catch(() => {})
    return client
  }

  async #reach(host: RedisHost, timeoutMs: number): Promise<Redis> {
    if (this.#closed) throw new Error('the connections to the cluster are closed')
    const client = this.#node(host)
    await connected(client, timeoutMs)
    return client
  }
}

/** Keys that are kept together: all records of a cluster that are not sessions. Names of clusters with braces are left out. */
const together = /^homing:([^:{}]+)(:(?:peers|notes):.*)$/s
const togetherNamed = /^homing:\{([^:{}]+)\}(:(?:peers|notes):.*)$/s

/** A tag ends at the first closing brace, so within one there is none. */
function closed(key: string): string {
  return key.replace(/[%}]/g, character => (character === '%' ? '%25' : '%7D'))
}

function opened(tag: string): string {
  return tag.replace(/%(25|7D)/g, (_, code) => (code === '25' ? '%' : '}'))
}

/** Whether some key with that prefix is one of those. */
function mayBecomeTogether(prefix: string): boolean {
  const [, kind] = /^homing:[^:{}]*:([^:]*)$/s.exec(prefix) ?? []
  if (kind !== undefined) return 'peers'.startsWith(kind) || 'notes'.startsWith(kind)
  return 'homing:'.startsWith(prefix) || /^homing:[^:{}]*$/.test(prefix)
}

function addressOf({ host, port }: RedisHost): string {
  return `${host}:${port}`
}

async function viewOf(client: Redis): Promise<View> {
  const [info, slots] = await Promise.all([client.cluster('INFO'), client.cluster('SLOTS')])
  return {
    epoch: Number(/^cluster_current_epoch:(\d+)/m.exec(info)?.[1] ?? 0),
    ok: /^cluster_state:ok/m.test(info),
    masters: (slots as unknown as SlotRange[]).map(([from, to, [host, port]]) => ({
      from,
      to,
      // A node that does not know its own name leaves it out: it is the one that was asked.
      host: host === null || host === '' ? client.options.host! : host,
      port,
    })),
  }
}

type SlotRange = [
  from: number,
  to: number,
  master: [host: string | null, port: number, ...rest: unknown[]],
  ...replicas: unknown[],
]

function bounded<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  return within(timeoutMs, work, () => new Error(`no answer within ${timeoutMs} ms`))
}

function firstFailure(views: readonly PromiseSettledResult<View>[]): unknown {
  for (const view of views) if (view.status === 'rejected') return view.reason
  return new Error('the cluster has no slots yet')
}

/** So that many peers do not all ask the same node. */
function shuffled<T>(items: readonly T[]): T[] {
  const left = [...items]
  return items.map(() => left.splice(Math.floor(Math.random() * left.length), 1)[0]!)
}

/**
 * The slot of a name: by what stands between its first `{` and the next `}`, if anything does.
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model
 */
export function slotOf(name: string): number {
  const open = name.indexOf('{')
  const close = open < 0 ? -1 : name.indexOf('}', open + 1)
  return crc16(Buffer.from(close > open + 1 ? name.slice(open + 1, close) : name)) % slotsCount
}

/** CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0
  for (const byte of bytes) crc = ((crc << 8) & 0xffff) ^ crcTable[(crc >> 8) ^ byte]!
  return crc
}

const crcTable = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})
