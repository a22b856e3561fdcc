/** F13: two living processes that want one identity, and whoever starts them starts them again and again. */
import type { HomingError } from '../../lib/index.ts'
import type { HistoryEvent } from '../../lib/testing/index.ts'
import { inBothModes, threePeers } from '../support/clusters.ts'
import { measured } from '../support/figures.ts'

/** Runs that took the identity, and when, ms. */
function takings(events: readonly HistoryEvent[], names: readonly string[]): number[] {
  return events.flatMap(event => (event.what === 'started' && names.includes(event.peer) ? [event.atMs] : []))
}

inBothModes('F13: a rival that is started again and again never takes a living identity', async (t, cluster) => {
  const [a, b] = await threePeers(cluster)
  await cluster.settle(b.connectClient('bob', () => {}))
  let refused = 0
  let slowestMs = 0
  for (let n = 0; n < 30; n++) {
    const startedMs = cluster.nowMs
    const rival = cluster.startPeer(`rival${n}`, { identity: 'b' })
    const failed = await cluster.settle(rival.catch((error: unknown) => error))
    t.match(failed, { code: 'IDENTITY_IN_USE' })
    slowestMs = Math.max(slowestMs, cluster.nowMs - startedMs)
    refused++
    await cluster.run(1_000)
    t.equal((await cluster.settle(a.sendMessage('bob', n))).status, 'delivered')
  }
  measured(t, 'F13', `the slowest of ${refused} refusals of a rival`, slowestMs, 'ms')
  t.ok(slowestMs <= 2_000, `${slowestMs} ms`)
  t.equal(b.client('bob')?.end, undefined)
  t.same(cluster.history.of('fenced'), [])
})

inBothModes('F13: two rivals, each started again whenever it ends, one of which stalls: no ping-pong', async (t, cluster) => {
  await threePeers(cluster)
  cluster.kill('b')
  await cluster.run(20_000)
  const from = cluster.history.events.length
  const names = ['one', 'two']
  let alive = true
  let holder = ''
  const refusals: string[] = []
  const keep = async (name: string): Promise<void> => {
    while (alive) {
      const peer = await cluster.startPeer(name, { identity: 'b' }).catch((error: HomingError) => void refusals.push(error.code))
      if (peer) {
        holder = name
        await new Promise<void>(resolve => void peer.once('closed', () => resolve()))
      }
      cluster.kill(name)
      await new Promise<void>(resolve => void cluster.time.timers.after(1_000, resolve))
    }
  }
  for (const name of names) void keep(name)
  for (let round = 0; round < 5; round++) {
    await cluster.run(40_000)
    // Whoever has it stands still for longer than its lease, and is taken over from; when it comes back, it is told.
    cluster.stall(holder, 15_000)
    await cluster.run(20_000)
  }
  alive = false
  const times = takings(cluster.history.events.slice(from), names)
  const gaps = times.slice(1).map((atMs, n) => atMs - times[n]!)
  measured(t, 'F13', 'changes of a contested identity in five minutes', gaps.length, '')
  t.ok(
    gaps.every(gapMs => gapMs >= 30_000),
    `taken at ${times.join(', ')} ms`,
  )
  t.ok(gaps.length <= 5, 'no more often than somebody stalled')
  t.same([...new Set(refusals)], ['IDENTITY_IN_USE'])
})
