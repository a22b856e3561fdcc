/** The contract itself: drivers with a planted fault break it, docs/datastores.md has its sentences, and its table says what became of it. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { Datastore, Entry, PutOptions, Removal, Write } from '../../lib/datastores/datastore.ts'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'
import { MemoryEngine } from '../../lib/datastores/memory.ts'
import { HomingError } from '../../lib/errors.ts'
import { contractTable, datastoreContract, judge, type DriverUnderTest, type Verdict } from '../../lib/testing/index.ts'
import { ofSeed } from '../contract/datastore.ts'
import { knownDrivers } from '../contract/drivers.ts'

const names = datastoreContract.map(({ name }) => name)

t.test('it has at least 60 statements, each with a name of its own', async t => {
  t.ok(names.length >= 60, `${names.length} statements`)
  t.equal(new Set(names).size, names.length)
})

t.test('P42, P45, P46, P49, P50: what the seed says of datastores is in it', async t => {
  for (const [number, statements] of Object.entries(ofSeed))
    for (const name of statements) t.ok(names.includes(name), `${number}: ${name}`)
})

t.test('what a driver does not promise stands in docs/datastores.md, word for word', async t => {
  const page = readFileSync('docs/datastores.md', 'utf8').replace(/\s+/g, ' ')
  for (const { name, cannot = {}, lacks = {} } of knownDrivers) {
    for (const sentence of new Set([...Object.values(cannot), ...Object.values(lacks)]))
      t.ok(page.includes(sentence), `${name}: ${sentence}`)
    for (const statement of Object.keys(cannot)) t.ok(names.includes(statement), `${name}: ${statement}`)
  }
})

/** A store in which something is wrong: it passes everything on, but for what the fault changes. */
class Broken implements Datastore {
  readonly store: Datastore
  readonly outage: Outage
  closed = false

  constructor(store: Datastore, outage: Outage) {
    this.store = store
    this.outage = outage
  }

  get promises(): Datastore['promises'] {
    return this.store.promises
  }

  get(key: string): Promise<Entry | undefined> {
    return this.up(() => this.store.get(key))
  }

  getMany(keys: readonly string[]): Promise<(Entry | undefined)[]> {
    return this.up(() => this.store.getMany(keys))
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<string | undefined> {
    return this.up(() => this.store.put(key, bytes, options))
  }

  putMany(writes: readonly Write[]): Promise<(string | undefined)[]> {
    return this.up(() => this.store.putMany(writes))
  }

  delete(key: string, options?: { ifVersion?: string }): Promise<boolean> {
    return this.up(() => this.store.delete(key, options))
  }

  deleteMany(removals: readonly Removal[]): Promise<boolean[]> {
    return this.up(() => this.store.deleteMany(removals))
  }

  async *keys(prefix: string): AsyncGenerator<string> {
    await this.up(async () => undefined)
    for await (const key of this.store.keys(prefix)) {
      await this.up(async () => undefined)
      yield key
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.closed = true
    await this.store[Symbol.asyncDispose]()
  }

  up<T>(work: () => Promise<T>): Promise<T> {
    return this.outage.down && !this.closed ? Promise.reject(new HomingError('DATASTORE', 'the server is away')) : work()
  }
}

interface Outage {
  down: boolean
}

/** A driver whose stores are made by `Fault`, on one engine with a clock that is turned. */
function driverOf(Fault: typeof Broken): DriverUnderTest {
  let nowMs = 0
  const outage = { down: false }
  const engine = new MemoryEngine({ monotonicMs: () => nowMs })
  return {
    async open() {
      if (outage.down) throw new HomingError('DATASTORE', 'the server is away')
      return new Fault(engine.connect(), outage)
    },
    promises: { atomicPut: true, durable: false, shared: false },
    pass: async ms => void (nowMs += ms),
    async crash() {
      outage.down = true
      return async () => void (outage.down = false)
    },
    rounds: 1,
  }
}

const faults: readonly (typeof Broken)[] = [
  class OverwritesWhatIsThere extends Broken {
    override putMany(writes: readonly Write[]) {
      return super.putMany(
        writes.map(({ ifVersion, ...write }) =>
          ifVersion === null ? write : { ...write, ...(ifVersion !== undefined && { ifVersion }) },
        ),
      )
    }

    override put(key: string, bytes: Uint8Array, { ifVersion, ttlMs }: PutOptions = {}) {
      return super.put(key, bytes, { ...(typeof ifVersion === 'string' && { ifVersion }), ...(ttlMs !== undefined && { ttlMs }) })
    }
  },
  class LooksBeforeItWrites extends Broken {
    override async put(key: string, bytes: Uint8Array, { ifVersion, ...options }: PutOptions = {}) {
      const there = await super.get(key)
      if (ifVersion !== undefined && (there?.version ?? null) !== ifVersion) return undefined
      return super.put(key, bytes, options)
    }
  },
  class RemovesAnyVersion extends Broken {
    override async delete(key: string) {
      return super.delete(key)
    }
  },
  class ForgetsNothing extends Broken {
    override put(key: string, bytes: Uint8Array, { ttlMs: _, ...options }: PutOptions = {}) {
      return super.put(key, bytes, options)
    }
  },
  class KeepsAnEarlierLifetime extends Broken {
    readonly lifetimes = new Map<string, number>()

    override put(key: string, bytes: Uint8Array, options: PutOptions = {}) {
      if (options.ttlMs !== undefined) this.lifetimes.set(key, options.ttlMs)
      const ttlMs = this.lifetimes.get(key)
      return super.put(key, bytes, { ...options, ...(ttlMs !== undefined && { ttlMs }) })
    }
  },
  class SortsWhatItReads extends Broken {
    override getMany(keys: readonly string[]) {
      return super.getMany([...keys].sort())
    }
  },
  class ReadsEachKeyOnce extends Broken {
    override getMany(keys: readonly string[]) {
      return super.getMany([...new Set(keys)])
    }
  },
  class StopsAtTheFirstFailure extends Broken {
    override async putMany(writes: readonly Write[]) {
      const versions: (string | undefined)[] = []
      for (const write of writes) {
        const failed = versions.length > 0 && versions.at(-1) === undefined
        versions.push(failed ? undefined : await this.put(write.key, write.bytes, write))
      }
      return versions
    }
  },
  class WritesBeforeItChecks extends Broken {
    override async putMany(writes: readonly Write[]) {
      const versions: (string | undefined)[] = []
      for (const write of writes) versions.push(await this.put(write.key, write.bytes, write))
      return versions
    }
  },
  class WritesABatchBackwards extends Broken {
    override async putMany(writes: readonly Write[]) {
      return (await super.putMany(writes.toReversed())).toReversed()
    }
  },
  class SharesWhatItReads extends Broken {
    readonly read = new Map<string, Entry>()

    override async get(key: string) {
      const entry = await super.get(key)
      const before = this.read.get(key)
      if (entry && before?.version === entry.version) return before
      if (entry) this.read.set(key, entry)
      return entry
    }
  },
  class StoresLater extends Broken {
    override async put(key: string, bytes: Uint8Array, options?: PutOptions) {
      await Promise.resolve()
      return super.put(key, bytes, options)
    }
  },
  class StoresTheWholeBuffer extends Broken {
    override put(key: string, bytes: Uint8Array, options?: PutOptions) {
      return super.put(key, new Uint8Array(bytes.buffer), options)
    }
  },
  class CutsValues extends Broken {
    override put(key: string, bytes: Uint8Array, options?: PutOptions) {
      return super.put(key, bytes.subarray(0, 512 << 10), options)
    }
  },
  class KeepsTextOnly extends Broken {
    override put(key: string, bytes: Uint8Array, options?: PutOptions) {
      return super.put(key, new TextEncoder().encode(new TextDecoder().decode(bytes)), options)
    }
  },
  class TrimsKeys extends Broken {
    override get(key: string) {
      return super.get(key.trim())
    }

    override put(key: string, bytes: Uint8Array, options?: PutOptions) {
      return super.put(key.trim(), bytes, options)
    }
  },
  class NormalizesKeys extends Broken {
    override get(key: string) {
      return super.get(key.normalize())
    }

    override put(key: string, bytes: Uint8Array, options?: PutOptions) {
      return super.put(key.normalize(), bytes, options)
    }
  },
  class CutsKeys extends Broken {
    override get(key: string) {
      return super.get(key.slice(0, 245))
    }

    override put(key: string, bytes: Uint8Array, options?: PutOptions) {
      return super.put(key.slice(0, 245), bytes, options)
    }
  },
  class ListsByPattern extends Broken {
    override async *keys(prefix: string) {
      for await (const key of super.keys(''))
        if (new RegExp(`^${prefix.replaceAll('*', '.*').replaceAll('?', '.')}`).test(key)) yield key
    }
  },
  class ListsTwice extends Broken {
    override async *keys(prefix: string) {
      yield* super.keys(prefix)
      yield* super.keys(prefix)
    }
  },
  class EndsAListingEarly extends Broken {
    override async *keys(prefix: string) {
      for await (const key of this.store.keys(prefix)) {
        if (this.outage.down) return
        yield key
      }
    }
  },
  class ThrowsPlainErrors extends Broken {
    override up<T>(work: () => Promise<T>): Promise<T> {
      return this.outage.down ? Promise.reject(new Error('ECONNREFUSED')) : work()
    }
  },
  class SaysAbsentWhenAway extends Broken {
    override async get(key: string) {
      return this.outage.down ? undefined : super.get(key)
    }
  },
  class GoesOnAfterItsEnd extends Broken {
    override async [Symbol.asyncDispose]() {}
  },
  class EndsOnce extends Broken {
    ended = false

    override async [Symbol.asyncDispose]() {
      if (this.ended) throw new Error('closed already')
      this.ended = true
      await super[Symbol.asyncDispose]()
    }
  },
  class NamesVersionsByTheirBytes extends Broken {
    override async get(key: string) {
      const entry = await super.get(key)
      return entry && { ...entry, version: Buffer.from(entry.bytes).toString('hex').slice(0, 40) }
    }

    override async put(key: string, bytes: Uint8Array, { ifVersion, ...options }: PutOptions = {}) {
      const found = typeof ifVersion === 'string' ? await this.get(key) : undefined
      if (typeof ifVersion === 'string' && found?.version !== ifVersion) return undefined
      const version = await super.put(key, bytes, ifVersion === null ? { ...options, ifVersion } : options)
      return version && Buffer.from(bytes).toString('hex').slice(0, 40)
    }
  },
]

/** The first statement that it does not keep. */
async function brokenBy(Fault: typeof Broken): Promise<string | undefined> {
  const driver = driverOf(Fault)
  for (const statement of datastoreContract) if ((await judge(statement, driver)).at === 'broken') return statement.name
  return undefined
}

t.test('a store without a fault keeps all of it', async t => {
  t.equal(await brokenBy(Broken), undefined)
})

t.test(`each of ${faults.length} planted faults is found`, async t => {
  for (const Fault of faults) {
    const broken = await brokenBy(Fault)
    t.type(broken, 'string', `${Fault.name} breaks: ${broken}`)
  }
})

t.test('other processes open a driver of one’s own by its module', async t => {
  const folder = t.testdir()
  const driver: DriverUnderTest = {
    open: () => lmdbDatastore({ folder, operationTimeoutMs: 5_000 }),
    promises: { atomicPut: true, durable: process.platform !== 'linux', shared: true },
    pass: async () => {},
    elsewhere: { module: new URL('../contract/lmdb-opener.js', import.meta.url).href, argument: folder },
    rounds: 2,
  }
  for (const statement of datastoreContract.filter(({ needs }) => needs.includes('processes') && !needs.includes('crash')))
    t.match(await judge(statement, driver), { at: 'kept' }, statement.name)
})

t.test('the table: a line a statement, a column a driver, and the sentences below', async t => {
  const statements = datastoreContract.slice(0, 4)
  const kept: Verdict = { at: 'kept', tookMs: 1 }
  const table = contractTable(statements, [
    { name: 'one', verdicts: [kept, { at: 'exempt', sentence: 'It cannot.' }, { at: 'exempt', sentence: 'Nor that.' }, kept] },
    {
      name: 'another',
      verdicts: [
        { at: 'exempt', sentence: 'Nor that.' },
        { at: 'untried', missing: 'crash' },
        { at: 'broken', error: new Error('it is wrong') },
        kept,
      ],
    },
  ])
  const lines = table.split('\n')
  t.match(lines[0], /^4 statements +one {2}another$/)
  t.match(
    lines.slice(1, 5).map(line => line.trim().split(/ {2,}/).slice(1)),
    [
      ['ok', '1'],
      ['2', '-'],
      ['1', 'BROKEN'],
      ['ok', 'ok'],
    ],
  )
  t.same(lines.slice(5, 7), ['1: Nor that.', '2: It cannot.'])
  t.match(table, /another: what was put[^]*it is wrong/)
})
