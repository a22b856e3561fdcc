/** All flows of a peer, by where they lead: to addresses, where they are also the cache of locations, and to other peers. */
import type { Run } from '../sessions/directory.ts'
import { Flow, type FlowHost } from './flow.ts'
import { originOf } from './message.ts'

export class Flows {
  readonly #host: FlowHost
  /** Protects the memory: idle flows beyond are forgotten. */
  readonly #locationsMax: number
  readonly #byAddress = new Map<string, Flow>()
  readonly #toPeers = new Map<string, { run: Run; flow: Flow }>()

  constructor(host: FlowHost, locationsMax: number) {
    this.#host = host
    this.#locationsMax = locationsMax
  }

  /** The flow to an address, if there is one. */
  at(address: string): Flow | undefined {
    return this.#byAddress.get(address)
  }

  /** The flow to an address, made when first asked for. */
  to(address: string): Flow {
    let flow = this.#byAddress.get(address)
    if (flow) return flow
    if (this.#byAddress.size >= this.#locationsMax) this.#forgetLocations()
    flow = new Flow('address', address, this.#host)
    this.#byAddress.set(address, flow)
    return flow
  }

  /** Forgets an eighth of the idle flows, those not used since the last time first. */
  #forgetLocations(): void {
    let toForget = this.#locationsMax / 8
    for (const [address, flow] of this.#byAddress) {
      if (!flow.isIdle) continue
      if (flow.used && toForget > 1) {
        flow.used = false
        continue
      }
      this.#byAddress.delete(address)
      if (--toForget <= 0) return
    }
    for (const [address, flow] of this.#byAddress) {
      if (toForget-- <= 0) return
      if (flow.isIdle) this.#byAddress.delete(address)
    }
  }

  /** The flow to another peer, made when first asked for. */
  toPeer(run: Run): Flow {
    const key = originOf(run)
    let known = this.#toPeers.get(key)
    if (!known) this.#toPeers.set(key, (known = { run, flow: new Flow('peer', key, this.#host) }))
    return known.flow
  }

  /** Where a flow to a peer leads. */
  runOf({ destination }: Flow): Run {
    return this.#toPeers.get(destination)!.run
  }

  /** Forgets idle flows to peers for whom `isNeeded` says no. */
  forgetPeers(isNeeded: (run: Run) => boolean): void {
    for (const [key, { flow, run }] of this.#toPeers) if (flow.isIdle && !isNeeded(run)) this.#toPeers.delete(key)
  }

  toAddresses(): Iterable<Flow> {
    return this.#byAddress.values()
  }

  *[Symbol.iterator](): Generator<Flow, undefined> {
    yield* this.#byAddress.values()
    for (const { flow } of this.#toPeers.values()) yield flow
  }
}
