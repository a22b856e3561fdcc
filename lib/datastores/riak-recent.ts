/** What this process has written a moment ago: a listing is made from one copy of each key, which may not have heard of it yet. */

/** Longer than a copy of a cluster in good health is behind. */
const recentMs = 3_000
/** Protects the memory. What is more has mostly been heard of. */
const recentMax = 20_000

export class RiakRecent {
  /** In the order of the writes; whether the key was there after it. */
  readonly #writes = new Map<string, { atMs: number; there: boolean }>()

  wrote(key: string, there: boolean): void {
    const atMs = performance.now()
    this.#writes.delete(key)
    this.#writes.set(key, { atMs, there })
    for (const [oldest, write] of this.#writes) {
      if (write.atMs > atMs - recentMs && this.#writes.size <= recentMax) break
      this.#writes.delete(oldest)
    }
  }

  /** It was removed a moment ago, so that it may be listed wrongly. */
  removed(key: string): boolean {
    const write = this.#writes.get(key)
    return write !== undefined && !write.there && write.atMs > performance.now() - recentMs
  }

  /** What was written a moment ago, and may be missing from a listing. */
  written(prefix: string): string[] {
    const sinceMs = performance.now() - recentMs
    return [...this.#writes].flatMap(([key, { atMs, there }]) => (there && atMs > sinceMs && key.startsWith(prefix) ? [key] : []))
  }
}
