/**
 * Channels to runs that another run of their identity has replaced. They never come up. A run may be back all the same, when it was the other
 * one that had no right to the identity: then these channels end, so that whoever waits on one takes the run's own.
 */
import type { Run } from '../sessions/directory.ts'
import type { Channel, ChannelEnd } from './channel.ts'

/** Protects the memory; the oldest ends. */
const deadEndsMax = 1_000

export class DeadEnds {
  readonly #channels = new Map<string, Channel>()

  /** The one to this run, made when first asked for. */
  to(run: Run, make: (run: Run) => Channel): Channel {
    const known = this.#channels.get(run.incarnation)
    if (known) return known
    const channel = make(run)
    this.#channels.set(run.incarnation, channel)
    if (this.#channels.size > deadEndsMax) this.end(this.#channels.values().next().value!.remote, 'forgotten')
    return channel
  }

  /** The run is back, or certainly gone. */
  end({ incarnation }: Run, why: ChannelEnd): void {
    const channel = this.#channels.get(incarnation)
    this.#channels.delete(incarnation)
    channel?.end(why)
  }

  close(): void {
    for (const { remote } of [...this.#channels.values()]) this.end(remote, 'closed')
  }
}
