/** Whole peers on Couchbase, whose client is native code with threads of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { couchbaseMissing, startCouchbase } from '../support/couchbase-server.ts'
import { Child } from '../support/processes.ts'

const missing = couchbaseMissing()
if (missing) t.test('Couchbase', { skip: missing }, async () => {})

const times = { leaseMs: 3_000, renewEveryMs: 600, guardMs: 600 }
function childrenOf(pid: number): number[] {
  const lists = readdirSync(`/proc/${pid}/task`).map(task => readFileSync(`/proc/${pid}/task/${task}/children`, 'latin1'))
  return lists.flatMap(list => list.split(' ').filter(Boolean).map(Number))
}

/** Not: what has ended, and nobody asked how. */
function isRunning(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false // it has ended: that is the answer
  }
}

const pass = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))

if (!missing) {
  t.test('a busy peer is not a dead one; a killed one is, after its lease', async t => {
    await using server = await startCouchbase()
    const [one, two] = [new Child(t), new Child(t)]
    await Promise.all([one, two].map((child, i) => child.ask('peer', { identity: `peer-${i}`, store: server.url, ...times })))
    await one.ask('connect', 'alice')
    t.equal((await two.ask('send', 'alice', 'before')).status, 'delivered')
    const busy = one.ask('block', 2 * times.leaseMs)
    await pass(1.5 * times.leaseMs)
    const meanwhile = two.ask('send', 'alice', 'meanwhile')
    await busy
    t.equal((await meanwhile).status, 'delivered')
    t.same(await one.ask('got', 'alice'), ['before', 'meanwhile'])

    await one.kill()
    const killedMs = performance.now()
    for (;;) {
      const { status } = await two.ask('send', 'alice', 'anybody?', { deadlineMs: 100 })
      if (status === 'absent' || performance.now() - killedMs > 3 * times.leaseMs) break
    }
    const tookMs = performance.now() - killedMs
    t.ok(tookMs <= times.leaseMs + 2_000, `absent after ${Math.round(tookMs)} ms`)
  })

  t.test('peers that come and go end their processes in order', async t => {
    await using server = await startCouchbase()
    const code = fileURLToPath(new URL('./short-life.js', import.meta.url))
    const lives = Array.from({ length: 9 }, async (_, i) => {
      const how = ['by itself', 'by exit', 'abruptly'][i % 3]!
      const child = spawn(process.execPath, [code, server.url, `peer-${i}`, how], { stdio: ['ignore', 'inherit', 'inherit'] })
      t.same(await once(child, 'exit'), [0, null], how)
    })
    await Promise.all(lives)
  })

  t.test(
    'the pulse is a process, which ends with its peer, and whose arguments say nothing of the store',
    {
      skip: process.platform === 'linux' ? false : 'reads /proc',
    },
    async t => {
      await using server = await startCouchbase()
      const peer = new Child(t)
      const store = server.url.replace('default@', 'default:hush-hush@')
      await peer.ask('peer', { identity: 'one', store, ...times })
      const [pulse] = childrenOf(peer.process.pid!)
      const said = readFileSync(`/proc/${pulse}/cmdline`, 'latin1')
      t.match(said, /pulse-worker/)
      t.notMatch(said, /couchbase|hush-hush/)
      await peer.kill()
      const killedMs = performance.now()
      while (isRunning(pulse!) && performance.now() - killedMs < 10_000) await pass(5)
      t.notOk(isRunning(pulse!))
    },
  )
}
