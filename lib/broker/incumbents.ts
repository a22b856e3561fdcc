/** Whether the process that has an identity still lives: asked of itself, or of the brokers that it can be linked to. */
import { HomingError } from '../errors.ts'
import { LibraryRefusal } from '../router/remote-failure.ts'
import type { CallOptions } from '../router/send-options.ts'
import type { Member, Probe, Run } from '../sessions/directory.ts'
import { isName } from '../wire/name.ts'

export interface IncumbentsSetup {
  /** The broker's own identity. */
  readonly identity: string
  otherBrokers(): readonly Member[]
  /** By its record, which only who may write to the datastore can have made. */
  isBroker(run: Run): boolean
  /** Asks a run over its links here; `refused`: it was here, and hung up. */
  ask(run: Run): Promise<Probe>
  /** Asks one that is behind no broker at its endpoints. */
  dial(incumbent: Member): Promise<Probe>
  call(broker: Run, protocol: string, body: Run, options: CallOptions): Promise<unknown>
}

/** Between brokers: is this run linked to you? */
export const aliveProtocol = 'alive/1'
/** How long the broker that a run was last with has for its answer, ms: it may ask the run itself, which has one second. */
const answerMs = 2_000
/** How long the others have, ms: while one of them is dead, everyone who starts again after a crash waits for that. */
const elsewhereMs = 1_000

export class Incumbents {
  readonly #setup: IncumbentsSetup

  constructor(setup: IncumbentsSetup) {
    this.#setup = setup
  }

  /** Does not reject because of a broker that cannot be asked: nothing is known then (`silent`). */
  async probe(incumbent: Member): Promise<Probe> {
    const { via } = incumbent
    if (via === undefined) return this.#setup.dial(incumbent)
    const found = await this.#askVia(via, incumbent)
    // A link that was reset looks so too: its peer may be at another broker by now, and not have joined there yet.
    return found === 'refused' && (await this.#isLinkedBut(via, incumbent)) ? 'answers' : found
  }

  async #askVia(via: string, incumbent: Run): Promise<Probe> {
    if (via === this.#setup.identity) return this.#setup.ask(incumbent)
    const broker = this.#setup.otherBrokers().find(({ identity }) => identity === via)
    return broker ? this.#askAt(broker, incumbent, answerMs) : 'silent'
  }

  /** Whether it answers at any broker but `via`. */
  #isLinkedBut(via: string, incumbent: Run): Promise<boolean> {
    const others = this.#setup.otherBrokers().filter(({ identity }) => identity !== via)
    const probes = others.map(broker => this.#askAt(broker, incumbent, elsewhereMs))
    if (via !== this.#setup.identity) probes.push(this.#setup.ask(incumbent))
    return new Promise((resolve, reject) => {
      const heard = probes.map(async probe => {
        if ((await probe) === 'answers') resolve(true)
      })
      Promise.all(heard).then(() => resolve(false), reject)
    })
  }

  /** The answer to `alive/1`. */
  async answer(from: Run, asked: unknown): Promise<Probe> {
    // A question that may end links is for brokers only.
    if (!this.#setup.isBroker(from)) throw new LibraryRefusal(new HomingError('REFUSED', `'${from.identity}' is no broker`))
    return this.#setup.ask(readRun(asked))
  }

  async #askAt(broker: Run, { identity, incarnation }: Run, deadlineMs: number): Promise<Probe> {
    try {
      const answer = await this.#setup.call(broker, aliveProtocol, { identity, incarnation }, { deadlineMs })
      return answer === 'answers' || answer === 'refused' ? answer : 'silent'
    } catch (error) {
      if (error instanceof HomingError) return 'silent'
      throw error
    }
  }
}

function readRun(body: unknown): Run {
  const { identity, incarnation } = (body ?? {}) as Partial<Run>
  if (isName(identity) && isName(incarnation)) return { identity, incarnation }
  throw new LibraryRefusal(new HomingError('REFUSED', 'not a question of alive/1'))
}
