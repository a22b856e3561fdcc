/** What every datastore does, whatever the engine: P50 of the seed. */

import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { Datastore, Promises } from '../../lib/datastores/datastore.ts'
import { HomingError } from '../../lib/errors.ts'

/** A driver under test. */
export interface DatastoreDriver {
  /** Another connection to the same engine, which may hold entries of others. */
  open: () => Promise<Datastore>
  promises: Promises
  /** Lets at least `ms` go by for the engine's clock. */
  pass: (ms: number) => Promise<void>
  /** The largest value, where the engine takes less than 1 MiB. */
  valueBytesMax?: number
}

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)

export function datastoreContract(t: Test, driver: DatastoreDriver): void {
  /** One statement: gets a store, and makes keys that no other statement uses. */
  const states = (statement: string, check: (t: Test, store: Datastore, key: (name: string) => string) => Promise<unknown>) => {
    t.test(statement, async t => {
      const mark = randomBytes(6).toString('hex')
      await using store = await driver.open()
      await check(t, store, name => `contract/${mark}/${name}`)
    })
  }

  states('says what it promises', async (t, store) => {
    t.same({ ...store.promises }, { ...driver.promises })
  })

  // ---- reading and writing

  states('P45: an absent key reads as undefined', async (t, store, key) => {
    t.equal(await store.get(key('a')), undefined)
  })

  states('P42: what was put is read, with the version that put gave', async (t, store, key) => {
    const version = await store.put(key('a'), bytes('one'))
    t.type(version, 'string')
    const entry = await store.get(key('a'))
    t.equal(text(entry), 'one')
    t.equal(entry?.version, version)
  })

  states('a version stays as long as the entry does', async (t, store, key) => {
    await store.put(key('a'), bytes('one'))
    const first = await store.get(key('a'))
    await store.put(key('b'), bytes('two'))
    t.equal((await store.get(key('a')))?.version, first?.version)
  })

  states('put without a condition overwrites and gives a new version', async (t, store, key) => {
    const first = await store.put(key('a'), bytes('one'))
    const second = await store.put(key('a'), bytes('two'))
    t.not(first, second)
    t.equal(text(await store.get(key('a'))), 'two')
    t.equal((await store.get(key('a')))?.version, second)
  })

  states('writing the same bytes again gives a new version', async (t, store, key) => {
    t.not(await store.put(key('a'), bytes('same')), await store.put(key('a'), bytes('same')))
  })

  states('what one connection was told is written, another one reads', async (t, store, key) => {
    if (driver.promises.shared) {
      await using other = await driver.open()
      for (let i = 0; i < 50; i++) {
        const version = await store.put(key('a'), bytes(String(i)))
        t.equal((await other.get(key('a')))?.version, version)
      }
    } else t.pass('one connection only')
  })

  states('keys that differ in case, trailing space or a zero byte are different', async (t, store, key) => {
    const keys = ['a', 'A', 'a ', 'a\0', 'a/', 'á'].map(key)
    for (const each of keys) await store.put(each, bytes(each))
    for (const each of keys) t.equal(text(await store.get(each)), each)
  })

  states('keys are any text: unicode, spaces, quotes, line breaks', async (t, store, key) => {
    const keys = ['łódź', '日本語', '👩‍👩‍👧', 'a b', '"\'`', 'x\ny', '../..', '%2F', '{tag}', '-', '$1'].map(key)
    for (const each of keys) await store.put(each, bytes(each))
    for (const each of keys) t.equal(text(await store.get(each)), each)
  })

  states('a key may have 240 bytes', async (t, store, key) => {
    const ascii = key('').padEnd(240, 'x')
    const wide = key('') + 'é'.repeat((240 - key('').length) >> 1)
    for (const each of [ascii, wide]) {
      t.ok(Buffer.byteLength(each) >= 239)
      await store.put(each, bytes('long'))
      t.equal(text(await store.get(each)), 'long')
    }
    t.equal(text(await store.get(ascii)), 'long')
  })

  states('an empty key, one of 241 bytes and half a surrogate pair are BAD_OPTION', async (t, store) => {
    for (const bad of ['', 'x'.repeat(241), 'é'.repeat(121), 'a\ud800']) {
      const refused = { name: 'HomingError', code: 'BAD_OPTION' }
      await t.rejects(store.get(bad), refused)
      await t.rejects(store.getMany([bad]), refused)
      await t.rejects(store.put(bad, bytes('')), refused)
      await t.rejects(store.putMany([{ key: bad, bytes: bytes('') }]), refused)
      await t.rejects(store.delete(bad), refused)
      await t.rejects(store.deleteMany([{ key: bad }]), refused)
    }
  })

  states('a value may be empty', async (t, store, key) => {
    await store.put(key('a'), new Uint8Array(0))
    const entry = await store.get(key('a'))
    t.equal(entry?.bytes.length, 0)
  })

  states('a value may be 1 MiB of any bytes', async (t, store, key) => {
    const value = new Uint8Array(randomBytes(driver.valueBytesMax ?? 1 << 20))
    await store.put(key('a'), value)
    t.ok(Buffer.from((await store.get(key('a')))!.bytes).equals(value))
  })

  states('a value keeps every byte, zeros and invalid UTF-8 included', async (t, store, key) => {
    const value = Uint8Array.from({ length: 512 }, (_, i) => i & 0xff)
    await store.put(key('a'), value)
    t.same([...(await store.get(key('a')))!.bytes], [...value])
  })

  states('a value given as a view into a larger buffer is only the view', async (t, store, key) => {
    await store.put(key('a'), bytes('xxviewxx').subarray(2, 6))
    t.equal(text(await store.get(key('a'))), 'view')
  })

  states('a value is taken at the call: what the caller writes into it later is not stored', async (t, store, key) => {
    const one = bytes('before')
    const two = bytes('before')
    const writes = [store.put(key('a'), one), store.putMany([{ key: key('b'), bytes: two }])]
    one.fill(0)
    two.fill(0)
    await Promise.all(writes)
    t.equal(text(await store.get(key('a'))), 'before')
    t.equal(text(await store.get(key('b'))), 'before')
  })

  states('what is read belongs to the reader', async (t, store, key) => {
    await store.put(key('a'), bytes('kept'))
    const first = await store.get(key('a'))
    const second = (await store.getMany([key('a')]))[0]
    first!.bytes.fill(0)
    t.equal(text(second), 'kept')
    t.equal(text(await store.get(key('a'))), 'kept')
  })

  // ---- conditions

  states('null: writes where nothing is, and not where something is', async (t, store, key) => {
    const version = await store.put(key('a'), bytes('first'), { ifVersion: null })
    t.type(version, 'string')
    t.equal(await store.put(key('a'), bytes('second'), { ifVersion: null }), undefined)
    t.equal(text(await store.get(key('a'))), 'first')
    t.equal((await store.get(key('a')))?.version, version)
  })

  states('compare-and-set: writes over the version it names, once', async (t, store, key) => {
    const first = await store.put(key('a'), bytes('1'))
    const second = await store.put(key('a'), bytes('2'), { ifVersion: first! })
    t.type(second, 'string')
    t.not(second, first)
    t.equal(await store.put(key('a'), bytes('3'), { ifVersion: first! }), undefined)
    t.equal(text(await store.get(key('a'))), '2')
    t.equal((await store.get(key('a')))?.version, second)
  })

  states('compare-and-set: does not write where nothing is', async (t, store, key) => {
    const version = await store.put(key('a'), bytes('1'))
    await store.delete(key('a'))
    t.equal(await store.put(key('a'), bytes('2'), { ifVersion: version! }), undefined)
    t.equal(await store.get(key('a')), undefined)
  })

  states(
    'compare-and-set: texts that are no version fulfil nothing, whether something is there or not',
    async (t, store, key) => {
      await store.put(key('a'), bytes('1'))
      for (const odd of ['', '0', ' ', 'NaN', '1e400', 'no such version', '*', '\0']) {
        t.equal(await store.put(key('a'), bytes('2'), { ifVersion: odd }), undefined)
        t.equal(await store.put(key('b'), bytes('2'), { ifVersion: odd }), undefined)
        t.equal(await store.delete(key('a'), { ifVersion: odd }), false)
      }
      t.equal(text(await store.get(key('a'))), '1')
      t.equal(await store.get(key('b')), undefined)
    },
  )

  states("compare-and-set: another key's version fulfils nothing", async (t, store, key) => {
    const a = await store.put(key('a'), bytes('a'))
    await store.put(key('b'), bytes('b'))
    t.equal(await store.put(key('b'), bytes('c'), { ifVersion: a! }), undefined)
  })

  states('P42: delete removes, and deleting nothing is true as well', async (t, store, key) => {
    await store.put(key('a'), bytes('1'))
    t.equal(await store.delete(key('a')), true)
    t.equal(await store.get(key('a')), undefined)
    t.equal(await store.delete(key('a')), true)
  })

  states('P42, P46: compare-and-delete: removes the version it names', async (t, store, key) => {
    const version = await store.put(key('a'), bytes('1'))
    t.equal(await store.delete(key('a'), { ifVersion: version! }), true)
    t.equal(await store.get(key('a')), undefined)
  })

  states('compare-and-delete: leaves any other version', async (t, store, key) => {
    const old = await store.put(key('a'), bytes('1'))
    await store.put(key('a'), bytes('2'))
    t.equal(await store.delete(key('a'), { ifVersion: old! }), false)
    t.equal(text(await store.get(key('a'))), '2')
  })

  states('compare-and-delete: false where nothing is', async (t, store, key) => {
    const version = await store.put(key('a'), bytes('1'))
    await store.delete(key('a'))
    t.equal(await store.delete(key('a'), { ifVersion: version! }), false)
  })

  states('versions are not used again when a key is deleted and made anew', async (t, store, key) => {
    const seen = new Set<string>()
    for (let i = 0; i < 40; i++) {
      await using other = await driver.open()
      const version = await (driver.promises.shared ? other : store).put(key('a'), bytes('same'), { ifVersion: null })
      seen.add(version!)
      for (const old of seen) if (old !== version) t.equal(await store.delete(key('a'), { ifVersion: old }), false)
      t.equal(await store.delete(key('a')), true)
    }
    t.equal(seen.size, 40)
  })

  states('of 100 that claim a key at once, one gets it', async (t, store, key) => {
    const claims = await Promise.all(
      Array.from({ length: 100 }, (_, i) => store.put(key('a'), bytes(`${i}`), { ifVersion: null })),
    )
    const won = claims.flatMap((version, i) => (version === undefined ? [] : [{ version, i }]))
    t.equal(won.length, 1)
    const entry = await store.get(key('a'))
    t.equal(entry?.version, won[0]?.version)
    t.equal(text(entry), String(won[0]?.i))
  })

  states('of 100 that overwrite or remove the same version at once, one does', async (t, store, key) => {
    const ifVersion = (await store.put(key('a'), bytes('0')))!
    const tries = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        i % 2 ? store.put(key('a'), bytes(`${i}`), { ifVersion }) : store.delete(key('a'), { ifVersion }),
      ),
    )
    t.equal(tries.filter(Boolean).length, 1)
  })

  states('P46: ten writers that count together to 1000 lose no update', async (t, store, key) => {
    await using other = driver.promises.shared ? await driver.open() : undefined
    await store.put(key('count'), bytes('0'))
    const count = async (mine: Datastore) => {
      for (let added = 0; added < 100;) {
        const entry = (await mine.get(key('count')))!
        const next = bytes(String(Number(text(entry)) + 1))
        if ((await mine.put(key('count'), next, { ifVersion: entry.version })) !== undefined) added++
      }
    }
    await Promise.all(Array.from({ length: 10 }, (_, i) => count(other && i % 2 ? other : store)))
    t.equal(text(await store.get(key('count'))), '1000')
  })

  // ---- lifetimes

  states('an entry with a lifetime is there before its end and forgotten after it', async (t, store, key) => {
    await store.put(key('short'), bytes('1'), { ttlMs: 60 })
    await store.put(key('long'), bytes('2'), { ttlMs: 60_000 })
    await store.put(key('ever'), bytes('3'))
    t.equal(text(await store.get(key('long'))), '2')
    await driver.pass(80)
    t.equal(await store.get(key('short')), undefined)
    t.same((await store.getMany([key('short'), key('long'), key('ever')])).map(text), [undefined, '2', '3'])
  })

  states('a forgotten entry is absent to every condition', async (t, store, key) => {
    const names = ['put', 'cas', 'delete', 'plain']
    const versions = await store.putMany(names.map(name => ({ key: key(name), bytes: bytes('old'), ttlMs: 20 })))
    await driver.pass(40)
    t.type(await store.put(key('put'), bytes('new'), { ifVersion: null }), 'string')
    t.equal(text(await store.get(key('put'))), 'new')
    t.equal(await store.put(key('cas'), bytes('new'), { ifVersion: versions[1]! }), undefined)
    t.equal(await store.get(key('cas')), undefined)
    t.equal(await store.delete(key('delete'), { ifVersion: versions[2]! }), false)
    t.equal(await store.delete(key('plain')), true)
  })

  states('of 50 that claim a forgotten key at once, one gets it', async (t, store, key) => {
    await store.put(key('a'), bytes('old'), { ttlMs: 20 })
    await driver.pass(40)
    const claims = await Promise.all(
      Array.from({ length: 50 }, (_, i) => store.put(key('a'), bytes(`${i}`), { ifVersion: null })),
    )
    t.equal(claims.filter(version => version !== undefined).length, 1)
  })

  states('a forgotten entry is not listed', async (t, store, key) => {
    await store.putMany([
      { key: key('list/short'), bytes: bytes('1'), ttlMs: 20 },
      { key: key('list/ever'), bytes: bytes('2') },
    ])
    await driver.pass(40)
    t.same(await listed(store, key('list/')), [key('list/ever')])
  })

  states('writing again replaces the lifetime, or takes it away', async (t, store, key) => {
    for (const name of ['longer', 'none', 'cas']) await store.put(key(name), bytes('1'), { ttlMs: 400 })
    await store.put(key('longer'), bytes('2'), { ttlMs: 60_000 })
    await store.put(key('none'), bytes('2'))
    const { version } = (await store.get(key('cas')))!
    await store.put(key('cas'), bytes('2'), { ifVersion: version })
    const shorter = await store.put(key('shorter'), bytes('1'))
    await store.put(key('shorter'), bytes('2'), { ifVersion: shorter!, ttlMs: 20 })
    await driver.pass(420)
    t.same((await store.getMany(['longer', 'none', 'cas', 'shorter'].map(key))).map(text), ['2', '2', '2', undefined])
  })

  states('a lifetime may be a fraction of a millisecond; zero, less and infinity are BAD_OPTION', async (t, store, key) => {
    await store.put(key('a'), bytes('1'), { ttlMs: 0.25 })
    await driver.pass(20)
    t.equal(await store.get(key('a')), undefined)
    for (const ttlMs of [0, -1, NaN, Infinity]) {
      await t.rejects(store.put(key('a'), bytes('1'), { ttlMs }), { code: 'BAD_OPTION' })
      await t.rejects(store.putMany([{ key: key('a'), bytes: bytes('1'), ttlMs }]), { code: 'BAD_OPTION' })
    }
  })

  // ---- batches

  states('empty batches are empty', async (t, store) => {
    t.same(await store.getMany([]), [])
    t.same(await store.putMany([]), [])
    t.same(await store.deleteMany([]), [])
  })

  states('getMany is in the order of the keys, holes and repeats included', async (t, store, key) => {
    await store.putMany(['a', 'b', 'c'].map(name => ({ key: key(name), bytes: bytes(name) })))
    const found = await store.getMany(['c', 'no', 'a', 'c', 'b', 'nor'].map(key))
    t.same(found.map(text), ['c', undefined, 'a', 'c', 'b', undefined])
    t.equal(found[0]?.version, (await store.get(key('c')))?.version)
  })

  states('putMany resolves in the order of the writes, each with its own version', async (t, store, key) => {
    const writes = Array.from({ length: 50 }, (_, i) => ({ key: key(`${i}`), bytes: bytes(`${i}`) }))
    const versions = await store.putMany(writes)
    t.equal(new Set(versions).size, 50)
    const entries = await store.getMany(writes.map(write => write.key))
    t.same(
      entries.map(entry => entry?.version),
      versions,
    )
    t.same(
      entries.map(text),
      writes.map((_, i) => String(i)),
    )
  })

  states('putMany: a condition that fails stops only its own write', async (t, store, key) => {
    const [a, , c] = await store.putMany(['a', 'b', 'c'].map(name => ({ key: key(name), bytes: bytes('old') })))
    const versions = await store.putMany([
      { key: key('a'), bytes: bytes('new'), ifVersion: a! },
      { key: key('b'), bytes: bytes('new'), ifVersion: null },
      { key: key('c'), bytes: bytes('new'), ifVersion: `${c}0` },
      { key: key('d'), bytes: bytes('new'), ifVersion: null },
      { key: key('e'), bytes: bytes('new') },
    ])
    t.same(
      versions.map(version => typeof version),
      ['string', 'undefined', 'undefined', 'string', 'string'],
    )
    t.same((await store.getMany(['a', 'b', 'c', 'd', 'e'].map(key))).map(text), ['new', 'old', 'old', 'new', 'new'])
  })

  states('putMany: writes of one key take effect in their order', async (t, store, key) => {
    const ifVersion = (await store.put(key('cas'), bytes('0')))!
    const versions = await store.putMany([
      { key: key('null'), bytes: bytes('1'), ifVersion: null },
      { key: key('null'), bytes: bytes('2'), ifVersion: null },
      { key: key('last'), bytes: bytes('1') },
      { key: key('last'), bytes: bytes('2') },
      { key: key('cas'), bytes: bytes('1'), ifVersion },
      { key: key('cas'), bytes: bytes('2'), ifVersion },
      { key: key('cas'), bytes: bytes('3') },
    ])
    t.same(
      versions.map(version => version !== undefined),
      [true, false, true, true, true, false, true],
    )
    t.same((await store.getMany(['null', 'last', 'cas'].map(key))).map(text), ['1', '2', '3'])
  })

  states('putMany: an argument that is refused stops the whole batch before anything is written', async (t, store, key) => {
    await t.rejects(
      store.putMany([
        { key: key('a'), bytes: bytes('1') },
        { key: '', bytes: bytes('2') },
      ]),
      { code: 'BAD_OPTION' },
    )
    t.equal(await store.get(key('a')), undefined)
  })

  states('deleteMany: each by itself, in order', async (t, store, key) => {
    const [a, b] = await store.putMany(['a', 'b', 'c', 'd'].map(name => ({ key: key(name), bytes: bytes('1') })))
    const gone = await store.deleteMany([
      { key: key('a'), ifVersion: a! },
      { key: key('b'), ifVersion: a! },
      { key: key('c') },
      { key: key('none'), ifVersion: a! },
      { key: key('none') },
      { key: key('b'), ifVersion: b! },
      { key: key('b'), ifVersion: b! },
    ])
    t.same(gone, [true, false, true, false, true, true, false])
    t.same((await store.getMany(['a', 'b', 'c', 'd'].map(key))).map(text), [undefined, undefined, undefined, '1'])
  })

  states('a batch may have 5,000 writes, reads and removals', async (t, store, key) => {
    const keys = Array.from({ length: 5_000 }, (_, i) => key(`many/${i}`))
    const versions = await store.putMany(keys.map(each => ({ key: each, bytes: bytes(each), ifVersion: null })))
    t.equal(new Set(versions).size, 5_000)
    t.notOk(versions.includes(undefined))
    t.same((await store.getMany(keys)).map(text), keys)
    t.same((await listed(store, key('many/'))).sort(), [...keys].sort())
    const gone = await store.deleteMany(keys.map((each, i) => ({ key: each, ifVersion: versions[i]! })))
    t.ok(gone.every(Boolean))
    t.same(await listed(store, key('many/')), [])
  })

  // ---- listing

  states('lists the keys with a prefix, each once, the prefix itself included', async (t, store, key) => {
    const keys = ['p/', 'p/a', 'p/a/b', 'p/z'].map(key)
    for (const each of [...keys, key('p'), key('q/a'), key('P/a')]) await store.put(each, bytes('1'))
    t.same((await listed(store, key('p/'))).sort(), keys)
  })

  states('a prefix is plain text, whatever its characters mean elsewhere', async (t, store, key) => {
    const names = ['*', '?', '[ab]', '[^a]', '\\', '\\*', ':', '{x}', '%', '_', '.', '^', '$', 'é', '日本', '👍', 'a\0b']
    for (const name of names) await store.putMany([{ key: key(`${name}/1`), bytes: bytes('1') }])
    for (const decoy of ['a/1', 'b/1', 'xx/1', '/1']) await store.put(key(decoy), bytes('1'))
    for (const name of names) t.same(await listed(store, key(`${name}/`)), [key(`${name}/1`)], name)
  })

  states('a prefix may end inside a character sequence, and may be empty', async (t, store, key) => {
    await store.put(key('👩‍👧'), bytes('1'))
    t.same(await listed(store, key('👩')), [key('👩‍👧')])
    t.ok((await listed(store, '')).includes(key('👩‍👧')))
  })

  states('a listing may be left early, and the store goes on', async (t, store, key) => {
    await store.putMany(Array.from({ length: 2_000 }, (_, i) => ({ key: key(`l/${i}`), bytes: bytes('1') })))
    for await (const each of store.keys(key('l/'))) {
      t.ok(each.startsWith(key('l/')))
      break
    }
    t.type(await store.put(key('after'), bytes('1')), 'string')
  })

  states('keys that are there throughout a listing are listed, while others come and go', async (t, store, key) => {
    const lasting = Array.from({ length: 1_500 }, (_, i) => key(`w/${i}`))
    await store.putMany(lasting.map(each => ({ key: each, bytes: bytes('1') })))
    const found: string[] = []
    for await (const each of store.keys(key('w/'))) {
      found.push(each)
      if (found.length % 100 === 0) {
        await store.put(key(`w/x${found.length}`), bytes('1'))
        await store.delete(key(`w/x${found.length - 100}`))
      }
    }
    t.equal(new Set(found).size, found.length)
    t.same(
      lasting.filter(each => !found.includes(each)),
      [],
    )
  })

  // ---- the end

  t.test('P42, P49: after disposal every call rejects with CLOSED, and disposing again is nothing', async t => {
    const store = await driver.open()
    await store.put('contract/closed', bytes('1'))
    await store[Symbol.asyncDispose]()
    const closed = { name: 'HomingError', code: 'CLOSED' }
    await t.rejects(store.get('contract/closed'), closed)
    await t.rejects(store.getMany(['contract/closed']), closed)
    await t.rejects(store.put('contract/closed', bytes('2')), closed)
    await t.rejects(store.putMany([{ key: 'contract/closed', bytes: bytes('2') }]), closed)
    await t.rejects(store.delete('contract/closed'), closed)
    await t.rejects(store.deleteMany([{ key: 'contract/closed' }]), closed)
    await t.rejects(listed(store, 'contract/'), closed)
    await store[Symbol.asyncDispose]()
  })

  t.test('calls that are under way at disposal settle', async t => {
    const store = await driver.open()
    const calls = Array.from({ length: 20 }, (_, i) => store.put(`contract/dying/${i}`, bytes('1'), { ttlMs: 1_000 }))
    await store[Symbol.asyncDispose]()
    for (const { status, ...result } of await Promise.allSettled(calls)) {
      const reason: unknown = 'reason' in result ? result.reason : undefined
      t.ok(status === 'fulfilled' || (reason instanceof HomingError && ['CLOSED', 'DATASTORE'].includes(reason.code)))
    }
  })

  t.test('disposing one connection leaves the others', async t => {
    await using stays = await driver.open()
    const goes = await driver.open()
    await goes[Symbol.asyncDispose]()
    t.type(await stays.put('contract/stays', bytes('1'), { ttlMs: 1_000 }), 'string')
  })
}

async function listed(store: Datastore, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const key of store.keys(prefix)) keys.push(key)
  return keys
}
