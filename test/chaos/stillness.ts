/** Notices that this process stood still: who was not on the processor cannot have been in time. */

const everyMs = 20
/** Less than that makes nobody late. */
const noticedMs = 15

/** Calls `stood` after each standstill, with its length. It does not keep the process. */
export function watchStillness(stood: (forMs: number) => void): void {
  let lastMs = performance.now()
  const look = (): void => {
    const nowMs = performance.now()
    const lateMs = nowMs - lastMs - everyMs
    lastMs = nowMs
    if (lateMs >= noticedMs) stood(lateMs)
  }
  setInterval(look, everyMs).unref()
}
