/** What waits for an answer, by a number that names it. */

/**
 * A ring instead of a Map: numbers are given in turn and most come back in turn. A Map that is filled and emptied all the time makes
 * garbage that outlives many collections (see SessionStore), and costs half as much again.
 */
export class Pending<T extends { id: number }> {
  #slots: (T | undefined)[] = new Array(256)
  #mask = 255
  #lastId = 0
  #size = 0

  get size(): number {
    return this.#size
  }

  /** Gives it its number: from 1 to 2^32 - 1, none that is waited for. */
  add(item: T): number {
    if (this.#size * 2 > this.#mask) this.#grow()
    do this.#lastId = (this.#lastId + 1) >>> 0
    while (this.#lastId === 0 || this.#slots[this.#lastId & this.#mask])
    item.id = this.#lastId
    this.#slots[item.id & this.#mask] = item
    this.#size++
    return item.id
  }

  get(id: number): T | undefined {
    const item = this.#slots[id & this.#mask]
    return item?.id === id ? item : undefined
  }

  delete(item: T): void {
    const slot = item.id & this.#mask
    if (this.#slots[slot] !== item) return
    this.#slots[slot] = undefined
    this.#size--
  }

  /** What waits now, in no order; what comes meanwhile may be passed over. */
  values(): T[] {
    return this.#size === 0 ? [] : this.#slots.filter(item => item !== undefined)
  }

  #grow(): void {
    const items = this.values()
    this.#mask = this.#mask * 2 + 1
    this.#slots = new Array(this.#mask + 1)
    for (const item of items) this.#slots[item.id & this.#mask] = item
  }
}
