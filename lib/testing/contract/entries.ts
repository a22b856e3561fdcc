/** Statements on single entries: what was put is read, whatever the key and the value are. */

import { deepStrictEqual, equal, notEqual, ok } from 'node:assert/strict'
import { keyBytesMax, valueBytesMax } from '../../datastores/limits.ts'
import { bytes, listed, freshBytes, refuses, states, text } from './scene.ts'
import type { Statement } from './statement.ts'

export const entryStatements: readonly Statement[] = [
  states('says what it promises', async ({ driver, store }) => {
    deepStrictEqual({ ...store.promises }, { ...driver.promises })
  }),

  states('an absent key reads as undefined', async ({ store, key }) => {
    equal(await store.get(key('a')), undefined)
  }),

  states('what was put is read, with the version that put gave', async ({ store, key }) => {
    const version = await store.put(key('a'), bytes('one'))
    equal(typeof version, 'string')
    const entry = await store.get(key('a'))
    equal(text(entry), 'one')
    equal(entry?.version, version)
  }),

  states('a version stays as long as the entry does', async ({ store, key }) => {
    await store.put(key('a'), bytes('one'))
    const first = await store.get(key('a'))
    await store.put(key('b'), bytes('two'))
    await store.get(key('b'))
    equal((await store.get(key('a')))?.version, first?.version)
  }),

  states('put without a condition overwrites and gives a new version', async ({ store, key }) => {
    const first = await store.put(key('a'), bytes('one'))
    const second = await store.put(key('a'), bytes('two'))
    notEqual(first, second)
    equal(text(await store.get(key('a'))), 'two')
    equal((await store.get(key('a')))?.version, second)
  }),

  states('writing the same bytes again gives a new version', async ({ store, key }) => {
    notEqual(await store.put(key('a'), bytes('same')), await store.put(key('a'), bytes('same')))
  }),

  states('what one connection was told is written, another one reads', async ({ driver, store, key }) => {
    await using other = await driver.open()
    for (let i = 0; i < 50; i++) {
      const version = await store.put(key('a'), bytes(String(i)))
      equal((await other.get(key('a')))?.version, version)
    }
  }),

  states('what one connection was told is gone, another one does not read', async ({ driver, store, key }) => {
    await using other = await driver.open()
    for (let i = 0; i < 20; i++) {
      await store.put(key('a'), bytes(String(i)))
      ok(await other.get(key('a')))
      await store.delete(key('a'))
      equal(await other.get(key('a')), undefined)
    }
  }),

  // ---- keys

  states('keys that differ in case, trailing space or a zero byte are different', async ({ store, key }) => {
    const keys = ['a', 'A', 'a ', ' a', 'a\0', 'a\0b', 'a/', 'a.', '\u00e1', 'a\u0301'].map(key)
    for (const each of keys) await store.put(each, bytes(each))
    for (const each of keys) equal(text(await store.get(each)), each)
  }),

  states('keys are any text: unicode, spaces, quotes, line breaks', async ({ store, key }) => {
    const names = ['łódź', '日本語', '👩‍👩‍👧', 'a b', '"\'`', 'x\ny', '\x01\x7f\x9f', '\ufffd', '\ufffe', '\u{10ffff}']
    const keys = names.map(key)
    for (const each of keys) await store.put(each, bytes(each))
    for (const each of keys) equal(text(await store.get(each)), each)
    deepStrictEqual((await store.getMany(keys)).map(text), keys)
  }),

  states('keys are plain text, whatever their characters mean elsewhere', async ({ store, key }) => {
    const names = ['..', '.', '../..', '/', '//', '/a/', '%2F', '%', '{tag}', '}{', '-', '$1', '*', '\\', '#', '?a=b', ':']
    const keys = names.map(key)
    for (const each of keys) await store.put(each, bytes(each))
    for (const each of keys) equal(text(await store.get(each)), each)
    for (const each of keys) deepStrictEqual((await listed(store, each)).includes(each), true, each)
    for (const each of keys) equal(await store.delete(each), true)
    for (const each of keys) equal(await store.get(each), undefined)
  }),

  states(`a key may have ${keyBytesMax} bytes`, async ({ store, key, made }) => {
    const ascii = made(key('').padEnd(keyBytesMax, 'x'))
    const sibling = made(`${ascii.slice(0, -1)}y`)
    for (const each of [ascii, sibling]) {
      equal(Buffer.byteLength(each), keyBytesMax)
      const version = await store.put(each, bytes(each), { ifVersion: null })
      equal(text(await store.get(each)), each)
      equal(typeof (await store.put(each, bytes('2'), { ifVersion: version! })), 'string')
    }
    deepStrictEqual((await listed(store, key(''))).sort(), [ascii, sibling])
  }),

  states(`a key of ${keyBytesMax} bytes may be unicode of any width`, async ({ store, key, made }) => {
    const roomBytes = keyBytesMax - key('').length
    for (const character of ['é', '語', '👍', '\x01']) {
      const long = key('') + character.repeat(Math.floor(roomBytes / Buffer.byteLength(character)))
      await store.put(made(long), bytes(character))
      equal(text(await store.get(long)), character)
      deepStrictEqual(await listed(store, long.slice(0, -character.length)), [long])
    }
  }),

  states(`an empty key, one above ${keyBytesMax} bytes and half a surrogate pair are BAD_OPTION`, async ({ store }) => {
    for (const bad of ['', 'x'.repeat(keyBytesMax + 1), 'é'.repeat(keyBytesMax / 2 + 1), 'a\ud800', '\udc00a']) {
      await refuses(store.get(bad), 'BAD_OPTION')
      await refuses(store.getMany([bad]), 'BAD_OPTION')
      await refuses(store.put(bad, bytes('')), 'BAD_OPTION')
      await refuses(store.putMany([{ key: bad, bytes: bytes('') }]), 'BAD_OPTION')
      await refuses(store.delete(bad), 'BAD_OPTION')
      await refuses(store.deleteMany([{ key: bad }]), 'BAD_OPTION')
    }
  }),

  // ---- values

  states('a value may be empty', async ({ store, key }) => {
    const version = await store.put(key('a'), new Uint8Array(0))
    const entry = await store.get(key('a'))
    equal(entry?.bytes.length, 0)
    equal(entry?.version, version)
    deepStrictEqual(await listed(store, key('a')), [key('a')])
  }),

  states('a value may be 1 MiB of any bytes', async ({ store, key }) => {
    const value = freshBytes(valueBytesMax)
    await store.put(key('a'), value)
    ok(Buffer.from((await store.get(key('a')))!.bytes).equals(value))
    ok(Buffer.from((await store.getMany([key('a')]))[0]!.bytes).equals(value))
  }),

  states('a value that is too large for the engine is TOO_LARGE, and leaves what was there', async ({ store, key }) => {
    const version = await store.put(key('a'), bytes('kept'))
    const takes = async (length: number): Promise<boolean> => {
      const call = store.put(key('b'), new Uint8Array(length))
      const taken = await call.then(
        () => true,
        () => false,
      )
      if (!taken) await refuses(call, 'TOO_LARGE', 'not-delivered')
      return taken
    }
    equal(await takes(valueBytesMax / 2), true)
    await takes(valueBytesMax)
    for (const length of [valueBytesMax + 1, 2 * valueBytesMax]) {
      await refuses(store.put(key('a'), new Uint8Array(length)), 'TOO_LARGE', 'not-delivered')
      await refuses(store.put(key('a'), new Uint8Array(length), { ifVersion: version! }), 'TOO_LARGE', 'not-delivered')
    }
    equal((await store.get(key('a')))?.version, version)
  }),

  states('a value of 100 KiB may be written over, and each reading is of one writing', async ({ driver, store, key }) => {
    await using other = await driver.open()
    const values = Array.from({ length: 10 }, (_, i) => new Uint8Array(100 << 10).fill(i + 1))
    await store.put(key('a'), values[0]!)
    const reading = (async () => {
      for (let i = 0; i < 30; i++) {
        const { bytes } = (await other.get(key('a')))!
        ok(
          bytes.length === 100 << 10 && bytes.every(byte => byte === bytes[0]),
          `a value that nobody wrote: ${bytes[0]}, ${bytes.at(-1)}`,
        )
      }
    })()
    for (const value of values) await store.put(key('a'), value)
    await reading
  }),

  states('a value keeps every byte, zeros and invalid UTF-8 included', async ({ store, key }) => {
    const value = Uint8Array.from({ length: 512 }, (_, i) => i & 0xff)
    await store.put(key('a'), value)
    deepStrictEqual([...(await store.get(key('a')))!.bytes], [...value])
  }),

  states('a value given as a view into a larger buffer is only the view', async ({ store, key }) => {
    await store.put(key('a'), bytes('xxviewxx').subarray(2, 6))
    equal(text(await store.get(key('a'))), 'view')
    await store.putMany([{ key: key('b'), bytes: Buffer.from('xxviewxx').subarray(2, 6) }])
    equal(text(await store.get(key('b'))), 'view')
  }),

  states('a value is taken at the call: what the caller writes into it later is not stored', async ({ store, key }) => {
    const one = bytes('before')
    const two = bytes('before')
    const writes = [store.put(key('a'), one), store.putMany([{ key: key('b'), bytes: two }])]
    one.fill(0)
    two.fill(0)
    await Promise.all(writes)
    equal(text(await store.get(key('a'))), 'before')
    equal(text(await store.get(key('b'))), 'before')
  }),

  states('what is read belongs to the reader', async ({ store, key }) => {
    await store.put(key('a'), bytes('kept'))
    const first = await store.get(key('a'))
    const second = (await store.getMany([key('a')]))[0]
    first!.bytes.fill(0)
    equal(text(second), 'kept')
    equal(text(await store.get(key('a'))), 'kept')
  }),

  states('a key that is read twice in one batch is two arrays', async ({ store, key }) => {
    await store.put(key('a'), bytes('kept'))
    const [first, second] = await store.getMany([key('a'), key('a')])
    first!.bytes.fill(0)
    equal(text(second), 'kept')
  }),
]
