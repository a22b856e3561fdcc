/** Mixed load for as long as is wanted, and a kill a minute; the memory of the peer and of the broker that are not killed is looked at. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Memory } from './part.ts'
import { Part } from './parts.ts'

export interface Sample extends Memory {
  readonly of: 'peer' | 'broker'
  readonly minutes: number
}

export interface MixedResult {
  readonly samples: readonly Sample[]
  readonly kills: number
  /** After the warm-up, MiB an hour. */
  readonly slopes: Readonly<Record<Sample['of'], { heap: number; resident: number }>>
  readonly statuses: Readonly<Record<string, number>>
}

const mib = 2 ** 20
const after = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

/** So many clients a peer, and one send each so many ms. */
const clients = 20
const everyMs = 10
/** Share of the time until pools and caches have their size. */
const warmUpShare = 0.4

/** Two clusters on one LMDB: three brokerless peers, and two behind a broker. One peer and the broker live through; each minute another is killed. */
export async function mixed(minutes: number, said: (sample: Sample) => void): Promise<MixedResult> {
  const folder = mkdtempSync(join(tmpdir(), 'homing-soak-'))
  const parts: Part[] = []
  try {
    return await run(`lmdb:${folder}/store`, minutes, parts, said)
  } finally {
    await Promise.all(parts.map(part => part.kill()))
    rmSync(folder, { recursive: true, force: true })
  }
}

async function run(store: string, minutes: number, parts: Part[], said: (sample: Sample) => void): Promise<MixedResult> {
  const names = ['kept', 'other-1', 'other-2', 'behind-1', 'behind-2']
  const addressesOf = (name: string): string[] => Array.from({ length: clients }, (_, n) => `${name}-client-${n}`)
  const isBehind = (name: string): boolean => name.startsWith('behind')
  const hub = new Part()
  parts.push(hub)
  const { endpoint } = await hub.ask('broker', { identity: 'hub', cluster: 'behind', store, listen: 'tcp://127.0.0.1:0' })
  const start = async (name: string): Promise<Part> => {
    const part = new Part()
    parts.push(part)
    const way = isBehind(name) ? { cluster: 'behind', broker: endpoint } : { cluster: 'direct', store }
    await part.ask('peer', { identity: name, ...way })
    await part.ask('connect', addressesOf(name))
    const reachable = names.filter(other => isBehind(other) === isBehind(name)).flatMap(addressesOf)
    await part.ask('mix', reachable, everyMs)
    return part
  }
  const running = new Map<string, Part>()
  for (const name of names) running.set(name, await start(name))

  const samples: Sample[] = []
  let kills = 0
  const began = performance.now()
  const passed = (): number => (performance.now() - began) / 60_000
  const sampleEveryMs = Math.min(5_000, minutes * 1_000)
  while (passed() < minutes) {
    await after(sampleEveryMs)
    for (const [of, part] of [
      ['peer', running.get('kept')!],
      ['broker', hub],
    ] as const) {
      const sample: Sample = { of, minutes: passed(), ...(await part.ask('memory')) }
      samples.push(sample)
      said(sample)
    }
    if (passed() < kills + 1) continue
    const name = names[1 + (kills++ % (names.length - 1))]!
    await running.get(name)!.kill()
    running.set(name, await start(name))
  }
  const settled = samples.filter(sample => sample.minutes >= minutes * warmUpShare)
  const slopesOf = (of: Sample['of']): { heap: number; resident: number } => {
    const own = settled.filter(sample => sample.of === of)
    return { heap: slope(own, 'heapBytes'), resident: slope(own, 'residentBytes') }
  }
  const { statuses } = samples.findLast(({ of }) => of === 'peer')!
  return { samples, kills, slopes: { peer: slopesOf('peer'), broker: slopesOf('broker') }, statuses }
}

/** By least squares, MiB an hour. */
function slope(samples: readonly Sample[], key: 'heapBytes' | 'residentBytes'): number {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const hours = samples.map(({ minutes }) => minutes / 60)
  const values = samples.map(sample => sample[key] / mib)
  const [meanHours, meanValue] = [mean(hours), mean(values)]
  const spread = hours.reduce((sum, hour) => sum + (hour - meanHours) ** 2, 0)
  if (spread === 0) return 0
  return hours.reduce((sum, hour, n) => sum + (hour - meanHours) * (values[n]! - meanValue), 0) / spread
}
