/** Times in which something was so: spans that do not touch, in their order. */

export interface Span {
  readonly fromMs: number
  readonly untilMs: number
}

export class Spans {
  #spans: Span[] = []
  #sorted = true
  /** Since when it is so now. */
  #sinceMs: number | undefined

  get isEmpty(): boolean {
    return this.#spans.length === 0 && this.#sinceMs === undefined
  }

  add(fromMs: number, untilMs: number): void {
    this.#spans.push({ fromMs, untilMs })
    this.#sorted = false
  }

  /** It is so from now on. */
  begin(atMs: number): void {
    this.#sinceMs ??= atMs
  }

  /** It is so no more. */
  end(atMs: number): void {
    if (this.#sinceMs === undefined) return
    this.add(this.#sinceMs, atMs)
    this.#sinceMs = undefined
  }

  /** Those that have a moment in common with the time from `fromMs` to `untilMs`. */
  *within(fromMs: number, untilMs: number): Generator<Span> {
    this.#sort()
    for (let at = this.#firstEndingFrom(fromMs); at < this.#spans.length; at++) {
      const span = this.#spans[at]!
      if (span.fromMs > untilMs) return
      yield span
    }
  }

  /** The first span that ends at `ms` or later. */
  #firstEndingFrom(ms: number): number {
    let low = 0
    let high = this.#spans.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#spans[middle]!.untilMs < ms) low = middle + 1
      else high = middle
    }
    return low
  }

  #sort(): void {
    if (this.#sinceMs !== undefined) this.end(Infinity)
    if (this.#sorted) return
    this.#sorted = true
    const rising = this.#spans.sort((one, other) => one.fromMs - other.fromMs)
    this.#spans = []
    for (const span of rising) {
      const last = this.#spans.at(-1)
      if (!last || last.untilMs < span.fromMs) this.#spans.push(span)
      else if (last.untilMs < span.untilMs) this.#spans[this.#spans.length - 1] = { fromMs: last.fromMs, untilMs: span.untilMs }
    }
  }
}

/** The longest stretch from `fromMs` to `untilMs` in which none of it was so. */
export function longestClear(all: readonly Spans[], fromMs: number, untilMs: number): Span {
  const spans = all.flatMap(each => (each.isEmpty ? [] : [...each.within(fromMs, untilMs)]))
  spans.sort((one, other) => one.fromMs - other.fromMs)
  let longest: Span = { fromMs, untilMs: fromMs }
  let clearFromMs = fromMs
  for (const span of [...spans, { fromMs: untilMs, untilMs }]) {
    const clearMs = span.fromMs - clearFromMs
    if (clearMs > longest.untilMs - longest.fromMs) longest = { fromMs: clearFromMs, untilMs: span.fromMs }
    clearFromMs = Math.max(clearFromMs, span.untilMs)
  }
  return longest
}
