/** Makes an input smaller as long as it still does the same. */

/** Tries of one input: it is for people, and need not be the smallest. */
const triesMax = 400

/** `still` says whether a smaller one does what the input did. */
export async function minimised(input: Buffer, still: (smaller: Buffer) => Promise<boolean>): Promise<Buffer> {
  let best = input
  let tries = 0
  const tried = async (smaller: Buffer): Promise<boolean> => {
    if (tries++ >= triesMax || !(await still(smaller))) return false
    best = smaller
    return true
  }
  for (let size = Math.max(1, input.length >> 1); tries < triesMax; size = Math.max(1, size >> 1)) {
    let shorter = false
    for (let at = 0; at < best.length && tries < triesMax;) {
      const without = Buffer.concat([best.subarray(0, at), best.subarray(at + size)])
      if (await tried(without)) shorter = true
      else at += size
    }
    if (size === 1 && !shorter) break
  }
  for (let at = 0; at < best.length && tries < triesMax; at++) {
    if (best[at] === 0) continue
    const simpler = Buffer.from(best)
    simpler[at] = 0
    await tried(simpler)
  }
  return best
}
