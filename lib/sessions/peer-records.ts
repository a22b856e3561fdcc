/** Peers' own records on a datastore: read, renewed in batches, removed, each only over what was read. */

import { HomingError } from '../errors.ts'
import type { Datastore } from '../datastores/datastore.ts'
import type { Member, Run } from './directory.ts'
import { decodeNotes, decodePeer, encodePeer, isUnreadable, Keys, type PeerRecord } from './records.ts'

/** A peer's record, and the version to write over. */
export interface PeerEntry extends PeerRecord {
  readonly version: string
}

/** What to renew: a run, and what its record is to say from now on (absent: what it said). */
export interface Beat {
  readonly run: Run
  readonly member?: Member
}

/**
 * What became of one renewal. `beat` is greater than any that was written before the call, unless the datastore lost writes; so is that of whoever
 * took the identity over.
 */
export type Renewal =
  | { at: 'renewed'; beat: number; member: Member; noted: boolean }
  | { at: 'missing' }
  | { at: 'fenced'; by: Run; beat: number }
  | { at: 'failed'; error: HomingError }

/** Protects a round trip from becoming longer than an operation may take. */
const batchMax = 1_000

/** More lost races than this in one call are no coincidence of two writers. */
const racesMax = 8

/**
 * The records of all peers of a cluster, on a datastore. Needs no clock: whoever judges leases says when it read. Every method rejects
 * with `DATASTORE` when the datastore does; a record that cannot be read fails alone, through `unreadable`.
 */
export class PeerRecords {
  readonly #datastore: Datastore
  readonly #keys: Keys
  readonly #unreadable: (error: HomingError) => void

  constructor(datastore: Datastore, cluster: string, unreadable: (error: HomingError) => void = () => undefined) {
    this.#datastore = datastore
    this.#keys = new Keys(cluster)
    this.#unreadable = unreadable
  }

  /** Of two that write over the same version at once, one is told that it did not. */
  get atomic(): boolean {
    return this.#datastore.promises.atomicPut
  }

  /** Rejects with `DATASTORE` also when the record cannot be read. */
  async get(identity: string): Promise<PeerEntry | undefined> {
    const key = this.#keys.peer(identity)
    const entry = await this.#datastore.get(key)
    return entry && { ...decodePeer(key, identity, entry.bytes), version: entry.version }
  }

  /** Records by identity; absent ones are left out. */
  async getMany(identities: readonly string[]): Promise<Map<string, PeerEntry | 'unreadable'>> {
    const found = new Map<string, PeerEntry | 'unreadable'>()
    for (let from = 0; from < identities.length; from += batchMax) {
      const chunk = identities.slice(from, from + batchMax)
      const entries = await this.#datastore.getMany(chunk.map(identity => this.#keys.peer(identity)))
      for (const [index, entry] of entries.entries()) {
        const identity = chunk[index]!
        if (!entry) continue
        const record = this.#read(identity, entry.bytes)
        found.set(identity, record === 'unreadable' ? record : { ...record, version: entry.version })
      }
    }
    return found
  }

  /**
   * All peers' records. `known` identities are read even if the listing misses them: a listing is no snapshot. `undefined` was asked for and
   * has no record; of who is not in the answer nothing is known.
   */
  async readAll(known: Iterable<string> = []): Promise<Map<string, PeerEntry | 'unreadable' | undefined>> {
    const identities = new Set(known)
    for await (const key of this.#datastore.keys(this.#keys.peers)) {
      const identity = key.slice(this.#keys.peers.length)
      if (identity !== '') identities.add(identity)
    }
    const entries = await this.getMany([...identities])
    return new Map([...identities].map(identity => [identity, entries.get(identity)]))
  }

  /** Writes a record over `ifVersion` (`null`: where there is none). Resolves to the version, `undefined` where that did not hold. */
  put(record: PeerRecord, ifVersion: string | null): Promise<string | undefined> {
    return this.#datastore.put(this.#keys.peer(record.member.identity), encodePeer(record), { ifVersion })
  }

  /** Moves the beats of runs, each only over a record of the same incarnation. In the order of `beats`. */
  async renewMany(beats: readonly Beat[]): Promise<Renewal[]> {
    const renewals = new Array<Renewal>(beats.length)
    for (let from = 0; from < beats.length; from += batchMax) {
      const indexes = [...beats.keys()].slice(from, from + batchMax)
      await this.#renewBatch(beats, indexes, renewals)
    }
    return renewals
  }

  async #renewBatch(beats: readonly Beat[], indexes: readonly number[], renewals: Renewal[]): Promise<void> {
    let left = indexes
    for (let race = 0; left.length > 0; race++) {
      const entries = await this.#datastore.getMany(left.flatMap(index => this.#keysOf(beats[index]!.run.identity)))
      const writes: { index: number; record: PeerRecord; version: string; noted: boolean }[] = []
      for (const [at, index] of left.entries()) {
        const beat = beats[index]!
        const entry = entries[2 * at]
        const judged = this.#judge(beat, entry?.bytes)
        if ('at' in judged) renewals[index] = judged
        else writes.push({ index, record: judged, version: entry!.version, noted: entries[2 * at + 1] !== undefined })
      }
      if (writes.length === 0) return
      const versions = await this.#datastore.putMany(
        writes.map(({ record, version }) => ({
          key: this.#keys.peer(record.member.identity),
          bytes: encodePeer(record),
          ifVersion: version,
        })),
      )
      const lost: number[] = []
      for (const [at, { index, record, noted }] of writes.entries()) {
        if (versions[at] !== undefined) renewals[index] = { at: 'renewed', beat: record.beat, member: record.member, noted }
        else lost.push(index)
      }
      if (race === racesMax) {
        for (const index of lost) renewals[index] = { at: 'failed', error: contended(beats[index]!.run.identity) }
        return
      }
      left = lost
    }
  }

  /** A record and the notes for it are read together: notes are seen with each renewal, for no further round trip. */
  #keysOf(identity: string): [string, string] {
    return [this.#keys.peer(identity), this.#keys.notes(identity)]
  }

  #judge({ run, member }: Beat, bytes: Uint8Array | undefined): PeerRecord | Renewal {
    if (!bytes) return { at: 'missing' }
    try {
      const found = decodePeer(this.#keys.peer(run.identity), run.identity, bytes)
      if (found.member.incarnation !== run.incarnation) {
        return { at: 'fenced', by: { identity: run.identity, incarnation: found.member.incarnation }, beat: found.beat }
      }
      return { member: member ?? found.member, beat: found.beat + 1 }
    } catch (error) {
      if (isUnreadable(error)) return { at: 'failed', error }
      throw error
    }
  }

  /** Removes the record of a run, and the notes for it. Resolves to false where the run has no record (any more). */
  async remove(run: Run): Promise<boolean> {
    for (let race = 0; race <= racesMax; race++) {
      const entry = await this.get(run.identity)
      if (!entry || entry.member.incarnation !== run.incarnation) return false
      if (await this.removeIf(run, entry.version)) return true
    }
    throw contended(run.identity)
  }

  /** Removes the record of a run as it was read, and the notes for it; resolves to false where it was written since. */
  async removeIf(run: Run, version: string): Promise<boolean> {
    const removed = await this.#datastore.delete(this.#keys.peer(run.identity), { ifVersion: version })
    if (removed) await this.#removeNotes(run)
    return removed
  }

  /** Only notes for that very run: the next one of this identity may have been left some already. */
  async #removeNotes({ identity, incarnation }: Run): Promise<void> {
    const key = this.#keys.notes(identity)
    const entry = await this.#datastore.get(key)
    if (!entry) return
    const { overflow, notes } = decodeNotes(key, entry.bytes)
    if (overflow || notes.some(note => note.incarnation !== incarnation)) return
    await this.#datastore.delete(key, { ifVersion: entry.version })
  }

  #read(identity: string, bytes: Uint8Array): PeerRecord | 'unreadable' {
    try {
      return decodePeer(this.#keys.peer(identity), identity, bytes)
    } catch (error) {
      if (!isUnreadable(error)) throw error
      this.#unreadable(error)
      return 'unreadable'
    }
  }
}

function contended(identity: string): HomingError {
  return new HomingError(
    'DATASTORE',
    `the record of peer '${identity}' was written by somebody else ${racesMax + 1} times while it was renewed`,
  )
}
