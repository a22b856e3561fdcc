/** Notes for peers that could not be told directly: one small record an identity, written over what was read. */

import { HomingError, homingError } from '../errors.ts'
import type { Datastore } from '../datastores/datastore.ts'
import type { Env } from '../env/env.ts'
import { passing } from './deadline.ts'
import type { Owner } from './directory.ts'
import { decodeNotes, encodeNotes, isUnreadable, notesMax, type Keys, type Note, type NotesRecord } from './records.ts'

/** Notes as they were read. */
export interface StoredNotes extends NotesRecord {
  readonly version: string
}

export interface NoteBoxOptions {
  readonly env: Env
  readonly datastore: Datastore
  readonly keys: Keys
}

/** Protects the memory during an outage. */
const insistingMax = 20_000
const insistMsMax = 2_000
/** More lost races than this in one writing are an error. */
const racesMax = 30

interface Pending {
  notes: Map<string, Note>
  waiting: { resolve(): void; reject(error: unknown): void }[]
}

/** What is to be noted for one identity while a writing for it is under way goes into the next, all together. */
export class NoteBox {
  readonly #env: Env
  readonly #datastore: Datastore
  readonly #keys: Keys
  readonly #pending = new Map<string, Pending>()
  readonly #writing = new Map<string, Promise<void>>()
  #insisting = 0
  #ended: HomingError | undefined

  constructor({ env, datastore, keys }: NoteBoxOptions) {
    this.#env = env
    this.#datastore = datastore
    this.#keys = keys
  }

  /** Resolves once the note is stored. Rejects with `DATASTORE`. */
  leave(to: Owner, address: string, by: Owner, withdrawn = false): Promise<void> {
    if (this.#ended) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      this.#keys.notes(to.identity) // throws for an identity that nobody can have
      const pending: Pending = this.#pending.get(to.identity) ?? { notes: new Map(), waiting: [] }
      this.#pending.set(to.identity, pending)
      // Beyond the bound one more says nothing that the overflow does not.
      if (pending.notes.size <= notesMax)
        add(pending.notes, { address, incarnation: to.incarnation, claim: to.claim, by, withdrawn })
      pending.waiting.push({ resolve, reject })
      this.#write(to.identity)
    })
  }

  /** Leaves a note that no caller waits for, trying until it is stored. */
  insist(to: Owner, address: string, by: Owner, withdrawn: boolean, trouble: (error: HomingError) => void): void {
    if (this.#insisting >= insistingMax) {
      const what = `'${to.identity}' may not learn that it lost '${address}': ${insistingMax} notes wait for the datastore already`
      return trouble(new HomingError('OVERLOADED', what))
    }
    this.#insisting++
    this.#insist(to, address, by, withdrawn)
      .catch((error: unknown) => trouble(homingError(error, 'DATASTORE', `a note for '${to.identity}' could not be left`)))
      .finally(() => this.#insisting--)
  }

  async #insist(to: Owner, address: string, by: Owner, withdrawn: boolean): Promise<void> {
    for (let tries = 0; !this.#ended; tries++) {
      try {
        return await this.leave(to, address, by, withdrawn)
      } catch (error) {
        if (this.#ended) return
        if (!(error instanceof HomingError) || error.code !== 'DATASTORE') throw error
        await passing(this.#env, Math.min(insistMsMax, 100 * 2 ** Math.min(tries, 10)))
      }
    }
  }

  async read(identity: string): Promise<StoredNotes | undefined> {
    const key = this.#keys.notes(identity)
    const entry = await this.#datastore.get(key)
    return entry && { ...readNotes(key, entry.bytes), version: entry.version }
  }

  drop(identity: string, { version }: StoredNotes): Promise<boolean> {
    return this.#datastore.delete(this.#keys.notes(identity), { ifVersion: version })
  }

  end(error: HomingError): void {
    this.#ended = error
    for (const { waiting } of this.#pending.values()) for (const { reject } of waiting) reject(error)
    this.#pending.clear()
  }

  /** Resolves when nothing is on its way to the datastore any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#writing.values())
  }

  #write(identity: string): void {
    const pending = this.#pending.get(identity)
    if (!pending || this.#writing.has(identity)) return
    this.#pending.delete(identity)
    const writing = this.#append(identity, [...pending.notes.values()])
      .then(
        () => pending.waiting.forEach(({ resolve }) => resolve()),
        (error: unknown) => pending.waiting.forEach(({ reject }) => reject(error)),
      )
      .finally(() => {
        this.#writing.delete(identity)
        this.#write(identity)
      })
    this.#writing.set(identity, writing)
  }

  async #append(identity: string, notes: readonly Note[]): Promise<void> {
    const key = this.#keys.notes(identity)
    for (let race = 0; race <= racesMax; race++) {
      if (this.#ended) throw this.#ended
      const entry = await this.#datastore.get(key)
      const record = joined(entry && readNotes(key, entry.bytes), notes)
      // A write whose answer is lost may be repeated: a note twice says what it says once.
      if ((await this.#datastore.put(key, encodeNotes(record), { ifVersion: entry?.version ?? null })) !== undefined) return
      await this.#pauseAfter(race)
    }
    throw new HomingError('DATASTORE', `the notes for '${identity}' were written by others ${racesMax + 1} times in between`)
  }

  #pauseAfter(race: number): Promise<void> {
    return new Promise(resolve => {
      this.#env.timers.after(this.#env.random.fraction() * Math.min(50, 2 ** race), resolve)
    })
  }
}

/** Notes that cannot be read mean "revalidate everything", which is always safe. */
function readNotes(key: string, bytes: Uint8Array): NotesRecord {
  try {
    return decodeNotes(key, bytes)
  } catch (error) {
    if (isUnreadable(error)) return { overflow: true, notes: [] }
    throw error
  }
}

function joined(before: NotesRecord | undefined, more: readonly Note[]): NotesRecord {
  if (before?.overflow) return before
  const notes = new Map<string, Note>()
  for (const note of [...(before?.notes ?? []), ...more]) add(notes, note)
  return notes.size > notesMax ? { overflow: true, notes: [] } : { overflow: false, notes: [...notes.values()] }
}

/** One note an address of a run: the one for its latest claim, in whatever order they came. */
function add(notes: Map<string, Note>, note: Note): void {
  const name = `${note.incarnation}:${note.address}`
  const other = notes.get(name)
  if (!other || other.claim < note.claim || (other.claim === note.claim && !note.withdrawn)) notes.set(name, note)
}
