import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { hostname } from 'node:os'
import t, { type Test } from 'tap'
import { realEnv } from '../../lib/env/real.ts'

const env = realEnv()
const code = (source: string): URL => new URL(`data:text/javascript,${encodeURIComponent(source)}`)

/** Keeps this process alive for a test: a worker does not. */
function stayAlive(t: Test): void {
  const timer = env.timers.every(1_000, () => undefined)
  t.teardown(() => timer.cancel())
}

t.test('the clocks', async t => {
  const [monotonicMs, bootMs] = [env.clock.monotonicMs(), env.clock.bootMs()]
  await new Promise<void>(resolve => env.timers.after(50, resolve))
  const passedMs = env.clock.monotonicMs() - monotonicMs
  t.ok(passedMs >= 50)
  t.ok(Math.abs(env.clock.bootMs() - bootMs - passedMs) < 30, 'awake, boot time goes as fast')
  t.ok(Math.abs(env.clock.wallMs() - Date.now()) < 1_000)
})

t.test('the machine', async t => {
  t.ok(env.machine.startsWith(hostname()))
  t.equal(env.machine, realEnv().machine)
})

t.test('a worker runs beside a blocked main loop, and answers', async t => {
  stayAlive(t)
  const module = code(`
    import { parentPort, workerData } from 'node:worker_threads'
    parentPort.on('message', message => parentPort.postMessage([workerData, message]))
    Atomics.store(workerData, 0, 1)
    Atomics.notify(workerData, 0)`)
  const shared = new Int32Array(new SharedArrayBuffer(4))
  const worker = env.startWorker!(module, shared)
  worker.onFailure(error => t.fail(error.message))
  // A started worker needs nothing of this loop but what it prints.
  t.equal(Atomics.wait(shared, 0, 0, 10_000), 'ok')
  const answer = new Promise(resolve => worker.onMessage(resolve))
  worker.post('hello')
  t.match(await answer, [Object, 'hello'])
  await worker.stop()
  await worker.stop()
})

t.test('a worker that throws or ends has failed, once, and says so also to who asks late', async t => {
  stayAlive(t)
  for (const source of [`throw new Error('boom')`, `process.exit(3)`, `setTimeout(() => { throw new Error('boom') }, 1)`]) {
    const worker = env.startWorker!(code(source), undefined)
    const errors: Error[] = []
    const failure = new Promise<Error>(resolve =>
      worker.onFailure(error => {
        errors.push(error)
        resolve(error)
      }),
    )
    t.match((await failure).message, /boom|code 3/)
    t.equal(await new Promise(resolve => worker.onFailure(resolve)), errors[0])
    await worker.stop()
    t.equal(errors.length, 1)
  }
})

t.test('a worker that is stopped has not failed', async t => {
  const worker = env.startWorker!(code(`setInterval(() => {}, 1_000)`), undefined)
  worker.onFailure(error => t.fail(error.message))
  await worker.stop()
})

t.test('a worker does not keep its process alive', async t => {
  const real = new URL('../../lib/env/real.js', import.meta.url).href
  const source = `
    import { realEnv } from ${JSON.stringify(real)}
    realEnv().startWorker(new URL('data:text/javascript,setInterval(() => {}, 1000)'), undefined)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: 'inherit' })
  const [exitCode] = (await once(child, 'exit')) as [number]
  t.equal(exitCode, 0)
})
