/** The folder and the file of an LMDB datastore: who may use the folder, and how long the file is good for. */

import { lstat, mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { HomingError } from '../errors.ts'

/** A file ready to be opened. */
export interface LmdbFile {
  readonly path: string
  /** No process will see the file after the next start of this machine, so nothing in it needs to reach the disk. */
  readonly thisBootOnly: boolean
}

const fileOfBoot = /^homing-[0-9a-f]{32}\.mdb(-lock)?$/

/**
 * Makes the folder, for its owner alone, and names the file.
 *
 * The file is named after this start of the machine, where the system tells which one it is (Linux). All that it holds was said by
 * processes of this machine, and none of them outlives it: at the next start it would be wrong. So nothing has to be synced, a power
 * loss cannot leave a damaged file to be found, and files of earlier starts are removed.
 */
export async function lmdbFile(folder: string, base: string | undefined): Promise<LmdbFile> {
  // Others may have made a folder of that name in the common temporary folder before us, to read or to hand us what is in it.
  if (base !== undefined) await ownFolder(base)
  if (base !== undefined) await ownFolder(folder)
  else await mkdir(folder, { recursive: true, mode: 0o700 })
  const boot = await bootId()
  if (boot === undefined) return { path: join(folder, 'homing.mdb'), thisBootOnly: false }
  const file = `homing-${boot}.mdb`
  for (const other of await readdir(folder)) {
    if (fileOfBoot.test(other) && !other.startsWith(file)) await rm(join(folder, other), { force: true })
  }
  return { path: join(folder, file), thisBootOnly: true }
}

async function ownFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const found = await lstat(folder)
  if (!found.isDirectory()) throw new HomingError('REFUSED', `lmdb: '${folder}' is not a folder`)
  const uid = process.getuid?.()
  if (uid !== undefined && found.uid !== uid)
    throw new HomingError('REFUSED', `lmdb: '${folder}' belongs to another user (${found.uid})`)
  if (uid !== undefined && (found.mode & 0o022) !== 0) throw new HomingError('REFUSED', `lmdb: others may write into '${folder}'`)
}

/** Which start of this machine it is, as 32 hexadecimal digits; `undefined` where the system does not tell. */
async function bootId(): Promise<string | undefined> {
  try {
    const [first, second] = await Promise.all([readBootId(), readBootId()])
    // Sandboxes exist that make one up at each reading: processes with different ideas of the boot would not meet.
    return first === second && /^[0-9a-f]{32}$/.test(first) ? first : undefined
  } catch (error) {
    if (error instanceof Error && 'code' in error) return undefined // no such file: not Linux, or no /proc
    throw error
  }
}

async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim().replaceAll('-', '')
}
