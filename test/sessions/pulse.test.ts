import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { openDatastore } from '../../lib/datastores/open.ts'
import type { BackgroundWorker, Env } from '../../lib/env/env.ts'
import { realEnv } from '../../lib/env/real.ts'
import type { Held } from '../../lib/sessions/directory.ts'
import { sessionOptions } from '../../lib/sessions/options.ts'
import { StoreDirectory } from '../../lib/sessions/store-directory.ts'

const options = sessionOptions({ leaseMs: 1_200, renewEveryMs: 300, guardMs: 300, operationTimeoutMs: 800, stallMs: 3_000 })

type Form = 'thread' | 'process'
const forms: readonly Form[] = ['thread', 'process']
const planted = new URL('./planted.js', import.meta.url)

/** The environment, with an eye on its workers, which are of this form; `broken` of them throw as soon as they start. */
function watchedEnv(form: Form, broken = 0) {
  const real = realEnv()
  const started: BackgroundWorker[] = []
  const heard: string[] = []
  let stopped = 0
  let wake = (): void => undefined
  const start = (module: URL): BackgroundWorker => {
    const code = started.length < broken ? planted : module
    const worker = form === 'thread' ? real.startWorker!(code, undefined) : real.startProcess!(code)
    started.push(worker)
    worker.onMessage(message => {
      heard.push((message as { at: string }).at)
      wake()
    })
    return { ...worker, stop: patienceMs => (stopped++, worker.stop(patienceMs)) }
  }
  const env: Env = {
    ...real,
    startWorker: form === 'thread' ? start : undefined,
    startProcess: form === 'process' ? start : undefined,
  }
  return {
    env,
    started,
    stopped: () => stopped,
    async hears(what: string, times = 1) {
      while (heard.filter(at => at === what).length < times) await new Promise<void>(resolve => (wake = resolve))
    },
  }
}

async function join(t: Test, env: Env, storeUrl: string, identity: string) {
  const datastore = await openDatastore(storeUrl, { cluster: 'test', operationTimeoutMs: options.operationTimeoutMs })
  const told: string[] = []
  const held: Held[] = []
  const directory = await StoreDirectory.join({
    env,
    datastore,
    storeUrl,
    cluster: 'test',
    self: {
      identity,
      incarnation: `${identity}-${env.clock.monotonicMs()}`,
      endpoints: [],
      role: 'peer',
      state: 'up',
      version: '0.1.0',
      machine: env.machine,
      metadata: {},
    },
    options,
    probe: async () => 'silent',
    trouble: error => told.push(`trouble ${error.message}`),
    handler: {
      held: () => held,
      displaced: (address, claim) => told.push(`displaced ${address} ${claim}`),
      memberUp: () => undefined,
      memberChanged: () => undefined,
      memberDown: run => told.push(`down ${run.identity}`),
      storeDown: () => told.push('store down'),
      storeUp: () => told.push('store up'),
      lease: (state, why) => told.push(`lease ${state} ${why ?? ''}`.trim()),
      fenced: () => told.push('fenced'),
    },
  })
  const leave = async (): Promise<void> => {
    await directory.leave(env.clock.monotonicMs() + 5_000)
    await datastore[Symbol.asyncDispose]()
  }
  t.teardown(leave)
  return { directory, told, held, leave }
}

const turn = (env: Env): Promise<void> => new Promise(resolve => env.timers.soon(resolve))

function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
}

/** Another process, and what it saw so far. */
async function observer(t: Test, storeUrl: string) {
  const code = fileURLToPath(new URL('./lease-observer.js', import.meta.url))
  const child = spawn(process.execPath, ['--unhandled-rejections=strict', code, storeUrl, JSON.stringify(options)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const seen: string[] = []
  const lines = createInterface({ input: child.stdout })
  lines.on('line', line => seen.push(line))
  t.teardown(async () => {
    child.stdin.end()
    if (child.exitCode === null) await once(child, 'exit')
  })
  return {
    seen,
    async sees(line: string) {
      while (!seen.includes(line)) await once(lines, 'line')
    },
  }
}

for (const form of forms) {
  t.test(
    `F12: ${form}: a busy peer is not a dead one: while its main loop stands still, others believe it, and it is sure afterwards`,
    async t => {
      const storeUrl = `lmdb:${t.testdir()}`
      const { env, hears } = watchedEnv(form)
      const { directory, told } = await join(t, env, storeUrl, 'busy')
      const { seen, sees } = await observer(t, storeUrl)
      await Promise.all([hears('begun'), sees('up busy')])
      await hears('renewed', 3)

      block(2 * options.leaseMs)
      if (form === 'thread') t.equal(directory.lease, 'sure', 'at once, before any message of the thread was heard')
      else t.equal(directory.lease, 'unsure', 'until what the process said meanwhile was heard')
      await hears('renewed', 6)
      t.same(seen, ['up busy'])
      if (form === 'process') while (told.length < 2) await turn(env)
      t.same(told.splice(0), form === 'thread' ? [] : ['lease unsure late', 'lease sure'])

      // Beyond `stallMs` it is as good as dead: the lease lapses, and nothing is to be delivered before it was checked.
      block(options.stallMs + 2 * options.leaseMs)
      t.equal(directory.lease, 'unsure')
      t.same(told, ['lease unsure late'])
      await sees('down busy lapsed')
      while (told.length < 2) await turn(env)
      t.same(told, ['lease unsure late', 'lease sure'])
      t.equal(directory.lease, 'sure')
    },
  )

  t.test(`one ${form} a process, shared by its peers, ended with the last`, async t => {
    const storeUrl = `lmdb:${t.testdir()}`
    const { env, started, stopped, hears } = watchedEnv(form)
    const [a, b] = [await join(t, env, storeUrl, 'a'), await join(t, env, storeUrl, 'b')]
    await hears('begun', 2)
    await a.leave()
    t.equal(stopped(), 0)
    await hears('renewed', 8)
    t.equal(b.directory.lease, 'sure')
    await b.leave()
    t.equal(stopped(), 1)
    t.equal(started.length, 1)
    const c = await join(t, env, storeUrl, 'c')
    await hears('begun', 3)
    t.equal(started.length, 2, 'and begun anew for the next')
    t.same(
      [...a.told, ...b.told, ...c.told].filter(what => !what.startsWith('down')),
      [],
      'besides goodbyes',
    )
  })

  t.test(`F12: without its ${form} the main loop renews; the ${form} is started again`, async t => {
    const storeUrl = `lmdb:${t.testdir()}`
    const { env, started, hears } = watchedEnv(form, 1)
    const { directory, told } = await join(t, env, storeUrl, 'a')
    await hears('begun')
    t.equal(started.length, 2)
    t.equal(directory.lease, 'sure')
    t.match(told, [/^trouble .*planted/])
    block(2 * options.leaseMs)
    if (form === 'process') while (told.length < 3) await turn(env)
    t.equal(directory.lease, 'sure')
  })
}

t.test('no thread for a store that it could not see', async t => {
  const { env, started } = watchedEnv('thread')
  const { directory } = await join(t, env, 'memory:', 'a')
  t.equal(directory.lease, 'sure')
  t.equal(started.length, 0)
})
