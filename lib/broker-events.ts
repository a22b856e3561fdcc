/** What a broker tells: the typed events of `broker.on`. */
import type { HomingError } from './errors.ts'
import type { CloseReason } from './link/link.ts'
import type { Departure, Member, Owner } from './sessions/directory.ts'

export interface BrokerEvents {
  /** A peer has linked itself for the first time under this incarnation. */
  peerJoined: [{ identity: string; incarnation: string }]
  /** A peer that this broker served is gone: it said goodbye, its lease ran out, or it has a new incarnation. */
  peerGone: [{ identity: string; incarnation: string; why: Departure }]
  /** The link to a peer or another broker ended. The peer keeps its clients until its lease is over. */
  linkDown: [{ identity: string; reason: CloseReason; error: HomingError | undefined }]
  linkUp: [{ identity: string; address: string }]
  clientConnected: [{ address: string; identity: string }]
  /** `owner` is who holds the address, when another one had taken it. */
  clientDisconnected: [{ address: string; identity: string; owner: Owner | undefined }]
  /** A connection broke the protocol and was closed. */
  badFrame: [{ remote: string; error: HomingError }]
  memberUp: [Member]
  storeDown: [Error]
  storeUp: []
  /** Another incarnation has this broker's identity: it has stopped. */
  fenced: []
  closed: []
}
