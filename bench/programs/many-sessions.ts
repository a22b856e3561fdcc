/** Session records by the hundred thousand, as a claim writes them. */
import { openDatastore } from '../../lib/datastores/open.ts'
import type { Peer } from '../../lib/index.ts'
import { encodeSession, Keys } from '../../lib/sessions/records.ts'

/** Records in one batch. */
const batch = 10_000
/** A batch takes tens of milliseconds; on a slow disk more. */
const operationTimeoutMs = 60_000
/** A claim that no client of the peer has. */
const noClaim = 2 ** 40

/**
 * Writes records that name this run of the peer: sessions of clients to which nobody sends. They are not connected, because a million
 * clients would stand in one process here and in many in a cluster.
 */
export async function fillStore(folder: string, { identity, incarnation }: Peer, count: number): Promise<void> {
  const cluster = 'homing'
  const keys = new Keys(cluster)
  const bytes = encodeSession({ owner: { identity, incarnation, claim: noClaim }, previous: undefined, moving: false })
  await using datastore = await openDatastore(`lmdb:${folder}`, { operationTimeoutMs, cluster })
  for (let from = 0; from < count; from += batch) {
    const names = Array.from({ length: Math.min(batch, count - from) }, (_, index) => keys.session(`other-${from + index}`))
    await datastore.putMany(names.map(key => ({ key, bytes, ifVersion: null })))
  }
}
