import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { RootDatabase } from 'lmdb'
import t, { type Test } from 'tap'
import { lmdbDatastore } from '../../lib/datastores/lmdb.ts'
import { LmdbVersions, readVersion, versionText } from '../../lib/datastores/lmdb-versions.ts'
import { openDatastore } from '../../lib/datastores/open.ts'
import { contractOf } from '../contract/datastore.ts'
import { lmdbUnderTest } from '../contract/lmdb-driver.ts'
import type { Task } from './lmdb-writer.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (entry: { bytes: Uint8Array } | undefined) => entry && new TextDecoder().decode(entry.bytes)
const operationTimeoutMs = 5_000
const writer = new URL('./lmdb-writer.js', import.meta.url)

/** A new folder, removed when the test ends. */
async function folderOf(t: Test): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'homing-lmdb-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A writer in a process of its own. */
class Peer implements AsyncDisposable {
  readonly child: ChildProcess
  readonly said: unknown[] = []

  constructor(folder: string) {
    this.child = fork(writer, [folder], { execArgv: ['--unhandled-rejections=strict'] })
    this.child.on('message', what => this.said.push(what))
  }

  async ready(): Promise<this> {
    if (this.said.length === 0) await once(this.child, 'message')
    return this
  }

  async ask(task: Task): Promise<unknown> {
    const answer = once(this.child, 'message')
    this.child.send(task)
    return (await answer)[0]
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = once(this.child, 'exit')
    this.child.kill('SIGKILL')
    await gone
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill()
  }
}

contractOf(t, lmdbUnderTest)

t.test('lifetimes go by the clock of the machine when none is handed in', async t => {
  await using store = await lmdbDatastore({ folder: await folderOf(t), operationTimeoutMs })
  await store.put('long', bytes('1'), { ttlMs: 60_000 })
  const since = performance.now()
  await store.put('short', bytes('1'), { ttlMs: 30 })
  while (await store.get('short')) await new Promise(resolve => setTimeout(resolve, 2))
  t.ok(performance.now() - since >= 29)
  t.ok(await store.get('long'))
})

t.test('100,000 claims in one batch take well below 5 s', async t => {
  await using store = await lmdbDatastore({ folder: await folderOf(t), operationTimeoutMs })
  const value = new Uint8Array(100)
  const writes = Array.from({ length: 100_000 }, (_, i) => ({ key: `c/sessions/address-${i}`, bytes: value, ifVersion: null }))
  const since = performance.now()
  const versions = await store.putMany(writes)
  const tookMs = performance.now() - since
  t.comment(`${tookMs.toFixed()} ms`)
  t.equal(new Set(versions).size, 100_000)
  t.ok(tookMs < 4_000, `${tookMs} ms`)
})

t.test('two processes and two threads count together and lose no update', async t => {
  const folder = await folderOf(t)
  await using store = await lmdbDatastore({ folder, operationTimeoutMs })
  await store.put('count', bytes('0'))
  await using one = await new Peer(folder).ready()
  await using two = await new Peer(folder).ready()
  const threads = [new Worker(writer, { workerData: { folder } }), new Worker(writer, { workerData: { folder } })]
  await Promise.all(threads.map(thread => once(thread, 'message')))
  const count: Task = { do: 'count', key: 'count', times: 250 }
  await Promise.all([
    one.ask(count),
    two.ask(count),
    ...threads.map(async thread => {
      const done = once(thread, 'message')
      thread.postMessage(count)
      await done
    }),
  ])
  t.equal(text(await store.get('count')), '1000')
  await Promise.all(threads.map(thread => thread.terminate()))
  t.equal(text(await store.get('count')), '1000')
})

t.test('what another process was told is written is read at once, even without a turn of the event loop', async t => {
  const folder = await folderOf(t)
  await using store = await lmdbDatastore({ folder, operationTimeoutMs })
  await using peer = await new Peer(folder).ready()
  for (let i = 0; i < 200; i++) {
    await store.get('a') // a snapshot from before
    t.equal(await peer.ask({ do: 'put', key: 'a', text: `${i}` }), 'done')
    t.equal(text(await store.get('a')), `${i}`)
    await store.put('b', bytes(`${i}`))
    t.equal(await peer.ask({ do: 'get', key: 'b' }), `${i}`)
  }
})

t.test('a file that another process made much larger is read and written', async t => {
  const folder = await folderOf(t)
  await using store = await lmdbDatastore({ folder, operationTimeoutMs })
  await store.put('before', bytes('1'))
  await using peer = await new Peer(folder).ready()
  await peer.ask({ do: 'fill', prefix: 'big/', count: 320, bytes: 1 << 20 })
  t.equal(text(await store.get('before')), '1')
  t.equal((await store.get('big/319'))?.bytes[77], 319 & 0xff)
  await store.put('after', bytes('2'))
  t.equal(await peer.ask({ do: 'get', key: 'after' }), '2')
})

t.test('a process that is killed while it writes leaves a file that others go on with', async t => {
  const folder = await folderOf(t)
  await using survivor = await lmdbDatastore({ folder, operationTimeoutMs })
  for (let round = 0; round < 5; round++) {
    await using peer = await new Peer(folder).ready()
    const prefix = `round${round}/`
    peer.child.send({ do: 'write', prefix } satisfies Task)
    while (Number(peer.said.at(-1)) < 20 || typeof peer.said.at(-1) !== 'number') await once(peer.child, 'message')
    // Meanwhile the survivor writes too, so that both want the lock.
    const mine = survivor.putMany(Array.from({ length: 100 }, (_, i) => ({ key: `mine/${i}`, bytes: bytes(`${round}`) })))
    await peer.kill()
    await mine
    const acknowledged = Number(peer.said.at(-1))
    const entries = await survivor.getMany(Array.from({ length: 50 }, (_, i) => `${prefix}${i}`))
    const batches = new Set(entries.map(entry => Number(text(entry))))
    t.equal(batches.size, 1, 'a batch is one transaction')
    t.ok([...batches][0]! >= acknowledged, `${[...batches][0]} is read, ${acknowledged} was acknowledged`)
    t.equal(text(await survivor.get('mine/99')), `${round}`)
    t.type(await survivor.put('after', bytes(`${round}`)), 'string')
    await using newcomer = await lmdbDatastore({ folder, operationTimeoutMs })
    t.equal(text(await newcomer.get('after')), `${round}`)
  }
})

t.test('a thread that is ended while it writes leaves a file that its process goes on with', async t => {
  const folder = await folderOf(t)
  await using store = await lmdbDatastore({ folder, operationTimeoutMs })
  for (let round = 0; round < 5; round++) {
    const thread = new Worker(writer, { workerData: { folder } })
    await once(thread, 'message')
    thread.postMessage({ do: 'write', prefix: 'thread/' } satisfies Task)
    for (let i = 0; i < 10; i++) await once(thread, 'message')
    await thread.terminate()
    t.type(await store.put('after', bytes(`${round}`)), 'string')
    t.equal(text(await store.get('after')), `${round}`)
  }
})

t.test('P49: after disposal nothing keeps the process', async t => {
  const peer = await new Peer(await folderOf(t)).ready()
  const ended = once(peer.child, 'exit')
  await peer.ask({ do: 'put', key: 'a', text: '1' })
  await peer.ask({ do: 'close' })
  t.equal((await ended)[0], 0)
})

t.test(
  'a process that was stopped while it holds the lock costs others a timeout, and no more',
  { skip: process.platform !== 'linux' },
  async t => {
    const folder = await folderOf(t)
    await using store = await lmdbDatastore({ folder, operationTimeoutMs: 300 })
    await store.put('a', bytes('1'))
    await using peer = await new Peer(folder).ready()
    peer.child.send({ do: 'write', prefix: 'stopped/' } satisfies Task)
    // Until it is caught with the lock; each try stops it somewhere in its work.
    let caught: unknown
    for (let i = 0; i < 300 && caught === undefined; i++) {
      await once(peer.child, 'message')
      peer.child.kill('SIGSTOP')
      caught = await store.put('a', bytes('2')).then(
        () => undefined,
        (error: unknown) => error,
      )
      if (caught === undefined) peer.child.kill('SIGCONT')
    }
    if (caught === undefined) return t.pass('it was never caught with the lock in 300 tries')
    t.match(caught, { name: 'HomingError', code: 'DATASTORE', outcome: 'unknown' })
    t.ok(await store.get('a'), 'reading goes on')
    await t.rejects(Promise.all(Array.from({ length: 20 }, () => store.put('a', bytes('3')))), { code: 'DATASTORE' })
    t.ok((await readdir(folder)).length > 0, 'the threads of the process are not used up')
    peer.child.kill('SIGCONT')
    let back: string | undefined
    for (let i = 0; i < 20 && back === undefined; i++) back = await store.put('a', bytes('4')).catch(() => undefined)
    t.type(back, 'string')
  },
)

t.test('a file beyond repair is opened anew', async t => {
  const folder = await folderOf(t)
  const panic = Object.assign(new Error('MDB_PANIC: Update of meta page failed or environment had fatal error'), { code: -30795 })
  let opened = 0
  let broken: 'reads' | 'writes' | 'nothing' = 'nothing'
  await using store = await lmdbDatastore({
    folder,
    operationTimeoutMs: 200,
    wrap: file => {
      const mine = ++opened
      return new Proxy(file, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name)
          if (mine === opened && broken !== 'nothing' && name === 'getBinaryFast') {
            return () => {
              throw panic
            }
          }
          // That is what lmdb does with a write that meets a panic: nothing, ever.
          if (mine === opened && broken === 'writes' && name === 'batch') return () => new Promise(() => {})
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      }) as RootDatabase<Uint8Array, Uint8Array>
    },
  })
  await store.put('a', bytes('1'))
  for (const what of ['reads', 'writes'] as const) {
    broken = what
    const before = opened
    const call: Promise<unknown> = what === 'reads' ? store.get('a') : store.put('a', bytes('x'))
    await t.rejects(call, { code: 'DATASTORE' })
    broken = 'nothing'
    let entry
    while (!entry) {
      entry = await store.get('a').catch((error: { code: string }) => t.equal(error.code, 'DATASTORE') && undefined)
      await new Promise(resolve => setImmediate(resolve))
    }
    t.equal(text(entry), '1')
    t.equal(opened, before + 1)
    t.type(await store.put('b', bytes('2')), 'string')
  }
})

t.test('a full disk rejects the write, leaves what was there, and is no unhandled rejection', async t => {
  const folder = await folderOf(t)
  const fails = () =>
    Object.assign(new Error('Commit failed (see commitError for details)'), {
      commitError: Promise.reject(Object.assign(new Error('No space left on device'), { code: 28 })),
    })
  let full = false
  await using store = await lmdbDatastore({
    folder,
    operationTimeoutMs,
    wrap: file =>
      new Proxy(file, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name)
          if (full && name === 'batch') return () => Promise.reject(fails())
          return typeof value === 'function' ? (value.bind(target) as unknown) : value
        },
      }) as RootDatabase<Uint8Array, Uint8Array>,
  })
  await store.put('a', bytes('1'))
  full = true
  await t.rejects(store.put('a', bytes('2')), { code: 'DATASTORE', message: /No space left/, cause: { code: 28 } })
  full = false
  t.equal(text(await store.get('a')), '1')
  t.type(await store.put('a', bytes('3')), 'string')
})

t.test('what expired and is never asked for again is removed by the way', async t => {
  const folder = await folderOf(t)
  let nowMs = 1_000
  await using store = await lmdbDatastore({ folder, operationTimeoutMs, nowMs: () => nowMs })
  const value = new Uint8Array(2_000)
  const sizes: number[] = []
  for (let round = 0; round < 40; round++) {
    await store.putMany(Array.from({ length: 250 }, (_, i) => ({ key: `note/${round}/${i}`, bytes: value, ttlMs: 500 })))
    nowMs += 1_001
    await store.put('beat', bytes(`${round}`))
    const file = (await readdir(folder)).find(name => name.endsWith('.mdb'))
    sizes.push((await stat(join(folder, file!))).size)
  }
  t.ok(sizes.at(-1)! < 40 * 250 * 2_000 * 0.5, `${sizes.at(-1)} bytes after 20,000,000 were written`)
})

t.test(
  'files of earlier starts of the machine are removed, other files are not',
  { skip: process.platform !== 'linux' },
  async t => {
    const folder = await folderOf(t)
    const earlier = [`homing-${'0'.repeat(32)}.mdb`, `homing-${'0'.repeat(32)}.mdb-lock`]
    const others = ['notes.txt', 'homing.mdb', 'homing-1.mdb']
    for (const name of [...earlier, ...others]) await writeFile(join(folder, name), 'x')
    await using store = await lmdbDatastore({ folder, operationTimeoutMs })
    await store.put('a', bytes('1'))
    await using second = await lmdbDatastore({ folder, operationTimeoutMs })
    t.equal(text(await second.get('a')), '1')
    const left = await readdir(folder)
    for (const name of others) t.ok(left.includes(name), name)
    for (const name of earlier) t.notOk(left.includes(name), name)
    t.equal(left.length, others.length + 2)
  },
)

t.test('the default folder is made for its owner alone, and one of somebody else is refused', async t => {
  const runtime = await folderOf(t)
  const before = process.env['XDG_RUNTIME_DIR']
  process.env['XDG_RUNTIME_DIR'] = runtime
  t.teardown(() => {
    if (before === undefined) delete process.env['XDG_RUNTIME_DIR']
    else process.env['XDG_RUNTIME_DIR'] = before
  })
  const options = { operationTimeoutMs, cluster: 'my cluster' }
  {
    await using store = await openDatastore('lmdb:', options)
    await store.put('a', bytes('1'))
    for (const folder of ['homing', 'homing/my%20cluster']) t.equal((await stat(join(runtime, folder))).mode & 0o777, 0o700)
  }
  await chmod(join(runtime, 'homing'), 0o777)
  await t.rejects(openDatastore('lmdb:', options), { code: 'REFUSED', message: /others may write/ })
  await chmod(join(runtime, 'homing'), 0o700)
  const { getuid } = process
  t.intercept(process, 'getuid', { value: () => getuid!() + 1 })
  await t.rejects(openDatastore('lmdb:', options), { code: 'REFUSED', message: /another user/ })
})

t.test('a place that is no folder is DATASTORE, and names the place', async t => {
  const folder = await folderOf(t)
  const place = join(folder, 'file')
  await writeFile(place, 'x')
  await t.rejects(openDatastore(`lmdb:${place}`, { operationTimeoutMs, cluster: 'test' }), { code: 'DATASTORE', message: /file/ })
  await mkdir(join(folder, 'deep'))
  await using store = await openDatastore(`lmdb:${join(folder, 'deep/er/with.dots')}`, { operationTimeoutMs, cluster: 'test' })
  t.type(await store.put('a', bytes('1')), 'string')
})

t.test('versions: never twice, finite, and exact as text', async t => {
  const edges = ['00000000fffffff0', 'ffffffffffffffff', '3fdffffffffffffe', '0000000000000000', '8bffffffffffffff'].map(hex =>
    Buffer.from(hex, 'hex'),
  )
  for (const seed of [...edges, undefined, undefined]) {
    const versions = new LmdbVersions(seed)
    const seen = new Set<string>()
    for (let i = 0; i < 1_000; i++) {
      const version = versions.next()
      if (!(Number.isFinite(version) && version >= 2)) t.fail(`${version}`)
      if (readVersion(versionText(version)) !== version) t.fail(`${version} as text`)
      seen.add(versionText(version))
    }
    t.equal(seen.size, 1_000)
  }
  for (const odd of ['', ' 3', '3.0', '0x3', '-3', '1', 'NaN', '1e999', '3n']) t.equal(readVersion(odd), undefined, odd)
})
