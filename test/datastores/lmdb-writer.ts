/** Another process, or another thread of this one, that works on an LMDB datastore as it is told. */

import { pathToFileURL } from 'node:url'
import { isMainThread, parentPort, workerData } from 'node:worker_threads'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'

/** What it is told. */
export type Task =
  /** Adds one to the number under `key`, `times` times, by compare-and-set; says `done`. */
  | { do: 'count'; key: string; times: number }
  /** Writes batches under `prefix` for ever; says the number of each that was acknowledged. */
  | { do: 'write'; prefix: string }
  /** Puts `text` under `key`; says `done`. */
  | { do: 'put'; key: string; text: string }
  /** Says the text under `key`. */
  | { do: 'get'; key: string }
  /** Puts `count` values of `bytes` bytes; says `done`. */
  | { do: 'fill'; prefix: string; count: number; bytes: number }
  /** Closes; the process then ends by itself. */
  | { do: 'close' }

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined) => new TextDecoder().decode(value)

async function main(folder: string, say: (what: unknown) => void, hear: (fn: (task: Task) => void) => void): Promise<void> {
  const store = await lmdbDatastore({ folder, operationTimeoutMs: 5_000 })
  const tasks = {
    async count({ key, times }: Task & { do: 'count' }) {
      for (let added = 0; added < times;) {
        const entry = (await store.get(key))!
        const next = bytes(String(Number(text(entry.bytes)) + 1))
        if ((await store.put(key, next, { ifVersion: entry.version })) !== undefined) added++
      }
      return 'done'
    },
    async write({ prefix }: Task & { do: 'write' }) {
      for (let batch = 1; ; batch++) {
        const writes = Array.from({ length: 50 }, (_, i) => ({
          key: `${prefix}${i}`,
          bytes: bytes(`${batch}`.padEnd(200 + ((batch * 37) % 3_000))),
        }))
        await store.putMany(writes)
        say(batch)
      }
    },
    async put({ key, text: value }: Task & { do: 'put' }) {
      await store.put(key, bytes(value))
      return 'done'
    },
    async get({ key }: Task & { do: 'get' }) {
      return text((await store.get(key))?.bytes)
    },
    async fill({ prefix, count, bytes: size }: Task & { do: 'fill' }) {
      for (let i = 0; i < count; i++) await store.put(`${prefix}${i}`, new Uint8Array(size).fill(i))
      return 'done'
    },
    async close() {
      await store[Symbol.asyncDispose]()
      return 'closed'
    },
  }
  hear(task => void (tasks[task.do] as (task: Task) => Promise<unknown>)(task).then(say))
  say('ready')
}

if (!isMainThread && parentPort) {
  const port = parentPort
  await main(
    (workerData as { folder: string }).folder,
    what => port.postMessage(what),
    fn => port.on('message', fn),
  )
} else if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main(
    process.argv[2]!,
    what => process.send!(what),
    fn => {
      process.on('message', task => {
        const { do: what } = task as Task
        fn(task as Task)
        // The channel keeps a process alive; whether anything of the datastore does is what is to be seen.
        if (what === 'close') process.channel?.unref()
      })
    },
  )
}
