/** A way to the other end of a channel: a link of its own, or a label on the link to a broker. */
export interface Path {
  /** What frames carry on this path; 0 on a link of its own. */
  readonly label: number
  /** Queues whole frames. The bytes belong to the path until `flushed`. */
  write(bytes: Uint8Array, flushed?: () => void): void
  readonly pendingBytes: number
  /** How it is called in `explain`: `tcp://10.0.0.2:7400`, `broker-1`. */
  readonly name: string
  readonly kind: 'direct' | 'broker'
  /** Gives the path up; the mesh opens another one where it is needed. */
  abandon(reason: 'bad-frame' | 'replaced' | 'leaving'): void
}
