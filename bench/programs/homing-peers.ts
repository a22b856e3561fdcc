/** The peers of a part: made with default options, where the part was told to make them. */
import { createPeer, type Peer, type PeerOptions } from '../../lib/index.ts'
import type { Part } from '../kit/role.ts'
import { credentialsFor, type Credentials, type Protection } from './credentials.ts'

/** What the parts that hold peers share. */
export interface PeersSetup {
  /** The folder of the LMDB file. Absent: through the broker that was started before. */
  readonly store?: string
  /** How many peers; all of them in this process. */
  readonly peers?: number
  /** What is not as by default; the name of the contestant says so. */
  readonly options?: Partial<PeerOptions>
  /** How they know each other; default `plain`. One peer a part then. */
  readonly protection?: Protection
}

/** What those who listen tell those who are started later. */
export interface PeersReach {
  /** For the one who dials. */
  readonly credentials: Credentials
}

const dialler = 'dialler'

/** The first part's: it makes the credentials, for itself and for who comes. `name` is that of its peers. */
export async function listeningPeers(part: Part, name = 'listener'): Promise<{ peers: Peer[]; reach: PeersReach }> {
  const { store, protection = 'plain', peers = 1, options } = part.setup as PeersSetup
  const [own, others] = credentialsFor(protection, store ?? '', [`${name}-0`, dialler])
  const started = await Promise.all(
    Array.from({ length: peers }, (_, number) =>
      createPeer({ identity: `${name}-${number}`, ...placeOf(part), ...own!, ...options }),
    ),
  )
  return { peers: started, reach: { credentials: others! } }
}

/** The later part's. `name`: one of several such parts. */
export async function diallingPeer(part: Part, to: string, name = dialler): Promise<Peer> {
  const { credentials } = part.reach[to] as PeersReach
  const { options } = part.setup as PeersSetup
  return createPeer({ identity: name, ...placeOf(part), ...credentials, ...options })
}

/** Where the peers of a part meet. */
function placeOf({ setup, reach }: Part): { store: string } | { broker: string } {
  const { store } = setup as PeersSetup
  return store === undefined ? { broker: reach['broker'] as string } : { store: `lmdb:${store}` }
}

export async function closeAll(peers: readonly Peer[]): Promise<void> {
  await Promise.all(peers.map(peer => peer.close()))
}
