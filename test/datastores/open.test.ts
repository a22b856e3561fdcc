import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { datastorePlace, openDatastore } from '../../lib/datastores/open.ts'

const options = { operationTimeoutMs: 1_000, cluster: 'test' }

t.test('what is no URL of a datastore throws BAD_OPTION at the call, and names the schemes or the form', async t => {
  for (const url of ['', ':', 'redis', '/tmp/store', 'cassandra://localhost', 'http://localhost', 'Memory:', 'file:///tmp']) {
    t.throws(
      () => openDatastore(url, options),
      { name: 'HomingError', code: 'BAD_OPTION', message: /memory:.*lmdb:.*redis:.*riak:/ },
      url,
    )
    t.throws(() => datastorePlace(url, 'test'), { code: 'BAD_OPTION' }, url)
  }
  for (const url of [
    'redis:',
    'redis://',
    'redis:localhost',
    'redis:/localhost',
    'redis://localhost/x',
    'redis://localhost/1/2',
    'redis://localhost:port',
    'redis://localhost:70000',
    'redis://localhost?db=1',
    'redis://a b',
    'redis://:%zz@localhost',
    'rediss://',
  ]) {
    t.throws(() => openDatastore(url, options), { code: 'BAD_OPTION', message: /:\/\/\[user:password@\]host:port\/db/ }, url)
  }
  for (const url of [
    'redis+sentinel://host:26379',
    'redis+sentinel://host/',
    'redis+sentinel:///main',
    'redis+sentinel://a,,b/main',
    'redis+sentinel://a:1:2/main',
    'redis+sentinel://host/main/x',
    'redis+sentinel://host/main/1/2',
    'redis+sentinel://host/%zz',
    'rediss+sentinel://host',
    'redis+sentinel:host/main',
  ]) {
    t.throws(() => openDatastore(url, options), { code: 'BAD_OPTION', message: /@\]host:port,host:port\/master\/db/ }, url)
  }
  for (const url of [
    'redis+cluster://',
    'redis+cluster://a,b/1',
    'redis+cluster://a,b/x',
    'redis+cluster://a;b',
    'rediss+cluster://a b',
  ])
    t.throws(() => openDatastore(url, options), { code: 'BAD_OPTION', message: /@\]host:port,host:port$/ }, url)
  for (const url of ['redis+x://host', 'redis+sentinels://host/main', 'redis://a,b', 'REDIS://host'])
    t.throws(() => openDatastore(url, options), { code: 'BAD_OPTION' }, url)
  for (const url of [
    'riak:',
    'riak://',
    'riak:localhost',
    'riak://localhost/bucket',
    'riak://localhost:0',
    'riak://localhost:70000',
    'riak://localhost:port',
    'riak://a,,b',
    'riak://a,b,',
    'riak://a b',
    'riak://localhost?bucketType=',
    'riak://localhost?bucketTyp=x',
    'riak://localhost#x',
    'riak://me:hush@localhost',
  ]) {
    t.throws(() => openDatastore(url, options), { code: 'BAD_OPTION', message: /riak:\/\/host:port,host:port\?/ }, url)
  }
  t.throws(() => openDatastore('lmdb:/a\0b', options), { code: 'BAD_OPTION' })
  for (const url of [
    'zookeeper:',
    'zookeeper://',
    'zookeeper:localhost',
    'zookeeper:///path',
    'zookeeper://localhost:port',
    'zookeeper://localhost:70000',
    'zookeeper://localhost,',
    'zookeeper://a b',
    'zookeeper://[::1',
    'zookeeper://::1',
    'zookeeper://@localhost',
    'zookeeper://:secret@localhost',
    'zookeeper://me:%zz@localhost',
    'zookeeper://localhost//a',
    'zookeeper://localhost/a//b',
    'zookeeper://localhost/a/../b',
    'zookeeper://localhost/.',
    'zookeeper://localhost/zookeeper/mine',
    'zookeeper://localhost/a b',
    'zookeeper://localhost/a?b=c',
    'zookeeper://localhost/a#b',
    `zookeeper://localhost/${'a'.repeat(513)}`,
  ]) {
    t.throws(() => openDatastore(url, options), { code: 'BAD_OPTION', message: /zookeeper:\/\/\[user:password@\]host:port/ }, url)
  }
  for (const cluster of ['', '.', '..']) t.throws(() => openDatastore('lmdb:', { ...options, cluster }), { code: 'BAD_OPTION' })
  for (const operationTimeoutMs of [0, -1, NaN])
    t.throws(() => openDatastore('memory:', { ...options, operationTimeoutMs }), { code: 'BAD_OPTION' })
})

t.test('no password is in what is thrown', async t => {
  for (const url of [
    'redis://me:hush-hush@localhost:port',
    'redis://me:hush-hush@localhost/x',
    'redis://me:hush-hush@',
    'redis:me:hush-hush@h',
    'redis://me:hush-hush%@h',
    'redis+sentinel://me:hush-hush@host,:/main',
    'redis+cluster://me:hush-hush@a,b/2',
    'redis+cluster://me:hush-hush%@a,b',
    'riak://me:hush-hush@localhost',
    'riak://me?hush-hush@localhost',
    'zookeeper://me:hush-hush@localhost:port',
    'zookeeper://me:hush-hush@localhost/.',
    'zookeeper://me:hush-hush@',
    'zookeeper://me:hush-hush/@h',
    'zookeeper://me:hush-hush%@h',
  ]) {
    try {
      await openDatastore(url, options)
      t.fail(url)
    } catch (error) {
      t.match(error, { code: 'BAD_OPTION' })
      t.notMatch(`${(error as Error).stack} ${JSON.stringify(error)} ${String((error as Error).cause)}`, /hush/, url)
    }
  }
})

t.test('the place, for people', async t => {
  const before = process.env['XDG_RUNTIME_DIR']
  t.teardown(() => {
    if (before === undefined) delete process.env['XDG_RUNTIME_DIR']
    else process.env['XDG_RUNTIME_DIR'] = before
  })
  process.env['XDG_RUNTIME_DIR'] = '/run/user/1000'
  t.equal(datastorePlace('lmdb:', 'shop'), '/run/user/1000/homing/shop')
  t.equal(datastorePlace('lmdb:', '../a b'), '/run/user/1000/homing/..%2Fa%20b')
  for (const none of [undefined, '', 'relative']) {
    if (none === undefined) delete process.env['XDG_RUNTIME_DIR']
    else process.env['XDG_RUNTIME_DIR'] = none
    t.equal(datastorePlace('lmdb:', 'shop'), join(tmpdir(), `homing-${userInfo().uid}`, 'shop'))
  }
  for (const [url, place] of [
    ['memory:', 'memory:'],
    ['memory:here', 'memory:here'],
    ['lmdb:/var/lib/homing', '/var/lib/homing'],
    ['lmdb:store', resolve('store')],
    ['lmdb:./a/../store', resolve('store')],
    ['redis://localhost', 'redis://localhost:6379/0'],
    ['redis://me:secret@10.0.0.1:7000/3', 'redis://me@10.0.0.1:7000/3'],
    ['redis://:secret@host/', 'redis://host:6379/0'],
    ['zookeeper://localhost', 'zookeeper://localhost:2181/homing'],
    ['zookeeper://localhost/', 'zookeeper://localhost:2181/homing'],
    [
      'zookeeper://zoo-1.example,zoo-2.example:2182/prod/homing/',
      'zookeeper://zoo-1.example:2181,zoo-2.example:2182/prod/homing',
    ],
    ['zookeeper://a%40b:secret:with:colons@[::1]:7000/x', 'zookeeper://a%40b@[::1]:7000/x'],
    ['rediss://a%40b:secret@[::1]:7000/12', 'rediss://a%40b@[::1]:7000/12'],
    ['redis+sentinel://a,b:1/main', 'redis+sentinel://a:26379,b:1/main/0'],
    ['rediss+sentinel://me:secret@[::1]:1,b/my%20master/3', 'rediss+sentinel://me@[::1]:1,b:26379/my%20master/3'],
    ['redis+cluster://:secret@a,b:7001', 'redis+cluster://a:6379,b:7001'],
    ['rediss+cluster://a/', 'rediss+cluster://a:6379'],
    ['riak://localhost', 'riak://localhost:8087'],
    ['riak://a:1,[::1]:2,c/?bucketType=default&bucket=homing', 'riak://a:1,[::1]:2,c:8087'],
    ['riak://a?bucketType=my%20type&bucket=b', 'riak://a:8087?bucketType=my+type&bucket=b'],
  ] as const) {
    t.equal(datastorePlace(url, 'shop'), place)
  }
})

t.test('a driver whose package is not installed says how to install it', async t => {
  // The drivers alone, in a folder from where no package is found.
  const folder = await mkdtemp(join(tmpdir(), 'homing-bare-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const lib = fileURLToPath(new URL('../../lib/', import.meta.url))
  for (const part of ['datastores', 'wire', 'env', 'errors.js'])
    await cp(join(lib, part), join(folder, 'lib', part), { recursive: true })
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(
    join(folder, 'try.js'),
    `import { openDatastore } from './lib/datastores/open.js'
    const options = { operationTimeoutMs: 1_000, cluster: 'test' }
    for (const url of [
      'redis://localhost:1',
      'riak://localhost:1',
      'lmdb:' + import.meta.dirname + '/store',
      'zookeeper://localhost:1',
      'couchbase://localhost/bucket',
    ]) {
      await openDatastore(url, options).catch(error => console.log(error.code, error.message))
    }
    await using_memory()
    async function using_memory() {
      const store = await openDatastore('memory:', options)
      console.log(typeof (await store.put('a', new Uint8Array(1))))
    }`,
  )
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'try.js')])
  t.same(stdout.trim().split('\n'), [
    ...['ioredis', 'basho-riak-client', 'lmdb', 'node-zookeeper-client', 'couchbase'].map(
      name => `BAD_OPTION install ${name}: npm install ${name}`,
    ),
    'string',
  ])
})
