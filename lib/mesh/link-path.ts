/** A link as the path of the channel between its two ends. */
import type { Link } from '../link/link.ts'
import type { Path } from './path.ts'

export class LinkPath implements Path {
  readonly label = 0
  readonly kind: Path['kind']
  readonly link: Link

  constructor(kind: Path['kind'], link: Link) {
    this.kind = kind
    this.link = link
  }

  get name(): string {
    return this.kind === 'broker' ? this.link.remote.identity : this.link.address
  }

  get pendingBytes(): number {
    return this.link.pendingBytes
  }

  write(bytes: Uint8Array, flushed?: () => void): void {
    this.link.write(bytes, flushed)
  }

  abandon(reason: Parameters<Path['abandon']>[0]): void {
    this.link.close(reason)
  }
}
