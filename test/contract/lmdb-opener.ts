/** How other processes of the contract open a driver that no URL names: here LMDB stands for one. */

import type { Datastore } from '../../lib/datastores/datastore.ts'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'

export function open(folder: string, { operationTimeoutMs }: { operationTimeoutMs: number }): Promise<Datastore> {
  return lmdbDatastore({ folder, operationTimeoutMs })
}
