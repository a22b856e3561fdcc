/** What a peer tells: the typed events of `peer.on`. None of them is an error that must be handled. */
import type { HomingError } from './errors.ts'
import type { CloseReason } from './link/link.ts'
import type { Departure, LeaseState, Member, Owner, Run } from './sessions/directory.ts'

export interface PeerEvents {
  /** It has its identity and its lease: it is a member now. */
  registered: [identity: string]
  /** A client of this peer connected elsewhere (`by`), or its record was lost for good. Its inbox has been handed over. */
  displaced: [{ address: string; by: Owner | undefined }]
  /** An allow-list, this peer's own or its broker's, lets it hold the address no more: the client was disconnected. */
  clientRefused: [{ address: string }]
  /** The allow-list was replaced: layers ask again. */
  allowChanged: []
  /** This peer drains: the client should connect elsewhere. */
  moving: [{ address: string }]
  /**
   * The former owner of an address did not hand over all that its client had not taken; `missing` where it could say how many. Told by the new
   * owner; by the former one itself (`from` names it) when nobody came for what it had.
   */
  handOverIncomplete: [{ address: string; from: Owner; missing: number | undefined }]
  /** A handler threw or rejected. No receipt changed. */
  handlerError: [{ where: string; error: unknown }]
  memberUp: [Member]
  memberChanged: [Member]
  memberDown: [{ identity: string; incarnation: string; why: Departure }]
  linkUp: [{ identity: string; address: string }]
  linkDown: [{ identity: string; reason: CloseReason; error: HomingError | undefined }]
  /** Who connected here could not prove itself, or broke the protocol. */
  linkRefused: [{ remote: string; error: HomingError }]
  dialFailed: [{ identity: string; error: HomingError; attempt: number }]
  storeDown: [Error]
  storeUp: []
  lease: [LeaseState]
  /** Another incarnation has this identity: this peer has stopped. */
  fenced: [{ by: Run | undefined }]
  closed: []
}
