/** The door through which a layer speaks to other peers by identity. */
import type { Access } from '../access/access.ts'
import type { Action } from '../access/rules.ts'
import { HomingError } from '../errors.ts'
import { checkName } from '../options.ts'
import type { ProtocolHandlers } from '../router/protocols.ts'
import type { Router } from '../router/router.ts'
import type { CallOptions } from '../router/send-options.ts'
import type { Directory, Member, Run } from '../sessions/directory.ts'

/** A layer's door to the mesh: sends to an identity and receives from one. */
export interface Protocol {
  readonly name: string
  /** Answers what other peers say in this protocol; one answer a peer. Returns the function that ends it. */
  serve(handlers: ProtocolHandlers): () => void
  /** Resolves when the member has accepted it; in order with what else goes to that member. Rejects with a `HomingError`. */
  tell(identity: string, body: unknown, options?: CallOptions): Promise<void>
  /** Resolves to the member's answer. Rejects with a `HomingError`; `REMOTE` when its handler threw. */
  call(identity: string, body: unknown, options?: CallOptions): Promise<unknown>
  /** Live members, this peer included; `metadata[name]` is what each says of itself in this protocol. */
  members(): readonly Member[]
  /**
   * Whether the peer of this identity may do this here, by the allow-list; true where there is none. Ask with the identity that a handler
   * was given, at each message: a list may be replaced (`allowChanged`).
   */
  may(identity: string, action: Action, address: string): boolean
  /** What this peer says of itself in this protocol; a JSON value that every member sees. */
  announce(metadata: unknown): Promise<void>
}

/** Throws `BAD_OPTION` for what cannot be the name of a protocol. */
export function checkProtocol(name: string): void {
  if (!/^[a-z][a-z0-9-]{0,40}\/\d{1,4}$/.test(name)) {
    throw new HomingError('BAD_OPTION', `a protocol is called like 'services/1', not ${JSON.stringify(name)}`)
  }
}

/** The protocol of this name at the peer `self`. */
export function protocolOf(name: string, self: Run, router: Router, directory: Directory, access: Access): Protocol {
  const runOf = async (identity: string): Promise<Run> => {
    checkName('identity', identity)
    const member = directory.member(identity) ?? (await directory.lookUpMember(identity))
    if (!member) throw new HomingError('ABSENT', `no peer '${identity}' is in the cluster`)
    return member
  }
  return {
    name,
    serve: handlers => router.serveProtocol(name, handlers),
    tell: async (identity, body, options) => router.tell(await runOf(identity), name, body, options),
    call: async (identity, body, options) => router.call(await runOf(identity), name, body, options),
    members: () => directory.members(),
    may: (identity, action, address) => access.may(identity, action, address),
    announce: metadata => directory.update({ metadata: { ...directory.member(self.identity)?.metadata, [name]: metadata } }),
  }
}
