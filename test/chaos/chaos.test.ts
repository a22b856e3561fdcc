/** A short chaos of real processes, and that nothing of it is left behind. Longer ones: `npm run chaos`. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { Ending } from '../../lib/cli/ending.ts'
import { alteredModule } from '../support/altered-modules.ts'
import { hasRedisServer } from '../support/redis-server.ts'
import { failpoints } from './failpoints.ts'
import { longestGap } from './longest-gap.ts'
import { resultText } from './report.ts'
import { resultOf } from './result.ts'
import type { Mode } from './run-options.ts'
import { Run } from './run.ts'

async function smoke(t: Test, mode: Mode, store: string): Promise<void> {
  const seed = String(Math.floor(Math.random() * 1e6))
  t.comment(`seed ${seed}`)
  const run = new Run(
    {
      seed,
      mode,
      peers: 3,
      brokers: 2,
      store,
      faultsMs: 6_000,
      pauseMs: [500, 2_000],
      scale: 0.4,
      load: { perSecond: 25, deadlineMs: 2_000 },
      folder: `${t.testdir()}/run`,
    },
    new Ending(),
  )
  const result = resultOf(await run.run())
  t.comment(resultText(result))
  t.same(
    result.findings.map(({ text }) => text),
    [],
  )
  t.ok(result.faults >= 1, `${result.faults} faults`)
  t.ok((result.byStatus.delivered ?? 0) > 100, `${result.byStatus.delivered} delivered`)
}

t.jobs = 2
t.test('peers that dial each other, on LMDB', { buffered: true }, t => smoke(t, 'brokerless', 'lmdb'))
if (hasRedisServer()) t.test('peers behind brokers, on Redis', { buffered: true }, t => smoke(t, 'broker', 'redis'))

t.test('each failpoint has its place in the code', async t => {
  for (const each of failpoints) t.not(alteredModule(each.module, [each]), '', each.name)
})

t.test('the longest gap is that of a holder within reach', async t => {
  const peer = { peer: 'a', incarnation: '1' }
  const about = { ...peer, address: 'x', client: 1 }
  const send = (atMs: number) =>
    ({ atMs, ...peer, what: 'send', call: atMs, address: 'x', dueMs: atMs + 100, level: 'delivered' }) as const
  const took = (atMs: number) => ({ atMs, ...about, what: 'delivery', id: String(atMs) }) as const
  const events = [
    { atMs: 0, ...about, what: 'connected' } as const,
    send(10),
    took(12),
    send(100),
    send(400),
    took(500),
    send(600),
  ]
  t.match(longestGap(events, [], 650), { address: 'x', holder: 'a', fromMs: 100, untilMs: 500 })
  t.match(longestGap(events, [{ name: 'a', fromMs: 90, untilMs: 350 }], 650), { fromMs: 400, untilMs: 500 })
  t.match(longestGap(events, [{ name: '*', fromMs: 200, untilMs: 480 }], 650), { fromMs: 100, untilMs: 200 })
})

t.test(
  'a command that is killed leaves no process behind',
  { skip: process.platform !== 'linux' && 'it reads /proc' },
  async t => {
    const folder = t.testdir()
    const main = fileURLToPath(new URL('./main.js', import.meta.url))
    const args = [main, '--peers', '3', '--mode', 'brokerless', '--keep', folder]
    const command = spawn(process.execPath, args, { stdio: 'ignore' })
    t.teardown(() => command.kill('SIGKILL'))
    t.ok(await until(() => processesAbout(folder).length === 4), 'the command and its peers run')
    const stopped = processesAbout(folder).find(pid => pid !== command.pid)!
    process.kill(stopped, 'SIGSTOP')
    command.kill('SIGKILL')
    await until(() => processesAbout(folder).length === 0)
    t.same(processesAbout(folder), [])
  },
)

/** Asks the system every now and then; after half a minute it is as it is. */
async function until(isSo: () => boolean): Promise<boolean> {
  for (const lateMs = performance.now() + 30_000; performance.now() < lateMs; await sleep(20)) if (isSo()) return true
  return false
}

/** Processes with that text among their arguments. */
function processesAbout(text: string): number[] {
  return readdirSync('/proc').flatMap(name => {
    if (!/^\d+$/.test(name)) return []
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(text) ? [Number(name)] : []
    } catch (error) {
      if (error instanceof Error && 'code' in error) return [] // it has just ended
      throw error
    }
  })
}
