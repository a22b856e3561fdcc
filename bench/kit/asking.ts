/** Who asks, and waits for replies: the same for all contestants but for how they ask. */
import { Window } from './load.ts'
import type { Role } from './role.ts'
import type { Replies } from './traffic.ts'

export interface Asking<T> {
  readonly outstanding: number
  readonly replies: Replies
  /** Asks once more. */
  readonly ask: () => Promise<T>
  /** Hands what came of it to `replies`. */
  readonly answered: (reply: T) => void
  readonly close: () => Promise<void>
}

export function asking<T>({ outstanding, replies, ask, answered, close }: Asking<T>): Role {
  const window = new Window(outstanding, ask, answered)
  return {
    count: () => replies.count,
    faults: () => ({ 'wrong replies': window.idle ? replies.wrong : 0 }),
    start: () => window.start(),
    stop: () => window.stop(),
    figures: () => window.figures(),
    forget: () => window.forget(),
    close,
  }
}
