/** Code in a process of its own, beside the main loop. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { BackgroundWorker } from '../../lib/env/env.ts'
import { withoutInspector } from '../../lib/env/process.ts'
import { realEnv } from '../../lib/env/real.ts'
import type { Order } from './process-worker.ts'

const env = realEnv()
const code = new URL('./process-worker.js', import.meta.url)
const parentCode = fileURLToPath(new URL('./process-parent.js', import.meta.url))

/** It does not keep this process alive: a test has to. */
function start(t: Test, module = code): BackgroundWorker & { order(order: Order): void } {
  const timer = env.timers.every(1_000, () => undefined)
  const worker = env.startProcess!(module)
  t.teardown(async () => {
    timer.cancel()
    await worker.stop()
  })
  return { ...worker, order: order => worker.post(order) }
}

const failureOf = (worker: BackgroundWorker): Promise<Error> => new Promise(resolve => worker.onFailure(resolve))

async function listening(t: Test): Promise<{ port: number; connected: Promise<Socket> }> {
  const server = createServer().listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  const connected = once(server, 'connection').then(([socket]) => {
    return (socket as Socket).on('error', () => undefined).resume() // a reset is an end as well
  })
  return { port: (server.address() as AddressInfo).port, connected }
}

t.test('it answers, with values as they were', async t => {
  const worker = start(t)
  worker.onFailure(error => t.fail(error.message))
  const value = { bytes: Uint8Array.of(1, 2), big: 2n ** 70n, none: undefined, inf: -Infinity, at: new Date(1) }
  const answer = new Promise(resolve => worker.onMessage(resolve))
  worker.order({ do: 'echo', value })
  const got = (await answer) as typeof value
  t.same(got, value)
  t.ok(got.bytes instanceof Uint8Array)
})

t.test('one that throws or ends has failed, once, with its last words, and says so also to who asks late', async t => {
  const orders: [Order, RegExp][] = [
    [{ do: 'throw', message: 'boom' }, /process-worker\.js ended with code 1: [^]*Error: boom/],
    [{ do: 'exit', code: 3 }, /ended with code 3$/],
  ]
  for (const [order, text] of orders) {
    const worker = start(t)
    const errors: Error[] = []
    worker.onFailure(error => errors.push(error))
    worker.order(order)
    t.match((await failureOf(worker)).message, text)
    t.equal(await failureOf(worker), errors[0])
    worker.order({ do: 'echo', value: 'nobody hears it' })
    await worker.stop()
    t.equal(errors.length, 1)
  }
  t.match((await failureOf(start(t, new URL('./nowhere.js', code)))).message, /nowhere/)
})

t.test('one that is stopped has not failed: it ends by itself in time, or is ended', async t => {
  for (const order of [{ do: 'close' }, { do: 'stand still' }] as const) {
    const worker = start(t)
    worker.onFailure(error => t.fail(error.message))
    const answered = new Promise(resolve => worker.onMessage(resolve))
    worker.order({ do: 'echo', value: 1 })
    await answered
    worker.order(order)
    const beganMs = env.clock.monotonicMs()
    await worker.stop(order.do === 'close' ? 60_000 : 200)
    const tookMs = env.clock.monotonicMs() - beganMs
    t.ok(order.do === 'close' ? tookMs < 30_000 : tookMs >= 199, `${order.do}: ${tookMs} ms`)
    await worker.stop()
  }
})

t.test('one that reads nothing any more is ended, and has failed: what waits for it is bounded', async t => {
  const worker = start(t)
  const failed = failureOf(worker)
  worker.order({ do: 'stand still' })
  for (let i = 0; i < 30_000; i++) {
    worker.order({ do: 'echo', value: i })
    if (i % 100 === 0) await new Promise<void>(resolve => env.timers.soon(resolve))
  }
  t.match((await failed).message, /has not read 10000 messages/)
})

t.test('it does not keep its process alive', async t => {
  const child = spawn(process.execPath, [parentCode], { stdio: 'inherit' })
  const [exitCode] = (await once(child, 'exit')) as [number]
  t.equal(exitCode, 0)
})

t.test('it ends with a process that is killed, and not by a signal that is for all of a terminal', async t => {
  const { port, connected } = await listening(t)
  const parent = spawn(process.execPath, [parentCode, `${port}`], { stdio: ['pipe', 'pipe', 'inherit'], detached: true })
  t.teardown(() => parent.kill('SIGKILL'))
  const lines = createInterface({ input: parent.stdout })
  t.same(await once(lines, 'line'), ['started'])
  const ended = once(await connected, 'close')
  process.kill(-parent.pid!, 'SIGINT')
  t.same(await once(lines, 'line'), ['answers'])
  parent.kill('SIGKILL')
  await ended
})

t.test('inspectors of this process are not for others', async t => {
  for (const [given, left] of [
    ['', ''],
    ['--inspect', ''],
    ['--inspect-brk=127.0.0.1:9229 --max-old-space-size=100', '--max-old-space-size=100'],
    ['--import file:///a/--inspector.js --inspect-port 9230 --no-warnings', '--import file:///a/--inspector.js --no-warnings'],
  ])
    t.equal(withoutInspector(given!), left)
})
