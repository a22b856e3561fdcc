/** Where an address lives and how a message gets there, told to people. */
import { homingError } from '../errors.ts'
import type { Mesh, PathFacts } from '../mesh/mesh.ts'
import type { Router } from '../router/router.ts'
import type { Directory, Located, Run } from '../sessions/directory.ts'

/** Where an address is, as read from the session store just now. */
export interface Whereabouts {
  address: string
  identity: string
  incarnation: string
  claim: number
  /** It is a client of the peer that was asked. */
  here: boolean
  moving: boolean
}

/** How a message to an address would go now, and what stands in its way. */
export interface Explanation {
  address: string
  /** In one sentence, for people. */
  summary: string
  owner: Whereabouts | undefined
  path: PathFacts | undefined
  /** Sends of this peer to the address. */
  sends: { state: string; waiting: number; outstanding: number; lastFailure?: string }
  store: 'up' | 'down'
  lease: 'sure' | 'unsure'
}

/** A look-up in words of the run that asked. */
export function whereabouts(located: Located | undefined, self: Run): Whereabouts | undefined {
  if (!located) return undefined
  const { address, owner, moving } = located
  const { identity, incarnation, claim } = owner
  return { address, identity, incarnation, claim, here: incarnation === self.incarnation, moving }
}

/** `store` is what is known before it is asked. Never rejects for a datastore that is down. */
export async function explain(
  address: string,
  self: Run,
  store: 'up' | 'down',
  { router, directory, mesh }: { router: Router; directory: Directory; mesh: Mesh },
): Promise<Explanation> {
  const rest = { address, sends: router.explain(address), store, lease: directory.lease } as const
  let located: Located | undefined
  try {
    located = await directory.find(address)
  } catch (error) {
    const why = homingError(error, 'DATASTORE', 'the session store cannot be asked').message
    const summary = `Where '${address}' is cannot be looked up: ${why}`
    return { ...rest, store: 'down', owner: undefined, path: undefined, summary }
  }
  const owner = whereabouts(located, self)
  if (!located || !owner) return { ...rest, owner: undefined, path: undefined, summary: `Nobody holds '${address}'.` }
  if (owner.here)
    return { ...rest, owner, path: undefined, summary: `'${address}' is a client of this peer, '${self.identity}'.` }
  const path = mesh.explain(located.owner)
  return { ...rest, owner, path, summary: pathSentence(address, owner, path) }
}

function pathSentence(address: string, owner: Whereabouts, path: PathFacts): string {
  const way = path.over === undefined ? '' : path.kind === 'broker' ? ` through broker '${path.over}'` : ` over ${path.over}`
  const state = {
    up: 'the way is open',
    resuming: 'the link has just been made',
    dialling: 'it is being dialled',
    waiting: 'it could not be reached and is dialled again soon',
    idle: 'no message has gone there yet',
  }[path.at]
  const why = path.lastError === undefined ? '' : `; last error: ${path.lastError}`
  return `'${address}' is a client of '${owner.identity}'${way}: ${state}${why}.`
}
