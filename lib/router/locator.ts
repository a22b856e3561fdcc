/** Says to flows where they lead: to a client here, to a channel of the peer that the directory names, or nowhere. */
import type { Env } from '../env/env.ts'
import { HomingError } from '../errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Directory, Located, Member, Run } from '../sessions/directory.ts'
import { ownerKey, type Flow } from './flow.ts'
import { failure, type Failure } from './receipt.ts'
import type { Reception } from './reception.ts'

export interface LocatorSetup {
  readonly env: Env
  readonly self: Run
  readonly reception: Reception
  /** Of a release that nobody waits for, ms. */
  readonly deadlineMs: number
  /** Something failed that nobody waits for. */
  trouble(error: unknown): void
}

/** Protects the datastore from a crowd with old routes. */
const ghostsAtOnce = 64

export class Locator {
  readonly #setup: LocatorSetup
  #directory: Directory | undefined
  #mesh: Mesh | undefined
  /** Addresses that others expect here, and that are being looked up. */
  readonly #ghosts = new Set<string>()
  readonly #waits = new Map<Flow, AbortController>()

  constructor(setup: LocatorSetup) {
    this.#setup = setup
  }

  /** Before the first link. */
  meets(mesh: Mesh): void {
    this.#mesh = mesh
  }

  /** Before anything is sent to an address. */
  connect(directory: Directory): void {
    this.#directory = directory
  }

  get mesh(): Mesh {
    if (!this.#mesh) throw new Error('router: used before it was connected')
    return this.#mesh
  }

  get #theDirectory(): Directory {
    if (!this.#directory) throw new Error('router: used before it was connected')
    return this.#directory
  }

  /** Of an address; see `FlowHost`. */
  find(flow: Flow, doubtful: boolean): void {
    const here = this.#setup.reception.at(flow.destination)
    if (here && here.state !== 'closed' && !doubtful) return flow.foundHere(here)
    this.#theDirectory.find(flow.destination).then(
      located => this.#located(flow, located, doubtful),
      (error: unknown) => flow.notFound(unfound(error, flow.destination)),
    )
  }

  #located(flow: Flow, located: Located | undefined, doubtful: boolean): void {
    const { reception, self } = this.#setup
    const here = reception.at(flow.destination)
    const ours = located?.owner.incarnation === self.incarnation
    const lost = doubtful && located !== undefined && !ours && here?.state !== 'claiming'
    if (here && here.state !== 'closed' && !lost) return flow.foundHere(here)
    if (ours) {
      if (reception.hasMoved(flow.destination)) return flow.foundMoving()
      this.#removeGhost(located)
      return flow.foundNobody()
    }
    if (!located) return flow.foundNobody()
    flow.found(ownerKey(located.owner), this.mesh.channelTo(located.owner))
  }

  /** Somebody was led here in vain: by an old route, or by a record that nobody else will ever remove. */
  async lookForGhost(address: string): Promise<void> {
    const { reception, self } = this.#setup
    if (!this.#directory || this.#ghosts.size >= ghostsAtOnce || this.#ghosts.has(address)) return
    this.#ghosts.add(address)
    try {
      const located = await this.#directory.find(address)
      const ours = located?.owner.incarnation === self.incarnation
      if (ours && !reception.at(address) && !reception.hasMoved(address)) this.#removeGhost(located)
    } catch (error) {
      this.#setup.trouble(error)
    } finally {
      this.#ghosts.delete(address)
    }
  }

  /** The record names this very run, which does not hold the address: a write that took effect after it was given up. */
  #removeGhost({ address, owner: { claim } }: Located): void {
    const { env, deadlineMs } = this.#setup
    const untilMs = env.clock.monotonicMs() + deadlineMs
    this.#theDirectory.release([{ address, claim }], untilMs).catch((error: unknown) => this.#setup.trouble(error))
  }

  /** Of a flow to a peer. */
  findPeer(flow: Flow, run: Run): void {
    const member = this.#directory?.member(run.identity)
    if (this.mesh.find(run) || member?.incarnation === run.incarnation) return this.#foundPeer(flow, run, member)
    this.#theDirectory.lookUpMember(run.identity).then(
      member => this.#foundPeer(flow, run, member),
      (error: unknown) => flow.notFound(unfound(error, run.identity)),
    )
  }

  #foundPeer(flow: Flow, run: Run, member: Member | undefined): void {
    const known = this.mesh.find(run)
    if (known) return flow.found(flow.destination, known)
    // Behind a broker there is no way to another one: who asked it before asks the present one.
    const isBeyond = member?.role === 'broker' && this.mesh.kind === 'broker'
    if (member?.incarnation !== run.incarnation || isBeyond) return flow.foundNobody()
    flow.found(flow.destination, this.mesh.channelTo(run))
  }

  /** See `FlowHost`. */
  recheck(flow: Flow): void {
    if (flow.kind === 'peer') return flow.recheckedAs(flow.destination)
    this.#theDirectory.find(flow.destination).then(
      located => flow.recheckedAs(located && ownerKey(located.owner)),
      (error: unknown) => flow.recheckFailed(unfound(error, flow.destination)),
    )
  }

  /** See `FlowHost`. */
  waitFor(flow: Flow, untilMs: number): void {
    if (this.#waits.has(flow)) return
    const controller = new AbortController()
    this.#waits.set(flow, controller)
    const isOver = (): boolean => this.#waits.get(flow) === controller && this.#waits.delete(flow)
    this.#theDirectory.waitFor(flow.destination, untilMs, controller.signal).then(
      located => {
        if (!isOver()) return
        if (located) this.#located(flow, located, false)
        else flow.cameNot()
      },
      (error: unknown) => {
        if (isOver()) flow.waitFailed(unfound(error, flow.destination))
      },
    )
  }

  stopWaiting(flow: Flow): void {
    const controller = this.#waits.get(flow)
    this.#waits.delete(flow)
    controller?.abort()
  }
}

function unfound(error: unknown, destination: string): Failure {
  const code = error instanceof HomingError ? error.code : 'DATASTORE'
  return failure('unreachable', code, `it cannot be looked up who holds '${destination}'`, error)
}
