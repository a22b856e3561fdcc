/** Clients that come and go, floods, and a client that never reads: what they take of memory and of the others' time. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { percentile } from '../support/figures.ts'
import { Part } from './parts.ts'

export interface ConnectsResult {
  readonly store: string
  readonly connects: number
  readonly perSecond: number
  readonly heapMiBBefore: number
  readonly heapMiBAfter: number
  readonly residentMiBBefore: number
  readonly residentMiBAfter: number
}

const mib = 2 ** 20
/** Until pools and caches have their size. */
const warmUp = 50_000
const atOnce = 500

/** So many connects and disconnects, each of another address: each writes a claim and removes it. */
export async function connects(store: string, count: number): Promise<ConnectsResult> {
  const folder = mkdtempSync(join(tmpdir(), 'homing-soak-'))
  await using part = new Part()
  try {
    await part.ask('peer', { identity: 'one', store: store === 'lmdb:' ? `lmdb:${folder}/store` : store, cluster: 'soak' })
    await part.ask('cycles', 0, Math.min(warmUp, count), atOnce)
    const before = await part.ask('memory')
    const { ms } = await part.ask('cycles', warmUp, count, atOnce)
    const after = await part.ask('memory')
    await part.ask('close')
    return {
      store,
      connects: count,
      perSecond: (count / ms) * 1_000,
      heapMiBBefore: before.heapBytes / mib,
      heapMiBAfter: after.heapBytes / mib,
      residentMiBBefore: before.residentBytes / mib,
      residentMiBAfter: after.residentBytes / mib,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export interface OperationsResult {
  readonly operations: number
  readonly heapMiB: number
}

/** So long what was not waited for may go on after a burst: requests, clients that come and go, ms. */
const settleMs = 2_500

/** The mixed load of two peers as fast as they answer, and the heap of one of them after each tenth of it. */
export async function operations(count: number, said: (result: OperationsResult) => void): Promise<OperationsResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'homing-soak-'))
  await using one = new Part()
  await using other = new Part()
  try {
    const addresses: string[] = []
    for (const [identity, part] of [
      ['one', one],
      ['other', other],
    ] as const) {
      const own = Array.from({ length: 20 }, (_, n) => `${identity}-client-${n}`)
      await part.ask('peer', { identity, store: `lmdb:${folder}/store` })
      await part.ask('connect', own)
      addresses.push(...own)
    }
    const results: OperationsResult[] = []
    for (let tenth = 1; tenth <= 10; tenth++) {
      await Promise.all([one, other].map(part => part.ask('burst', addresses, count / 10)))
      await new Promise(resolve => setTimeout(resolve, settleMs))
      const { heapBytes } = await one.ask('memory')
      results.push({ operations: (count / 10) * tenth, heapMiB: heapBytes / mib })
      said(results.at(-1)!)
    }
    return results
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

export interface TroubleResult {
  readonly trouble: string
  /** What the others' sends take without it and with it, ms. */
  readonly p50Ms: readonly [number, number]
  readonly p99Ms: readonly [number, number]
  readonly failed: number
  /** Of the peer that is flooded, or whose client does not read. */
  readonly heapMiB: readonly [number, number]
  readonly residentMiB: readonly [number, number]
  /** Sends of the one who makes the trouble, and what became of them. */
  readonly sentPerSecond: number
  readonly statuses: Readonly<Record<string, number>>
}

/**
 * One sends to a client of the victim one message after the other, without and with the trouble: a member that sends `perSecond` messages of
 * `bodyBytes` to another client there, which reads, or never does.
 */
export async function trouble(
  what: string,
  { never, perSecond, bodyBytes, seconds }: { never: boolean; perSecond: number; bodyBytes: number; seconds: number },
): Promise<TroubleResult> {
  const folder = mkdtempSync(join(tmpdir(), 'homing-soak-'))
  const store = `lmdb:${folder}/store`
  await using victim = new Part()
  await using other = new Part()
  await using troubling = new Part()
  try {
    await victim.ask('peer', { identity: 'victim', store })
    await other.ask('peer', { identity: 'other', store })
    await troubling.ask('peer', { identity: 'troubling', store })
    await victim.ask('connect', ['bob'])
    await victim.ask('connect', ['sink'], never)
    await other.ask('probe', 'bob', 1)
    const quiet = await other.ask('probe', 'bob', seconds)
    const before = await victim.ask('memory')
    const flooding = troubling.ask('flood', 'sink', perSecond, seconds + 2, bodyBytes)
    await other.ask('probe', 'bob', 1)
    const loud = await other.ask('probe', 'bob', seconds)
    const during = await victim.ask('memory')
    const flood = await flooding
    return {
      trouble: what,
      p50Ms: [percentile(quiet.latenciesMs, 0.5), percentile(loud.latenciesMs, 0.5)],
      p99Ms: [percentile(quiet.latenciesMs, 0.99), percentile(loud.latenciesMs, 0.99)],
      failed: quiet.failed + loud.failed,
      heapMiB: [before.heapBytes / mib, during.heapBytes / mib],
      residentMiB: [before.residentBytes / mib, during.residentBytes / mib],
      sentPerSecond: flood.sent / flood.seconds,
      statuses: (await troubling.ask('memory')).statuses,
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
