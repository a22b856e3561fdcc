/** One run: a cluster of real processes under work and faults, then quiet; and what is to be said of it. */

import { mkdirSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Ending } from '../../lib/cli/ending.ts'
import { seededRandom } from '../../lib/env/random.ts'
import type { Status } from '../../lib/index.ts'
import { History, mergeHistories, readHistory, type HistoryEvent } from '../../lib/testing/index.ts'
import { Cluster } from './cluster.ts'
import { befall } from './faults.ts'
import type { Excused } from './longest-gap.ts'
import type { Place } from './place.ts'
import { between, type Trouble } from './stage.ts'
import { usual, type RunOptions } from './run-options.ts'

/** So far. */
export interface Standing {
  readonly elapsedMs: number
  readonly phase: string
  readonly faults: number
  readonly sent: number
  readonly settled: Partial<Record<Status, number>>
  readonly troubles: readonly string[]
}

export interface RunRecord {
  readonly options: RunOptions
  readonly events: readonly HistoryEvent[]
  readonly endMs: number
  readonly faultsByKind: Readonly<Record<string, number>>
  /** What did not come right in the end, or should not have happened on the way. */
  readonly findings: readonly string[]
  readonly excused: readonly Excused[]
  readonly interrupted: boolean
}

/** Besides a lease and a deadline: the longest pause before somebody dials again, and what it takes after that, ms. */
const comeBackMs = 15_000
const moveEveryMs = 700

export class Run {
  readonly #options: RunOptions
  readonly #ending: Ending
  readonly #originNs = process.hrtime.bigint()
  readonly #history: History
  readonly #random
  readonly #findings: string[] = []
  readonly #excused: Excused[] = []
  readonly #faultsByKind: Record<string, number> = {}
  readonly #troubles = new Set<Trouble>()
  readonly #ends = new Set<Promise<void>>()
  #phase = 'starting'
  #sent = 0
  readonly #settled: Partial<Record<Status, number>> = {}

  constructor(options: RunOptions, ending: Ending) {
    this.#options = options
    this.#ending = ending
    this.#random = seededRandom(`faults ${options.seed}`)
    mkdirSync(options.folder, { recursive: true })
    const file = openSync(join(options.folder, 'conductor.jsonl'), 'w')
    this.#history = new History(() => this.#nowMs(), { each: event => void writeSync(file, `${JSON.stringify(event)}\n`) })
  }

  #nowMs(): number {
    return Number(process.hrtime.bigint() - this.#originNs) / 1e6
  }

  get standing(): Standing {
    return {
      elapsedMs: this.#nowMs(),
      phase: this.#phase,
      faults: Object.values(this.#faultsByKind).reduce((sum, count) => sum + count, 0),
      sent: this.#sent,
      settled: this.#settled,
      troubles: [...this.#troubles].map(({ text }) => text),
    }
  }

  async run(): Promise<RunRecord> {
    let endMs: number
    {
      await using cluster = await Cluster.start(this.#options, this.#originNs, {
        history: this.#history,
        random: this.#random,
        found: text => void this.#findings.push(text),
        excuse: name => this.#excuse(name),
        counted: (sent, settled) => this.#counted(sent, settled),
      })
      const moves = setInterval(() => cluster.users.move(), moveEveryMs * this.#options.scale)
      try {
        await this.#faults(cluster)
        await this.#endOfFaults()
      } finally {
        clearInterval(moves)
      }
      if (!this.#ending.isRequested) await this.#quiet(cluster)
      cluster.users.end()
      if (this.#ending.isRequested) await this.#killAll(cluster)
      else await this.#close(cluster)
      endMs = this.#nowMs()
    }
    for (const each of this.#excused) each.untilMs = Math.min(each.untilMs, endMs)
    return {
      options: this.#options,
      events: this.#events(),
      endMs,
      faultsByKind: this.#faultsByKind,
      findings: this.#findings,
      excused: this.#excused,
      interrupted: this.#ending.isRequested,
    }
  }

  #counted(sent: number, settled: Partial<Record<Status, number>>): void {
    this.#sent += sent
    for (const [status, count] of Object.entries(settled)) {
      this.#settled[status as Status] = (this.#settled[status as Status] ?? 0) + count
    }
  }

  #excuse(name: string): () => void {
    const excused: Excused = { name, fromMs: this.#nowMs(), untilMs: Infinity }
    this.#excused.push(excused)
    return () => void (excused.untilMs = this.#nowMs())
  }

  // Faults

  async #faults(cluster: Cluster): Promise<void> {
    const { faultsMs, pauseMs } = this.#options
    const untilMs = this.#nowMs() + faultsMs
    this.#phase = 'faults'
    for (;;) {
      const pause = between(this.#random, ...pauseMs)
      await this.#ending.pause(Math.min(pause, untilMs - this.#nowMs()))
      if (this.#ending.isRequested || this.#nowMs() >= untilMs) return
      const fault = await befall(cluster.stage)
      if (!fault) continue
      this.#faultsByKind[fault.kind] = (this.#faultsByKind[fault.kind] ?? 0) + 1
      this.#endLater(fault.trouble)
    }
  }

  #endLater(trouble: Trouble): void {
    this.#troubles.add(trouble)
    const end = async (): Promise<void> => {
      await this.#ending.pause(trouble.forMs)
      if (!this.#ending.isRequested) await trouble.end()
      this.#troubles.delete(trouble)
    }
    const ended = end().catch((error: unknown) => void this.#findings.push(`${trouble.text}: ${String(error)}`))
    this.#ends.add(ended)
    void ended.then(() => this.#ends.delete(ended))
  }

  async #endOfFaults(): Promise<void> {
    this.#phase = 'the last faults end'
    await Promise.race([Promise.all(this.#ends), this.#ending.requested])
  }

  // The end

  async #quiet(cluster: Cluster): Promise<void> {
    const { scale, load } = this.#options
    this.#phase = 'quiet'
    await this.#ending.pause((usual.leaseMs + comeBackMs) * scale + load.deadlineMs)
    if (this.#ending.isRequested) return
    const late = this.#nowMs() + load.deadlineMs
    while (!cluster.users.areConnected && this.#nowMs() < late) await this.#ending.pause(100)
    cluster.users.end()
    const resting = Promise.all(cluster.peers.map(place => this.#ask(place, () => place.ask('rest'))))
    await Promise.race([resting, this.#ending.requested])
    if (!this.#ending.isRequested) await this.#converged(cluster)
  }

  /** All servers are members; each address has one holder, whom its user knows, everybody finds, and who takes a message from everywhere. */
  async #converged(cluster: Cluster): Promise<void> {
    this.#phase = 'looking whether all is well'
    const names = cluster.peers.map(({ name }) => name).sort()
    const homes = cluster.users.homes()
    for (const place of cluster.peers) {
      const looked = await this.#ask(place, () => place.ask('look'))
      if (!looked) continue
      const { members, held, where } = looked
      if (members.join() !== names.join())
        this.#findings.push(`${place.name} knows the members ${members.join()}, not ${names.join()}`)
      for (const [address, home] of homes) {
        if (where[address] !== home)
          this.#findings.push(`'${address}' is at ${home ?? 'nobody'}; ${place.name} finds ${where[address] || 'nobody'}`)
        if (held.includes(address) && home !== place.name)
          this.#findings.push(`${place.name} holds '${address}', which is at ${home ?? 'nobody'}`)
      }
      const statuses = (await this.#ask(place, () => place.ask('sendToAll'))) ?? {}
      for (const [address, status] of Object.entries(statuses)) {
        if (status !== 'delivered') this.#findings.push(`in the end, ${place.name} to '${address}': ${status}`)
      }
    }
  }

  /** What it answers; that it does not is a finding. */
  async #ask<T>(place: Place, asked: () => Promise<T>): Promise<T | undefined> {
    try {
      return await asked()
    } catch (error) {
      this.#findings.push(`${place.name} could not be asked: ${String(error)}`)
      return undefined
    }
  }

  async #close(cluster: Cluster): Promise<void> {
    this.#phase = 'closing'
    const end = async (place: Place): Promise<void> => {
      if (!(await place.end('close', 1_000))) this.#findings.push(`${place.name} did not close by itself`)
    }
    await Promise.all(cluster.peers.map(end))
    await Promise.all(cluster.brokers.map(end))
  }

  async #killAll(cluster: Cluster): Promise<void> {
    for (const place of [...cluster.peers, ...cluster.brokers]) {
      if (place.state === 'down') continue
      const { name } = place
      this.#history.add({ what: 'fault', fault: 'kill', name, text: `kill ${name}, as the run was interrupted` })
      await place.kill()
    }
  }

  /** What all processes have written, and what was done to them. */
  #events(): HistoryEvent[] {
    const { folder } = this.#options
    const files = readdirSync(folder).filter(name => name.endsWith('.jsonl'))
    const read = files.map(name => readHistory(readFileSync(join(folder, name), 'utf8'), { tornTail: true }))
    return mergeHistories(read)
  }
}
