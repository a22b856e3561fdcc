/** A seeded workload in a simulated cluster, with seeded faults; then quiet, in which all must come right. */
import { seededRandom } from '../../lib/env/random.ts'
import type { Peer } from '../../lib/index.ts'
import { check, simulateCluster, violationText, type Cluster } from '../../lib/testing/index.ts'
import type { Mode } from './clusters.ts'

const servers = ['a', 'b', 'c', 'd']
const addresses = ['bob', 'ben', 'eve', 'joe', 'kim', 'zoe']
const workMs = 20_000
/** A lease, the longest deadline, and time to come back. */
const quietMs = 40_000

export interface World {
  readonly trace: string
  readonly violations: string[]
}

/** Runs one world to its end. */
export async function runWorld(seed: number, mode: Mode): Promise<World> {
  const world = new RandomWorld(seed, mode)
  return world.run()
}

class RandomWorld {
  readonly #seed: number
  readonly #mode: Mode
  readonly #peers = new Map<string, Peer>()
  readonly #problems: string[] = []
  #cluster!: Cluster
  #random = seededRandom('')
  #body = 0
  #brokerDown = false

  constructor(seed: number, mode: Mode) {
    this.#seed = seed
    this.#mode = mode
    this.#random = seededRandom(`workload ${seed}`)
  }

  async run(): Promise<World> {
    const brokers = this.#mode === 'broker' ? (this.#chance(0.5) ? ['hub', 'hub2'] : ['hub']) : []
    await using cluster = await simulateCluster({
      seed: this.#seed,
      brokers,
      // A broker that is killed again and again may keep a peer from starting for longer than the usual 30 s.
      options: { startTimeoutMs: 60_000 },
      network: { latencyMs: 1, jitterMs: this.#pick([0, 2, 20]), resumeMsMax: this.#pick([0, 50]) },
      store: { slowMs: this.#pick([0.1, 1, 10]), answerMs: this.#pick([0.1, 1, 10]) },
    })
    this.#cluster = cluster
    for (const name of servers) this.#peers.set(name, await cluster.peer(name))
    for (const address of addresses) this.#connect(address)
    await cluster.run(200)
    while (cluster.nowMs < workMs) await this.#step()
    await this.#endFaults()
    await cluster.run(quietMs)
    await this.#converged()
    return {
      trace: cluster.history.toString(),
      violations: [...check(cluster.history.events, { endMs: cluster.nowMs }).map(violationText), ...this.#problems],
    }
  }

  async #step(): Promise<void> {
    const roll = this.#random.fraction()
    if (this.#peers.size === 0) return this.#cluster.run(100)
    if (roll < 0.75) this.#send()
    else if (roll < 0.85) this.#connect(this.#pick(addresses))
    else if (roll < 0.87) this.#disconnect(this.#pick(addresses))
    else if (roll < 0.9) this.#fault()
    await this.#cluster.run(this.#random.fraction() * (this.#chance(0.05) ? 600 : 20))
  }

  #send(): void {
    const peer = this.#pick([...this.#peers.values()])
    const deadlineMs = this.#pick([50, 1_000, 10_000, 10_000])
    const waitMs = this.#chance(0.2) ? 2_000 : 0
    const times = this.#chance(0.1) ? 20 : 1
    const to = this.#pick(addresses)
    for (let n = 0; n < times; n++) void peer.sendMessage(to, ++this.#body, { deadlineMs, waitMs })
  }

  #connect(address: string): void {
    if (this.#peers.size === 0) return
    const peer = this.#pick([...this.#peers.values()])
    const slow = this.#chance(0.1)
    const { timers } = this.#cluster.time
    const handler = slow ? () => new Promise<void>(resolve => void timers.after(5, resolve)) : () => {}
    peer.connectClient(address, handler).catch(expected)
  }

  #disconnect(address: string): void {
    for (const peer of this.#peers.values()) if (peer.client(address)) peer.disconnectClient(address).catch(expected)
  }

  #fault(): void {
    const cluster = this.#cluster
    const name = this.#pick(servers)
    const later = (undo: () => void): void => void cluster.time.timers.after(this.#random.fraction() * 5_000, undo)
    const hosts = this.#mode === 'broker' ? ['hub'] : servers
    const other = this.#pick(hosts.filter(each => each !== name))
    switch (this.#pick(['kill', 'cut', 'reset', 'store', 'ambiguous', 'broker', 'drain'])) {
      case 'kill':
        if (!this.#peers.has(name)) return
        this.#peers.delete(name)
        cluster.kill(name)
        return later(() => this.#startAgain(name))
      case 'cut':
        cluster.cut(name, other, { oneWay: this.#chance(0.3) })
        return later(() => cluster.heal(name, other))
      case 'reset':
        return cluster.reset(name, other)
      case 'store':
        cluster.storeDown()
        return later(() => cluster.storeUp())
      case 'ambiguous':
        cluster.storeAmbiguous(true)
        return later(() => cluster.storeAmbiguous(false))
      case 'broker':
        if (this.#mode !== 'broker' || this.#brokerDown) return
        this.#brokerDown = true
        cluster.kill('hub')
        return later(() => this.#startBroker())
      case 'drain':
        return this.#drain(name)
    }
  }

  #startAgain(name: string): void {
    this.#cluster.startAgain(name).then(
      peer => void this.#peers.set(name, peer as Peer),
      (error: unknown) => this.#problems.push(`${name} did not start: ${String(error)}`),
    )
  }

  #startBroker(): void {
    this.#cluster.startAgain('hub').then(
      () => void (this.#brokerDown = false),
      (error: unknown) => this.#problems.push(`the broker did not start: ${String(error)}`),
    )
  }

  #drain(name: string): void {
    const peer = this.#peers.get(name)
    if (!peer || this.#peers.size < 3) return
    this.#peers.delete(name)
    peer.on('moving', ({ address }) => {
      peer.disconnectClient(address).catch(expected)
      this.#connect(address)
    })
    peer.drain({ deadlineMs: 3_000 }).then(() => this.#startAgain(name), expected)
  }

  async #endFaults(): Promise<void> {
    const cluster = this.#cluster
    await cluster.run(10_000) // what undoes itself has done so
    cluster.storeUp()
    cluster.storeAmbiguous(false)
    for (const name of cluster.names) cluster.rejoin(name)
    // Records of the dead, and those that nobody holds, are noticed when somebody uses them.
    await cluster.run(quietMs / 2)
    for (const peer of this.#peers.values()) for (const address of addresses) void peer.sendMessage(address, ++this.#body)
  }

  /** After the quiet: all servers are members, each address has one owner and takes a message from everywhere. */
  async #converged(): Promise<void> {
    const cluster = this.#cluster
    const peers = [...this.#peers.values()]
    if (peers.length < servers.length) this.#problems.push(`only ${peers.map(({ identity }) => identity).join()} are up`)
    for (const peer of peers) {
      const known = peer.members().filter(({ role }) => role === 'peer').length
      if (known !== servers.length) this.#problems.push(`${peer.identity} knows ${known} members`)
    }
    for (const address of addresses) {
      const holders = peers.filter(peer => peer.client(address)).map(({ identity }) => identity)
      for (const peer of peers) {
        const where = await cluster.settle(peer.whereIs(address).then(found => found?.identity ?? '', String))
        if (holders.join() !== where)
          this.#problems.push(`'${address}' is with [${holders.join()}], ${peer.identity} finds ${where}`)
        const { status } = await cluster.settle(peer.sendMessage(address, ++this.#body))
        if (status !== (holders.length > 0 ? 'delivered' : 'absent'))
          this.#problems.push(`${peer.identity} to '${address}' with [${holders.join()}]: ${status}`)
      }
    }
    await cluster.run(1_000) // what was delivered last is still with slow handlers
  }

  #chance(share: number): boolean {
    return this.#random.fraction() < share
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random.fraction() * from.length)]!
  }
}

/** In these worlds calls fail: what matters is what the history says. */
function expected(error: unknown): void {
  if (!(error instanceof Error && error.name === 'HomingError')) throw error
}
