/**
 * Claims of this peer that brokers are asked for. A question is asked again where its answer was lost, perhaps of another broker: an older
 * claim of an address would come behind a newer one then, and go over whoever came in between. So a claim is not asked for any more once a
 * newer one of its address was: that one stands for both, as if the older had been written right before it.
 */
import type { Env } from '../env/env.ts'
import { settledBy } from '../sessions/deadline.ts'
import type { Held, Owner, Run } from '../sessions/directory.ts'

/** Unless it was asked for, a claim is open until its call is over. `failed`: its call is over without an answer. */
type State = 'open' | 'asked' | 'answered' | 'failed'

export class AskedClaim implements Held {
  readonly address: string
  readonly claim: number
  readonly #run: Run
  /** Claims of this address under way, oldest first. */
  readonly #line: AskedClaim[]
  #state: State = 'open'
  #previous: Owner | undefined
  #overtakenBy: Owner | undefined
  #isOver = false
  #isConnected = false
  #isDoubtful = false
  #settled: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined

  constructor({ address, claim }: Held, run: Run, line: AskedClaim[]) {
    this.address = address
    this.claim = claim
    this.#run = run
    this.#line = line
  }

  get isAnswered(): boolean {
    return this.#state === 'answered'
  }

  /** Where its call fails, it may be written nevertheless. */
  get mayBeWritten(): boolean {
    return this.#isDoubtful || this.isAnswered
  }

  /** Nobody waits for it any more. */
  get isOver(): boolean {
    return this.#isOver
  }

  /** Whom it was written over, once it was answered. */
  get previous(): Owner | undefined {
    return this.#previous
  }

  /** Who had it by the time it was answered, where that was somebody else. */
  get overtakenBy(): Owner | undefined {
    return this.#overtakenBy
  }

  /**
   * Whether a broker is to be asked for it now; from then on older ones are not. Otherwise a newer one was asked for: where that was answered, so
   * is this one by it.
   */
  go(): boolean {
    const newer = this.#newerAsked()
    if (!newer) this.#state = 'asked'
    else if (newer.isAnswered) this.#standBefore(newer)
    return !newer
  }

  answer(previous: Owner | undefined, overtakenBy?: Owner): void {
    this.#previous = previous
    this.#overtakenBy = overtakenBy
    this.#becomes('answered')
  }

  /** Its call is over, with an answer to all its claims. */
  connects(): void {
    this.#isConnected = true
  }

  /** A broker was asked for it, and did not say what became of it. */
  doubt(): void {
    this.#isDoubtful = true
  }

  /** Its call is over: without an answer, older ones are asked for again. */
  end(): void {
    this.#isOver = true
    if (!this.isAnswered) this.#becomes('failed')
  }

  /** Resolves when the newer one that was asked for instead was answered or has failed. Rejects at `untilMs` (monotonic clock) with what `late` makes. */
  async newerSettled(env: Env, untilMs: number, late: () => Error): Promise<void> {
    const newer = this.#newerAsked()
    if (newer && !newer.isAnswered) await settledBy(env, untilMs, newer.#whenSettled(), late)
  }

  #newerAsked(): AskedClaim | undefined {
    for (let at = this.#line.indexOf(this) + 1; at < this.#line.length; at++) {
      const newer = this.#line[at]!
      if (newer.#state === 'asked' || newer.#state === 'answered') return newer
    }
    return undefined
  }

  /** What `newer` was written over, this one was; and `newer` over this one. */
  #standBefore(newer: AskedClaim): void {
    const previous = newer.#previous
    // This one was written after all, and only its answer was lost: or one between them.
    const wasWritten = previous?.incarnation === this.#run.incarnation && previous.claim >= this.claim
    if (!wasWritten) newer.#previous = { identity: this.#run.identity, incarnation: this.#run.incarnation, claim: this.claim }
    // Where its client is connected already, it may have come and gone.
    const connected = newer.#isConnected ? { ...this.#run, claim: newer.claim } : undefined
    this.answer(wasWritten ? undefined : previous, newer.#overtakenBy ?? connected)
  }

  #becomes(state: State): void {
    this.#state = state
    this.#settled?.resolve()
  }

  #whenSettled(): Promise<void> {
    if (!this.#settled) {
      let resolve = (): void => undefined
      const promise = new Promise<void>(settle => (resolve = settle))
      this.#settled = { promise, resolve }
    }
    return this.#settled.promise
  }
}

export class ClaimsAsked {
  readonly #run: Run
  #lines = new Map<string, AskedClaim[]>()

  constructor(run: Run) {
    this.#run = run
  }

  enter(claims: readonly Held[]): AskedClaim[] {
    return claims.map(held => {
      let line = this.#lines.get(held.address)
      if (!line) this.#lines.set(held.address, (line = []))
      const asked = new AskedClaim(held, this.#run, line)
      line.push(asked)
      return asked
    })
  }

  /** Their call is over. */
  leave(claims: readonly AskedClaim[]): void {
    for (const asked of claims) {
      asked.end()
      const line = this.#lines.get(asked.address)!
      while (line[0]?.isOver) line.shift()
      if (line.length === 0) this.#lines.delete(asked.address)
    }
    if (this.#lines.size === 0) this.#lines = new Map() // a Map that is filled and emptied keeps its garbage
  }
}
