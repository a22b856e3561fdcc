/** A process that holds the lock of an LMDB file until it is killed. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { open } from 'lmdb'

const folder = process.argv[2]!
const file = readdirSync(folder).find(name => name.endsWith('.mdb'))!
const db = open<Uint8Array, Uint8Array>({
  path: join(folder, file),
  noSubdir: true,
  encoding: 'binary',
  keyEncoding: 'binary',
  useVersions: true,
  overlappingSync: false,
  maxReaders: 4096,
})
db.transactionSync(() => {
  process.send!('held')
  // No turn of the event loop from here on, as when the system has stopped the process.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
})
