/** A way through a broker: labels of both directions on the link to it, as the path of a channel. */
import type { Link } from '../link/link.ts'
import type { Path } from './path.ts'

export class Way implements Path {
  readonly kind = 'broker'
  readonly label: number
  readonly pair: number
  readonly link: Link
  readonly #abandoned: (way: Way, reason: 'bad-frame' | 'replaced' | 'leaving') => void
  /** Label of what comes in; 0 until the other end has opened its direction. */
  inLabel = 0
  /** When that was, ms. */
  joinedAtMs = 0

  constructor(
    label: number,
    pair: number,
    link: Link,
    abandoned: Way['abandon'] extends (reason: infer R) => void ? (way: Way, reason: R) => void : never,
  ) {
    this.label = label
    this.pair = pair
    this.link = link
    this.#abandoned = abandoned
  }

  get name(): string {
    return this.link.remote.identity
  }

  get pendingBytes(): number {
    return this.link.pendingBytes
  }

  write(bytes: Uint8Array, flushed?: () => void): void {
    this.link.write(bytes, flushed)
  }

  abandon(reason: 'bad-frame' | 'replaced' | 'leaving'): void {
    this.#abandoned(this, reason)
  }
}
