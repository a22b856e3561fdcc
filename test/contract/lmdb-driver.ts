/** LMDB under the contract: in a folder of its own, with lifetimes by a clock that is turned; it stands still while another process holds its lock. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'
import type { KnownDriver } from './known-driver.ts'

const noServer = 'LMDB has no server that could go away: it is a file and a library in each process.'

export const lmdbUnderTest: KnownDriver = {
  name: 'lmdb',
  lacks: { crash: noServer },
  missing: () => undefined,
  async start() {
    const folder = await mkdtemp(join(tmpdir(), 'homing-lmdb-'))
    let turnedMs = 0
    const started = performance.now()
    return {
      open: ({ operationTimeoutMs = 5_000 } = {}) =>
        lmdbDatastore({ folder, operationTimeoutMs, nowMs: () => performance.now() - started + turnedMs }),
      promises: { atomicPut: true, durable: process.platform !== 'linux', shared: true },
      pass: async ms => void (turnedMs += ms),
      elsewhere: { url: `lmdb:${folder}` },
      stall: () => holdLock(folder),
      [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
    }
  },
}

/** Another process takes the lock, and keeps it until it is killed. */
async function holdLock(folder: string): Promise<() => Promise<void>> {
  const holder = fork(new URL('./lmdb-lock-holder.js', import.meta.url), [folder])
  await once(holder, 'message')
  return async () => {
    const gone = once(holder, 'exit')
    holder.kill('SIGKILL')
    await gone
  }
}
