/** The program of a process of the contract: opens the datastore that it is told, and does with it what it is asked. */

import type { Datastore } from '../../datastores/datastore.ts'
import { openDatastore } from '../../datastores/open.ts'
import { HomingError, type ErrorCode } from '../../errors.ts'
import { count } from './conditions.ts'
import type { Elsewhere, OpenOptions } from './statement.ts'

/** What a process may be asked. */
export interface Tasks {
  /** Opens the datastore; everything else comes after it. */
  open(options: OpenOptions): Promise<void>
  put(key: string, value: string): Promise<string | undefined>
  get(key: string): Promise<string | undefined>
  /** Claims each of the keys, `claimers` times at once; resolves to the claims that were won. */
  claim(keys: readonly string[], claimers: number, name: string): Promise<{ key: string; version: string; value: string }[]>
  /** Tries to write over or to remove these versions, `rivals` times at once; resolves to how many tries held, by key. */
  replace(entries: readonly { key: string; version: string }[], rivals: number): Promise<number[]>
  /** Adds one to the number under `key`, `times` times. */
  count(key: string, times: number): Promise<void>
  /** Writes the key `times` times; resolves to the versions. */
  overwrite(key: string, times: number): Promise<(string | undefined)[]>
  /** Writes batches under the keys for ever, each filled with its own number; says how many were acknowledged when asked. */
  pour(keys: readonly string[], valueBytes: number): Promise<void>
  acknowledged(): Promise<number>
  close(): Promise<void>
  /** From now on the parent keeps it no longer. */
  release(): Promise<void>
}

/** One question to a process, and its answer. */
export interface Question {
  id: number
  task: keyof Tasks
  args: unknown[]
}

/** `failed` absent: it went well, and `value` is what it resolved to. */
export interface Answer {
  id: number
  value?: unknown
  failed?: { message: string; code?: ErrorCode }
}

const elsewhere = JSON.parse(process.argv[2]!) as Elsewhere
let store: Datastore | undefined
let poured = 0

function the(): Datastore {
  if (!store) throw new Error('the datastore is not open')
  return store
}

async function opened({ operationTimeoutMs = 5_000 }: OpenOptions): Promise<Datastore> {
  if ('url' in elsewhere) return openDatastore(elsewhere.url, { operationTimeoutMs, cluster: 'contract' })
  const { open } = (await import(elsewhere.module)) as { open(argument: string, options: OpenOptions): Promise<Datastore> }
  return open(elsewhere.argument, { operationTimeoutMs })
}

const encoded = (text: string): Uint8Array => new TextEncoder().encode(text)

const tasks: Tasks = {
  async open(options) {
    store = await opened(options)
  },
  put: (key, value) => the().put(key, encoded(value)),
  async get(key) {
    const entry = await the().get(key)
    return entry && new TextDecoder().decode(entry.bytes)
  },
  async claim(keys, claimers, name) {
    const won: { key: string; version: string; value: string }[] = []
    const claim = async (key: string, value: string): Promise<void> => {
      const version = await the().put(key, encoded(value), { ifVersion: null })
      if (version !== undefined) won.push({ key, version, value })
    }
    for (const key of keys) await Promise.all(Array.from({ length: claimers }, (_, i) => claim(key, `${name} ${i}`)))
    return won
  },
  async replace(entries, rivals) {
    const held: number[] = []
    for (const { key, version } of entries) {
      const tries = await Promise.all(
        Array.from({ length: rivals }, (_, i) =>
          i % 2 ? the().put(key, encoded(`${i}`), { ifVersion: version }) : the().delete(key, { ifVersion: version }),
        ),
      )
      held.push(tries.filter(Boolean).length)
    }
    return held
  },
  count: (key, times) => count(the(), key, times),
  async overwrite(key, times) {
    const versions: (string | undefined)[] = []
    for (let i = 0; i < times; i++) versions.push(await the().put(key, encoded(`${i}`)))
    return versions
  },
  async pour(keys, valueBytes) {
    void pourOn(keys, valueBytes)
  },
  async acknowledged() {
    return poured
  },
  async close() {
    await the()[Symbol.asyncDispose]()
  },
  async release() {
    process.channel?.unref()
  },
}

async function pourOn(keys: readonly string[], valueBytes: number): Promise<never> {
  for (let batch = 1; ; batch++) {
    const value = new Uint8Array(valueBytes).fill(batch)
    await the().putMany(keys.map(key => ({ key, bytes: value })))
    poured = batch
  }
}

function failureOf(error: unknown): NonNullable<Answer['failed']> {
  const message = error instanceof Error ? error.message : String(error)
  return error instanceof HomingError ? { message, code: error.code } : { message }
}

process.on('message', ({ id, task, args }: Question) => {
  const answer = (answer: Answer): void => void process.send!(answer)
  const work = (tasks[task] as (...args: unknown[]) => Promise<unknown>)(...args)
  work.then(
    value => answer({ id, value }),
    (error: unknown) => answer({ id, failed: failureOf(error) }),
  )
})
// Nobody is left to tell it to stop.
process.on('disconnect', () => process.exit(1))
