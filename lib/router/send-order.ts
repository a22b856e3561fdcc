/** Order of messages that came together by different ways. */

interface Numbered {
  /** Names the run that sent it. */
  readonly origin: string
  /** Grows with each send of that run. */
  readonly number: number
}

/** The same messages; those of one sender in the order of its sends, at the places that its messages had. */
export function inSendOrder<T extends Numbered>(messages: T[]): T[] {
  const bySender = new Map<string, number[]>()
  for (const [at, { origin }] of messages.entries()) {
    const places = bySender.get(origin)
    if (places) places.push(at)
    else bySender.set(origin, [at])
  }
  const ordered = [...messages]
  for (const places of bySender.values()) {
    const own = places.map(at => messages[at]!)
    own.sort((one, other) => one.number - other.number)
    for (const [n, at] of places.entries()) ordered[at] = own[n]!
  }
  return ordered
}
