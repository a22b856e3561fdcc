/** The events of a virtual clock, in the order in which they are to happen. */

export interface QueuedEvent {
  /** When it may run. */
  atMs: number
  /** When it was due: the order among events that had to wait for the same moment. */
  readonly dueMs: number
  /** Counts insertions: the order among events that were due together. */
  readonly order: number
  /** Absent once the event is cancelled or over. */
  run: (() => void) | undefined
}

/** A binary heap. Cancelled events stay in it until they are due, or outnumber the others. */
export class EventQueue<E extends QueuedEvent> {
  #heap: E[] = []
  #cancelled = 0

  get first(): E | undefined {
    while (this.#heap.length > 0 && !this.#heap[0]!.run) {
      this.shift()
      this.#cancelled--
    }
    return this.#heap[0]
  }

  /** How many wait that are neither cancelled nor left out. */
  count(among: (event: E) => boolean): number {
    return this.#heap.filter(event => event.run && among(event)).length
  }

  push(event: E): void {
    const heap = this.#heap
    let at = heap.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  shift(): E | undefined {
    const first = this.#heap[0]
    const last = this.#heap.pop()
    if (last && last !== first) this.#sink(last)
    return first
  }

  cancel(event: E): void {
    event.run = undefined
    if (++this.#cancelled < 1_024 || this.#cancelled * 2 < this.#heap.length) return
    const live = this.#heap.filter(({ run }) => run)
    this.#heap = []
    this.#cancelled = 0
    for (const each of live) this.push(each)
  }

  /** Puts `event` where the first one was, and down to its place. */
  #sink(event: E): void {
    const heap = this.#heap
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, event)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = event
  }
}

function isBefore(a: QueuedEvent, b: QueuedEvent): boolean {
  if (a.atMs !== b.atMs) return a.atMs < b.atMs
  if (a.dueMs !== b.dueMs) return a.dueMs < b.dueMs
  return a.order < b.order
}
