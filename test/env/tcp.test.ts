import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import { spawn } from 'node:child_process'
import { Worker } from 'node:worker_threads'
import t, { type Test } from 'tap'
import type { Connection } from '../../lib/env/env.ts'
import { tcpTransport } from '../../lib/env/tcp.ts'
import { Ear, transportContract } from '../contract/transport.ts'

const transport = tcpTransport()

const over = (endpoint: () => string) => ({
  open: async () => ({
    listening: tcpTransport(),
    dialling: tcpTransport(),
    endpoint: endpoint(),
    settled: <T>(promise: Promise<T>) => promise,
    async [Symbol.asyncDispose]() {},
  }),
})

const addresses = Object.values(networkInterfaces()).flatMap(interfaces => interfaces?.map(({ address }) => address))
const withoutIpv6 = addresses.includes('::1') ? false : 'this machine has no IPv6 loopback'

/** A folder with a short name: that of tap's own may be longer than a Unix socket's path. */
function folder(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'homing-'))
  t.teardown(() => rmSync(path, { recursive: true }))
  return path
}

t.test('over IPv4', async t =>
  transportContract(
    t,
    over(() => 'tcp://127.0.0.1:0'),
  ),
)
t.test('over IPv6', { skip: withoutIpv6 }, async t =>
  transportContract(
    t,
    over(() => 'tcp://[::1]:0'),
  ),
)
t.test('over a Unix socket', async t => {
  const directory = folder(t)
  let count = 0
  transportContract(
    t,
    over(() => `unix:${directory}/${count++}`),
  )
})

t.test('the writes of one tick leave together', async t => {
  const far = new Ear()
  await using listener = await transport.listen('tcp://127.0.0.1:0', undefined, () => far)
  const near = new Ear()
  const connection = transport.dial(listener.endpoint, undefined, 5_000, near)
  await near.until(() => near.heard.includes('opened'))
  for (let round = 1; round <= 5; round++) {
    for (let i = 0; i < 100; i++) connection.write(new Uint8Array(10))
    await far.until(() => far.bytes >= round * 1_000)
  }
  t.equal(far.chunks.length, 5)
  connection.end()
  await near.until(() => near.isClosed)
})

t.test('a connection says whom it is with', async t => {
  let accepted: Connection | undefined
  await using listener = await transport.listen('tcp://127.0.0.1:0', undefined, connection => {
    accepted = connection
    connection.end()
    return new Ear()
  })
  const ear = new Ear()
  const dialled = transport.dial(listener.endpoint, undefined, 5_000, ear)
  await ear.until(() => ear.isClosed)
  t.match(listener.endpoint, /^tcp:\/\/127\.0\.0\.1:[1-9]\d+$/)
  t.equal(`tcp://${dialled.remote}`, listener.endpoint)
  t.match(accepted!.remote, /^127\.0\.0\.1:\d+$/)
})

t.test('a dial that nobody answers is given up in time', async t => {
  // A listener that never accepts, with a full queue: the system answers no more calls.
  const deaf = new Worker(
    `const { parentPort } = require('node:worker_threads')
     const server = require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => {
       parentPort.postMessage(server.address().port)
       setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
     })`,
    { eval: true },
  )
  t.teardown(() => deaf.terminate())
  const [port] = (await once(deaf, 'message')) as [number]
  const ears = Array.from({ length: 8 }, () => new Ear())
  const connections = ears.map(ear => transport.dial(`tcp://127.0.0.1:${port}`, undefined, 300, ear))
  const last = ears.at(-1)!
  await last.until(() => last.isClosed)
  t.match(last.error, { code: 'ETIMEDOUT', syscall: 'connect' })
  t.same(last.heard, ['closed'])
  for (const connection of connections) connection.destroy()
  await Promise.all(ears.map(ear => ear.until(() => ear.isClosed)))
})

t.test('a name that does not exist closes the dial, with the code of the system', async t => {
  const ear = new Ear()
  transport.dial('tcp://no-such-host.invalid:1', undefined, 5_000, ear)
  await ear.until(() => ear.isClosed)
  t.match(ear.error, { code: /^(ENOTFOUND|EAI_AGAIN)$/ })
})

t.test('who has ended and hears nothing more closes by itself', async t => {
  // A half-open party: takes the end, and never gives its own.
  const server = createServer({ allowHalfOpen: true }, socket => socket.resume()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const ear = new Ear()
  const { port } = server.address() as { port: number }
  const connection = transport.dial(`tcp://127.0.0.1:${port}`, undefined, 5_000, ear)
  connection.write(Buffer.from('bye'))
  connection.end()
  await ear.until(() => ear.isClosed)
  t.equal(ear.error, undefined)
})

t.test('the death of the other process is noticed with much unsent', async t => {
  let accepted: Connection | undefined
  const ear = new Ear()
  await using listener = await transport.listen('tcp://127.0.0.1:0', undefined, connection => {
    accepted = connection
    return ear
  })
  const port = Number(listener.endpoint.split(':').at(-1))
  const source = `require('node:net').connect(${port}, '127.0.0.1', function () { this.pause(); this.write('x') })`
  const child = spawn(process.execPath, ['-e', source])
  await ear.until(() => ear.bytes === 1)
  accepted!.write(new Uint8Array(30_000_000))
  child.kill('SIGKILL')
  await ear.until(() => ear.isClosed)
  t.match(ear.error, { code: /^(ECONNRESET|EPIPE)$/ })
  t.equal(accepted!.pendingBytes, 0)
})

t.test('P4: a Unix socket that a killed process left behind is taken over', async t => {
  const path = `${folder(t)}/socket`
  const child = spawn(process.execPath, [
    '-e',
    `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
  ])
  await once(child.stdout, 'data')
  await t.rejects(
    transport.listen(`unix:${path}`, undefined, () => new Ear()),
    { code: 'EADDRINUSE' },
    'not while it lives',
  )
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.ok(existsSync(path))

  const far = new Ear()
  const listener = await transport.listen(`unix:${path}`, undefined, () => far)
  t.equal(listener.endpoint, `unix:${path}`)
  const near = new Ear()
  transport.dial(`unix:${path}`, undefined, 5_000, near).end()
  await far.until(() => far.isClosed)
  await listener.close()
  t.notOk(existsSync(path))
})

t.test('of many that take over one stale Unix socket, one listens', async t => {
  const path = `${folder(t)}/socket`
  const child = spawn(process.execPath, [
    '-e',
    `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
  ])
  await once(child.stdout, 'data')
  child.kill('SIGKILL')
  await once(child, 'exit')
  const tries = await Promise.allSettled(
    Array.from({ length: 8 }, () => transport.listen(`unix:${path}`, undefined, () => new Ear())),
  )
  const listeners = tries.flatMap(each => (each.status === 'fulfilled' ? [each.value] : []))
  t.equal(listeners.length, 1)
  const ear = new Ear()
  transport.dial(`unix:${path}`, undefined, 5_000, ear).end()
  await ear.until(() => ear.isClosed)
  t.same(ear.heard, ['opened', 'closed'])
  await Promise.all(listeners.map(listener => listener.close()))
})

t.test('a file that is no socket is left alone', async t => {
  const path = `${folder(t)}/file` // short: a test folder below a deep one is too long for a socket
  writeFileSync(path, 'precious')
  await t.rejects(
    transport.listen(`unix:${path}`, undefined, () => new Ear()),
    { code: 'EADDRINUSE' },
  )
  t.ok(existsSync(path))
})

t.test('a path that the system would cut off is BAD_OPTION', async t => {
  await t.rejects(
    transport.listen(`unix:/tmp/${'x'.repeat(120)}`, undefined, () => new Ear()),
    { code: 'BAD_OPTION' },
  )
})

t.test('a caller that is gone again at once disturbs nobody', async t => {
  const ears: Ear[] = []
  await using listener = await transport.listen('tcp://127.0.0.1:0', undefined, () => {
    const ear = new Ear()
    ears.push(ear)
    return ear
  })
  const port = Number(listener.endpoint.split(':').at(-1))
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.resetAndDestroy()
    }),
  )
  const ear = new Ear()
  transport.dial(listener.endpoint, undefined, 5_000, ear).end()
  await ear.until(() => ear.isClosed)
  await Promise.all(ears.map(each => each.until(() => each.isClosed)))
  t.equal(ear.error, undefined)
})
