/** Batches for engines that take one operation at a time: many on their way at once, those of one key one after the other. */

interface Operation {
  readonly key: string
  readonly bytes?: Uint8Array
}

/** What goes out before the answers to it are awaited. */
export const chunkCallsMax = 1_000
const chunkBytesMax = 4 * 2 ** 20

/** `work` on each, in the order of the results. `check` throws when it is not worth going on; it is asked before each chunk. */
export async function inTurn<O extends Operation, R>(
  all: readonly O[],
  check: () => void,
  work: (one: O) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  for (const chunk of chunksOf(all)) {
    check()
    const last = new Map<string, Promise<R>>()
    const begun = chunk.map(one => {
      const before = last.get(one.key)
      const result = before ? before.then(() => work(one)) : work(one)
      last.set(one.key, result)
      return result
    })
    // All of them: what is still on its way when this rejects could take effect behind the next call.
    for (const outcome of await Promise.allSettled(begun)) {
      if (outcome.status === 'rejected') throw outcome.reason
      results.push(outcome.value)
    }
  }
  return results
}

function* chunksOf<O extends Operation>(all: readonly O[]): Generator<O[]> {
  for (let begin = 0; begin < all.length;) {
    let end = begin
    let bytes = 0
    while (end < all.length && end - begin < chunkCallsMax && bytes < chunkBytesMax) bytes += all[end++]!.bytes?.length ?? 0
    yield all.slice(begin, end)
    begin = end
  }
}
