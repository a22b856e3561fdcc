/** All channels and links of one peer, whichever way they run: every peer dials every other (direct), or all meet at a broker (relayed). */
import type { HomingError } from '../errors.ts'
import type { CloseReason } from '../link/link.ts'
import type { Remote } from '../link/handshake.ts'
import type { Run } from '../sessions/directory.ts'
import type { Channel, ChannelEnd, ChannelHandler } from './channel.ts'

/** What a mesh tells its peer besides what channels do. */
export interface MeshHandler extends ChannelHandler {
  linkUp(remote: Remote, address: string): void
  linkDown(identity: string, reason: CloseReason, error: HomingError | undefined): void
  /** Who connected here could not prove itself, or broke the protocol; `remote` is its address. */
  linkRefused(remote: string, error: HomingError): void
  /** A dial failed; another follows by itself. */
  dialFailed(identity: string, error: HomingError, attempt: number): void
}

/** What is known of the way to a run, for `explain`. */
export interface PathFacts {
  at: 'up' | 'resuming' | 'dialling' | 'waiting' | 'idle'
  /** The endpoint or broker that the path runs over, if there is one. */
  over?: string
  kind: 'direct' | 'broker'
  roundTripMs?: number
  lastError?: string
  unacknowledgedBytes: number
}

/** Duties of a mesh: test/contract/mesh.ts. One channel a run; a broken path is opened again until the run is ended. */
export interface Mesh {
  readonly kind: 'direct' | 'broker'
  /** Where others reach this peer. */
  readonly endpoints: readonly string[]
  /** The channel to this run, made when first asked for. Asking again hurries a path that waits to be dialled. */
  channelTo(run: Run): Channel
  /** The channel to this run if there is one. */
  find(run: Run): Channel | undefined
  channels(): Iterable<Channel>
  /** The run is dead, left or replaced: its channel ends and is not opened again. */
  end(run: Run, why: ChannelEnd): void
  /** What is known of the way to `run`. */
  explain(run: Run): PathFacts
  /** Says goodbye on every link, waits at most `waitMs` for what is under way to be answered, and closes. */
  close(waitMs: number): Promise<void>
}
