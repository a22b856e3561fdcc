/** Becoming a member of a cluster, for programs: interruptible, and said aloud when it takes long. */
import { randomBytes } from 'node:crypto'
import type { Peer, PeerOptions } from '../index.ts'
import { peerOptions, type ClusterFlags } from './cluster-options.ts'
import type { Ending } from './ending.ts'
import { ProgramError } from './failure.ts'

/** How long a join under way is waited for when the program is asked to end, ms. */
const abandonMs = 500

/** A peer that only asks or sends: it has a name of its own and leaves soon. Rejects with `ProgramError` when the end is asked for. */
export async function joinBriefly(flags: ClusterFlags, ending: Ending): Promise<Peer> {
  const options = await peerOptions(flags)
  const peer = await newPeer({ startTimeoutMs: 5_000, ...options })
  if (!(await registerUnlessEnding(peer, options.identity ?? briefIdentity(), ending))) throw new ProgramError('interrupted')
  return peer
}

/** A peer that has no identity yet. The library is loaded here, so that `--help` need not wait for it. */
export async function newPeer(options: PeerOptions): Promise<Peer> {
  const { createPeer } = await import('../index.ts')
  const nameless = { ...options }
  delete nameless.identity
  return createPeer(nameless)
}

export function briefIdentity(prefix = 'cli'): string {
  return `${prefix}-${randomBytes(4).toString('hex')}`
}

/** Whether an identity is that of a program which looks or sends and leaves. */
export function isBrief(identity: string): boolean {
  return /^cli-[0-9a-f]{8}$/.test(identity)
}

/** Resolves to false, with the peer closed, when the end is asked for meanwhile. Rejects as `registerIdentity` does, with the peer closed. */
export async function registerUnlessEnding(peer: Peer, identity: string, ending: Ending): Promise<boolean> {
  const joining = peer.registerIdentity(identity).then(() => true)
  try {
    const joined = await Promise.race([joining, givingUp(ending, joining)])
    if (!joined || ending.isRequested) await peer.close()
    return joined && !ending.isRequested
  } catch (error) {
    await peer.close()
    throw error
  }
}

/** A join that is nearly done is let finish, so that it can be undone; false when it took too long. */
async function givingUp(ending: Ending, joining: Promise<boolean>): Promise<boolean> {
  await ending.requested
  const settled = joining.catch(() => false)
  return Promise.race([settled, new Promise<boolean>(resolve => setTimeout(resolve, abandonMs, false))])
}
