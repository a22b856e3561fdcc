/** What is asked of every datastore that is a server, besides the contract. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import type { Datastore } from '../../lib/datastores/datastore.ts'
import type { HomingError } from '../../lib/errors.ts'

const user = fileURLToPath(new URL('./datastore-user.js', import.meta.url))

/** Claims, each only where nothing is, in one batch within the time of a call. */
export async function claimsAtOnce(t: Test, store: Datastore, count: number): Promise<void> {
  const writes = Array.from({ length: count }, (_, i) => ({
    key: `homing:c:sessions:address-${i}`,
    bytes: new Uint8Array(100),
    ifVersion: null,
  }))
  const since = performance.now()
  const versions = await store.putMany(writes)
  t.comment(`${(performance.now() - since).toFixed()} ms`)
  t.equal(new Set(versions).size, count)
}

/** P49: after disposal nothing keeps a process that used the store, whether the server is there or not. */
export async function endsByItself(
  t: Test,
  server: { readonly url: string; kill(): Promise<void> },
  ...more: readonly string[]
): Promise<void> {
  for (const kill of [false, true]) {
    const child = fork(user, [server.url, ...more], { execArgv: ['--unhandled-rejections=strict'] })
    const ended = once(child, 'exit')
    await once(child, 'message')
    if (kill) await server.kill()
    child.send('close')
    t.equal((await ended)[0], 0)
  }
}

/** What a caller does after an outage: tries until there is an answer. */
export async function answered<T>(t: Test, call: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await call()
    } catch (error) {
      if ((error as HomingError).code !== 'DATASTORE') t.fail(`${error}`)
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
}
