/** What is to be done with each address, in the order of the calls; and of all addresses those whose turn it is. */
import type { Op } from './operation.ts'

/** Those that wait no more are taken out of so many and more. */
const tidyFrom = 1_000

export class OperationLines {
  /** Something is ready. */
  readonly #due: () => void
  /** The first of each line; only it is ready or flying. */
  #lines = new Map<string, Op>()
  /** In order; those that are not `ready` any more are passed over. */
  #ready: Op[] = []
  /** Those before this place were taken. */
  #readyFrom = 0
  #readyCount = 0

  constructor(due: () => void) {
    this.#due = due
  }

  /** All operations on an address. */
  *at(address: string): Generator<Op> {
    for (let op = this.#lines.get(address); op; op = op.behind) yield op
  }

  /** Behind those of its address. */
  enqueue(op: Op): void {
    let last = this.#lines.get(op.address)
    if (!last) {
      this.#lines.set(op.address, op)
      this.makeReady(op)
      return
    }
    while (last.behind) last = last.behind
    last.behind = op
  }

  /** A batch may take it along. */
  makeReady(op: Op): void {
    if (op.ready) return
    op.ready = true
    this.#readyCount++
    this.#ready.push(op)
    this.#due()
  }

  /** Takes an operation out of its line; the next one there comes to its turn. */
  leave(op: Op): void {
    op.pause?.cancel()
    if (op.ready) this.#unready(op)
    const first = this.#lines.get(op.address)
    if (first !== op) {
      for (let before = first; before; before = before.behind) if (before.behind === op) before.behind = op.behind
      return
    }
    if (op.behind) {
      this.#lines.set(op.address, op.behind)
      this.makeReady(op.behind)
      return
    }
    this.#lines.delete(op.address)
    // A table that a Map has outgrown still points to the one after it: once one of them is old, all that ever went through the Map
    // would stay until the next full collection. After 100,000 claims that is most of the memory that they took.
    if (this.#lines.size === 0) this.#lines = new Map()
  }

  #unready(op: Op): void {
    op.ready = false
    this.#readyCount--
    // During an outage nothing is taken out at the head.
    if (this.#ready.length > tidyFrom && this.#ready.length > 2 * this.#readyCount) this.#tidyReady()
  }

  /** Up to so many that are ready; they fly from now on. */
  take(max: number): Op[] {
    const batch: Op[] = []
    while (this.#readyFrom < this.#ready.length && batch.length < max) {
      const op = this.#ready[this.#readyFrom++]!
      if (!op.ready) continue
      op.ready = false
      this.#readyCount--
      op.flying = true
      batch.push(op)
    }
    if (this.#readyFrom > this.#ready.length / 2) this.#tidyReady()
    return batch
  }

  #tidyReady(): void {
    this.#ready = this.#ready.filter(op => op.ready)
    this.#readyFrom = 0
  }

  /** Whether it is its turn. */
  isFirst(op: Op): boolean {
    return this.#lines.get(op.address) === op
  }

  *[Symbol.iterator](): Generator<Op, undefined> {
    for (const address of this.#lines.keys()) yield* this.at(address)
  }

  clear(): void {
    this.#lines.clear()
    this.#ready = []
    this.#readyFrom = 0
    this.#readyCount = 0
  }
}
