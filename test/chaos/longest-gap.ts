/**
 * The longest time in which an address took nothing although somebody sent to it, its holder lived and could be reached, and so could the
 * sender: what a fault costs after it is over, and what the death of one costs the others.
 */

import type { HistoryEvent } from '../../lib/testing/index.ts'

/** When nobody could expect an answer of whom; `*`: of nobody. */
export interface Excused {
  readonly name: string
  readonly fromMs: number
  untilMs: number
}

export interface Gap {
  readonly address: string
  readonly holder: string
  readonly fromMs: number
  readonly untilMs: number
}

/** What is known of one address on the way through a history. */
interface State {
  holder: { peer: string; client: string; sinceMs: number } | undefined
  /** The first send that nothing has followed. */
  askedMs: number | undefined
}

export function longestGap(events: readonly HistoryEvent[], excused: readonly Excused[], endMs: number): Gap | undefined {
  const states = new Map<string, State>()
  const reach = new Reach(excused)
  let longest: Gap | undefined
  const at = (address: string): State => {
    const state = states.get(address) ?? { holder: undefined, askedMs: undefined }
    states.set(address, state)
    return state
  }
  /** It took something, or is not to be expected to any more. */
  const over = (address: string, state: State, atMs: number): void => {
    const { holder, askedMs } = state
    state.askedMs = undefined
    if (!holder || askedMs === undefined) return
    for (const { fromMs, untilMs } of reach.within(holder.peer, Math.max(askedMs, holder.sinceMs), atMs)) {
      if (untilMs - fromMs > (longest ? longest.untilMs - longest.fromMs : 0))
        longest = { address, holder: holder.peer, fromMs, untilMs }
    }
  }
  for (const event of events) {
    if (event.what === 'send') {
      const state = at(event.address)
      if (reach.isIn(event.peer, event.atMs)) state.askedMs ??= event.atMs
    } else if (event.what === 'delivery' || event.what === 'served') over(event.address, at(event.address), event.atMs)
    else if (event.what === 'connected') {
      const state = at(event.address)
      over(event.address, state, event.atMs)
      state.holder = { peer: event.peer, client: clientOf(event), sinceMs: event.atMs }
    } else if (event.what === 'ended') {
      const state = at(event.address)
      if (state.holder?.client !== clientOf(event)) continue
      over(event.address, state, event.atMs)
      state.holder = undefined
    } else if (event.what === 'exit') {
      for (const [address, state] of states) {
        if (state.holder?.peer !== event.name) continue
        over(address, state, event.atMs)
        state.holder = undefined
      }
    }
  }
  for (const [address, state] of states) over(address, state, endMs)
  return longest
}

function clientOf({ incarnation, client }: { incarnation: string; client: number }): string {
  return `${incarnation} ${client}`
}

/** When whom could be reached. */
class Reach {
  readonly #spans = new Map<string, Excused[]>()

  constructor(excused: readonly Excused[]) {
    for (const span of excused) {
      const list = this.#spans.get(span.name) ?? []
      this.#spans.set(span.name, list)
      list.push(span)
    }
  }

  isIn(name: string, atMs: number): boolean {
    return !this.#of(name).some(({ fromMs, untilMs }) => fromMs <= atMs && atMs <= untilMs)
  }

  /** The parts of a time in which it was within reach. */
  within(name: string, fromMs: number, untilMs: number): { fromMs: number; untilMs: number }[] {
    let parts = [{ fromMs, untilMs }]
    for (const not of this.#of(name)) {
      parts = parts.flatMap(part => [
        { fromMs: part.fromMs, untilMs: Math.min(part.untilMs, not.fromMs) },
        { fromMs: Math.max(part.fromMs, not.untilMs), untilMs: part.untilMs },
      ])
      parts = parts.filter(part => part.untilMs > part.fromMs)
    }
    return parts
  }

  #of(name: string): Excused[] {
    return [...(this.#spans.get(name) ?? []), ...(this.#spans.get('*') ?? [])]
  }
}
