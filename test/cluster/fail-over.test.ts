/** A datastore that loses what it acknowledged: what its fail-over brings back of runs that had left. */
import type { VirtualTime } from '../../lib/env/virtual-time.ts'
import { AmnesicEngine } from '../../lib/testing/simulation/amnesic-engine.ts'
import { inBothModes, taker } from '../support/clusters.ts'

let engine: AmnesicEngine
const newEngine = (time: VirtualTime): AmnesicEngine => (engine = new AmnesicEngine(time))

inBothModes(
  'a fail-over that brings back a run which had left: its successor stays, and what it holds is reachable',
  async (t, cluster) => {
    const a = await cluster.peer('a')
    const former = await cluster.peer('former', { identity: 'b' })
    await cluster.run(60_000)
    await cluster.settle(former.close())
    const b = await cluster.peer('successor', { identity: 'b' })
    const bob = taker()
    await cluster.settle(b.connectClient('bob', message => bob.take(message)))
    t.equal((await cluster.settle(a.sendMessage('bob', 1))).status, 'delivered')

    engine.failOver(2_000)
    const events = cluster.history.events.length
    // What the record that is back promises is waited for: one lease.
    await cluster.run(15_000)
    t.same(cluster.history.of('fenced'), [])
    t.same(
      cluster.history.events.slice(events).filter(({ what }) => what === 'ended' || what === 'closed'),
      [],
    )
    t.equal((await cluster.settle(a.sendMessage('bob', 2))).status, 'delivered')
    t.same(bob.bodies, [1, 2])
    t.equal(a.members().find(({ identity }) => identity === 'b')?.incarnation, b.incarnation)
  },
  { store: { engine: newEngine } },
)
